//! Credentials: what proves who makes a request.

pub(crate) mod bearer;
pub(crate) mod session;
