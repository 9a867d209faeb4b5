// A host that lacks one function that the module imports does not load it at all. Envoy has those of
// the ABI; this is what ngx_wasm_module has, in every version that is supported.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

const NGX_WASM_MODULE = {
  env: [
    'proxy_add_header_map_value', 'proxy_call_foreign_function', 'proxy_clear_route_cache', 'proxy_close_stream',
    'proxy_continue_stream', 'proxy_define_metric', 'proxy_dequeue_shared_queue', 'proxy_done',
    'proxy_enqueue_shared_queue', 'proxy_get_buffer_bytes', 'proxy_get_current_time_nanoseconds',
    'proxy_get_header_map_pairs', 'proxy_get_header_map_value', 'proxy_get_log_level', 'proxy_get_metric',
    'proxy_get_property', 'proxy_get_shared_data', 'proxy_get_status', 'proxy_grpc_call', 'proxy_grpc_cancel',
    'proxy_grpc_close', 'proxy_grpc_send', 'proxy_grpc_stream', 'proxy_http_call', 'proxy_increment_metric',
    'proxy_log', 'proxy_record_metric', 'proxy_register_shared_queue', 'proxy_remove_header_map_value',
    'proxy_replace_header_map_value', 'proxy_resolve_shared_queue', 'proxy_send_local_response',
    'proxy_set_buffer_bytes', 'proxy_set_effective_context', 'proxy_set_header_map_pairs', 'proxy_set_property',
    'proxy_set_shared_data', 'proxy_set_tick_period_milliseconds',
  ],
  wasi_snapshot_preview1: [
    'args_get', 'args_sizes_get', 'clock_time_get', 'environ_get', 'environ_sizes_get', 'fd_close', 'fd_fdstat_get',
    'fd_prestat_dir_name', 'fd_prestat_get', 'fd_read', 'fd_seek', 'fd_write', 'proc_exit', 'random_get',
  ],
};

test('nginx and Kong have every function that the module imports', async () => {
  const module = new WebAssembly.Module(await readFile(new URL('../.build/vestibule.wasm', import.meta.url)));
  const imports = WebAssembly.Module.imports(module);
  assert.ok(imports.length > 20);
  const missing = imports.filter(({ module, name }) => !NGX_WASM_MODULE[module]?.includes(name));
  assert.deepEqual(missing, []);
  const exports = WebAssembly.Module.exports(module).map(({ name }) => name);
  // What these hosts look for when they load a filter.
  for (const name of ['proxy_abi_version_0_2_1', 'proxy_on_memory_allocate', 'proxy_on_context_create', 'proxy_on_vm_start', 'proxy_on_configure', 'memory']) {
    assert.ok(exports.includes(name), name);
  }
});
