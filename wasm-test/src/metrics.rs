//! Counters and gauges.

use wasmtime::{Linker, Result};

use crate::abi::{Guest, INTERNAL_FAILURE, NOT_FOUND, OK, read, text, write, write_number};
use crate::host::Host;

/// Links the functions of metrics.
pub(crate) fn link(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |mut guest: Guest<'_>, kind: u32, name: u32, name_size: u32, at: u32| {
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
        if let Some(metrics) = guest.data().setup.metrics {
            (metrics.set)(id, value);
            return OK;
        }
        match guest.data_mut().metrics.get_mut(id as usize) {
            Some((_, last)) => {
                *last = value;
                OK
            }
            None => NOT_FOUND,
        }
    })?;
    linker.func_wrap("env", "proxy_increment_metric", |mut guest: Guest<'_>, id: u32, by: i64| {
        if let Some(metrics) = guest.data().setup.metrics {
            (metrics.add)(id, by.unsigned_abs());
            return OK;
        }
        match guest.data_mut().metrics.get_mut(id as usize) {
            Some((_, last)) => {
                *last = last.wrapping_add_signed(by);
                OK
            }
            None => NOT_FOUND,
        }
    })?;
    Ok(())
}
