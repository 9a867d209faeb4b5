//! The imports, the exports and the size of the module.

use wasm_test::{IN_NAME_ONLY_ON_NGX_WASM, Module, OFFERED_BY_BOTH, WASI_OFFERED_BY_BOTH};

use crate::site::Site;
use crate::world::Proxy;

/// Envoy compiles the whole module before the first request, a millisecond for each kilobyte: the limit is
/// the current size and a tenth. Bytes.
const SIZE_LIMIT: usize = 1_600_000;

/// How far [`SIZE_LIMIT`] may be above the size: a budget that is never reached tests nothing. Bytes.
const SLACK_LIMIT: usize = 250_000;

#[test]
fn the_module_imports_only_functions_of_both_hosts() {
    for (from, name) in Module::built().imports() {
        let offered = match from.as_str() {
            "env" => OFFERED_BY_BOTH,
            "wasi_snapshot_preview1" => WASI_OFFERED_BY_BOTH,
            other => panic!("{other}.{name}: no host offers anything by this name"),
        };
        assert!(
            offered.contains(&name.as_str()),
            "{from}.{name} is not offered by both hosts: nginx or Envoy would not start. Which dependency brings it?"
        );
    }
}

#[test]
fn functions_that_trap_on_nginx_are_never_called() {
    // One of them is imported for Envoy, so the calls are counted.
    let mut site = Site::logged_in(Proxy::Nginx);
    site.world.get("/oidc/logout").is(303, "logged_out");
    site.world.after(4_000).tick();
    site.world.log_in("/orders").is(302, "login_completed");
    let worker = site.worker.borrow();
    for name in IN_NAME_ONLY_ON_NGX_WASM {
        assert_eq!(worker.calls(name), 0, "{name}");
    }
    // The simulated host has no others: any other call would trap.
    assert_eq!(worker.traps(), 0);
}

#[test]
fn the_abi_version_is_known_to_both_hosts() {
    let exports = Module::built().exports();
    for name in [
        "_initialize",
        "memory",
        "proxy_abi_version_0_2_1",
        "proxy_on_configure",
        "proxy_on_context_create",
        // nginx calls these without checking that they exist.
        "proxy_on_delete",
        "proxy_on_done",
        "proxy_on_http_call_response",
        "proxy_on_log",
        "proxy_on_memory_allocate",
        "proxy_on_request_body",
        "proxy_on_request_headers",
        "proxy_on_request_trailers",
        "proxy_on_response_body",
        "proxy_on_response_headers",
        "proxy_on_tick",
        "proxy_on_vm_start",
    ] {
        assert!(exports.contains(name), "{name}");
    }
    let callbacks = exports.iter().filter(|name| name.starts_with("proxy_on_")).count();
    assert_eq!(callbacks, 14, "whatever is exported is called: {exports:?}");
}

#[test]
fn the_module_stays_within_its_size_limit() {
    let size = Module::built().size;
    assert!(
        size <= SIZE_LIMIT,
        "the module has {size} bytes, its budget is {SIZE_LIMIT}. Look for the dependency that grew \
         (`cargo tree`, `cargo bloat`), build with fewer features, or say in the commit why start-up may \
         take longer and raise the budget in {}.",
        file!()
    );
    assert!(
        size + SLACK_LIMIT >= SIZE_LIMIT,
        "the module has only {size} bytes: lower its budget in {}",
        file!()
    );
}
