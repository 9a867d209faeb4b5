//! Requests to a provider on behalf of a person.

pub(crate) mod exchange;
pub(crate) mod revocation;
pub(crate) mod userinfo;
