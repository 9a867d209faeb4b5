//! Vestibule: OpenID Connect inside the proxy.

pub mod answer;
pub mod config;
pub mod http;
pub mod jose;
pub mod json;
pub mod rules;
pub mod secret;
pub mod time;
