//! A login came to nothing.

use super::request::UNUSABLE_REQUEST;
use super::session::NOT_ENOUGH;
use super::{ErrorKind, Section};

pub(crate) const LOGIN_FAILED: ErrorKind =
    ErrorKind::new(400, "The login did not succeed", "Nothing was changed. You can begin a new login.")
        .login();

const LOGIN_REFUSED: ErrorKind = ErrorKind::new(
    403,
    "The login did not succeed",
    "The login service did not log you in. Try again. If it happens again, tell whoever runs this site the \
     code and the reference below.",
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
    "This login cannot be finished",
    "It took too long, was finished before, or began in another browser or on another address of this site. \
     Begin a new login; the browser must accept cookies.",
)
.login();

const LOGIN_FROM_ELSEWHERE: ErrorKind = ErrorKind::new(
    400,
    "This login began elsewhere",
    "This is the answer to a login of another part of this site, or of long ago. Open the page that you \
     wanted again. If this comes back, tell whoever runs this site the code and the reference below.",
)
.login();

/// With which of the known causes it can be.
const fn looping(advice: &'static str) -> ErrorKind {
    ErrorKind::new(400, "The login goes round in circles", advice)
        .says("several logins in a row led nowhere")
        .login()
}

const LOOP_LOST: ErrorKind = looping(
    "You were logged in several times, but the browser did not keep it. Allow cookies for this site, or \
     delete those that it has. If it happens to everybody, tell whoever runs this site.",
);

const LOOP_UNREADABLE: ErrorKind = looping(
    "You were logged in several times, but a part of this site cannot read what another part has made. Tell \
     whoever runs this site: its servers are not set up alike.",
);

const LOOP_OVER: ErrorKind = looping(
    "You were logged in several times, but it was over at once. Tell whoever runs this site: the clock of a \
     server is wrong, or the login service ends what it begins.",
);

const LOOP_NOT_ENOUGH: ErrorKind = looping(
    "You were logged in several times, but never in the way that this page asks for. Tell whoever runs this \
     site.",
);

const LOOP_OTHER_FILTER: ErrorKind = looping(
    "Another login stands behind this one or beside it, and what it waits for comes here. Tell whoever runs \
     this site: two logins are in a row, or share an address.",
);

const LOOP_NEEDLESS: ErrorKind = looping(
    "You are logged in, but the page that you opened asks for another login every time. Tell whoever runs \
     this site.",
);

codes! {
    LOGINS = "The login did not succeed", Some(400);

    AUTHORIZATION_REFUSED = LOGIN_REFUSED, "authorization_refused",
        "The provider says no; the log has its `error`: `access_denied` when somebody cancels, and the page \
         says that; `invalid_scope`, `unauthorized_client` ..."
        => "As its `error` says: often the registration of the client.";
    AUTHORIZATION_CANCELLED = CANCELLED, "authorization_refused";
    AUTHORIZATION_UNMET = NOT_ENOUGH.says(REFUSED).login(), "authorization_refused";

    LOGIN_NO_COOKIE = LOGIN_LOST, "login_no_cookie",
        "The browser came back without the cookie of this login: cookies are blocked, the login began in \
         another browser or on another host, took too long, or was finished before."
        => "Begin again. If it happens to everybody: is the site reached by one name, over `https`?";

    LOGIN_USED = LOGIN_LOST, "login_used",
        "This login was finished before: its callback came a second time."
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
        "The answer to a login that another filter began: the browser has a cookie of that login under \
         another name; or it is logged in here, and the `state` opens with none of the keys."
        => "Filters that share a host and a callback need the same `session.keys`, `cookie_name`, provider \
            name, `issuer` and `client_id`; others need a `redirect_uri` and a `cookie_name` each. See [one \
            login for several filters](configuration.md#one-login-for-several-filters).";

    LOGIN_LOOP_LOST = LOOP_LOST, "login_loop",
        "A filter behind this one began the login. Or logins in a row, each within two minutes of the one \
         before, led nowhere: three were completed and no session that counts came back; or three came to an \
         end, or were asked for, although a session was there. Nobody is refused who opens an answer again, \
         has many tabs, or asks for another login by a click on a page of the site. What was seen is in the \
         same line of the log, after `seen:`."
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
        => "Begin again; the address was not made by a login, or the provider leaves `state` out when it \
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
        "The response is a signed one (JARM) that was not asked for."
        => "Switch that off at the provider.";

    AUTHORIZATION_CONTENT_TYPE = LOGIN_FAILED, "authorization_content_type",
        "With `form_post`: the body is not said, or not once, to be `application/x-www-form-urlencoded`."
        => "Begin again; the request was not made by a login.";

    AUTHORIZATION_BODY_MISSING = LOGIN_FAILED, "authorization_body_missing",
        "With `form_post`: the callback was called without a body, or the proxy does not hand it over."
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
