//! Client authentication at the token endpoint.

use super::choices::AuthMethod;
use super::document::ProviderObject;
use super::problem::Problem;
use super::shape::Reading;
use super::value::{SecretText, Text};
use crate::jose::{Algorithm, SigningKey};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Longest client secret, in characters.
const CLIENT_SECRET_LIMIT: usize = 1024;

/// Our registration at a provider.
#[derive(Debug, Clone)]
pub struct Client {
    /// The client identifier.
    pub id: String,
    /// How the filter authenticates at the token endpoint.
    pub authentication: ClientAuthentication,
    /// The same with the secret or key that will replace the current one.
    pub next: Option<ClientAuthentication>,
    /// When the client secret expires (RFC 7591 section 3.2.1, `client_secret_expires_at`).
    pub secret_expires_at: Option<Timestamp>,
    /// The audience of `private_key_jwt`, if it is not the issuer.
    pub assertion_audience: Option<String>,
}

/// Which of the secrets or keys of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Credential {
    /// `client_secret`, `private_key`.
    #[default]
    Current,
    /// `client_secret_next`, `private_key_next`.
    Next,
}

impl Client {
    /// How the filter authenticates with one of the two. Without a next one there is only the current.
    pub fn by(&self, credential: Credential) -> &ClientAuthentication {
        match (credential, &self.next) {
            (Credential::Next, Some(next)) => next,
            _ => &self.authentication,
        }
    }

    /// Its key in the configuration.
    pub fn name_of(&self, credential: Credential) -> &'static str {
        match (&self.authentication, credential) {
            (ClientAuthentication::PrivateKeyJwt(_), Credential::Current) => "private_key",
            (ClientAuthentication::PrivateKeyJwt(_), Credential::Next) => "private_key_next",
            (_, Credential::Current) => "client_secret",
            (_, Credential::Next) => "client_secret_next",
        }
    }

    /// The client secrets, as they may be sent.
    pub fn secrets(&self) -> Vec<&Secret> {
        fn secret(by: &ClientAuthentication) -> Option<&Secret> {
            match by {
                ClientAuthentication::SecretBasic(secret) | ClientAuthentication::SecretPost(secret) => {
                    Some(secret)
                }
                ClientAuthentication::None | ClientAuthentication::PrivateKeyJwt(_) => None,
            }
        }
        std::iter::once(&self.authentication).chain(&self.next).filter_map(secret).collect()
    }

    /// The other of the two, if there is one.
    pub fn other(&self, credential: Credential) -> Option<Credential> {
        self.next.as_ref().map(|_| match credential {
            Credential::Current => Credential::Next,
            Credential::Next => Credential::Current,
        })
    }
}

/// `token_endpoint_auth_method` (OpenID Connect Core section 9).
#[derive(Debug, Clone)]
pub enum ClientAuthentication {
    /// `none`: a public client; PKCE alone protects the code.
    None,
    /// `client_secret_basic`.
    SecretBasic(Secret),
    /// `client_secret_post`.
    SecretPost(Secret),
    /// `private_key_jwt` (RFC 7523).
    PrivateKeyJwt(SigningKey),
}

pub(super) fn check(provider: &ProviderObject, reading: &mut Reading) -> Option<Client> {
    let authentication = authentication(provider, reading);
    let next = authentication.as_ref().map(|current| next(provider, current, reading));
    let expires_at = provider.client_secret_expires_at.as_ref().map(|seconds| Timestamp(seconds.0));
    Some(Client {
        id: provider.client_id.as_ref()?.text.clone(),
        authentication: authentication?,
        next: next?,
        secret_expires_at: expires_at.filter(|at| at.0 > 0),
        assertion_audience: provider
            .token_endpoint_auth_audience
            .as_ref()
            .map(|audience| audience.text.clone()),
    })
}

fn authentication(provider: &ProviderObject, reading: &mut Reading) -> Option<ClientAuthentication> {
    let place = &provider.place;
    let (secret, key) = (provider.client_secret.as_ref(), provider.private_key.as_ref());
    if secret.is_some() && key.is_some() {
        return reading.refuse(
            Problem::at(&place.key("private_key"), "must not stand beside client_secret")
                .advice("remove one"),
        );
    }
    let method = provider.token_endpoint_auth_method.unwrap_or(match (secret, key) {
        (Some(_), _) => AuthMethod::Basic,
        (None, Some(_)) => AuthMethod::PrivateKeyJwt,
        (None, None) => AuthMethod::None,
    });
    without_use(provider, method, reading);
    let needed = |key: &str, method: &str| {
        Problem::at(&place.key(key), format!("is required for token_endpoint_auth_method {method}"))
    };
    match method {
        AuthMethod::None => Some(ClientAuthentication::None),
        AuthMethod::Basic => match secret {
            Some(secret) => client_secret(secret, reading).map(ClientAuthentication::SecretBasic),
            None => reading.refuse(needed("client_secret", "client_secret_basic")),
        },
        AuthMethod::Post => match secret {
            Some(secret) => client_secret(secret, reading).map(ClientAuthentication::SecretPost),
            None => reading.refuse(needed("client_secret", "client_secret_post")),
        },
        AuthMethod::PrivateKeyJwt => match key {
            Some(key) => signing_key(provider, key, provider.private_key_id.as_ref(), reading)
                .map(ClientAuthentication::PrivateKeyJwt),
            None => reading.refuse(needed("private_key", "private_key_jwt")),
        },
    }
}

/// The method that will replace the current one: the same method with another secret or key.
fn next(
    provider: &ProviderObject,
    current: &ClientAuthentication,
    reading: &mut Reading,
) -> Option<ClientAuthentication> {
    let secret = provider.client_secret_next.as_ref();
    if let (Some(next), Some(current)) = (secret, provider.client_secret.as_ref())
        && next.secret == current.secret
    {
        return reading.refuse(Problem::at(&next.place, "must be another secret than client_secret"));
    }
    match current {
        ClientAuthentication::None => None,
        ClientAuthentication::SecretBasic(_) => {
            client_secret(secret?, reading).map(ClientAuthentication::SecretBasic)
        }
        ClientAuthentication::SecretPost(_) => {
            client_secret(secret?, reading).map(ClientAuthentication::SecretPost)
        }
        ClientAuthentication::PrivateKeyJwt(_) => {
            let (key, id) = (provider.private_key_next.as_ref()?, provider.private_key_next_id.as_ref());
            signing_key(provider, key, id, reading).map(ClientAuthentication::PrivateKeyJwt)
        }
    }
}

/// A value that is given but unused is a mistake in one of the two places.
fn without_use(provider: &ProviderObject, method: AuthMethod, reading: &mut Reading) {
    let with_key = method == AuthMethod::PrivateKeyJwt;
    let with_secret = matches!(method, AuthMethod::Basic | AuthMethod::Post);
    for (key, given, used) in [
        ("client_secret", provider.client_secret.is_some(), with_secret),
        ("client_secret_next", provider.client_secret_next.is_some(), with_secret),
        ("client_secret_expires_at", provider.client_secret_expires_at.is_some(), with_secret),
        ("private_key", provider.private_key.is_some(), with_key),
        ("private_key_id", provider.private_key_id.is_some(), with_key),
        ("private_key_next", provider.private_key_next.is_some(), with_key),
        ("private_key_next_id", provider.private_key_next_id.is_some(), with_key),
        ("token_endpoint_auth_signing_alg", provider.token_endpoint_auth_signing_alg.is_some(), with_key),
        ("token_endpoint_auth_audience", provider.token_endpoint_auth_audience.is_some(), with_key),
    ] {
        if given && !used {
            let problem =
                Problem::at(&provider.place.key(key), "has no use with this token_endpoint_auth_method");
            reading.problems.add(problem.advice("remove it, or choose the method that needs it"));
        }
    }
}

fn client_secret(text: &SecretText, reading: &mut Reading) -> Option<Secret> {
    let secret = text.secret.expose();
    let length = secret.chars().count();
    if secret.trim() != secret {
        return reading.refuse(
            Problem::at(&text.place, "must not begin or end with blanks or line breaks")
                .advice("was it read from a file with a line break at its end?"),
        );
    }
    // RFC 6749 appendix A.2: only visible ASCII characters and blanks.
    if !secret.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return reading.refuse(Problem::at(&text.place, "must have only visible ASCII characters"));
    }
    if length > CLIENT_SECRET_LIMIT {
        let rule = format!("must have at most {CLIENT_SECRET_LIMIT} characters");
        return reading.refuse(Problem::at(&text.place, rule).got(length.to_string()));
    }
    Some(text.secret.clone())
}

fn signing_key(
    provider: &ProviderObject,
    key: &SecretText,
    id: Option<&Text>,
    reading: &mut Reading,
) -> Option<SigningKey> {
    let algorithm = provider.token_endpoint_auth_signing_alg.as_ref();
    let algorithm = algorithm.map_or(Algorithm::RS256, |algorithm| algorithm.0);
    let id = id.map(|id| id.text.clone());
    match SigningKey::from_pem(key.secret.expose(), algorithm, id) {
        Ok(key) => Some(key),
        Err(error) => {
            let rule = format!("must be a private key in PEM for {}: {error}", algorithm.name());
            reading.refuse(Problem::at(&key.place, rule))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::trial::{self, read, refused};

    fn provider(keys: Value) -> Value {
        json!({"providers": {"main": keys}})
    }

    #[test]
    fn the_client_authentication_method_follows_from_the_credentials() {
        let method = |keys| match trial::relying_party(&read(provider(keys)).unwrap()).client.authentication {
            ClientAuthentication::None => "none",
            ClientAuthentication::SecretBasic(_) => "basic",
            ClientAuthentication::SecretPost(_) => "post",
            ClientAuthentication::PrivateKeyJwt(_) => "jwt",
        };
        assert_eq!(method(json!({})), "none");
        assert_eq!(method(json!({"client_secret": "s"})), "basic");
        let post = json!({"client_secret": "s", "token_endpoint_auth_method": "client_secret_post"});
        assert_eq!(method(post), "post");
    }

    #[test]
    fn the_next_secret_uses_the_method_of_the_current_one() {
        let next = |method: &str| {
            let keys = json!({
                "client_secret": "s", "client_secret_next": "t", "token_endpoint_auth_method": method,
            });
            trial::relying_party(&read(provider(keys)).unwrap()).client.next.clone().unwrap()
        };
        assert!(matches!(next("client_secret_basic"), ClientAuthentication::SecretBasic(_)));
        assert!(matches!(next("client_secret_post"), ClientAuthentication::SecretPost(_)));
    }

    #[test]
    fn an_expiry_of_zero_means_a_secret_never_expires() {
        let ends = |at: u64| {
            let keys = provider(json!({"client_secret": "s", "client_secret_expires_at": at}));
            trial::relying_party(&read(keys).unwrap()).client.secret_expires_at
        };
        assert_eq!((ends(0), ends(1_800_000_000)), (None, Some(Timestamp(1_800_000_000))));
    }

    #[test]
    fn contradicting_client_settings_are_refused() {
        refused([
            (
                provider(json!({"client_secret": "s", "private_key": "k"})),
                "providers.main.private_key: must not stand beside client_secret",
            ),
            (
                provider(json!({"token_endpoint_auth_method": "client_secret_basic"})),
                "providers.main.client_secret: is required for token_endpoint_auth_method client_secret_basic",
            ),
            (
                provider(json!({"token_endpoint_auth_method": "client_secret_post"})),
                "providers.main.client_secret: is required for",
            ),
            (
                provider(json!({"token_endpoint_auth_method": "private_key_jwt"})),
                "providers.main.private_key: is required for",
            ),
            (
                provider(json!({"token_endpoint_auth_method": "none", "client_secret": "s"})),
                "providers.main.client_secret: has no use",
            ),
            (provider(json!({"client_secret_next": "s"})), "providers.main.client_secret_next: has no use"),
            (
                provider(json!({"client_secret_expires_at": 1_800_000_000})),
                "providers.main.client_secret_expires_at: has no use",
            ),
            (
                provider(json!({"client_secret": "s", "client_secret_next": "s"})),
                "providers.main.client_secret_next: must be another secret than client_secret",
            ),
            (
                provider(json!({"client_secret": "s", "private_key_next": "k"})),
                "providers.main.private_key_next: has no use",
            ),
            (
                provider(json!({"private_key_id": "k1", "client_secret": "s"})),
                "providers.main.private_key_id: has no use",
            ),
            (
                provider(json!({"token_endpoint_auth_signing_alg": "ES256"})),
                "providers.main.token_endpoint_auth_signing_alg: has no use",
            ),
            (
                provider(json!({"token_endpoint_auth_audience": "https://idp/t", "client_secret": "s"})),
                "providers.main.token_endpoint_auth_audience: has no use",
            ),
            (
                provider(json!({"token_endpoint_auth_method": "client_secret_jwt"})),
                "providers.main.token_endpoint_auth_method: must be one of client_secret_basic, ",
            ),
        ]);
    }

    #[test]
    fn one_trailing_line_break_is_taken_off_a_secret() {
        let document = |end: &str| {
            json!({
                "providers": {"main": {"client_secret": format!("s3cret{end}")}},
                "session": {"keys": [format!("kJ8v2Qw0Zr5tYx7BnM3cLp9HsD4fGa6E{end}")]},
            })
        };
        let secrets = |end| {
            let config = read(document(end)).unwrap();
            let secret = trial::relying_party(&config).client.secrets()[0].expose().to_owned();
            (secret, config.session.keys[0].expose().to_owned())
        };
        assert_eq!(secrets("").0, "s3cret");
        for end in ["\n", "\r\n"] {
            assert_eq!(secrets(end), secrets(""), "{end:?}");
        }
    }

    #[test]
    fn unusable_secrets_and_keys_are_refused() {
        refused([
            (
                provider(json!({"client_secret": "s3cret\n\n"})),
                "providers.main.client_secret: must not begin or end with blanks or line breaks (was it read",
            ),
            (
                provider(json!({"client_secret": "a\u{e4}"})),
                "providers.main.client_secret: must have only visible ASCII",
            ),
            (
                provider(json!({"client_secret": "s", "client_secret_next": "s3cret \n"})),
                "providers.main.client_secret_next: must not begin or end with blanks or line breaks",
            ),
            (
                provider(json!({"client_secret": "x".repeat(1025)})),
                "providers.main.client_secret: must have at most 1024 characters, got 1025",
            ),
            (
                provider(json!({"private_key": "no pem"})),
                "providers.main.private_key: must be a private key in PEM for RS256: ",
            ),
        ]);
    }
}
