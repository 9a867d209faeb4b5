//! Codes of an unreachable provider, and of wrong responses.

use super::{ErrorKind, Section};
use crate::time::Seconds;

/// When a retry makes sense after a fault of the provider.
const RETRY_AFTER: Seconds = Seconds(5);

/// Without metadata and keys nothing can be decided: the answer is that for an unreachable provider.
const NOT_READY: ErrorKind = ErrorKind::new(
    503,
    "The login service is not ready",
    "Wait a moment and try again. If the problem continues, tell the operator of this site the code and \
     the reference below.",
)
.says("the login service of this site is not ready")
.no_front_page()
.retry_after(RETRY_AFTER);

/// The error has the time of the next retry.
const AWAY: ErrorKind = ErrorKind::new(
    503,
    "The login service cannot be reached",
    "Nothing is lost. Wait a moment and try again.",
)
.says("the login service of this site cannot be reached")
.no_front_page();

pub(crate) const WRONG_ANSWER: ErrorKind = ErrorKind::new(
    502,
    "The login service gave a wrong answer",
    "Try again. If it happens again, tell the operator of this site the code and the reference below.",
)
.says("the login service of this site gave an answer that cannot be used")
.no_front_page()
.retry_after(RETRY_AFTER);

codes! {
    METADATA = "The provider's metadata and keys", Some(503);

    PROVIDER_UNREACHABLE = AWAY, "provider_unreachable",
        "No answer."
        => "The log names the endpoint, its address, the target of the callout, and [what to look \
            at](#no-answer-from-the-provider).";

    PROVIDER_STATUS = NOT_READY, "provider_status",
        "The reply to a request for the discovery document or the keys has another status than 200."
        => "Open the address in the log; is `issuer` right? Redirects are not followed. If a warning says \
            that the address is on another host than the target of `callout`: set `callout.jwks` or \
            `callout.token`.";

    "provider_recovered",
        "In the log, once: the metadata and keys of a provider are available again, and how long they were \
         not."
        => "Nothing.";

    METADATA_ISSUER_ADDRESS = NOT_READY, "metadata_issuer_address",
        "`issuer` cannot be turned into the address of the discovery document."
        => "Correct `issuer`.";

    METADATA_JSON = NOT_READY, "metadata_json",
        "The discovery document is not one JSON object, or has a member twice."
        => "Is `issuer` the address of a provider?";

    METADATA_ISSUER = NOT_READY, "metadata_issuer",
        "The discovery document names another issuer. The log shows both."
        => "Write `issuer` exactly as the document does; a slash at the end counts.";

    METADATA_MEMBER_MISSING = NOT_READY, "metadata_member_missing",
        "The discovery document lacks a required endpoint; with `userinfo: always` that includes \
         `userinfo_endpoint`."
        => "Report it to the provider.";

    METADATA_MEMBER_TYPE = NOT_READY, "metadata_member_type",
        "A member of the discovery document has the wrong type."
        => "Report it to the provider.";

    METADATA_ENDPOINT = NOT_READY, "metadata_endpoint",
        "An endpoint is not an acceptable `https` address."
        => "Report it to the provider.";

    KEY_SET_JSON = NOT_READY, "key_set_json",
        "The key set is not one JSON object."
        => "Report it to the provider.";

    KEY_SET_NO_KEYS = NOT_READY, "key_set_no_keys",
        "The key set has no list `keys`."
        => "Report it to the provider.";

    KEY_SET_NO_USABLE_KEY = NOT_READY, "key_set_no_usable_key",
        "No key of the set can be used; the log says why."
        => "Publish a signing key of a supported kind (RSA from 2048 bits, P-256, P-384, P-521, Ed25519).";

    KEY_SET_TOO_LARGE = NOT_READY, "key_set_too_large",
        "The key set has more than 256 KiB."
        => "Report it to the provider.";

    KEY_SET_TOO_MANY_KEYS = NOT_READY, "key_set_too_many_keys",
        "The key set has more than 100 keys."
        => "Report it to the provider.";
}

codes! {
    ANSWERS = "The provider's answer to a login, or the client's registration there", Some(502);

    TOKEN_REFUSED = WRONG_ANSWER, "token_refused",
        "The token endpoint refused; the log has its `error`. `invalid_client`: the secret or the method; \
         with `private_key_jwt` possibly the audience, see `token_endpoint_auth_audience`. \
         `invalid_grant`: the code was used before, or `redirect_uri` differs."
        => "Compare the client's registration with the configuration.";

    TOKEN_STATUS = WRONG_ANSWER, "token_status",
        "The token endpoint answered with another status than 200, and without an `error`."
        => "Check the log of the provider.";

    TOKEN_JSON = WRONG_ANSWER, "token_json",
        "The token response is not one JSON object, or has a member twice."
        => "Report it to the provider.";

    TOKEN_MEMBER_MISSING = WRONG_ANSWER, "token_member_missing",
        "The token response lacks `id_token`, `access_token` or `token_type`."
        => "Is the client registered for OpenID Connect?";

    TOKEN_MEMBER = WRONG_ANSWER, "token_member",
        "A member of the token response has the wrong type or characters."
        => "Report it to the provider.";

    TOKEN_TYPE = WRONG_ANSWER, "token_type",
        "The access token is not a bearer token."
        => "Register the client for bearer tokens.";

    ID_TOKEN_ISSUER = WRONG_ANSWER, "id_token_issuer",
        "`iss` of the ID token is another issuer."
        => "Write `issuer` exactly as the provider does.";

    ID_TOKEN_AUDIENCE = WRONG_ANSWER, "id_token_audience",
        "`aud` of the ID token lacks our `client_id`."
        => "Compare `client_id`.";

    ID_TOKEN_AZP = WRONG_ANSWER, "id_token_azp",
        "`azp` of the ID token is another client."
        => "Compare `client_id`.";

    ID_TOKEN_AZP_MISSING = WRONG_ANSWER, "id_token_azp_missing",
        "The ID token has other audiences than `client_id`, and no `azp`."
        => "If these audiences are trusted, list them in `trusted_audiences`.";

    ID_TOKEN_EXPIRED = WRONG_ANSWER, "id_token_expired",
        "The ID token has expired already."
        => "Check the clocks.";

    ID_TOKEN_NOT_YET_VALID = WRONG_ANSWER, "id_token_not_yet_valid",
        "`nbf` or `iat` of the ID token is in the future, or `auth_time` if it was requested."
        => "The log says how many seconds it is ahead. Check the clocks; `leeway_seconds` allows for a \
            difference.";

    ID_TOKEN_CLAIM_MISSING = WRONG_ANSWER, "id_token_claim_missing",
        "A required claim of the ID token is missing, or `auth_time` if it was requested (`max_age`)."
        => "Report it to the provider.";

    ID_TOKEN_CLAIM_MALFORMED = WRONG_ANSWER, "id_token_claim_malformed",
        "A claim of the ID token has the wrong type; `aud` may be an empty list."
        => "For `aud`: give the client an audience at the provider. Otherwise report it.";

    ID_TOKEN_HEADER_TYPE = WRONG_ANSWER, "id_token_header_type",
        "`typ` of the ID token is that of another kind of token."
        => "Report it to the provider.";

    ID_TOKEN_USE = WRONG_ANSWER, "id_token_use",
        "The claims of the ID token say that it is another kind of token."
        => "Report it to the provider.";

    ID_TOKEN_NONCE = WRONG_ANSWER, "id_token_nonce",
        "`nonce` of the ID token is not the one of this login."
        => "Begin again; if it stays, report it to the provider.";

    ID_TOKEN_AT_HASH = WRONG_ANSWER, "id_token_at_hash",
        "`at_hash` of the ID token does not belong to the access token."
        => "Report it to the provider.";

    ID_TOKEN_C_HASH = WRONG_ANSWER, "id_token_c_hash",
        "`c_hash` of the ID token does not belong to the code."
        => "Report it to the provider.";

    ID_TOKEN_SUBJECT = WRONG_ANSWER, "id_token_subject",
        "`sub` of the ID token is empty or longer than 255 characters."
        => "Report it to the provider.";

    ID_TOKEN_OTHER_SUBJECT = WRONG_ANSWER, "id_token_other_subject",
        "`sub` of a refreshed ID token is not that of the session. In the log; the session ends with \
         `session_not_refreshed`."
        => "Report it to the provider.";

    ID_TOKEN_OTHER_ISSUER = WRONG_ANSWER, "id_token_other_issuer",
        "`iss` of a refreshed ID token is another tenant than that of the login. In the log; the session \
         ends with `session_not_refreshed`."
        => "Report it to the provider.";

    ID_TOKEN_OTHER_NONCE = WRONG_ANSWER, "id_token_other_nonce",
        "`nonce` of a refreshed ID token is not that of the login. In the log; the session ends with \
         `session_not_refreshed`."
        => "Report it to the provider.";

    ID_TOKEN_OTHER_AUTH_TIME = WRONG_ANSWER, "id_token_other_auth_time",
        "`auth_time` of a refreshed ID token is before that of the login. As above."
        => "Report it to the provider.";

    ID_TOKEN_AUTH_TIME = WRONG_ANSWER, "id_token_auth_time",
        "The person authenticated longer ago than requested."
        => "Log in again at the provider.";

    USERINFO_STATUS = WRONG_ANSWER, "userinfo_status",
        "The userinfo endpoint answered with another status than 200."
        => "401 or 403: does the client get an access token for userinfo (scope `openid`, no `audience` \
            that makes it a token for another API)? If the claims are not needed: `userinfo: never`.";

    USERINFO_JSON = WRONG_ANSWER, "userinfo_json",
        "The userinfo response is not one JSON object, or has a member twice."
        => "Report it to the provider.";

    USERINFO_SUBJECT = WRONG_ANSWER, "userinfo_subject",
        "`sub` of the userinfo response is not that of the ID token."
        => "Report it to the provider.";

    USERINFO_CLAIM_MISSING = WRONG_ANSWER, "userinfo_claim_missing",
        "The userinfo response has no `sub`."
        => "Report it to the provider.";

    USERINFO_CLAIM_MALFORMED = WRONG_ANSWER, "userinfo_claim_malformed",
        "A claim of the userinfo response that is checked has the wrong type."
        => "Report it to the provider.";

    USERINFO_ISSUER = WRONG_ANSWER, "userinfo_issuer",
        "`iss` of a signed userinfo response is another issuer."
        => "Report it to the provider.";

    USERINFO_AUDIENCE = WRONG_ANSWER, "userinfo_audience",
        "`aud` of a signed userinfo response lacks our `client_id`."
        => "Compare `client_id`.";

    USERINFO_EXPIRED = WRONG_ANSWER, "userinfo_expired",
        "A signed userinfo response has expired already."
        => "Check the clocks.";

    USERINFO_NOT_YET_VALID = WRONG_ANSWER, "userinfo_not_yet_valid",
        "`nbf` or `iat` of a signed userinfo response is in the future."
        => "Check the clocks.";

    USERINFO_HEADER_TYPE = WRONG_ANSWER, "userinfo_header_type",
        "`typ` of a signed userinfo response is that of another kind of token."
        => "Report it to the provider.";

    USERINFO_USE = WRONG_ANSWER, "userinfo_use",
        "A signed userinfo response says that it is a token of another kind."
        => "Report it to the provider.";
}
