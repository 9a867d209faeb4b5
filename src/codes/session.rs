//! Codes of unauthenticated requests, of insufficient authentication, and of missing rights.

use super::{Challenge, ErrorKind, Section};

const NOT_AUTHENTICATED: ErrorKind =
    ErrorKind::new(401, "You are not logged in", "Log in and try again.").challenge(Challenge::NoToken);

const FOR_PROGRAMS: ErrorKind = ErrorKind::new(
    401,
    "This is for programs",
    "Only a program with an access token gets in here, no browser. Continue from the front page.",
)
.challenge(Challenge::NoToken);

const SESSION_OVER: ErrorKind =
    ErrorKind::new(401, "Your session has ended", "Log in again.").challenge(Challenge::NoToken);

const NOT_REFRESHED: ErrorKind = ErrorKind::new(
    401,
    "Your session cannot go on for now",
    "The login service does not extend sessions of this site at the moment. Your account is not the cause. \
     Log in again. If that does not help, tell the operator of this site the code and the reference below.",
)
.challenge(Challenge::NoToken);

/// The challenge says which kind of login is needed.
const LOG_IN_ONCE_MORE: ErrorKind = ErrorKind::new(
    401,
    "You must log in once more",
    "You are known here, but this address requires another kind of login, or a more recent one.",
)
.challenge(Challenge::InsufficientUserAuthentication)
.says("a different or more recent authentication is required")
.somebody();

/// Also for a step-up that the provider itself reports as not satisfied.
pub(super) const NOT_ENOUGH: ErrorKind = ErrorKind::new(
    403,
    "Your login is not enough for this",
    "This page requires a stronger or a more recent login. Try again, with your second factor if you have \
     one.",
);

const STEP_UP_FAILED: ErrorKind =
    NOT_ENOUGH.says("the login is not of the kind that this address requires").somebody();

const NO_RIGHT: ErrorKind = ErrorKind::new(
    403,
    "You may not see this",
    "The account does not have the right that this address needs. Ask your administrator for it.",
)
.challenge(Challenge::InsufficientScope)
.says("the identity does not have what this address requires")
.other_account();

const CLOSED: ErrorKind = ErrorKind::new(403, "Nobody may see this", "This address is closed.");

codes! {
    SESSIONS = "There is no session, or it has ended", Some(401);

    NOT_LOGGED_IN = NOT_AUTHENTICATED, "not_logged_in",
        "The request has neither a session nor a token."
        => "Log in, or send a token.";
    NO_TOKEN = FOR_PROGRAMS, "not_logged_in";

    SESSION_UNREADABLE =
        SESSION_OVER.says("the session cookie cannot be opened with the current keys"),
        "session_unreadable",
        "The session cookie opens with none of the configured keys (the log says if it names another key), \
         or rules and headers now need claims or tokens that this session does not have."
        => "Log in again. If it happens again: do all proxies have the same `session.keys` and the same \
            rules?";

    SESSION_LIFETIME = SESSION_OVER, "session_lifetime",
        "The session has reached `absolute_lifetime_seconds`, or its forwarded access token has expired."
        => "Log in again.";

    SESSION_IDLE = SESSION_OVER, "session_idle",
        "The session was not used for `idle_timeout_seconds`."
        => "Log in again.";

    SESSION_NOT_REFRESHED = SESSION_OVER, "session_not_refreshed",
        "The provider refused the refresh token of the session, or returned tokens of another person. The \
         reason is in the log."
        => "Log in again.";

    SESSION_CLIENT_REFUSED = NOT_REFRESHED, "session_client_refused",
        "The tokens of the session have expired, and the provider refuses to refresh them for this client: \
         `invalid_client`, `unauthorized_client`, or a status like 401, 403 or 404. The session goes on \
         when the cause is fixed. The log has the provider's error."
        => "Log in again; if that fails too, fix the client's secret, its registration or the endpoint.";

    SESSION_REFRESH_UNUSABLE = NOT_REFRESHED, "session_refresh_unusable",
        "The tokens of the session expired more than `refresh_grace_seconds` ago, and the provider's \
         replies to refreshes are unusable. The reason is in the log."
        => "Log in again, and report it to the provider.";

    SESSION_REVOKED = SESSION_OVER, "session_revoked",
        "The provider ended the session, possibly while the login was in flight: back-channel logout."
        => "Log in again.";

    SESSION_LOGGED_OUT = SESSION_OVER, "session_logged_out",
        "The person logged out of this session, or another person logged in instead; the cookie is a copy, \
         or came from a late response."
        => "Log in again.";

    SESSION_UNCONFIRMED =
        SESSION_OVER.says("whether the session has ended cannot be known"),
        "session_unconfirmed",
        "The filter cannot check whether the session was revoked: the proxy fails to read its shared data. \
         The cookie stays."
        => "Try again. In nginx and Kong, look at `shm_kv`.";
}

codes! {
    STEP_UP = "The login is not enough", Some(401);

    AUTHENTICATION_ACR = LOG_IN_ONCE_MORE, "authentication_acr",
        "The rule does not accept the `acr` of the session or token."
        => "Log in again in a way that the rule accepts; request a token with `acr_values`.";

    AUTHENTICATION_TOO_OLD = LOG_IN_ONCE_MORE, "authentication_too_old",
        "The person authenticated longer ago than the rule allows."
        => "Log in again; request a token with `max_age`.";

    AUTHENTICATION_TIME_UNKNOWN = LOG_IN_ONCE_MORE, "authentication_time_unknown",
        "The rule requires a recent login, and the session or token has no `auth_time`, or one in the \
         future."
        => "Log in again. For a token: let the provider add `auth_time` (RFC 9068).";

    AUTHENTICATION_SCOPES = LOG_IN_ONCE_MORE, "authentication_scopes",
        "The rule needs scopes that the login of the session did not request."
        => "Log in again; the login requests them.";

    STEP_UP_NOT_MET = STEP_UP_FAILED, "step_up_not_met",
        "The step-up was not satisfied: the provider authenticated the person in another way than the rule \
         requires. The earlier session stays."
        => "Use the second factor. If it fails for everybody: does the provider support the `acr_values`, \
            and write `acr` into the ID token? The log has the person, the requested and the received \
            `acr`.";
}

codes! {
    RIGHTS = "Rights are missing", Some(403);

    REQUIREMENT_SCOPES = NO_RIGHT, "requirement_scopes",
        "Not all scopes that the rule requires were granted."
        => "Request a token or a login with these scopes.";

    REQUIREMENT_AUDIENCE = NO_RIGHT.says("aud is none that this address accepts"), "requirement_audience",
        "`aud` has none of the rule's audiences."
        => "Request a token for this service.";

    REQUIREMENT_CLAIM = NO_RIGHT, "requirement_claim",
        "A claim does not have a value that the rule requires, or has one that it forbids. The log has the person, the provider, the \
         rule, the accepted values, and whether the claim is absent or which type it has; never its value."
        => "Give the person the role or group at the provider; they must log in again to get it. Or they \
            use another account: the page offers the logout. A provider without a logout, such as Google, \
            then logs the same account in again unless [`authorization_parameters`](configuration.md) has \
            `prompt: select_account`.";

    REQUIREMENT_EMAIL = NO_RIGHT, "requirement_email",
        "`email` is at none of the rule's domains, is not a plain address, or `email_verified` is not `true`. \
         The log says which."
        => "Use an account with an address of that domain. If it fails for everybody: do `scopes` request \
            `email`, and does the provider verify addresses?";

    REQUIREMENT_ANY_OF = NO_RIGHT, "requirement_any_of",
        "None of the rule's alternatives is met."
        => "As above.";

    REQUIREMENT_NONE_OF = NO_RIGHT, "requirement_none_of",
        "The identity has what the rule forbids (`none_of`). The log has the number of the alternative."
        => "As above.";

    REQUIREMENT_CLIENT = NO_RIGHT, "requirement_client",
        "The token was issued to a client that is none of the rule's `token.clients`."
        => "Use a client of the list, or add it.";

    DENIED = CLOSED, "denied",
        "The rule denies everybody."
        => "Nothing, or change the rule.";
}
