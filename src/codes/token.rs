//! Codes of unacceptable signed tokens.

use super::{Challenge, ErrorKind, Section};

const UNACCEPTABLE_TOKEN: ErrorKind = ErrorKind::new(
    401,
    "The access token is not acceptable",
    "Ask for a new token, one that is meant for this service.",
)
.challenge(Challenge::InvalidToken);

const UNACCEPTABLE_LOGOUT_TOKEN: ErrorKind =
    ErrorKind::new(400, "The logout token is not acceptable", "Nobody was logged out.");

codes! {
    TOKENS = "The token is not acceptable", Some(401);

    TOKEN_ISSUER = UNACCEPTABLE_TOKEN, "token_issuer",
        "The rule does not accept the issuer `iss`."
        => "Get the token from the right provider; compare `iss` and `issuer` character by character.";

    ACCESS_TOKEN_AUDIENCE = UNACCEPTABLE_TOKEN, "access_token_audience",
        "`aud` has none of the provider's `audiences`."
        => "Request a token for this service, or add the audience.";

    ACCESS_TOKEN_EXPIRED = UNACCEPTABLE_TOKEN, "access_token_expired",
        "`exp` has passed."
        => "Request a new token; check the clocks.";

    ACCESS_TOKEN_NOT_YET_VALID = UNACCEPTABLE_TOKEN, "access_token_not_yet_valid",
        "`nbf` or `iat` is in the future."
        => "The log says how many seconds it is ahead. Check the clocks; `leeway_seconds` allows for a \
            difference.";

    ACCESS_TOKEN_CLAIM_MISSING = UNACCEPTABLE_TOKEN, "access_token_claim_missing",
        "A required claim (`iss`, `aud`, `exp`) is missing."
        => "Let the provider add it.";

    ACCESS_TOKEN_CLAIM_MALFORMED = UNACCEPTABLE_TOKEN, "access_token_claim_malformed",
        "A claim has the wrong type, such as a text for `exp`."
        => "Let the provider fix it.";

    ACCESS_TOKEN_SUBJECT = UNACCEPTABLE_TOKEN, "access_token_subject",
        "`sub` is empty or longer than 255 characters."
        => "Let the provider fix it.";

    ACCESS_TOKEN_ISSUER = UNACCEPTABLE_TOKEN, "access_token_issuer",
        "`iss` is not that of the keys that verified it."
        => "Compare `iss` and `issuer` character by character.";

    ACCESS_TOKEN_HEADER_TYPE = UNACCEPTABLE_TOKEN, "access_token_header_type",
        "`typ` is that of another kind of token, or is not `at+jwt` where `require_access_token_type` asks \
         for it."
        => "Send an access token.";

    ACCESS_TOKEN_CLIENT = UNACCEPTABLE_TOKEN, "access_token_client",
        "The token has no `aud`, and its `client_id` is not one of `clients_without_audience`, or it does \
         not say that it is an access token."
        => "Request a token for this service, or add the client.";

    ACCESS_TOKEN_USE = UNACCEPTABLE_TOKEN, "access_token_use",
        "The claims say that this is another kind of token."
        => "Send the access token, not the ID or refresh token.";

    ACCESS_TOKEN_IS_ID_TOKEN = UNACCEPTABLE_TOKEN, "access_token_is_id_token",
        "It has `nonce`, `at_hash` or `c_hash` as ID tokens have, and does not say that it is an access \
         token."
        => "Send the access token.";

    ACCESS_TOKEN_BOUND = UNACCEPTABLE_TOKEN, "access_token_bound",
        "`cnf`: the token is sender-constrained (RFC 8705, RFC 9449), and its proof cannot be checked here."
        => "Request a plain bearer token.";

    TOKEN_TOO_OLD = UNACCEPTABLE_TOKEN.somebody(), "token_too_old",
        "The token was issued (`iat`) longer ago than the rule allows (`rules[].token`)."
        => "Request a new token.";

    TOKEN_LIFETIME = UNACCEPTABLE_TOKEN.somebody(), "token_lifetime",
        "The token is valid for longer, from `iat` to `exp`, than the rule allows (`rules[].token`)."
        => "Request a token with a shorter lifetime; let the provider issue such tokens to this client.";

    TOKEN_TIME_UNKNOWN = UNACCEPTABLE_TOKEN.somebody(), "token_time_unknown",
        "The rule limits the age or the lifetime of a token, and `iat` is absent or no number."
        => "Let the provider add `iat` (RFC 9068).";

    JWS_TOO_LONG = UNACCEPTABLE_TOKEN, "jws_too_long",
        "The token has more than 16 KiB."
        => "Request a smaller token.";

    JWS_PART_COUNT = UNACCEPTABLE_TOKEN, "jws_part_count",
        "It does not have three parts: it is not a signed token, but for example an opaque one."
        => "Let the provider issue JWT access tokens.";

    JWS_ENCRYPTED = UNACCEPTABLE_TOKEN, "jws_encrypted",
        "It is an encrypted token."
        => "Let the provider issue signed tokens.";

    JWS_BASE64URL = UNACCEPTABLE_TOKEN, "jws_base64url",
        "A part is not base64url without padding."
        => "Send the token as it was issued.";

    JWS_HEADER_TOO_LONG = UNACCEPTABLE_TOKEN, "jws_header_too_long",
        "Its header has more than 4 KiB."
        => "Report it to the provider.";

    JWS_HEADER_JSON = UNACCEPTABLE_TOKEN, "jws_header_json",
        "Its header is not one JSON object, or has a member twice."
        => "Report it to the provider.";

    JWS_HEADER_TYPE = UNACCEPTABLE_TOKEN, "jws_header_type",
        "A header member that must be text is not."
        => "Report it to the provider.";

    JWS_ALGORITHM_MISSING = UNACCEPTABLE_TOKEN, "jws_algorithm_missing",
        "Its header names no `alg`."
        => "Report it to the provider.";

    JWS_ALGORITHM_UNKNOWN = UNACCEPTABLE_TOKEN, "jws_algorithm_unknown",
        "Its `alg` is not a supported signature algorithm; `none` and `HS256` never are."
        => "Let the provider sign with a public key algorithm.";

    JWS_ALGORITHM_NOT_ALLOWED = UNACCEPTABLE_TOKEN, "jws_algorithm_not_allowed",
        "Its `alg` is not one of the provider's `algorithms`."
        => "Add it there if the provider should use it.";

    JWS_CRITICAL = UNACCEPTABLE_TOKEN, "jws_critical",
        "Its header has `crit`."
        => "Report it to the provider.";

    JWS_UNENCODED_PAYLOAD = UNACCEPTABLE_TOKEN, "jws_unencoded_payload",
        "Its header has `b64`."
        => "Report it to the provider.";

    JWS_COMPRESSED = UNACCEPTABLE_TOKEN, "jws_compressed",
        "Its header has `zip`."
        => "Report it to the provider.";

    JWS_NESTED = UNACCEPTABLE_TOKEN, "jws_nested",
        "Its payload is another token."
        => "Report it to the provider.";

    JWS_KEY_ID = UNACCEPTABLE_TOKEN, "jws_key_id",
        "Its `kid` is empty or longer than 512 bytes."
        => "Report it to the provider.";

    JWS_SIGNATURE_MISSING = UNACCEPTABLE_TOKEN, "jws_signature_missing",
        "Its signature is empty."
        => "Send the token as it was issued.";

    JWS_CLAIMS_JSON = UNACCEPTABLE_TOKEN, "jws_claims_json",
        "Its payload is not one JSON object, or has a member twice."
        => "Report it to the provider.";

    JWS_KEY_ISSUER = UNACCEPTABLE_TOKEN, "jws_key_issuer",
        "With `tenants`: the key that signed the token is for tokens of another tenant."
        => "Report it: the provider does not do this.";

    JWS_KEY_UNKNOWN = UNACCEPTABLE_TOKEN, "jws_key_unknown",
        "The provider has no key with this `kid` or for this algorithm, even after its keys were fetched \
         again (at most every 30 seconds)."
        => "Is it a token of this provider? Was the key withdrawn?";

    JWS_KEY_DOES_NOT_FIT = UNACCEPTABLE_TOKEN, "jws_key_does_not_fit",
        "The key with this `kid` is for another algorithm."
        => "Report it to the provider.";

    JWS_SIGNATURE = UNACCEPTABLE_TOKEN, "jws_signature",
        "The signature is not that of the provider's key."
        => "Is it a token of this provider, unchanged?";
}

codes! {
    LOGOUT_TOKENS = "The logout token is not acceptable", Some(400);

    LOGOUT_CONTENT_TYPE = UNACCEPTABLE_LOGOUT_TOKEN, "logout_content_type",
        "The request is not a form."
        => "Report it to the provider.";

    LOGOUT_TOKEN_MISSING = UNACCEPTABLE_LOGOUT_TOKEN, "logout_token_missing",
        "The form has no `logout_token`."
        => "Report it to the provider.";

    LOGOUT_TOKEN_AUDIENCE = UNACCEPTABLE_LOGOUT_TOKEN, "logout_token_audience",
        "`aud` lacks our `client_id`."
        => "Compare `client_id`; is the address registered for the right client?";

    LOGOUT_TOKEN_ISSUER = UNACCEPTABLE_LOGOUT_TOKEN, "logout_token_issuer",
        "`iss` is not that of the keys that verified it."
        => "Compare `iss` and `issuer` character by character.";

    LOGOUT_TOKEN_EXPIRED = UNACCEPTABLE_LOGOUT_TOKEN, "logout_token_expired",
        "`exp` has passed."
        => "Check the clocks.";

    LOGOUT_TOKEN_TOO_OLD = UNACCEPTABLE_LOGOUT_TOKEN, "logout_token_too_old",
        "`iat` is more than five minutes ago."
        => "Check the clocks.";

    LOGOUT_TOKEN_NOT_YET_VALID = UNACCEPTABLE_LOGOUT_TOKEN, "logout_token_not_yet_valid",
        "`nbf` or `iat` is in the future."
        => "The log says how many seconds it is ahead. Check the clocks; `leeway_seconds` allows for a \
            difference.";

    LOGOUT_TOKEN_CLAIM_MISSING = UNACCEPTABLE_LOGOUT_TOKEN, "logout_token_claim_missing",
        "`iss`, `aud`, `iat` or `jti` is missing."
        => "Report it to the provider.";

    LOGOUT_TOKEN_CLAIM_MALFORMED = UNACCEPTABLE_LOGOUT_TOKEN, "logout_token_claim_malformed",
        "A claim has the wrong type, or is empty."
        => "Report it to the provider.";

    LOGOUT_TOKEN_HEADER_TYPE = UNACCEPTABLE_LOGOUT_TOKEN, "logout_token_header_type",
        "`typ` is that of another kind of token."
        => "Report it to the provider.";

    LOGOUT_TOKEN_EVENT = UNACCEPTABLE_LOGOUT_TOKEN, "logout_token_event",
        "`events` does not say that this is a back-channel logout, so it is another kind of token."
        => "Report it to the provider.";

    LOGOUT_TOKEN_NONCE = UNACCEPTABLE_LOGOUT_TOKEN, "logout_token_nonce",
        "It has a `nonce`, as ID tokens have."
        => "Report it to the provider.";

    LOGOUT_TOKEN_SUBJECT_MISSING = UNACCEPTABLE_LOGOUT_TOKEN, "logout_token_subject_missing",
        "It has neither `sid` nor `sub`."
        => "Report it to the provider.";

    LOGOUT_TOKEN_REPLAYED = UNACCEPTABLE_LOGOUT_TOKEN, "logout_token_replayed",
        "A logout token with this `jti` was accepted before."
        => "Nothing, unless the provider sends duplicates.";
}
