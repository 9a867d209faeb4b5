//! Protected resource metadata (RFC 9728): how a client finds the provider whose tokens a resource takes.

use serde_json::{Value, json};

/// The metadata of a protected resource (RFC 9728 section 2).
///
/// `scopes` are all that requests for the resource may need. Tokens are accepted in header fields alone, which
/// RFC 6750 calls `header`.
pub fn resource_metadata(resource: &str, issuers: &[&str], scopes: &[&str]) -> Value {
    let mut metadata = json!({
        "resource": resource,
        "authorization_servers": issuers,
        "bearer_methods_supported": ["header"],
    });
    if let Value::Object(members) = &mut metadata
        && !scopes.is_empty()
    {
        members.insert("scopes_supported".to_owned(), scopes.into());
    }
    metadata
}
