//! Which request needs what: the rule that applies to it, what that rule requires of an identity,
//! and what kind of client is asking.
//!
//! Nothing here knows how an identity is proved; see `flow/` for that.

pub mod authentication;
pub mod client;
mod disguise;
pub mod fetch_metadata;
pub mod host;
pub mod path;
pub mod requirement;
pub mod select;
mod steps;

pub use authentication::{Insufficient, suffices};
pub use client::{ClientKind, came_unencrypted, is_preflight};
pub use fetch_metadata::{FetchMetadata, Initiator};
pub use host::without_usual_port;
pub use requirement::{Missing, meets, scope_tokens};
pub use select::{PathError, select};
