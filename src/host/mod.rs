//! The only place that knows Proxy-Wasm: callbacks in, host calls out, no decisions.
//!
//! Two hosts are turned into one contract here. Envoy does what the specification says; Kong's
//! runtime (ngx_wasm_module) differs in ways that matter for security, each noted where it is met.
//! `kong/README.md` tells them to whoever runs it.

mod body;
mod callouts;
mod metrics;
mod nginx;
mod request;
mod root;
mod verify;
mod workers;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(root::log_level());
    proxy_wasm::set_root_context(|context_id| Box::new(root::Root::new(context_id)));
}}
