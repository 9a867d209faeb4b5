//! What only whoever runs the site, or writes the filter, can mend; and what the log alone says.

use super::{ErrorKind, Section};

const NOT_SET_UP: ErrorKind = ErrorKind::new(
    500,
    "This site is not set up correctly",
    "Only whoever runs this site can mend it. Tell them the code and the reference below.",
)
.says("this site is not set up correctly")
.no_front_page();

const LARGE_SESSION: ErrorKind = ErrorKind::new(
    500,
    "Your session does not fit into the browser",
    "Your account carries too much. Tell whoever runs this site the code and the reference below.",
)
.says("the session does not fit into the browser")
.no_front_page();

const UNEXPECTED: ErrorKind = ErrorKind::new(
    500,
    "Something went wrong here",
    "Tell whoever runs this site the code and the reference below.",
)
.says("something went wrong here")
.no_front_page();

codes! {
    SITE = "Whoever configures the filter", Some(500);

    CONFIGURATION = NOT_SET_UP, "configuration",
        "There is no valid configuration; every request is refused."
        => "The log lists all problems, each with its place.";

    SESSION_TOO_LARGE = LARGE_SESSION, "session_too_large",
        "The session does not fit into its cookies (`session.max_cookies`). As a warning in the log: it was \
         kept without the ID token or the refresh token, or was not written anew."
        => "[Large sessions](configuration.md#large-sessions): ask for fewer claims, or do not forward \
            tokens.";

    "logout_not_at_provider",
        "In the log: somebody logged out here while the provider had not answered yet since the proxy \
         started, so nobody knows where its logout is. Its own session goes on."
        => "Why the provider does not answer: the lines above have its address.";

    "upstream_sets_cookie",
        "In the log: an upstream sets a cookie under a name of the filter's own (`session.cookie_name`, \
         alone or followed by `-` or `.`). It is taken out of the response."
        => "Another filter behind this one: give one of the two another `cookie_name` and another \
            `redirect_uri`. Otherwise ask who wants to log people in or out there.";

    "session_key_replaced",
        "In the log, once after a change: sessions are sealed with a key that the configuration before did \
         not know, so whatever serves by that refuses them."
        => "[Change keys in three steps](configuration.md#a-new-session-key). Where all sessions had to end, \
            this is right.";

    "session_key_unknown",
        "In the log: a session cookie names a key that is not in `session.keys`."
        => "[Change keys in three steps](configuration.md#a-new-session-key); compare `session.keys by name` \
            in the logs of all proxies. Anybody can send such a cookie.";

    "refresh_lost",
        "In the log: what became of a refresh could not be kept in the proxy's shared memory. The session \
         will end."
        => "Give the proxy more shared memory.";

    "refresh_foreign",
        "In the log: what the proxy's shared memory holds as the refreshed state of a session is not a later \
         state of this session. It is not taken, and the session ends (`session_not_renewed`)."
        => "Find out who else writes to the shared memory of this proxy.";

    "evicted",
        "In the log, at most once a minute for each worker: so many entries of what the workers share made \
         room for others before their end. `table=refreshed_sessions`: sessions that were refreshed and not \
         delivered yet, which end. `table=revocation_list`: older sessions end with them."
        => "[Room for refreshed sessions](configuration.md#room-for-refreshed-sessions); for the revocation \
            list, shorter sessions.";

    "refresh_taken_over",
        "In the log: a worker ended while it refreshed a session, and another tries again."
        => "Look for the trap in the log of the proxy.";

    CLIENT_SIGNING = NOT_SET_UP, "client_signing",
        "The private key did not sign."
        => "Check `private_key` and `token_endpoint_auth_signing_alg`.";

    "no_clock",
        "503, for every request. The proxy's clock cannot be read, or shows a time before September 2020, by \
         which nothing would ever end. What is in flight goes on with the last time that it showed."
        => "Set the clock.";

    NO_RANDOMNESS = NOT_SET_UP, "no_randomness",
        "The proxy gives no random bytes."
        => "Check the proxy's Wasm runtime.";

    SHARED_DATA = NOT_SET_UP, "shared_data",
        "What all workers must know could not be written down; a logout token is then answered 503. In the \
         log only: a session ended in the browser, and other workers do not know."
        => "In nginx and Kong, give `shm_kv` more memory; there the host mostly forgets what is oldest \
            without saying so.";

    "revocation_failed",
        "In the log only: a token of a session that ended was not given back to the provider (RFC 7009)."
        => "The log has the reason. Does the client have the right to revoke tokens?";

    "client_refused",
        "In the log: the provider does not take this client secret or private key; the other one is tried."
        => "If it was changed at the provider: move `client_secret_next` to `client_secret` (or \
            `private_key_next`).";

    "client_secret_expires",
        "In the log, once a day for each worker: `client_secret_expires_at` is less than 14 days away, or \
         over."
        => "[Have a new secret made](configuration.md#a-new-client-secret).";

    "header_too_large",
        "In the log only: an identity header would have more than 8 KiB and was left out."
        => "Map a smaller claim.";
}

codes! {
    BUGS = "Whoever writes the filter", Some(500);

    BUG = UNEXPECTED, "bug",
        "A state that should not exist. The request was refused."
        => "Report it, with the log line.";
}
