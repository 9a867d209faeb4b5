//! Rule selection: the rule of a request, its requirements on an identity, and the kind of client.
//!
//! Nothing here knows how an identity is authenticated; see `credential/`.

pub mod authentication;
pub mod claim;
pub mod client;
mod disguise;
pub mod email;
pub mod fetch_metadata;
pub mod host;
pub mod path;
pub mod requirement;
pub mod select;
mod steps;
pub mod token;
mod words;

pub use authentication::{Insufficient, check_age, suffices, were_requested};
pub use client::{ClientKind, came_unencrypted, is_preflight};
pub use fetch_metadata::{FetchMetadata, Initiator};
pub use host::without_usual_port;
pub use requirement::{Missing, meets, scope_tokens};
pub use select::{PathError, select};
pub use token::{Unfit, fits};
