//! Properties.

use crate::abi::{NOT_FOUND, OK};
use crate::exchange::KONG_SCHEME;
use crate::host::{Callback, Host};

/// The value of a property. The parts of its path are separated by zero bytes.
pub(crate) fn get(host: &mut Host, path: &str) -> Option<Vec<u8>> {
    if host.is_nginx() { of_nginx(host, path) } else { of_envoy(host, path) }
}

fn of_envoy(host: &mut Host, path: &str) -> Option<Vec<u8>> {
    let is_late = matches!(host.callback, Callback::ResponseHeaders | Callback::ResponseBody);
    let stream = host.stream()?;
    if let Some((_, value)) = stream.properties.iter().rev().find(|(name, _)| name == path) {
        return Some(value.clone());
    }
    let value = match path {
        "request\0path" if is_late => b"",
        "request\0path" => stream.incoming.path.as_slice(),
        "request\0host" => stream.incoming.authority.as_bytes(),
        "request\0scheme" => stream.incoming.scheme.as_bytes(),
        "request\0method" => stream.incoming.method.as_bytes(),
        "request\0total_size" => return Some((100 + stream.received).to_le_bytes().to_vec()),
        "source\0address" => b"192.0.2.1:40000",
        "plugin_name" => b"vestibule",
        _ => return None,
    };
    Some(value.to_vec())
}

fn of_nginx(host: &mut Host, path: &str) -> Option<Vec<u8>> {
    if host.is_root(host.current) {
        host.crash(format!("the property {path:?} is read in the root context"));
        return None;
    }
    let stream = host.stream()?;
    let value = match path.replace('\0', ".").as_str() {
        "ngx.nginx_version" => "1.27.5".to_owned(),
        "request.path" | "ngx.request_uri" => return Some(stream.incoming.path.clone()),
        "request.host" | "ngx.hostname" => "node-17".to_owned(),
        "request.scheme" | "ngx.scheme" => stream.incoming.scheme.clone(),
        "ngx.host" => effective_host(stream.incoming.named_host())?,
        "source.address" | "ngx.remote_addr" => "192.0.2.1".to_owned(),
        other => {
            let set = stream.properties.iter().rev().find(|(name, _)| name == other);
            let set = set.map(|(_, value)| value.clone());
            let scheme = stream.scheme.clone().filter(|_| other == KONG_SCHEME).map(String::into_bytes);
            let set = set.or(scheme);
            return set.or_else(|| host.setup.variables.iter().any(|name| name == other).then(Vec::new));
        }
    };
    Some(value.into_bytes())
}

/// `$host`: in lower case, without the port and the trailing dot; the name of the server if the client sends
/// none. None for a host that nginx refuses.
fn effective_host(authority: &str) -> Option<String> {
    if authority.is_empty() {
        return Some("gateway.internal".to_owned());
    }
    let name_end = match authority.find(']') {
        Some(end) if authority.starts_with('[') => end + 1,
        _ => authority.find(':').unwrap_or(authority.len()),
    };
    let name = authority.get(..name_end)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_odd = |byte: u8| byte <= b' ' || byte == 0x7f || byte == b'/';
    let is_name =
        !name.is_empty() && !name.contains("..") && !name.ends_with('.') && !name.bytes().any(is_odd);
    is_name.then(|| name.to_ascii_lowercase())
}

/// Sets a property. nginx accepts only variables that its configuration declares.
pub(crate) fn set(host: &mut Host, path: &str, value: Vec<u8>) -> u32 {
    let is_nginx = host.is_nginx();
    let name = if is_nginx { path.replace('\0', ".") } else { path.to_owned() };
    if is_nginx && host.is_root(host.current) {
        host.crash(format!("the property {name} is set in the root context"));
        return NOT_FOUND;
    }
    let is_of_kong = name == KONG_SCHEME && host.setup.upstream_scheme.is_some();
    if is_nginx && !is_of_kong && !host.setup.variables.contains(&name) {
        return NOT_FOUND;
    }
    match host.stream() {
        Some(stream) => {
            stream.properties.push((name, value));
            OK
        }
        None => NOT_FOUND,
    }
}
