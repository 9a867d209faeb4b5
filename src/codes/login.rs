//! Codes of failed logins.

use super::request::UNUSABLE_REQUEST;
use super::session::NOT_ENOUGH;
use super::{ErrorKind, Section};

pub(crate) const LOGIN_FAILED: ErrorKind =
    ErrorKind::new(400, "The login did not succeed", "Nothing was changed. You can begin a new login.")
        .login();

const LOGIN_REFUSED: ErrorKind = ErrorKind::new(
    403,
    "The login did not succeed",
    "The login service did not log you in. Try again. If it happens again, tell the operator of this site \
     the code and the reference below.",
)
.says(REFUSED)
.login();

const CANCELLED: ErrorKind = ErrorKind::new(
    403,
    "The login was cancelled",
    "You cancelled the login, or the login service did not let you in. You can try again.",
)
.says(REFUSED)
.login();

const REFUSED: &str = "the login service did not log the person in";

const LOGIN_LOST: ErrorKind = ErrorKind::new(
    400,
    "This login cannot be completed",
    "It took too long, was completed before, or began in another browser or at another address of this \
     site. Begin a new login; the browser must accept cookies.",
)
.login();

const LOGIN_FROM_ELSEWHERE: ErrorKind = ErrorKind::new(
    400,
    "This login began elsewhere",
    "This login belongs to another part of this site, or is too old. Open the page that you wanted again. \
     If you see this message again, tell the operator of this site the code and the reference below.",
)
.login();

/// One kind for each known cause.
const fn looping(advice: &'static str) -> ErrorKind {
    ErrorKind::new(400, "The login goes round in circles", advice)
        .says("several login attempts in a row led to no usable session")
        .login()
}

const LOOP_LOST: ErrorKind = looping(
    "You logged in several times, but your browser did not keep the session. Allow cookies for this site, \
     or delete its cookies. If others have the same problem, tell the operator of this site.",
);

const LOOP_UNREADABLE: ErrorKind = looping(
    "You logged in several times, but one part of this site cannot read the session of another part. Tell \
     the operator of this site: its servers are configured differently.",
);

const LOOP_OVER: ErrorKind = looping(
    "You logged in several times, but each session ended at once. Tell the operator of this site: the \
     clock of a server is wrong, or the login service ends sessions immediately.",
);

const LOOP_NOT_ENOUGH: ErrorKind = looping(
    "You logged in several times, but never in the way that this page requires. Tell the operator of this \
     site.",
);

const LOOP_OTHER_FILTER: ErrorKind = looping(
    "Two logins of this site interfere with each other. Tell the operator of this site: two logins are in \
     a row, or share an address.",
);

const LOOP_NEEDLESS: ErrorKind = looping(
    "You are logged in, but the page that you opened requests another login every time. Tell the operator \
     of this site.",
);

codes! {
    LOGINS = "The login did not succeed", Some(400);

    AUTHORIZATION_REFUSED = LOGIN_REFUSED, "authorization_refused",
        "The provider refused; the log has its `error`: `access_denied` when the person cancelled, which \
         the page says; `invalid_scope`, `unauthorized_client` ..."
        => "Follow the `error`; often the registration of the client is wrong.";
    AUTHORIZATION_CANCELLED = CANCELLED, "authorization_refused";
    AUTHORIZATION_UNMET = NOT_ENOUGH.says(REFUSED).login(), "authorization_refused";

    LOGIN_NO_COOKIE = LOGIN_LOST, "login_no_cookie",
        "The browser returned without the cookie of this login: cookies are blocked, the login began in \
         another browser or on another host, took too long, or was completed before."
        => "Begin again. If it happens to everybody: is the site reached by one name, over `https`?";

    LOGIN_USED = LOGIN_LOST, "login_used",
        "This login was completed before: its authorization response was replayed."
        => "Begin a new login.";

    LOGIN_EXPIRED = LOGIN_LOST, "login_expired",
        "The login took longer than `login_lifetime_seconds`."
        => "Begin again.";

    LOGIN_NOT_OPENED = LOGIN_FROM_ELSEWHERE, "login_not_opened",
        "The cookie of the login opens with none of the configured keys: a filter with other keys, or for \
         another client, began it on this host."
        => "Begin again. Do all proxies have the same `session.keys`?";

    LOGIN_OTHER_STATE = LOGIN_LOST, "login_other_state",
        "The cookie belongs to another login."
        => "Begin again.";

    LOGIN_NOT_OURS = LOGIN_FROM_ELSEWHERE, "login_not_ours",
        "The authorization response to a login that another filter began: the browser has a cookie of that \
         login under another name; or it is logged in here, and the `state` opens with none of the keys."
        => "Filters that share a host and a callback need the same `session.keys`, `cookie_name`, provider \
            name, `issuer` and `client_id`; others need a `redirect_uri` and a `cookie_name` each. See [one \
            login for several filters](configuration.md#one-login-for-several-filters).";

    LOGIN_LOOP_LOST = LOOP_LOST, "login_loop",
        "A filter behind this one began the login. Or three login attempts in a row, each within two \
         minutes of the one before, led to no usable session: they were completed and no valid session \
         came back; or they were completed or requested although a session was there. Replayed responses, \
         many tabs, and logins by a click on a page of the site do not count. The same log line has the \
         details after `seen:`."
        => "See [the login goes round in circles](../README.md#the-login-goes-round-in-circles).";
    LOGIN_LOOP_UNREADABLE = LOOP_UNREADABLE, "login_loop";
    LOGIN_LOOP_OVER = LOOP_OVER, "login_loop";
    LOGIN_LOOP_NOT_ENOUGH = LOOP_NOT_ENOUGH, "login_loop";
    LOGIN_LOOP_OTHER_FILTER = LOOP_OTHER_FILTER, "login_loop";
    LOGIN_LOOP_NEEDLESS = LOOP_NEEDLESS, "login_loop";
    LOGIN_LOOP_BEHIND = LOGIN_LOST, "login_loop";

    AUTHORIZATION_STATE_MISSING =
        LOGIN_FAILED.says("the authorization response has no state"),
        "authorization_state_missing",
        "The response has no `state`. If it has an `error`, the log shows that."
        => "Begin again; the address does not come from a login, or the provider omits `state` when it \
            refuses: then the error says why.";

    AUTHORIZATION_STATE = LOGIN_FAILED, "authorization_state",
        "The response has the `state` of another login."
        => "Begin again.";

    AUTHORIZATION_CODE_MISSING = LOGIN_FAILED, "authorization_code_missing",
        "The response has neither a code nor an error."
        => "Begin again.";

    AUTHORIZATION_CODE_AND_ERROR = LOGIN_FAILED, "authorization_code_and_error",
        "The response has both a code and an error."
        => "Begin again.";

    AUTHORIZATION_CODE_CHARACTERS = LOGIN_FAILED, "authorization_code_characters",
        "The code has characters that no code has."
        => "Begin again.";

    AUTHORIZATION_ISSUER =
        LOGIN_FAILED.says("the authorization response comes from another provider"),
        "authorization_issuer",
        "`iss` in the response is another issuer (RFC 9207)."
        => "Begin again. If it stays, compare `issuer` with what the log shows.";

    AUTHORIZATION_ISSUER_MISSING =
        LOGIN_FAILED.says("the authorization response does not say which provider it comes from"),
        "authorization_issuer_missing",
        "The provider announces `iss` in its responses, and this one has none."
        => "Begin again; report it to the provider.";

    AUTHORIZATION_RESPONSE_UNEXPECTED = LOGIN_FAILED, "authorization_response_unexpected",
        "The response is a signed one (JARM) that was not requested."
        => "Switch that off at the provider.";

    AUTHORIZATION_CONTENT_TYPE = LOGIN_FAILED, "authorization_content_type",
        "With `form_post`: the request does not have exactly one `Content-Type`, \
         `application/x-www-form-urlencoded`."
        => "Begin again; the request does not come from a login.";

    AUTHORIZATION_BODY_MISSING = LOGIN_FAILED, "authorization_body_missing",
        "With `form_post`: the request has no body, or the proxy does not hand it over."
        => "If it happens to everybody: [`allow_on_headers_stop_iteration`](configuration.md#form_post).";

    FORM_TOO_LONG = UNUSABLE_REQUEST, "form_too_long",
        "The response has more than 16 KiB."
        => "Begin again.";

    FORM_TOO_MANY_PARAMETERS = UNUSABLE_REQUEST, "form_too_many_parameters",
        "The response has more than 64 parameters."
        => "Begin again.";

    FORM_ENCODING = UNUSABLE_REQUEST, "form_encoding",
        "The response is not form-encoded UTF-8."
        => "Begin again.";

    FORM_PARAMETER_REPEATED = UNUSABLE_REQUEST, "form_parameter_repeated",
        "A parameter of the response occurs twice."
        => "Begin again.";
}
