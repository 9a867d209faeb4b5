//! Header fields: as they cross the border, and as the request that they make.

use super::nginx;
use super::root::Host;
use crate::http::{Headers, Request};

/// A field: its name and its value. Neither has to be text.
pub type Field = (Vec<u8>, Vec<u8>);

/// A list as it crosses the border: how many there are, the lengths of each, then each name and value with
/// a zero byte behind it.
pub fn written(fields: &[(&str, &str)]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let mut list = number(fields.len()).to_vec();
    for (name, value) in fields {
        list.extend(number(name.len()));
        list.extend(number(value.len()));
    }
    for (name, value) in fields {
        list.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    list
}

/// The list in these bytes, if well-formed.
pub fn read(list: &[u8]) -> Option<Vec<Field>> {
    if list.is_empty() {
        return Some(Vec::new());
    }
    let number = |number: &[u8; 4]| u32::from_le_bytes(*number) as usize;
    let (count, rest) = list.split_first_chunk::<4>()?;
    let (lengths, mut texts) = rest.split_at_checked(number(count).checked_mul(8)?)?;
    let mut text = |length: &[u8; 4]| {
        let (text, rest) = texts.split_at_checked(number(length))?;
        texts = rest.split_first()?.1;
        Some(text.to_vec())
    };
    let mut fields = Vec::new();
    let (lengths, _) = lengths.as_chunks::<4>();
    let (lengths, _) = lengths.as_chunks::<2>();
    for [name, value] in lengths {
        let name = text(name)?;
        fields.push((name, text(value)?));
    }
    Some(fields)
}

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
