//! The few functions of WASI that the module uses.

use wasmtime::{Caller, Linker, Result};

use crate::abi::{read, write, write_number};
use crate::host::Host;

/// `ERRNO_SUCCESS` and `ERRNO_IO` of WASI preview 1.
const SUCCESS: u32 = 0;
const IO: u32 = 29;

pub(crate) fn link(linker: &mut Linker<Host>) -> Result<()> {
    let wasi = "wasi_snapshot_preview1";
    linker.func_wrap(wasi, "random_get", |mut caller: Caller<'_, Host>, at: u32, size: u32| {
        if !caller.data().setup.has_randomness {
            return Ok(IO);
        }
        let mut bytes = vec![0; size as usize];
        // Envoy's randomness is good, but tests must repeat: here both hosts are equally bad.
        caller.data_mut().random.fill(&mut bytes);
        write(&mut caller, at, &bytes)?;
        Ok(SUCCESS)
    })?;
    linker.func_wrap(wasi, "environ_sizes_get", |mut caller: Caller<'_, Host>, count: u32, size: u32| {
        let texts = environment(caller.data());
        write_number(&mut caller, count, texts.len() as u32)?;
        write_number(&mut caller, size, texts.iter().map(Vec::len).sum::<usize>() as u32)?;
        Ok(SUCCESS)
    })?;
    linker.func_wrap(wasi, "environ_get", |mut caller: Caller<'_, Host>, list: u32, texts_at: u32| {
        let (mut list, mut at) = (list, texts_at);
        for text in environment(caller.data()) {
            write_number(&mut caller, list, at)?;
            write(&mut caller, at, &text)?;
            list += 4;
            at += text.len() as u32;
        }
        Ok(SUCCESS)
    })?;
    linker.func_wrap(
        wasi,
        "fd_write",
        |mut caller: Caller<'_, Host>, _descriptor: u32, vectors: u32, count: u32, written: u32| {
            let mut size = 0;
            for index in 0..count {
                let vector = read(&mut caller, vectors + 8 * index, 8)?;
                let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|n| vector[at + n]));
                let text = read(&mut caller, number(0), number(4))?;
                log::error!(target: "module::stderr", "{}", String::from_utf8_lossy(&text));
                size += number(4);
            }
            write_number(&mut caller, written, size)?;
            Ok(SUCCESS)
        },
    )?;
    linker.func_wrap(wasi, "proc_exit", |code: u32| -> Result<()> {
        Err(wasmtime::Error::msg(format!("proc_exit({code})")))
    })?;
    Ok(())
}

/// `NAME=value` with a zero byte each.
fn environment(host: &Host) -> Vec<Vec<u8>> {
    host.setup.environment.iter().map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}
