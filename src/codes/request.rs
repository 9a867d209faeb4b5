//! Codes of unacceptable requests.

use super::{Challenge, ErrorKind, Section};

const AMBIGUOUS_ADDRESS: ErrorKind = ErrorKind::new(
    400,
    "This address is ambiguous",
    "Use the plain form of the address, without encoded characters or dots.",
);

const PLAIN_HTTP: ErrorKind = ErrorKind::new(
    400,
    "This address is not encrypted",
    "Open it again by https. If you did, continue here, and tell the operator of this site the code below: \
     a proxy in front does not report that you used https.",
)
.login();

const OTHER_HOST: ErrorKind =
    ErrorKind::new(400, "Login is not possible at this address", "Open this site by its proper name.")
        .says("login is not possible on this host")
        .no_front_page();

const NO_PAGE: ErrorKind = ErrorKind::new(
    405,
    "There is nothing to see here",
    "This address is not a page: other pages use it. Continue from the front page.",
);

pub(super) const UNUSABLE_REQUEST: ErrorKind =
    ErrorKind::new(400, "This request cannot be used", "Go back to where you came from and try again.");

const FROM_ELSEWHERE: ErrorKind =
    ErrorKind::new(403, "This is for pages of this site", "Open the page that you want to see.");

const FORM_LOST: ErrorKind = ErrorKind::new(
    400,
    "What you sent could not be restored",
    "If you still have the page on which you filled it in, send it once more from there.",
);

const FORM_OF_SOMEBODY_ELSE: ErrorKind = ErrorKind::new(
    403,
    "What was filled in before the login is not sent",
    "It was filled in by another person than the one who is logged in now.",
)
.other_account();

const FORM_SENT: ErrorKind = ErrorKind::new(
    400,
    "What you filled in was sent already",
    "Check on the site whether it has arrived. If it has not, fill it in again.",
);

const LOGOUT_FROM_ELSEWHERE: ErrorKind =
    ErrorKind::new(403, "Another site wanted to log you out", "If you want that, use the link of this site.");

const MANY_COOKIES: ErrorKind = ErrorKind::new(
    431,
    "Your browser sends too many cookies",
    "Delete the cookies of this site, then open it again.",
)
.no_front_page();

const HEADER_OF_OURS: ErrorKind =
    ErrorKind::new(400, "A header may not be sent", "Remove the header: no client may send it here.");

/// RFC 6750 section 3.1 calls only the form of the header a bad request; a malformed token is an invalid one.
const UNREADABLE_TOKEN: ErrorKind = ErrorKind::new(
    400,
    "The access token cannot be read",
    "Send one header: Authorization: Bearer, one space, the token.",
)
.challenge(Challenge::InvalidRequest);

codes! {
    REQUESTS = "The request is not acceptable", Some(400);

    PATH_AMBIGUOUS = AMBIGUOUS_ADDRESS, "path_ambiguous",
        "The path can be read in two ways that come under different rules, such as `/public/..%2fadmin`. The \
         log names both rules and the character."
        => "Use the plain form of the path.";

    HOST_AMBIGUOUS =
        AMBIGUOUS_ADDRESS.no_front_page().says("the host can be read in several ways"),
        "host_ambiguous",
        "The host is not written as in the configuration (another port, a trailing dot), and another \
         reading of it comes under another rule. The log names both rules and the reason."
        => "Use the plain host. If the site uses this port, add it to \
            [`rules[].hosts`](configuration.md#hosts-that-proxies-read-in-several-ways).";

    PATH_TOO_MANY_READINGS = AMBIGUOUS_ADDRESS, "path_too_many_readings",
        "The path has more than 128 readings."
        => "Use the plain form of the path.";

    PATH_TOO_LONG = AMBIGUOUS_ADDRESS, "path_too_long",
        "A path of more than 2048 bytes has several readings where rules look at paths."
        => "Use the plain form of the path.";

    PATH_NOT_A_PATH = AMBIGUOUS_ADDRESS, "path_not_a_path",
        "The request target is not a path."
        => "Send one that begins with `/`.";

    PATH_NOT_A_HOST =
        AMBIGUOUS_ADDRESS.no_front_page().says("the host must be a plain host and port"),
        "path_not_a_host",
        "Rules name hosts, and the host of the request is not a plain name or address."
        => "Send a plain host name.";

    PATH_NO_RULE = AMBIGUOUS_ADDRESS.status(403).says("this address is denied to everybody"), "path_no_rule",
        "No rule matches. Cannot happen: every configuration ends with a rule for everything."
        => "Report it.";

    UNENCRYPTED = PLAIN_HTTP, "unencrypted",
        "A browser opened a page by plain `http`, where it stores no login cookies, and the provider would \
         return it to `https`."
        => "Redirect `http` to `https` in the proxy. If the browser did use `https`: the proxy before this \
            one must send `x-forwarded-proto`, and this one must trust it. For tests on one machine there is \
            [`insecure_allow_http`](configuration.md#session).";

    HOST_NOT_ALLOWED = OTHER_HOST, "host_not_allowed",
        "A login should begin on a host that `session.hosts` does not list. The port matters."
        => "Open the site under its proper name, or add the host, with its port unless that is the default.";

    METHOD_NOT_ALLOWED = NO_PAGE, "method_not_allowed",
        "An endpoint of the filter was requested with a method that it does not have."
        => "Use `GET`; for the login and the logout `GET` or `POST`; for back-channel logout, and for a callback with \
            `form_post`, `POST`.";

    ISSUER_UNKNOWN = UNUSABLE_REQUEST.says("the issuer is not configured"), "issuer_unknown",
        "A third-party initiated login, a front-channel logout or a logout token names an issuer that is \
         not configured."
        => "Compare it with `issuer` character by character.";

    PARAMETER_MISSING = UNUSABLE_REQUEST, "parameter_missing",
        "A third-party initiated login by a form, or a front-channel logout, lacks a parameter."
        => "Is `frontchannel_logout_session_required` set at the provider?";

    BODY_TOO_LARGE = UNUSABLE_REQUEST.status(413), "body_too_large",
        "A form to an endpoint of the filter has more than 16 KiB, or 100 KiB at `endpoints.restore`."
        => "Report it to the sender.";

    BODY_NOT_GIVEN =
        UNUSABLE_REQUEST.status(503).says("the body of the request did not come"),
        "body_not_given",
        "The proxy does not hand over the body of a form to an endpoint of the filter."
        => "In Envoy set [`allow_on_headers_stop_iteration: \
            true`](configuration.md#logouts-that-the-provider-begins) beside `vm_config`. In nginx the \
            request needs a `content-length`.";

    BODY_TOO_SLOW = UNUSABLE_REQUEST.status(408), "body_too_slow",
        "The body of a form to an endpoint of the filter did not begin within 10 seconds, or was \
         incomplete after 30."
        => "Send it again. If it happens to everybody: does the proxy hand over bodies (`body_not_given`)?";

    CROSS_SITE = FROM_ELSEWHERE, "cross_site",
        "Another site, or a client without Fetch Metadata, tried to read who is logged in, to extend a \
         session or to send a preserved form."
        => "Send the request from a page of the site itself; browsers then send `Sec-Fetch-Site: \
            same-origin` or `Origin`.";

    KEPT_FORM_NOT_OPENED = FORM_LOST, "kept_form_not_opened",
        "The submitted text is not a preserved form, or is one of another login, site or configuration."
        => "Fill it in again. If it happens again: do all proxies have the same `session.keys`?";

    KEPT_FORM_EXPIRED = FORM_LOST, "kept_form_expired",
        "The form is older than one hour plus the lifetime of a login, or the browser did not restore it \
         within five minutes after the login."
        => "Fill it in once more.";

    KEPT_FORM_OTHER_PERSON = FORM_OF_SOMEBODY_ELSE, "kept_form_other_person",
        "Another person has logged in than the one who filled in the form."
        => "Log in as the person who filled it in, and fill it in again.";

    KEPT_FORM_SENT_BEFORE = FORM_SENT, "kept_form_sent_before",
        "A preserved form is sent once; the page that sends it was loaded again."
        => "Check whether it has arrived.";

    LOGOUT_CROSS_SITE = LOGOUT_FROM_ELSEWHERE, "logout_cross_site",
        "Another site sent a form to the logout."
        => "Log out from a page of the site itself.";

    TOO_MANY_COOKIES = MANY_COOKIES, "too_many_cookies",
        "More than 200 cookies, or 64 KiB of them."
        => "Delete the cookies of the site.";

    "too_many_headers",
        "431, in nginx and Kong only. More than 96 header fields: the filter would not see the rest, but \
         the upstream would."
        => "Send fewer.";

    PROTECTED_HEADER = HEADER_OF_OURS, "protected_header",
        "The client sent a header that only the filter may set, or one of \
         `identity.request_headers_to_remove`, and this host (nginx, Kong) cannot remove headers."
        => "Do not send it.";
}

codes! {
    BEARER = "The bearer token cannot be read", Some(400);

    BEARER_AUTHORIZATION_REPEATED = UNREADABLE_TOKEN, "bearer_authorization_repeated",
        "There are several `Authorization` fields."
        => "Send one.";

    BEARER_SEPARATOR = UNREADABLE_TOKEN, "bearer_separator",
        "Not exactly one space stands between `Bearer` and the token."
        => "Send `Authorization: Bearer`, one space, the token.";

    BEARER_CHARACTERS = UNREADABLE_TOKEN.status(401).challenge(Challenge::InvalidToken), "bearer_characters",
        "The token is empty, or has characters that are not allowed in a token."
        => "Send the token as it was issued.";

    BEARER_TOO_LONG = UNREADABLE_TOKEN.status(401).challenge(Challenge::InvalidToken), "bearer_too_long",
        "The token has more than 16 KiB."
        => "Ask for a token with fewer claims.";

    BEARER_AMBIGUOUS = UNREADABLE_TOKEN, "bearer_ambiguous",
        "There is a token in more than one of `Authorization` and the places of [`tokens`](configuration.md#tokens), \
         or several headers or cookies of one of these names (RFC 6750 section 2)."
        => "Send one.";

    TOKEN_COOKIE_CROSS_SITE = FROM_ELSEWHERE, "token_cookie_cross_site",
        "A request with its token in a cookie may change something, and a page of another origin made it, or a \
         client that sends neither Fetch Metadata nor `Origin`."
        => "Programs send the token in a header. Pages of another origin fetch with a header too.";

    TOKEN_IN_QUERY = UNREADABLE_TOKEN, "token_in_query",
        "`access_token` is in the query (RFC 9700 section 4.3.2)."
        => "Send it in the `Authorization` header.";
}
