//! Counters and gauges. nginx here has no memory for them, and cannot report that.

use wasmtime::{Error, Linker, Result};

use crate::abi::{Guest, INTERNAL_FAILURE, NOT_FOUND, OK, enter, read, text, write, write_number};
use crate::host::Host;

/// Links the functions of metrics.
pub(crate) fn link(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |mut guest: Guest<'_>, kind: u32, name: u32, name_size: u32, at: u32| {
            if let Some(status) = count(&mut guest, "proxy_define_metric")? {
                return Ok(status);
            }
            let name = text(read(&mut guest, name, name_size)?);
            if let Some(metrics) = guest.data().setup.metrics {
                let Some(id) = (metrics.define)(kind, &name) else { return Ok(INTERNAL_FAILURE) };
                write_number(&mut guest, at, id)?;
                return Ok(OK);
            }
            let metrics = &mut guest.data_mut().metrics;
            let known = metrics.iter().position(|(known, _)| *known == name);
            let id = known.unwrap_or(metrics.len());
            if known.is_none() {
                metrics.push((name, 0));
            }
            write_number(&mut guest, at, id as u32)?;
            Ok(OK)
        },
    )?;
    linker.func_wrap("env", "proxy_get_metric", |mut guest: Guest<'_>, id: u32, at: u32| {
        if let Some(status) = count(&mut guest, "proxy_get_metric")? {
            return Ok(status);
        }
        let value = guest.data().metrics.get(id as usize).map(|(_, value)| *value);
        match value {
            Some(value) => {
                write(&mut guest, at, &value.to_le_bytes())?;
                Ok(OK)
            }
            None => Ok(NOT_FOUND),
        }
    })?;
    linker.func_wrap("env", "proxy_record_metric", |mut guest: Guest<'_>, id: u32, value: u64| {
        if let Some(status) = count(&mut guest, "proxy_record_metric")? {
            return Ok(status);
        }
        if let Some(metrics) = guest.data().setup.metrics {
            (metrics.set)(id, value);
            return Ok(OK);
        }
        match guest.data_mut().metrics.get_mut(id as usize) {
            Some((_, last)) => {
                *last = value;
                Ok::<u32, Error>(OK)
            }
            None => Ok(NOT_FOUND),
        }
    })?;
    linker.func_wrap("env", "proxy_increment_metric", |mut guest: Guest<'_>, id: u32, by: i64| {
        if let Some(status) = count(&mut guest, "proxy_increment_metric")? {
            return Ok(status);
        }
        if let Some(metrics) = guest.data().setup.metrics {
            (metrics.add)(id, by.unsigned_abs());
            return Ok(OK);
        }
        match guest.data_mut().metrics.get_mut(id as usize) {
            Some((_, last)) => {
                *last = last.wrapping_add_signed(by);
                Ok::<u32, Error>(OK)
            }
            None => Ok(NOT_FOUND),
        }
    })?;
    Ok(())
}

/// nginx ends the module when its memory for metrics is full, and does not report whether it is.
fn count(guest: &mut Guest<'_>, function: &'static str) -> Result<Option<u32>> {
    let status = enter(guest, function)?;
    if guest.data().is_nginx() {
        return Err(Error::msg("could not allocate memory for a metric"));
    }
    Ok(status)
}
