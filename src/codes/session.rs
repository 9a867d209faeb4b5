//! Who makes a request is not known, or not well enough, or may not do this.

use super::{Challenge, ErrorKind, Section};

const NOT_AUTHENTICATED: ErrorKind =
    ErrorKind::new(401, "You are not logged in", "Log in and try again.").challenge(Challenge::NoToken);

const FOR_PROGRAMS: ErrorKind = ErrorKind::new(
    401,
    "This is for programs",
    "A program gets in here with an access token, a browser does not. Go on from the front page.",
)
.challenge(Challenge::NoToken);

const SESSION_OVER: ErrorKind =
    ErrorKind::new(401, "Your session has ended", "Log in again.").challenge(Challenge::NoToken);

const NOT_REFRESHED: ErrorKind = ErrorKind::new(
    401,
    "Your session cannot go on for now",
    "The login service does not renew it, and that is not because of you. Log in again. If that does not \
     help, tell whoever runs this site the code and the reference below.",
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

/// Also of a login that did not do what it was asked for, and of which the provider says so itself.
pub(super) const NOT_ENOUGH: ErrorKind = ErrorKind::new(
    403,
    "Your login is not enough for this",
    "This page asks for a safer or a more recent login. Try again, with your second factor if you have one.",
);

const STEP_UP_FAILED: ErrorKind =
    NOT_ENOUGH.says("the login is not of the kind that this address requires").somebody();

const NO_RIGHT: ErrorKind = ErrorKind::new(
    403,
    "You may not see this",
    "The account does not have the right that this address needs. Ask whoever gives out rights.",
)
.challenge(Challenge::InsufficientScope)
.says("the identity does not have what this address requires")
.other_account();

const CLOSED: ErrorKind = ErrorKind::new(403, "Nobody may see this", "This address is closed.");

codes! {
    SESSIONS = "There is no session, or it has ended", Some(401);

    NOT_LOGGED_IN = NOT_AUTHENTICATED, "not_logged_in",
        "Neither a session nor a token came along."
        => "Log in, or send a token.";
    NO_TOKEN = FOR_PROGRAMS, "not_logged_in";

    SESSION_UNREADABLE =
        SESSION_OVER.says("the session cookie cannot be opened with the current keys"),
        "session_unreadable",
        "The session cookie opens with none of the configured keys (the log says if it names a key that is \
         not among them), or the rules and headers that are configured now need claims or tokens that this \
         session does not hold."
        => "Log in again. If it goes on: do all proxies have the same `session.keys` and the same rules?";

    SESSION_LIFETIME = SESSION_OVER, "session_lifetime",
        "The session was as old as `absolute_lifetime_seconds`, or the access token that it forwards has \
         ended."
        => "Log in again.";

    SESSION_IDLE = SESSION_OVER, "session_idle",
        "The session was not used for `idle_timeout_seconds`."
        => "Log in again.";

    SESSION_NOT_RENEWED = SESSION_OVER, "session_not_renewed",
        "The provider refused the refresh token of the session, or renewed it for somebody else. The reason \
         is in the log."
        => "Log in again.";

    SESSION_CLIENT_REFUSED = NOT_REFRESHED, "session_client_refused",
        "The tokens of the session are over, and the provider refuses to refresh them for this client: \
         `invalid_client`, `unauthorized_client`, or a status like 401, 403 or 404. The session goes on by \
         itself when that is mended. The provider's words are in the log."
        => "Log in again; if that fails too, mend the client's secret, its registration or the endpoint.";

    SESSION_REFRESH_UNUSABLE = NOT_REFRESHED, "session_refresh_unusable",
        "The tokens of the session are over since `refresh_grace_seconds`, and the provider's answers to \
         refreshes cannot be used. What is wrong with them is in the log."
        => "Log in again, and report it to the provider.";

    SESSION_REVOKED = SESSION_OVER, "session_revoked",
        "The provider has ended the session, or did so while the login was under way: back-channel logout."
        => "Log in again.";

    SESSION_LOGGED_OUT = SESSION_OVER, "session_logged_out",
        "Somebody logged out of this session, or logged in as somebody else in its place; the cookie is a \
         copy, or came from an answer that was under way."
        => "Log in again.";

    SESSION_UNCONFIRMED =
        SESSION_OVER.says("whether the session has ended cannot be known"),
        "session_unconfirmed",
        "Whether the session has ended cannot be known: the proxy fails to read its shared data. The cookie \
         stays."
        => "Try again. In nginx and Kong, look at `shm_kv`.";
}

codes! {
    STEP_UP = "The login is not enough", Some(401);

    AUTHENTICATION_ACR = LOG_IN_ONCE_MORE, "authentication_acr",
        "`acr` of the session or token is none that the rule accepts."
        => "Log in again in such a way; ask for a token with `acr_values`.";

    AUTHENTICATION_TOO_OLD = LOG_IN_ONCE_MORE, "authentication_too_old",
        "The person authenticated longer ago than the rule allows."
        => "Log in again; ask for a token with `max_age`.";

    AUTHENTICATION_TIME_UNKNOWN = LOG_IN_ONCE_MORE, "authentication_time_unknown",
        "The rule asks for a recent login, and the session or token has no `auth_time`, or one in the \
         future."
        => "Log in again. Of a token: let the provider add `auth_time` (RFC 9068).";

    STEP_UP_NOT_MET = STEP_UP_FAILED, "step_up_not_met",
        "The person was sent to log in as the rule requires, and the provider logged them in otherwise. The \
         session before stays."
        => "Use the second factor. If nobody can: does the provider know the `acr_values`, and say `acr` in \
            the ID token? The log has who it was, what was asked for and which `acr` came.";
}

codes! {
    RIGHTS = "Rights are missing", Some(403);

    REQUIREMENT_SCOPES = NO_RIGHT, "requirement_scopes",
        "Not all scopes that the rule requires were granted."
        => "Ask for a token or a login with these scopes.";

    REQUIREMENT_AUDIENCE = NO_RIGHT.says("aud is none that this address accepts"), "requirement_audience",
        "`aud` has none of the rule's audiences."
        => "Ask for a token for this service.";

    REQUIREMENT_CLAIM = NO_RIGHT, "requirement_claim",
        "A claim does not hold what the rule requires. The log has who it was, the provider, the rule, the \
         values of which one is needed, and whether the claim is absent or what kind of value it is; never \
         its value."
        => "Give the person the role or group at the provider; they must log in again to have it. Or they \
            use another account: the page offers the logout. A provider that has no logout, such as Google, \
            then lets the same account in again unless [`authorization_parameters`](configuration.md) has \
            `prompt: select_account`.";

    REQUIREMENT_ANY_OF = NO_RIGHT, "requirement_any_of",
        "None of the rule's alternatives is met."
        => "As above.";

    DENIED = CLOSED, "denied",
        "The rule lets nobody in."
        => "Nothing, or change the rule.";
}
