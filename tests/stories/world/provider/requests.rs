//! Checks every request of the filter to a provider, in every story: which client, for what, and without a
//! parameter that the specifications do not have.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{CLIENT_SECRET, NEXT_CLIENT_SECRET, SentCallout};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use url::Url;

pub type Parameters = BTreeMap<String, String>;

/// Parameters that the filter always sends (Core section 3.1.2.1, RFC 6749 section 4.1.1, RFC 7636 section
/// 4.3).
const OF_AUTHORIZATION: [&str; 8] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];

/// Parameters that it may send besides: the same specifications, RFC 8707, OAuth 2.0 Multiple Response Types,
/// the `audience` of Auth0 and the `access_type` of Google.
const MAY_BE_OF_AUTHORIZATION: [&str; 12] = [
    "response_mode",
    "display",
    "prompt",
    "ui_locales",
    "id_token_hint",
    "login_hint",
    "acr_values",
    "max_age",
    "access_type",
    "audience",
    "claims",
    "resource",
];

/// RFC 6749 section 6.
const OF_REFRESH: [&str; 2] = ["grant_type", "refresh_token"];

/// RFC 6749 section 4.1.3, RFC 7636 section 4.5.
const OF_TOKEN: [&str; 4] = ["grant_type", "code", "redirect_uri", "code_verifier"];

/// RFC 7009 section 2.1.
const OF_REVOCATION: [&str; 2] = ["token", "token_type_hint"];

/// RP-Initiated Logout section 2.
const MAY_BE_OF_LOGOUT: [&str; 4] = ["id_token_hint", "client_id", "post_logout_redirect_uri", "state"];

/// The parameters of a query or a body, each of which occurs once. Only `resource` may occur several
/// times (RFC 8707 section 2).
pub fn parameters(encoded: &[u8]) -> Parameters {
    let mut pairs: Vec<(String, String)> = url::form_urlencoded::parse(encoded).into_owned().collect();
    let mut resources = 0;
    pairs.retain(|(name, _)| {
        resources += usize::from(name == "resource");
        name != "resource" || resources == 1
    });
    let count = pairs.len();
    let parameters = BTreeMap::from_iter(pairs);
    assert_eq!(parameters.len(), count, "a parameter is sent twice");
    parameters
}

/// The parameters that the filter added to the query of an endpoint.
fn added(request: &Url, endpoint: &str) -> Parameters {
    let endpoint = Url::parse(endpoint).unwrap();
    let bare = |url: &Url| url.as_str().split('?').next().unwrap().to_owned();
    assert_eq!(bare(request), bare(&endpoint));
    let mut sent = parameters(request.query().unwrap_or_default().as_bytes());
    for (name, value) in endpoint.query_pairs() {
        assert_eq!(sent.remove(&*name).as_deref(), Some(&*value), "the query of the endpoint is kept");
    }
    sent
}

fn assert_names(sent: &Parameters, required: &[&str], optional: &[&str]) {
    let names: BTreeSet<&str> = sent.keys().map(String::as_str).collect();
    for name in required {
        assert!(names.contains(name), "{name} is not sent: {names:?}");
    }
    for name in &names {
        assert!(required.contains(name) || optional.contains(name), "{name} is sent");
    }
}

/// Checks an authorization request to `endpoint`.
pub fn authorization(request: &Url, endpoint: &str, client_id: &str) -> Parameters {
    let sent = added(request, endpoint);
    assert_names(&sent, &OF_AUTHORIZATION, &MAY_BE_OF_AUTHORIZATION);
    for (name, value) in
        [("response_type", "code"), ("code_challenge_method", "S256"), ("client_id", client_id)]
    {
        assert_eq!(sent[name], value);
    }
    assert!(sent["scope"].split(' ').any(|scope| scope == "openid"), "{}", sent["scope"]);
    // Random values of 32 bytes, and a hash of the same length.
    for name in ["nonce", "code_challenge"] {
        assert_eq!(sent[name].len(), 43, "{name}");
    }
    // A random value and a part that is sealed for the filter itself; not too long for any provider.
    assert!((43 + 59..512).contains(&sent["state"].len()), "{}", sent["state"]);
    assert_ne!(sent["state"], sent["nonce"]);
    sent
}

/// Checks a request for a public document: the metadata or the keys.
pub fn public(callout: &SentCallout) {
    assert_eq!((callout.method.as_str(), callout.body.len()), ("GET", 0));
    assert_eq!(fields(callout), ["accept"], "it carries no credentials");
}

/// A token request, and the authentication method of the client.
pub fn token(callout: &SentCallout, client_id: &str) -> (Parameters, &'static str) {
    let is_refresh = parameters(&callout.body).contains_key("refresh_token");
    let (grant_type, names): (_, &[&str]) = match is_refresh {
        true => ("refresh_token", &OF_REFRESH),
        false => ("authorization_code", &OF_TOKEN),
    };
    let has_resource = parameters(&callout.body).contains_key("resource");
    let names = [names, if has_resource { &["resource"] } else { &[] }].concat();
    let (sent, method) = form_of_client(callout, client_id, &names);
    assert_eq!(sent["grant_type"], grant_type);
    (sent, method)
}

/// A revocation request, and the authentication method of the client.
pub fn revocation(callout: &SentCallout, endpoint: &str, client_id: &str) -> (Parameters, &'static str) {
    assert_eq!(callout.url.as_str(), endpoint);
    form_of_client(callout, client_id, &OF_REVOCATION)
}

/// A form with these parameters and those of client authentication.
fn form_of_client(callout: &SentCallout, client_id: &str, names: &[&str]) -> (Parameters, &'static str) {
    assert_eq!((callout.method.as_str(), callout.url.query()), ("POST", None));
    assert_eq!(field(callout, "content-type"), Some("application/x-www-form-urlencoded"));
    let sent = parameters(&callout.body);
    let has = |name: &str| sent.contains_key(name);
    let (method, further): (_, &[&str]) = match field(callout, "authorization") {
        Some(credentials) => {
            let (client, secret) = basic(credentials).expect("credentials of the basic scheme");
            assert_eq!(client, client_id);
            assert!([CLIENT_SECRET, NEXT_CLIENT_SECRET].contains(&secret.as_str()), "{credentials}");
            ("client_secret_basic", &[])
        }
        None if has("client_assertion") => {
            ("private_key_jwt", &["client_id", "client_assertion_type", "client_assertion"])
        }
        None if has("client_secret") => {
            assert!([CLIENT_SECRET, NEXT_CLIENT_SECRET].contains(&sent["client_secret"].as_str()));
            ("client_secret_post", &["client_id", "client_secret"])
        }
        None => ("none", &["client_id"]),
    };
    let expected: &[&str] = match method {
        "client_secret_basic" => &["accept", "content-type", "authorization"],
        _ => &["accept", "content-type"],
    };
    assert_eq!(fields(callout), expected);
    assert_names(&sent, &[names, further].concat(), &[]);
    assert!(sent.get("client_id").is_none_or(|sent| sent == client_id));
    (sent, method)
}

/// Client identifier and secret of the basic scheme, each form-encoded first (RFC 6749 section 2.3.1).
fn basic(credentials: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(STANDARD.decode(credentials.strip_prefix("Basic ")?).ok()?).ok()?;
    let (client, secret) = decoded.split_once(':')?;
    let decode = |text: &str| {
        let mut names = parameters(text.as_bytes()).into_keys();
        names.next().filter(|_| names.next().is_none())
    };
    Some((decode(client)?, decode(secret)?))
}

/// The client that a callout names.
pub fn client(callout: &SentCallout) -> Option<String> {
    if let Some((client, _)) = field(callout, "authorization").and_then(basic) {
        return Some(client);
    }
    let sent = parameters(&callout.body);
    if let Some(assertion) = sent.get("client_assertion") {
        let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        return Some(claims["sub"].as_str()?.to_owned());
    }
    sent.get("client_id").cloned()
}

/// The access token in a callout.
pub fn bearer_token(callout: &SentCallout) -> Option<String> {
    Some(field(callout, "authorization")?.strip_prefix("Bearer ")?.to_owned())
}

/// The secret, or the `kid` of the key, with which a client authenticates.
pub fn credential(callout: &SentCallout) -> String {
    let sent = parameters(&callout.body);
    if let Some(credentials) = field(callout, "authorization") {
        return basic(credentials).unwrap().1;
    }
    if let Some(assertion) = sent.get("client_assertion") {
        let header = URL_SAFE_NO_PAD.decode(assertion.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        return header["kid"].as_str().unwrap_or_default().to_owned();
    }
    sent.get("client_secret").cloned().unwrap_or_default()
}

/// A userinfo request. Returns the access token, which is in the `Authorization` field and nowhere else (RFC
/// 6750 section 2.1).
pub fn userinfo(callout: &SentCallout, endpoint: &str) -> String {
    assert_eq!((callout.method.as_str(), callout.body.len()), ("GET", 0));
    assert_eq!(added(&callout.url, endpoint).len(), 0, "a token in the query is in every log");
    assert_eq!(fields(callout), ["accept", "authorization"]);
    let token = field(callout, "authorization").unwrap().strip_prefix("Bearer ");
    token.expect("the access token is a bearer token").to_owned()
}

/// Checks a logout request in the browser.
pub fn logout(request: &Url, endpoint: &str, client_id: &str) -> Parameters {
    let sent = added(request, endpoint);
    assert_names(&sent, &["client_id"], &MAY_BE_OF_LOGOUT);
    assert_eq!(sent["client_id"], client_id);
    sent
}

/// The names of the header fields, each of which occurs once. Fields of the client's request are not among
/// them.
fn fields(callout: &SentCallout) -> Vec<&str> {
    callout.headers.iter().map(|(name, _)| name).collect()
}

fn field<'a>(callout: &'a SentCallout, name: &str) -> Option<&'a str> {
    callout.headers.one(name)
}
