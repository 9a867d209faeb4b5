//! Callbacks from the host, dispatched to their contexts.
//!
//! A host that calls out of order (an unknown context, an unexpected reply, a callback within a callback)
//! breaks nothing here: it is told to pause, and a request that it would resume is refused.
#![allow(unsafe_code)] // `no_mangle`: the host finds these functions by their names.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::abi::{self, Action, Level};
use super::request::Handling;
use super::root::{self, Root};
use crate::numbered::Numbered;

thread_local! {
    static CONTEXTS: Contexts = Contexts::default();
}

/// The contexts that the host has made.
#[derive(Default)]
struct Contexts {
    roots: RefCell<Numbered<Rc<RefCell<Root>>>>,
    requests: RefCell<Numbered<Rc<Handling>>>,
    /// The owners of callouts in flight. One host names the root context with every reply.
    callouts: RefCell<Numbered<u32>>,
    /// The context that was created by the last call. See [`proxy_on_http_call_response`].
    newest: Cell<Option<u32>>,
}

impl Contexts {
    fn root(&self, context: u32) -> Option<Rc<RefCell<Root>>> {
        self.newest.set(None);
        self.roots.borrow().get(context.into()).cloned()
    }

    fn request(&self, context: u32) -> Option<Rc<Handling>> {
        self.newest.set(None);
        self.requests.borrow().get(context.into()).cloned()
    }

    fn create(&self, context: u32, root: u32) {
        if root == 0 {
            let root = Rc::new(RefCell::new(Root::new(context)));
            self.roots.borrow_mut().insert(context.into(), root);
            return;
        }
        let plugin = self.root(root).and_then(|root| root.try_borrow().ok().map(|root| root.plugin()));
        if let Some(plugin) = plugin {
            self.requests.borrow_mut().insert(context.into(), Rc::new(Handling::new(context, plugin)));
            self.newest.set(Some(context));
        }
    }

    fn delete(&self, context: u32) {
        let gone = self.requests.borrow_mut().remove(context.into());
        if let Some(token) = gone.and_then(|gone| gone.on_delete()) {
            self.callouts.borrow_mut().remove(token.into());
        }
        self.roots.borrow_mut().remove(context.into());
    }
}

/// Remembers the owner of this callout, for its reply.
pub fn sent(token: u32, context: u32) {
    CONTEXTS.with(|contexts| contexts.callouts.borrow_mut().insert(token.into(), context));
}

/// The result of a callback of a request. An unknown one is refused.
fn of_request(context: u32, decide: impl FnOnce(&Handling) -> Action) -> u32 {
    let Some(request) = CONTEXTS.with(|contexts| contexts.request(context)) else {
        let _ = abi::send_local_response(500, &[("x-vestibule-code", "bug")], b"");
        return Action::Pause as u32;
    };
    decide(&request) as u32
}

unsafe extern "C" {
    /// What the C library and the standard library need before anything else runs.
    fn __wasm_call_ctors();
}

/// The first call.
#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    // Sound: the host calls this once, before anything else.
    unsafe { __wasm_call_ctors() };
    let (level, complaint) = root::log_level();
    let _ = log::set_logger(&Logger);
    log::set_max_level(level);
    std::panic::set_hook(Box::new(|panic| abi::log(Level::Critical, &panic.to_string())));
    if let Some(complaint) = complaint {
        log::warn!("{complaint}");
    }
}

/// Names the version of the ABI.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// Makes a context: of a request, or a root context if it has none itself.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    CONTEXTS.with(|contexts| contexts.create(context, root));
}

/// The VM starts. It has no configuration of its own.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_vm_start(_context: u32, _size: usize) -> u32 {
    1
}

/// Hands over the configuration. 0 refuses it.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(context: u32, size: usize) -> u32 {
    let root = CONTEXTS.with(|contexts| contexts.root(context));
    let is_accepted =
        root.is_some_and(|root| root.try_borrow_mut().is_ok_and(|mut root| root.on_configure(size)));
    u32::from(is_accepted)
}

/// The time of background work.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_tick(context: u32) {
    let root = CONTEXTS.with(|contexts| contexts.root(context));
    if let Some(Ok(mut root)) = root.as_ref().map(|root| root.try_borrow_mut()) {
        root.on_tick();
        delete_if_finished(context, &mut root);
    }
}

/// The header fields of a request are there.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(context: u32, count: usize, is_end: u32) -> u32 {
    of_request(context, |request| request.on_request_headers(count, is_end != 0))
}

/// This much of the body of a request is there.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_body(context: u32, size: usize, is_end: u32) -> u32 {
    of_request(context, |request| request.on_request_body(size, is_end != 0))
}

/// The trailers of a request are there.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_trailers(context: u32, _count: usize) -> u32 {
    of_request(context, Handling::on_request_trailers)
}

/// The header fields of the response have arrived: of the upstream's, or of ours.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_headers(context: u32, count: usize, _is_end: u32) -> u32 {
    let request = CONTEXTS.with(|contexts| contexts.request(context));
    if let Some(request) = request {
        request.on_response_headers(count);
    }
    Action::Continue as u32
}

/// The body of the response passes. One host calls this whether it is there or not.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_body(_context: u32, _size: usize, _is_end: u32) -> u32 {
    Action::Continue as u32
}

/// The reply to a callout has arrived, or there will be none.
///
/// After a trap, the replies to callouts of the trapped module go to its successor, which never sent them.
/// Immediately before, nginx creates the context of the waiting request, and resumes the request after this
/// call unless it is answered. Other unexpected replies are ignored.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_http_call_response(
    _context: u32,
    token: u32,
    headers: usize,
    size: usize,
    _trailers: usize,
) {
    let newest = CONTEXTS.with(|contexts| contexts.newest.take());
    let asked_by = CONTEXTS.with(|contexts| contexts.callouts.borrow_mut().remove(token.into()));
    let Some(context) = asked_by.or(newest) else { return };
    if let Some(request) = CONTEXTS.with(|contexts| contexts.request(context)) {
        // Envoy acts for the root context here. If switching fails, every call for the request fails.
        let _ = abi::act_for(context);
        return request.on_reply(token, headers, size);
    }
    let root = CONTEXTS.with(|contexts| contexts.root(context));
    if let Some(Ok(mut root)) = root.as_ref().map(|root| root.try_borrow_mut()) {
        root.on_reply(token, headers, size);
        delete_if_finished(context, &mut root);
    }
}

fn delete_if_finished(context: u32, root: &mut Root) {
    if root.is_finished() && abi::act_for(context).is_ok() {
        let _ = abi::may_delete();
    }
}

/// A request is over, or a configuration is replaced. 0: postpone the deletion of the context.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_done(context: u32) -> u32 {
    let root = CONTEXTS.with(|contexts| contexts.root(context));
    let may_go = root.is_none_or(|root| root.try_borrow_mut().map_or(true, |mut root| root.on_done()));
    u32::from(may_go)
}

/// A request is written into the access log.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_log(_context: u32) {}

/// A context goes.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_delete(context: u32) {
    CONTEXTS.with(|contexts| contexts.delete(context));
}

/// The host's log.
struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        abi::log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}
