//! Header fields, and the request that they make.

use super::abi::Fields;
use super::kind::Host;
use super::nginx;
use crate::http::Request;

/// The request with these fields. `None` if a name is no text: it could not be compared with the protected
/// ones.
pub fn read_request(mut fields: Fields, host: Host, goes_on: bool) -> Option<Request> {
    let (mut method, mut scheme, mut authority, mut path) = Default::default();
    fields.take_out(|name, value| {
        let pseudo: &mut String = match name {
            b":method" => &mut method,
            b":scheme" => &mut scheme,
            b":authority" => &mut authority,
            b":path" => &mut path,
            other => return other.starts_with(b":"),
        };
        // Not UTF-8: left empty, which matches nothing.
        *pseudo = std::str::from_utf8(value).unwrap_or_default().to_owned();
        true
    });
    let headers = fields.into_headers()?;
    if host == Host::Nginx {
        path = nginx::raw_path();
        authority = nginx::authority(headers.one("host"));
    }
    // On the other host this flag is not about the body.
    let has_body = goes_on && host == Host::Envoy;
    Some(Request { method, scheme, authority, path, headers, has_body, host: host.traits() })
}
