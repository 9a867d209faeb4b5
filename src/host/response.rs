//! The response of an upstream on its way to the client.

use super::abi::{self, Map};
use super::clock::now;
use super::kind::Host;
use super::nginx;
use crate::filter::Filter;

/// Removes fields that would set a cookie of ours. One host call where the upstream sets none.
pub fn keep_our_cookies(filter: &Filter, host: Host, count: usize) {
    let (map, name) = (Map::Response, "set-cookie");
    if matches!(abi::field(map, name), Ok(None)) {
        return;
    }
    let is_hidden = host == Host::Nginx && nginx::hides_response_fields(count);
    let fields = if is_hidden { None } else { abi::fields(map).ok() };
    let Some(fields) = fields else {
        filter.no_cookies_of_upstream(now());
        let _ = abi::remove_field(map, name);
        return;
    };
    let cookies = fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
    let cookies: Vec<&[u8]> = cookies.map(|(_, value)| value).collect();
    if let Some(kept) = filter.cookies_of_upstream(&cookies, now()) {
        // Setting a repeated field loses all of them on one host.
        let _ = abi::remove_field(map, name);
        let behind = filter.login_behind(&cookies);
        for cookie in kept.into_iter().chain(behind.as_deref().map(str::as_bytes)) {
            let _ = abi::add_field(map, name, cookie);
        }
    }
}
