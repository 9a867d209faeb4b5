//! Callbacks from the host, dispatched to their contexts.
//!
//! A host that calls out of order (an unknown context, an unexpected reply, a callback within a callback)
//! breaks nothing here: the module returns "pause", and a request that it would resume is refused.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::abi::{self, Action, Callbacks};
use super::callouts::InFlight;
use super::logger;
use super::request::RequestContext;
use super::root::Root;
use crate::numbered::Numbered;

thread_local! {
    static CONTEXTS: Contexts = Contexts::default();
}

/// The contexts that the host has made.
#[derive(Default)]
struct Contexts {
    roots: RefCell<Numbered<Rc<RefCell<Root>>>>,
    requests: RefCell<Numbered<Rc<RequestContext>>>,
    in_flight: Rc<InFlight>,
    /// The context that was created by the last call. See [`Dispatch::reply`].
    newest: Cell<Option<u32>>,
}

impl Contexts {
    fn root(&self, context: u32) -> Option<Rc<RefCell<Root>>> {
        self.newest.set(None);
        self.roots.borrow().get(context.into()).cloned()
    }

    fn request(&self, context: u32) -> Option<Rc<RequestContext>> {
        self.newest.set(None);
        self.requests.borrow().get(context.into()).cloned()
    }

    fn create(&self, context: u32, root: u32) {
        if root == 0 {
            let root = Root::new(context, Rc::clone(&self.in_flight));
            self.roots.borrow_mut().insert(context.into(), Rc::new(RefCell::new(root)));
            return;
        }
        let plugin = self.root(root).and_then(|root| root.try_borrow().ok().map(|root| root.plugin()));
        if let Some(plugin) = plugin {
            self.requests.borrow_mut().insert(context.into(), Rc::new(RequestContext::new(context, plugin)));
            self.newest.set(Some(context));
        }
    }

    fn delete(&self, context: u32) {
        let gone = self.requests.borrow_mut().remove(context.into());
        if let Some(gone) = gone {
            gone.on_delete();
        }
        if self.roots.borrow_mut().remove(context.into()).is_some() {
            self.in_flight.forget(context);
        }
    }
}

/// The result of a callback of a request. An unknown one is refused.
fn of_request(context: u32, decide: impl FnOnce(&RequestContext) -> Action) -> Action {
    let Some(request) = CONTEXTS.with(|contexts| contexts.request(context)) else {
        let _ = abi::send_local_response(500, &[("x-vestibule-code", "bug")], b"");
        return Action::Pause;
    };
    decide(&request)
}

/// Permits the deletion of a root context for which the host waits. If that fails, the next tick tries again.
fn delete_if_finished(context: u32, root: &mut Root) {
    if root.is_finished() && abi::act_for(context).and_then(|()| abi::may_delete()).is_ok() {
        root.on_finished();
    }
}

/// The callbacks of the module.
struct Dispatch;

abi::export!(Dispatch);

impl Callbacks for Dispatch {
    fn start() {
        logger::install();
    }

    fn create_context(context: u32, root: u32) {
        CONTEXTS.with(|contexts| contexts.create(context, root));
    }

    fn configure(context: u32, size: usize) -> bool {
        let root = CONTEXTS.with(|contexts| contexts.root(context));
        root.is_some_and(|root| root.try_borrow_mut().is_ok_and(|mut root| root.on_configure(size)))
    }

    fn tick(context: u32) {
        let root = CONTEXTS.with(|contexts| contexts.root(context));
        if let Some(Ok(mut root)) = root.as_ref().map(|root| root.try_borrow_mut()) {
            root.on_tick();
            delete_if_finished(context, &mut root);
        }
    }

    fn request_headers(context: u32, count: usize, is_end: bool) -> Action {
        of_request(context, |request| request.on_request_headers(count, is_end))
    }

    fn request_body(context: u32, size: usize, is_end: bool) -> Action {
        of_request(context, |request| request.on_request_body(size, is_end))
    }

    fn request_trailers(context: u32) -> Action {
        of_request(context, RequestContext::on_request_trailers)
    }

    fn response_headers(context: u32, count: usize) {
        let request = CONTEXTS.with(|contexts| contexts.request(context));
        if let Some(request) = request {
            request.on_response_headers(count);
        }
    }

    /// After a trap, the replies to callouts of the trapped module go to its successor, which never sent them.
    /// Immediately before, nginx creates the context of the waiting request, and resumes the request after this
    /// call unless it is answered. Other unexpected replies are ignored.
    fn reply(token: u32, headers: usize, size: usize) {
        let newest = CONTEXTS.with(|contexts| contexts.newest.take());
        let sent = CONTEXTS.with(|contexts| contexts.in_flight.take(token));
        let sent_by = sent.as_ref().map(|sent| sent.context_id);
        let Some(context) = sent_by.or(newest) else { return };
        if let Some(request) = CONTEXTS.with(|contexts| contexts.request(context)) {
            // Envoy acts for the root context here. If switching fails, every call for the request fails.
            let _ = abi::act_for(context);
            return request.on_reply(token, sent.as_ref(), headers, size);
        }
        let root = CONTEXTS.with(|contexts| contexts.root(context));
        if let (Some(sent), Some(Ok(mut root))) = (sent, root.as_ref().map(|root| root.try_borrow_mut())) {
            root.on_reply(&sent, headers, size);
            delete_if_finished(context, &mut root);
        }
    }

    fn done(context: u32) -> bool {
        let root = CONTEXTS.with(|contexts| contexts.root(context));
        root.is_none_or(|root| root.try_borrow_mut().map_or(true, |mut root| root.on_done()))
    }

    fn delete(context: u32) {
        CONTEXTS.with(|contexts| contexts.delete(context));
    }
}
