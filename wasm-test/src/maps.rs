//! Header maps.

use crate::Profile;
use crate::abi::OK;
use crate::exchange::CalloutReply;
use crate::fields::Fields;
use crate::host::{Callback, Host};
use crate::nginx::decoded_path;
use crate::pairs::Pair;

const REQUEST_HEADERS: u32 = 0;
const REQUEST_TRAILERS: u32 = 1;
const RESPONSE_HEADERS: u32 = 2;
const CALL_RESPONSE_HEADERS: u32 = 6;

const BAD_ARGUMENT: u32 = 2;

/// nginx lists no more pairs than this, its pseudo-headers first. It still forwards those after them.
pub const NGX_WASM_PAIRS_LIMIT: usize = 100;

/// Response fields that may occur several times in nginx.
const COUNTED: [&str; 2] = ["cache-control", "link"];

/// The kind of a change to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Add,
    Replace,
    Remove,
}

/// The fields of a map as the module gets them.
pub(crate) fn list(host: &mut Host, map: u32) -> Option<Vec<Pair>> {
    let is_nginx = host.is_nginx();
    let reply = host.reply.clone();
    let fields = match map {
        REQUEST_HEADERS => {
            let mut list = pseudo(host)?;
            list.extend(host.stream()?.request.seen_by_filter());
            if is_nginx {
                if list.len() > NGX_WASM_PAIRS_LIMIT {
                    host.crash("more pairs are listed than the memory for them was counted for");
                }
                list.truncate(NGX_WASM_PAIRS_LIMIT);
            }
            list
        }
        REQUEST_TRAILERS => host.stream()?.trailers.seen_by_filter(),
        RESPONSE_HEADERS => host.stream()?.response.seen_by_filter(),
        CALL_RESPONSE_HEADERS => match reply {
            Some(CalloutReply::Answer { headers, .. } | CalloutReply::Broken { headers, .. }) => {
                headers.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect()
            }
            _ => Vec::new(),
        },
        _ => return None,
    };
    Some(fields)
}

/// The first value of a field.
pub(crate) fn get(host: &mut Host, map: u32, name: &str) -> Option<Vec<u8>> {
    let list = list(host, map)?;
    let is_this = |(n, _): &&Pair| n.eq_ignore_ascii_case(name.as_bytes());
    list.iter().find(is_this).map(|(_, value)| value.clone())
}

/// The pseudo-headers of the request line. nginx gives a decoded path, and its own name.
fn pseudo(host: &mut Host) -> Option<Vec<Pair>> {
    let is_nginx = host.is_nginx();
    let incoming = &host.stream()?.incoming;
    let (path, authority) = if is_nginx {
        (decoded_path(&incoming.path), "gateway.internal:8443".to_owned())
    } else {
        (incoming.path.clone(), incoming.authority.clone())
    };
    let pairs: [(&str, Vec<u8>); 4] = [
        (":path", path),
        (":method", incoming.method.clone().into_bytes()),
        (":scheme", incoming.scheme.clone().into_bytes()),
        (":authority", authority.into_bytes()),
    ];
    let is_there = |(name, value): &(&str, Vec<u8>)| is_nginx || *name != ":path" || !value.is_empty();
    Some(pairs.into_iter().filter(is_there).map(|(name, value)| (name.as_bytes().to_vec(), value)).collect())
}

/// Changes a field.
pub(crate) fn change(host: &mut Host, map: u32, name: &str, value: &[u8], change: Change) -> u32 {
    let profile = host.setup.profile;
    let is_late = host.callback == Callback::ResponseHeaders || host.callback == Callback::ResponseBody;
    if host.acts_for_another() {
        host.crash("the header of another request is changed");
        return OK;
    }
    if map == REQUEST_HEADERS && is_late {
        return OK;
    }
    if map == REQUEST_HEADERS && name == ":authority" && profile == Profile::Envoy {
        let Some(stream) = host.stream() else { return BAD_ARGUMENT };
        // The virtual host is selected again with this.
        stream.incoming.authority = String::from_utf8_lossy(value).into_owned();
        return OK;
    }
    if map == REQUEST_HEADERS && name.starts_with(':') {
        host.crash(format!("{name} is changed"));
        return OK;
    }
    let Some(stream) = host.stream() else { return BAD_ARGUMENT };
    let fields = match map {
        REQUEST_HEADERS => &mut stream.request,
        REQUEST_TRAILERS => &mut stream.trailers,
        RESPONSE_HEADERS => &mut stream.response,
        _ => return BAD_ARGUMENT,
    };
    let is_absent = fields.get(name).is_none();
    match change {
        Change::Add => fields.add(name, value),
        Change::Replace if map == REQUEST_HEADERS => fields.replace(profile, name, value),
        // If a response has several, nginx removes the others and then the one that it has set.
        Change::Replace
            if profile == Profile::NgxWasm && !COUNTED.contains(&name) && fields.occurs_again(name) =>
        {
            fields.remove(Profile::Envoy, name);
        }
        Change::Replace => fields.replace(Profile::Envoy, name, value),
        Change::Remove if is_absent && profile == Profile::NgxWasm && map == REQUEST_HEADERS => {
            host.crash(format!("{name} is removed and is not there"));
        }
        Change::Remove if map == REQUEST_HEADERS => fields.remove(profile, name),
        Change::Remove => fields.remove(Profile::Envoy, name),
    }
    OK
}

/// The header fields of a local response. nginx sets one after another, so the last of several with one name
/// stays.
pub(crate) fn of_local_response(profile: Profile, headers: &[(String, Vec<u8>)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in headers {
        match profile {
            Profile::Envoy => fields.add(name, value),
            Profile::NgxWasm => fields.replace(Profile::Envoy, name, value),
        }
    }
    fields
}
