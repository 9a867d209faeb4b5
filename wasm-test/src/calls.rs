//! Callouts, local responses, and waking.

use wasmtime::{Error, Linker, Result};

use crate::abi::{BAD_ARGUMENT, Guest, OK, UNIMPLEMENTED, enter, read, text, write_number};
use crate::exchange::LocalResponse;
use crate::host::{Callback, Callout, Host};
use crate::{nginx, pairs};

pub(crate) fn link(linker: &mut Linker<Host>) -> Result<()> {
    #[allow(clippy::type_complexity)]
    let http_call = |mut guest: Guest<'_>,
                     target: u32,
                     target_size: u32,
                     headers: u32,
                     headers_size: u32,
                     body: u32,
                     body_size: u32,
                     _trailers: u32,
                     _trailers_size: u32,
                     timeout: u32,
                     token_at: u32| {
        if let Some(status) = enter(&mut guest, "proxy_http_call")? {
            return Ok(status);
        }
        let target = text(read(&mut guest, target, target_size)?);
        let headers = read(&mut guest, headers, headers_size)?;
        let headers = pairs::decode(&headers).ok_or_else(|| Error::msg("headers that are no list"))?;
        let headers = headers.into_iter().map(|(name, value)| (text(name), value)).collect();
        let body = read(&mut guest, body, body_size)?;
        match dispatch(guest.data_mut(), Callout { context: 0, target, headers, body, timeout })? {
            Some(token) => {
                write_number(&mut guest, token_at, token)?;
                Ok(OK)
            }
            None => Ok(BAD_ARGUMENT),
        }
    };
    linker.func_wrap("env", "proxy_http_call", http_call)?;
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |mut guest: Guest<'_>,
         status: u32,
         _details: u32,
         _details_size: u32,
         body: u32,
         body_size: u32,
         headers: u32,
         headers_size: u32,
         _grpc_status: i32| {
            if let Some(status) = enter(&mut guest, "proxy_send_local_response")? {
                return Ok(status);
            }
            let body = read(&mut guest, body, body_size)?;
            let headers = read(&mut guest, headers, headers_size)?;
            let headers = pairs::decode(&headers).ok_or_else(|| Error::msg("headers that are no list"))?;
            let headers = headers.into_iter().map(|(name, value)| (text(name), value)).collect();
            respond(guest.data_mut(), LocalResponse { status: status as u16, headers, body })
        },
    )?;
    linker.func_wrap("env", "proxy_continue_stream", |mut guest: Guest<'_>, kind: u32| {
        if let Some(status) = enter(&mut guest, "proxy_continue_stream")? {
            return Ok(status);
        }
        let host = guest.data_mut();
        if kind != 0 {
            return Ok::<u32, Error>(UNIMPLEMENTED);
        }
        if host.acts_for_another() {
            let (effective, current) = (host.effective, host.current);
            host.crash(format!("request {effective} is woken in the callback of {current}"));
            return Ok(OK);
        }
        let decided = host.decided.take();
        if let Some(stream) = host.stream() {
            stream.is_paused = false;
            stream.code = decided;
        }
        Ok(OK)
    })?;
    Ok(())
}

/// Accepts a callout. None if the host refuses it at once.
fn dispatch(host: &mut Host, callout: Callout) -> Result<Option<u32>> {
    let has = |name: &str| callout.headers.iter().any(|(n, value)| n == name && !value.is_empty());
    let is_complete = [":method", ":path", ":authority"].into_iter().all(has);
    if host.is_nginx() {
        if !is_complete {
            return Err(Error::msg("dispatch failed: no :method, :path or :authority"));
        }
        match host.callback {
            Callback::RequestHeaders
            | Callback::RequestBody
            | Callback::Tick
            | Callback::HttpCallResponse => {}
            other => return Err(Error::msg(format!("a callout cannot be sent in {other:?}"))),
        }
        if !nginx::reads_target(&callout.target) {
            return Err(Error::msg(format!("dispatch failed: invalid host {:?}", callout.target)));
        }
        if host.acts_for_another() {
            host.crash("a callout is sent for another request");
        }
        if host.callback == Callback::HttpCallResponse && host.is_root(host.current) {
            host.crash("a callout is sent from within the reply to one of the root context");
        }
    }
    let is_known = host.setup.clusters.is_empty() || host.setup.clusters.contains(&callout.target);
    if !host.is_nginx() && (!is_complete || !is_known) {
        return Ok(None);
    }
    let context = if host.is_nginx() { host.current } else { host.effective };
    let token = host.next_callout;
    host.next_callout += 1;
    host.callouts.insert(token, Callout { context, ..callout });
    Ok(Some(token))
}

fn respond(host: &mut Host, response: LocalResponse) -> Result<u32> {
    if host.acts_for_another() {
        let (effective, current) = (host.effective, host.current);
        host.crash(format!("request {effective} is answered in the callback of {current}"));
        return Ok(OK);
    }
    if host.is_nginx() && matches!(host.callback, Callback::ResponseHeaders | Callback::ResponseBody) {
        host.crash("a local response in the response phase: its length is wrong, the client hangs");
    }
    let is_nginx = host.is_nginx();
    let loses_body = is_nginx && host.loses_body;
    let decided = host.decided.take();
    let Some(stream) = host.stream() else { return Ok(BAD_ARGUMENT) };
    if stream.local.is_some() {
        return if is_nginx { Err(Error::msg("local response already stashed")) } else { Ok(BAD_ARGUMENT) };
    }
    stream.code = decided;
    stream.local = Some(response);
    if loses_body && stream.local.as_ref().is_some_and(|local| !local.body.is_empty()) {
        host.crash("zero size buf in writer: the client gets nothing at all");
    }
    Ok(OK)
}
