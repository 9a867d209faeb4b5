//! The built module: loaded, compiled once, and kept compiled for the next test.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs};

use wasmtime::{Config, Engine, Result};

/// The module, ready to be started.
#[derive(Clone)]
pub struct Module {
    pub(crate) engine: Engine,
    pub(crate) compiled: wasmtime::Module,
    /// The file as it was built.
    pub size: usize,
}

/// What a module for ABI 0.2.1 may import from `env` on both hosts. Some of these functions trap on
/// ngx_wasm_module, see [`IN_NAME_ONLY_ON_NGX_WASM`].
pub const OFFERED_BY_BOTH: &[&str] = &[
    "proxy_add_header_map_value",
    "proxy_call_foreign_function",
    "proxy_close_stream",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_done",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_get_log_level",
    "proxy_get_metric",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_resolve_shared_queue",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_header_map_pairs",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

/// The functions among them that trap on ngx_wasm_module.
pub const IN_NAME_ONLY_ON_NGX_WASM: &[&str] = &[
    "proxy_call_foreign_function",
    "proxy_close_stream",
    "proxy_done",
    "proxy_get_log_level",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_resolve_shared_queue",
];

/// What a module may import from `wasi_snapshot_preview1` on both hosts. Envoy and ngx_wasm_module have a few
/// more, none of which has an effect.
pub const WASI_OFFERED_BY_BOTH: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "random_get",
];

impl Module {
    /// The module that `VESTIBULE_WASM` names. Compiled once per process, and once per build.
    ///
    /// # Panics
    /// There is none: `make module` builds it and sets the variable.
    pub fn built() -> &'static Module {
        static BUILT: OnceLock<Module> = OnceLock::new();
        BUILT.get_or_init(|| {
            let path = env::var_os("VESTIBULE_WASM").map(PathBuf::from);
            let path = path.expect("VESTIBULE_WASM names no module: run `make module`");
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            Module::load(&bytes, &path.with_extension("cwasm"))
                .unwrap_or_else(|error| panic!("{}: {error:?}", path.display()))
        })
    }

    fn load(bytes: &[u8], kept: &Path) -> Result<Module> {
        let mut config = Config::new();
        config.consume_fuel(true);
        let engine = Engine::new(&config)?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let hash = hasher.finish().to_le_bytes();
        let compiled = match compiled_before(&engine, kept, hash) {
            Some(compiled) => compiled,
            None => {
                let compiled = wasmtime::Module::new(&engine, bytes)?;
                keep(&compiled, kept, hash)?;
                compiled
            }
        };
        Ok(Module { engine, compiled, size: bytes.len() })
    }

    /// The imports of the module: module and name.
    pub fn imports(&self) -> BTreeSet<(String, String)> {
        self.compiled.imports().map(|import| (import.module().to_owned(), import.name().to_owned())).collect()
    }

    /// The exports of the module.
    pub fn exports(&self) -> BTreeSet<String> {
        self.compiled.exports().map(|export| export.name().to_owned()).collect()
    }
}

/// Compiling takes seconds, and every test binary needs the result: it is stored beside the module, after a
/// hash of its input.
fn keep(compiled: &wasmtime::Module, kept: &Path, hash: [u8; 8]) -> Result<()> {
    let unfinished = kept.with_extension(format!("cwasm.{}", std::process::id()));
    fs::write(&unfinished, [hash.as_slice(), &compiled.serialize()?].concat())?;
    Ok(fs::rename(&unfinished, kept)?)
}

fn compiled_before(engine: &Engine, kept: &Path, hash: [u8; 8]) -> Option<wasmtime::Module> {
    let bytes = fs::read(kept).ok()?;
    let (made_from, compiled) = bytes.split_first_chunk::<8>()?;
    // Sound as long as only `keep` writes files of this name.
    #[allow(unsafe_code)]
    let compiled = (*made_from == hash).then(|| unsafe { wasmtime::Module::deserialize(engine, compiled) });
    compiled?.ok()
}
