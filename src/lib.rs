//! Vestibule: OpenID Connect inside the proxy.

pub mod config;
pub mod http;
pub mod jose;
pub mod json;
pub mod oidc;
pub mod secret;
pub mod time;
