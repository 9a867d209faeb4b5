//! What a provider is asked for on behalf of somebody.

pub(crate) mod exchange;
pub(crate) mod revocation;
pub(crate) mod userinfo;
