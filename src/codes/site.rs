//! Codes of problems that only the operator or the developers can fix, and codes of the log alone.

use super::{ErrorKind, Section};

const NOT_SET_UP: ErrorKind = ErrorKind::new(
    500,
    "This site is not set up correctly",
    "Only the operator of this site can fix this. Tell them the code and the reference below.",
)
.says("this site is not set up correctly")
.no_front_page();

const LARGE_SESSION: ErrorKind = ErrorKind::new(
    500,
    "Your session does not fit into the browser",
    "Your account has too many groups or rights for this site. Tell the operator of this site the code and \
     the reference below.",
)
.says("the session does not fit into the browser")
.no_front_page();

const UNEXPECTED: ErrorKind = ErrorKind::new(
    500,
    "Something went wrong here",
    "Tell the operator of this site the code and the reference below.",
)
.says("something went wrong here")
.no_front_page();

codes! {
    SITE = "The configuration of the filter, or the proxy", Some(500);

    CONFIGURATION = NOT_SET_UP, "configuration",
        "There is no valid configuration; every request is refused."
        => "The log lists all problems, each with its place.";

    SESSION_TOO_LARGE = LARGE_SESSION, "session_too_large",
        "The session does not fit into its cookies (`session.max_cookies`). As a warning in the log: it \
         was stored without the ID token or the refresh token, or was not extended."
        => "[Large sessions](configuration.md#large-sessions): name fewer claims, or do not forward tokens.";

    "logout_not_at_provider",
        "In the log: a person logged out here before the metadata of the provider were available, so its \
         logout endpoint is not known. The session at the provider goes on."
        => "Find out why the provider does not answer: earlier lines have its address.";

    "upstream_sets_cookie",
        "In the log: an upstream sets a cookie under a name of the filter's own (`session.cookie_name`, \
         alone or followed by `-` or `.`). It is removed from the response."
        => "Another filter behind this one: give one of the two another `cookie_name` and another \
            `redirect_uri`. Otherwise find out what logs people in or out there.";

    "session_key_replaced",
        "In the log, once after a change: sessions are sealed with a key that the previous configuration \
         did not have, so proxies that still use that configuration refuse them."
        => "[Change keys in three steps](configuration.md#a-new-session-key). If all sessions had to end, \
            this is intended.";

    "session_key_unknown",
        "In the log: a session cookie names a key that is not in `session.keys`."
        => "[Change keys in three steps](configuration.md#a-new-session-key); compare `session.keys by name` \
            in the logs of all proxies. Anybody can send such a cookie.";

    "refresh_lost",
        "In the log: the result of a refresh could not be stored in the proxy's shared memory. The session \
         will end."
        => "Give the proxy more shared memory.";

    "refresh_foreign",
        "In the log: the proxy's shared memory has a refreshed session that is not a later state of this \
         session. It is ignored, and the session ends (`session_not_refreshed`)."
        => "Find out what else writes to the shared memory of this proxy.";

    "evicted",
        "In the log, at most once a minute for each worker: how many entries of a shared table were \
         evicted before their expiry. `table=refreshed_sessions`: refreshed sessions whose cookie was not \
         delivered yet; they end. `table=revocation_list`: older sessions end with them."
        => "[Room for refreshed sessions](configuration.md#room-for-refreshed-sessions); for the revocation \
            list, shorter sessions.";

    "refresh_taken_over",
        "In the log: a worker stopped while it refreshed a session, and another one takes over."
        => "Look for a trap in the log of the proxy.";

    CLIENT_SIGNING = NOT_SET_UP, "client_signing",
        "The private key did not sign."
        => "Check `private_key` and `token_endpoint_auth_signing_alg`.";

    "no_clock",
        "503, for every request. The proxy's clock cannot be read, or shows a time before September 2020, \
         with which nothing would expire. Requests in flight go on with the last valid time."
        => "Set the clock.";

    NO_RANDOMNESS = NOT_SET_UP, "no_randomness",
        "The proxy gives no random bytes."
        => "Check the proxy's Wasm runtime.";

    SHARED_DATA = NOT_SET_UP, "shared_data",
        "Data for all workers could not be stored; a logout token is then answered 503. In the log only: a \
         session ended in the browser, and other workers do not know."
        => "In nginx and Kong, give `shm_kv` more memory; there the host usually evicts the oldest data \
            silently.";

    "revocation_failed",
        "In the log only: a token of an ended session was not revoked at the provider (RFC 7009)."
        => "The log has the reason. Is the client allowed to revoke tokens?";

    "client_refused",
        "In the log: the provider refuses this client secret or private key; the other one is tried."
        => "If it was changed at the provider: move `client_secret_next` to `client_secret` (or \
            `private_key_next`).";

    "client_secret_expires",
        "In the log, once a day for each worker: `client_secret_expires_at` is less than 14 days away, or \
         has passed."
        => "[Get a new secret](configuration.md#a-new-client-secret).";

    "header_too_large",
        "In the log only: an identity header would have more than 8 KiB and was omitted."
        => "Map a smaller claim.";
}

codes! {
    BUGS = "A bug in the filter", Some(500);

    BUG = UNEXPECTED, "bug",
        "A state that should not exist. The request was refused."
        => "Report it, with the log line.";
}
