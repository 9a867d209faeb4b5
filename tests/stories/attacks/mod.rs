//! The attack catalogue, row by row. Which story holds which row, and which rows wait for what, stands
//! in `docs/attacks.md`; the id of a row is in the data of its story, and is printed when it fails.

mod claims;
mod flow;
mod forge;
mod headers;
mod jws;
mod keys;
mod limits;
mod path;
mod provider;
mod redirect;
mod refused;
mod resource;
mod session;
