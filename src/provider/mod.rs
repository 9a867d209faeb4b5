//! What we know of a provider: its metadata, its keys, how old they are and when to ask again.

pub mod lifetime;
