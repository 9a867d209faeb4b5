//! RP-Initiated Logout 1.0: sends the browser to the provider to log out there too.

use super::discovery::Metadata;
use super::endpoint;
use crate::config::RelyingParty;
use crate::secret::Secret;

/// A longer `id_token_hint` is left out: servers and proxies refuse addresses beyond 8 KiB, and `client_id`
/// identifies the client. Bytes.
pub const ID_TOKEN_HINT_LIMIT: usize = 4096;

/// The address to which the browser is sent to log out (RP-Initiated Logout 1.0 section 2).
/// `None` if the provider has no `end_session_endpoint`.
///
/// `state` comes back at `post_logout_redirect_uri`; it is sent only with one. The query of the
/// endpoint is kept.
pub fn end_session_request(
    metadata: &Metadata,
    party: &RelyingParty,
    id_token_hint: Option<&Secret>,
    post_logout_redirect_uri: Option<&str>,
    state: Option<&Secret>,
) -> Option<String> {
    let endpoint = metadata.end_session_endpoint.as_ref()?;
    let mut parameters = vec![("client_id", party.client.id.as_str())];
    if let Some(hint) = id_token_hint.map(Secret::expose).filter(|hint| hint.len() <= ID_TOKEN_HINT_LIMIT) {
        parameters.push(("id_token_hint", hint));
    }
    if let Some(uri) = post_logout_redirect_uri {
        parameters.push((&party.post_logout_redirect_parameter, uri));
        parameters.extend(state.map(|state| ("state", state.expose())));
    }
    let reserved = ["id_token_hint", party.post_logout_redirect_parameter.as_str(), "state"];
    Some(endpoint::with_parameters(endpoint, &parameters, &reserved))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oidc::fixture::{CLIENT_ID, metadata, metadata_with, parameters, party};

    const AFTER: &str = "https://app.example/bye?a=1&b=2";

    fn sent(address: &str) -> Vec<(String, String)> {
        parameters(address.split_once('?').unwrap().1.as_bytes())
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn out_03_the_request_is_exact_and_encoded() {
        let (hint, state) = (Secret::from("a.b.c"), Secret::from("s&t"));
        let url = end_session_request(&metadata(), &party(), Some(&hint), Some(AFTER), Some(&state)).unwrap();
        assert!(url.starts_with("https://op.example/logout?"));
        assert_eq!(
            sent(&url),
            pairs(&[
                ("client_id", CLIENT_ID),
                ("id_token_hint", "a.b.c"),
                ("post_logout_redirect_uri", AFTER),
                ("state", "s&t"),
            ])
        );
    }

    #[test]
    fn out_03_the_query_of_the_endpoint_is_kept() {
        let metadata =
            metadata_with(json!({"end_session_endpoint": "https://op.example/o?p=1&id_token_hint=x"}));
        let url = end_session_request(&metadata, &party(), None, None, Some(&Secret::from("s"))).unwrap();
        assert_eq!(sent(&url), pairs(&[("p", "1"), ("client_id", CLIENT_ID)]));
    }

    #[test]
    fn out_06_without_an_endpoint_there_is_no_request() {
        let metadata = metadata_with(json!({"end_session_endpoint": null}));
        assert_eq!(end_session_request(&metadata, &party(), None, Some(AFTER), None), None);
    }

    #[test]
    fn out_07_a_too_long_id_token_hint_is_left_out() {
        let has_hint = |length: usize| {
            let hint = Secret::new("x".repeat(length));
            let url = end_session_request(&metadata(), &party(), Some(&hint), Some(AFTER), None).unwrap();
            sent(&url).iter().any(|(name, _)| name == "id_token_hint")
        };
        assert!(has_hint(ID_TOKEN_HINT_LIMIT));
        assert!(!has_hint(ID_TOKEN_HINT_LIMIT + 1));
        assert!(!has_hint(6 * 1024));
    }
}
