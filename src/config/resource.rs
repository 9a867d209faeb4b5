//! The protected resource that a rule is for: its identifier, and where its metadata is.

use super::address::{address, rule_path_fault};
use super::shape::Reading;
use super::value::Text;

/// Where the metadata of protected resources begin (RFC 9728 section 3).
pub(crate) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// A protected resource (RFC 9728): what clients name when they request a token (RFC 8707), and what the `aud`
/// of the token must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The resource identifier, compared byte for byte (RFC 9728 section 3.3).
    pub identifier: String,
    /// Its host in lower case, with a port if that is not the default one.
    pub authority: String,
    /// The path of its metadata: the well-known part, then the path of the resource (RFC 9728 section 3.1).
    pub metadata_path: String,
    /// The address of its metadata, for challenges (RFC 9728 section 5.1).
    pub metadata_address: String,
}

/// Checks a resource identifier: an `https` address without query and fragment (RFC 8707 section 2). `http`
/// only where browsers reach the site by it.
pub(super) fn check(text: &Text, site_http: bool, reading: &mut Reading) -> Option<Resource> {
    let url = address(text, site_http, reading)?;
    if url.query().is_some() {
        return reading.refuse(text.problem("must not have a query"));
    }
    let path = if url.path() == "/" { "" } else { url.path() };
    if !path.is_empty()
        && let Some(fault) = rule_path_fault(path)
    {
        return reading.refuse(text.problem(format!("its path {fault}")));
    }
    let origin = url.origin().ascii_serialization();
    // Tokens have it as it is written here, and no client would know another spelling.
    if text.text.strip_prefix(&origin).is_none_or(|rest| rest != path && rest != url.path()) {
        let advice = format!("write {origin}{path}");
        return reading.refuse(text.problem("must be written in its normal form").advice(advice));
    }
    let metadata_path = format!("{WELL_KNOWN}{path}");
    Some(Resource {
        identifier: text.text.clone(),
        authority: origin.split("://").last().unwrap_or_default().to_owned(),
        metadata_address: format!("{origin}{metadata_path}"),
        metadata_path,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::trial::{accepted, problems, read, refused};

    fn resource(resource: &str) -> Value {
        json!({"rules": [{"path_prefix": "/mcp", "accept": "bearer", "resource": resource}]})
    }

    #[test]
    fn a_resource_is_an_https_address_in_its_normal_form() {
        let refusals = [
            ("/mcp", "must be an absolute address"),
            ("http://api.example.com/mcp", "must be an https address"),
            ("https://api.example.com/mcp?a", "must not have a query"),
            ("https://api.example.com/mcp#a", "must not have a fragment"),
            ("https://u@api.example.com/mcp", "must not have a user"),
            ("https://API.example.com/mcp", "must be written in its normal form"),
            ("https://api.example.com:443/mcp", "must be written in its normal form"),
            ("https://api.example.com/a/../mcp", "must be written in its normal form"),
            ("https://api.example.com/a//b", "its path must not have //"),
            ("https://*.example.com/mcp", "must not have wildcards"),
        ];
        for (text, rule) in refusals {
            let problems = problems(resource(text));
            let expected = format!("rules[0].resource: {rule}");
            assert!(problems.iter().any(|problem| problem.starts_with(&expected)), "{text}: {problems:?}");
        }
        for (text, path) in [
            ("https://api.example.com", ""),
            ("https://api.example.com/", ""),
            ("https://api.example.com/mcp", "/mcp"),
            ("https://api.example.com/mcp/", "/mcp/"),
        ] {
            let config = read(resource(text)).unwrap();
            let found = config.rules[0].resource.clone().unwrap();
            assert_eq!((found.identifier.as_str(), found.authority.as_str()), (text, "api.example.com"));
            assert_eq!(found.metadata_path, format!("{WELL_KNOWN}{path}"));
            assert_eq!(
                found.metadata_address,
                format!("https://api.example.com/.well-known/oauth-protected-resource{path}")
            );
        }
    }

    #[test]
    fn a_resource_needs_a_rule_that_takes_tokens_and_no_audiences() {
        refused([
            (
                json!({"rules": [{"path_prefix": "/a", "accept": "session", "resource": "https://a.example"}]}),
                "rules[0].resource: has no use where no bearer token is accepted (add bearer to accept",
            ),
            (
                json!({"rules": [{"path_prefix": "/a", "accept": "public", "resource": "https://a.example"}]}),
                "rules[0].resource: has no use where no bearer token is accepted",
            ),
        ]);
        accepted([
            json!({"rules": [{"path_prefix": "/a", "accept": ["session", "bearer"], "resource": "https://a.example"}]}),
        ]);
        let config = read(resource("https://a.example")).unwrap();
        let server = config.providers[0].resource_server.as_ref().unwrap();
        assert_eq!(server.audiences, Vec::<String>::new());
        assert_eq!(
            server.resources.iter().map(|known| &known.identifier).collect::<Vec<_>>(),
            ["https://a.example"]
        );
        assert_eq!(config.rules.last().unwrap().bearer_providers, Vec::<usize>::new(), "nowhere else");
    }
}
