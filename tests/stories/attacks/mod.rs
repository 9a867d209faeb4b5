//! The attack catalogue, row by row. `docs/attacks.md` lists the stories of each row and the rows without
//! one; the id of a row is in the data of its story, and is printed when it fails.

mod callback;
mod claims;
mod cookies;
mod exchange;
mod flow;
mod forge;
mod header;
mod headers;
mod host;
mod jws;
mod key_sets;
mod keys;
mod limits;
mod path;
mod provider;
mod redirect;
mod refresh_tokens;
mod refused;
mod resource;
mod rights;
mod session;
mod text;
