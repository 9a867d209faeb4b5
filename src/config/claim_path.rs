//! The path of a claim.

use std::fmt;

use serde_json::{Map, Value};

/// The path of a claim: member names from the outside in. One name is a top-level claim, dots included;
/// `["realm_access", "roles"]` is nested.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimPath(pub Vec<String>);

impl ClaimPath {
    /// The value of this claim, if present.
    pub fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" > "))
    }
}
