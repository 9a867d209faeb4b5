//! Vestibule: OpenID Connect inside the proxy.

pub mod cache;
pub mod config;
pub mod http;
pub mod jose;
pub mod json;
pub mod random;
pub mod secret;
pub mod session;
pub mod time;
