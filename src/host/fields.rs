//! Header fields, and the request that they make.

use super::abi::Field;
use super::kind::Host;
use super::nginx;
use crate::http::{Headers, Request};

/// The fields of a list, if all their names are text. Others cannot be compared with the protected ones.
pub fn named(fields: Vec<Field>) -> Option<Vec<(String, Vec<u8>)>> {
    fields.into_iter().map(|(name, value)| Some((String::from_utf8(name).ok()?, value))).collect()
}

/// The request with these fields.
pub fn read_request(fields: Vec<(String, Vec<u8>)>, host: Host, goes_on: bool) -> Request {
    let mut headers = Headers::new();
    let (mut method, mut scheme, mut authority, mut path) = Default::default();
    for (name, value) in fields {
        let pseudo: &mut String = match name.as_str() {
            ":method" => &mut method,
            ":scheme" => &mut scheme,
            ":authority" => &mut authority,
            ":path" => &mut path,
            other => {
                if !other.starts_with(':') {
                    headers.push(name, value);
                }
                continue;
            }
        };
        // Not UTF-8: left empty, which matches nothing.
        *pseudo = String::from_utf8(value).unwrap_or_default();
    }
    if host == Host::Nginx {
        path = nginx::raw_path();
        authority = nginx::authority(headers.one("host"));
    }
    // On the other host this flag is not about the body.
    let has_body = goes_on && host == Host::Envoy;
    Request { method, scheme, authority, path, headers, has_body, host: host.traits() }
}
