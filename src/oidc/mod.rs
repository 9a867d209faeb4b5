//! Messages of the specifications, one file each.

pub mod access_token;
pub mod claims;
pub mod id_token;
