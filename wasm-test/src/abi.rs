//! The functions of Proxy-Wasm that the module imports.

use wasmtime::{Caller, Error, Linker, Result};

use crate::Profile;
use crate::exchange::CalloutReply;
use crate::host::{Garbage, Host};
use crate::{calls, maps, metrics, pairs, properties};

pub(crate) const OK: u32 = 0;
pub(crate) const NOT_FOUND: u32 = 1;
/// The host function failed.
pub(crate) const INTERNAL_FAILURE: u32 = 10;
pub(crate) const BAD_ARGUMENT: u32 = 2;
const CAS_MISMATCH: u32 = 8;
pub(crate) const UNIMPLEMENTED: u32 = 12;

const BUFFER_REQUEST_BODY: u32 = 0;
const BUFFER_CALL_RESPONSE_BODY: u32 = 4;
const BUFFER_VM_CONFIGURATION: u32 = 6;
const BUFFER_PLUGIN_CONFIGURATION: u32 = 7;

pub(crate) type Guest<'a> = Caller<'a, Host>;

/// Links everything that the module imports.
pub(crate) fn link(linker: &mut Linker<Host>, profile: Profile) -> Result<()> {
    link_context(linker)?;
    link_maps(linker)?;
    link_data(linker)?;
    calls::link(linker)?;
    metrics::link(linker)?;
    link_rest(linker, profile)
}

pub(crate) fn read(guest: &mut Guest<'_>, at: u32, size: u32) -> Result<Vec<u8>> {
    let memory = guest.data().memory.ok_or_else(|| Error::msg("the module has no memory yet"))?;
    let bytes = memory.data(&*guest).get(at as usize..).and_then(|rest| rest.get(..size as usize));
    bytes.map(<[u8]>::to_vec).ok_or_else(|| Error::msg("outside of the module's memory"))
}

pub(crate) fn write(guest: &mut Guest<'_>, at: u32, bytes: &[u8]) -> Result<()> {
    let memory = guest.data().memory.ok_or_else(|| Error::msg("the module has no memory yet"))?;
    Ok(memory.write(guest, at as usize, bytes)?)
}

pub(crate) fn write_number(guest: &mut Guest<'_>, at: u32, number: u32) -> Result<()> {
    write(guest, at, &number.to_le_bytes())
}

/// Hands bytes over in memory that the module allocates.
fn give(guest: &mut Guest<'_>, bytes: &[u8], at: u32, size: u32) -> Result<u32> {
    let allocate = guest.data().allocate.clone().ok_or_else(|| Error::msg("no allocator"))?;
    if let Some(garbage) = guest.data().setup.gives {
        return give_garbage(guest, garbage, bytes, (at, size));
    }
    // For an empty value, Envoy gives a null pointer.
    let is_null = bytes.is_empty() && !guest.data().is_nginx();
    let place = if is_null { 0 } else { allocate.call(&mut *guest, bytes.len() as u32)? };
    write(guest, place, bytes)?;
    write_number(guest, at, place)?;
    write_number(guest, size, bytes.len() as u32)?;
    Ok(OK)
}

/// Fault: the host hands over something else than it declares.
fn give_garbage(guest: &mut Guest<'_>, garbage: Garbage, bytes: &[u8], at: (u32, u32)) -> Result<u32> {
    let allocate = guest.data().allocate.clone().ok_or_else(|| Error::msg("no allocator"))?;
    let size_given = bytes.len() as u32;
    let (place, length) = match garbage {
        Garbage::Nothing => (0, 0),
        Garbage::NullPointer => (0, size_given.max(1)),
        Garbage::Unallocated => (64 * 1024, size_given.max(1)),
        Garbage::Inside => (allocate.call(&mut *guest, size_given + 8)? + 4, size_given),
        Garbage::TooLong => (allocate.call(&mut *guest, size_given)?, size_given + 1_000_000),
        Garbage::Huge => (allocate.call(&mut *guest, u32::MAX)?, u32::MAX),
        Garbage::Noise => (allocate.call(&mut *guest, size_given)?, size_given),
        Garbage::Cut => (allocate.call(&mut *guest, size_given)?, size_given / 2),
        Garbage::Many => {
            (0..1_000).try_for_each(|_| allocate.call(&mut *guest, 1).map(|_| ()))?;
            (allocate.call(&mut *guest, size_given)?, size_given)
        }
    };
    if place != 0 && garbage == Garbage::Cut {
        write(guest, place, bytes)?;
    } else if place != 0 && garbage == Garbage::Noise {
        write(guest, place, &vec![0xff; bytes.len()])?;
    }
    write_number(guest, at.0, place)?;
    write_number(guest, at.1, length)?;
    Ok(OK)
}

pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Counts the call. Traps if the test requests a trap here; returns the status of a fault if the function
/// fails.
pub(crate) fn enter(guest: &mut Guest<'_>, name: &'static str) -> Result<Option<u32>> {
    let host = guest.data_mut();
    *host.calls.entry(name).or_default() += 1;
    if host.setup.traps_at == Some(name) {
        return Err(Error::msg("a trap was requested"));
    }
    let current = host.current;
    if host.setup.calls_back_at == Some(name) && host.streams.contains_key(&current) {
        for function in ["proxy_on_done", "proxy_on_log"] {
            let export = guest.get_export(function).and_then(wasmtime::Extern::into_func);
            let callback = export.ok_or_else(|| Error::msg("the module does not have it"))?;
            let mut results = vec![wasmtime::Val::I32(0); callback.ty(&*guest).results().len()];
            callback.call(&mut *guest, &[wasmtime::Val::I32(current as i32)], &mut results)?;
        }
    }
    let setup = &guest.data().setup;
    Ok((setup.fails_at == Some(name)).then_some(setup.fails_with))
}

fn link_context(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap("env", "proxy_log", |mut guest: Guest<'_>, level: u32, at: u32, size: u32| {
        if let Some(status) = enter(&mut guest, "proxy_log")? {
            return Ok(status);
        }
        let line = text(read(&mut guest, at, size)?);
        let decision = ["answered code=", "admitted code="].iter().find_map(|start| line.strip_prefix(start));
        if let Some(decision) = decision {
            guest.data_mut().decided = decision.split(' ').next().map(str::to_owned);
        }
        let level = match level {
            0 => log::Level::Trace,
            1 => log::Level::Debug,
            2 => log::Level::Info,
            3 => log::Level::Warn,
            _ => log::Level::Error,
        };
        log::log!(target: "module", level, "{line}");
        Ok(OK)
    })?;
    linker.func_wrap("env", "proxy_get_current_time_nanoseconds", |mut guest: Guest<'_>, at: u32| {
        if let Some(status) = enter(&mut guest, "proxy_get_current_time_nanoseconds")? {
            return Ok(status);
        }
        let now = guest.data().now;
        write(&mut guest, at, &now.to_le_bytes())?;
        Ok::<u32, Error>(OK)
    })?;
    linker.func_wrap("env", "proxy_set_effective_context", |mut guest: Guest<'_>, context: u32| {
        if let Some(status) = enter(&mut guest, "proxy_set_effective_context")? {
            return Ok(status);
        }
        let host = guest.data_mut();
        let exists = host.is_root(context) || host.streams.contains_key(&context);
        if !exists && !host.is_nginx() {
            return Ok(BAD_ARGUMENT);
        }
        host.effective = context;
        Ok::<u32, Error>(OK)
    })?;
    linker.func_wrap("env", "proxy_set_tick_period_milliseconds", |mut guest: Guest<'_>, period: u32| {
        if let Some(status) = enter(&mut guest, "proxy_set_tick_period_milliseconds")? {
            return Ok(status);
        }
        let host = guest.data_mut();
        let root = host.current;
        if host.is_nginx() && host.tick_periods.contains_key(&root) {
            return Err(Error::msg("tick_period already set"));
        }
        host.tick_periods.insert(root, period);
        Ok(OK)
    })?;
    Ok(())
}

fn link_maps(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |mut guest: Guest<'_>, map: u32, at: u32, size: u32| {
            if let Some(status) = enter(&mut guest, "proxy_get_header_map_pairs")? {
                return Ok(status);
            }
            match maps::list(guest.data_mut(), map) {
                Some(list) => give(&mut guest, &pairs::encode(&list), at, size),
                None => Ok(BAD_ARGUMENT),
            }
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_value",
        |mut guest: Guest<'_>, map: u32, name: u32, name_size: u32, at: u32, size: u32| {
            if let Some(status) = enter(&mut guest, "proxy_get_header_map_value")? {
                return Ok(status);
            }
            let name = text(read(&mut guest, name, name_size)?);
            match maps::get(guest.data_mut(), map, &name) {
                Some(value) => give(&mut guest, &value, at, size),
                None => Ok(NOT_FOUND),
            }
        },
    )?;
    for (function, change) in [
        ("proxy_add_header_map_value", maps::Change::Add),
        ("proxy_replace_header_map_value", maps::Change::Replace),
    ] {
        linker.func_wrap(
            "env",
            function,
            move |mut guest: Guest<'_>, map: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
                if let Some(status) = enter(&mut guest, function)? {
                    return Ok(status);
                }
                let name = text(read(&mut guest, name, name_size)?);
                let value = read(&mut guest, value, value_size)?;
                Ok::<u32, Error>(maps::change(guest.data_mut(), map, &name, &value, change))
            },
        )?;
    }
    linker.func_wrap(
        "env",
        "proxy_remove_header_map_value",
        |mut guest: Guest<'_>, map: u32, name: u32, name_size: u32| {
            if let Some(status) = enter(&mut guest, "proxy_remove_header_map_value")? {
                return Ok(status);
            }
            let name = text(read(&mut guest, name, name_size)?);
            Ok::<u32, Error>(maps::change(guest.data_mut(), map, &name, b"", maps::Change::Remove))
        },
    )?;
    Ok(())
}

fn link_data(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |mut guest: Guest<'_>, buffer: u32, start: u32, length: u32, at: u32, size: u32| {
            if let Some(status) = enter(&mut guest, "proxy_get_buffer_bytes")? {
                return Ok(status);
            }
            let host = guest.data_mut();
            let whole = match buffer {
                BUFFER_PLUGIN_CONFIGURATION => host.configuration().to_vec(),
                BUFFER_VM_CONFIGURATION => Vec::new(),
                BUFFER_REQUEST_BODY if host.is_nginx() && host.setup.keeps_bodies_in_files => {
                    return Ok(NOT_FOUND);
                }
                BUFFER_REQUEST_BODY => {
                    host.stream().map(|stream| stream.buffered.clone()).unwrap_or_default()
                }
                BUFFER_CALL_RESPONSE_BODY => match &host.reply {
                    Some(CalloutReply::Answer { body, .. }) => body.clone(),
                    Some(CalloutReply::Broken { .. }) => return Ok(BAD_ARGUMENT),
                    _ => Vec::new(),
                },
                _ => return Ok(NOT_FOUND),
            };
            let start = (start as usize).min(whole.len());
            let end = start.saturating_add(length as usize).min(whole.len());
            if start == end && host.is_nginx() {
                return Ok(NOT_FOUND);
            }
            give(&mut guest, &whole[start..end], at, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |mut guest: Guest<'_>, path: u32, path_size: u32, at: u32, size: u32| {
            if let Some(status) = enter(&mut guest, "proxy_get_property")? {
                return Ok(status);
            }
            let path = text(read(&mut guest, path, path_size)?);
            match properties::get(guest.data_mut(), &path) {
                Some(value) => give(&mut guest, &value, at, size),
                None => Ok(NOT_FOUND),
            }
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_property",
        |mut guest: Guest<'_>, path: u32, path_size: u32, value: u32, value_size: u32| {
            if let Some(status) = enter(&mut guest, "proxy_set_property")? {
                return Ok(status);
            }
            let path = text(read(&mut guest, path, path_size)?);
            let value = read(&mut guest, value, value_size)?;
            Ok::<u32, Error>(properties::set(guest.data_mut(), &path, value))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |mut guest: Guest<'_>, key: u32, key_size: u32, at: u32, size: u32, number: u32| {
            if let Some(status) = enter(&mut guest, "proxy_get_shared_data")? {
                return Ok(status);
            }
            let key = read(&mut guest, key, key_size)?;
            let profile = guest.data().setup.profile;
            let data = shared_data(guest.data(), &key)?;
            if data.is_unreadable(&key) {
                return Ok(INTERNAL_FAILURE);
            }
            match data.get(profile, &key) {
                Some((value, last)) => {
                    write_number(&mut guest, number, last)?;
                    give(&mut guest, &value, at, size)
                }
                None => Ok(NOT_FOUND),
            }
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |mut guest: Guest<'_>, key: u32, key_size: u32, value: u32, value_size: u32, number: u32| {
            if let Some(status) = enter(&mut guest, "proxy_set_shared_data")? {
                return Ok(status);
            }
            let key = read(&mut guest, key, key_size)?;
            let value = read(&mut guest, value, value_size)?;
            let profile = guest.data().setup.profile;
            let is_written = shared_data(guest.data(), &key)?.set(profile, &key, &value, number);
            Ok::<u32, Error>(if is_written { OK } else { CAS_MISMATCH })
        },
    )?;
    Ok(())
}

/// nginx traps without the memory, and takes the text before a slash for the name of the memory.
fn shared_data(host: &Host, key: &[u8]) -> Result<crate::SharedData> {
    let data = host.setup.shared_data.clone();
    let data = data.ok_or_else(|| Error::msg("failed setting value to shm (could not resolve namespace)"))?;
    if host.is_nginx() && key.contains(&b'/') {
        return Err(Error::msg("a key with a slash names another memory"));
    }
    Ok(data)
}

/// Functions that nginx has in name only.
fn link_rest(linker: &mut Linker<Host>, profile: Profile) -> Result<()> {
    linker.func_wrap("env", "proxy_done", move |mut guest: Guest<'_>| {
        if let Some(status) = enter(&mut guest, "proxy_done")? {
            return Ok(status);
        }
        let host = guest.data_mut();
        match profile {
            Profile::Envoy if host.ending.contains(&host.effective) => {
                host.may_be_deleted.insert(host.effective);
                Ok(OK)
            }
            Profile::Envoy => Ok(NOT_FOUND),
            Profile::NgxWasm => Err(Error::msg("proxy_done: not yet implemented")),
        }
    })?;
    linker.func_wrap(
        "env",
        "proxy_call_foreign_function",
        move |mut guest: Guest<'_>,
              name: u32,
              name_size: u32,
              arguments: u32,
              length: u32,
              at: u32,
              size: u32| {
            if let Some(status) = enter(&mut guest, "proxy_call_foreign_function")? {
                return Ok(status);
            }
            if profile == Profile::NgxWasm {
                return Err(Error::msg("proxy_call_foreign_function: not yet implemented"));
            }
            let name = text(read(&mut guest, name, name_size)?);
            let verifier = guest.data().setup.verifier;
            match verifier.filter(|_| name == "verify_signature") {
                None => Ok(NOT_FOUND),
                Some(verifier) => {
                    let arguments = read(&mut guest, arguments, length)?;
                    verifier(&arguments)
                        .map_or(Ok(BAD_ARGUMENT), |result| give(&mut guest, &result, at, size))
                }
            }
        },
    )?;
    Ok(())
}
