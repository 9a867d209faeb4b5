//! The outcome of a request: it is admitted, or answered here.

use std::rc::Rc;

use super::abi::{self, Action, Map};
use super::nginx;
use super::request::{Pending, Turn};
use super::root::{Host, Plugin};
use crate::audit::Decision;
use crate::filter::Answer;
use crate::filter::admission::Admission;
use crate::http::Response;

/// Carries out the decision about a request.
pub fn finish(plugin: &Rc<Plugin>, pending: &Rc<Pending>, answer: Answer, turn: Turn) -> Action {
    match answer {
        Answer::Continue(edits) => let_through(plugin, pending, edits, turn),
        Answer::Respond(response, decision) => {
            respond(plugin, pending, response, &decision);
            Action::Pause
        }
    }
}

/// Admits a request.
fn let_through(plugin: &Rc<Plugin>, pending: &Rc<Pending>, edits: Admission, turn: Turn) -> Action {
    let removed = edits.remove().iter().map(|name| abi::remove_field(Map::Request, name));
    let set = edits.set().iter().map(|(name, value)| abi::set_field(Map::Request, name, value));
    if !removed.chain(set).all(|done| done.is_ok()) {
        refuse(plugin, pending, 500, "bug");
        return Action::Pause;
    }
    tell_access_log(plugin, &edits.decision);
    if edits.changes_the_response() {
        *pending.edits.borrow_mut() = Some(edits);
    }
    pending.is_decided.set(true);
    pending.is_admitted.set(true);
    if plugin.host() == Host::Nginx {
        nginx::admit(pending.lock.take());
    }
    if turn != Turn::Own && abi::continue_request().is_err() {
        refuse(plugin, pending, 500, "bug");
        return Action::Pause;
    }
    Action::Continue
}

/// Refuses a request before there is a filter: the answer has only the code.
pub fn refuse(plugin: &Rc<Plugin>, pending: &Rc<Pending>, status: u16, code: &'static str) {
    let response = Response::new(status)
        .header("x-vestibule-code", code)
        .header("content-type", "text/plain")
        .body(format!("{code}\n"));
    respond(plugin, pending, response, &Decision { code, ..Decision::default() });
}

/// Answers a request here.
fn respond(plugin: &Rc<Plugin>, pending: &Rc<Pending>, response: Response, decision: &Decision) {
    tell_access_log(plugin, decision);
    // One host keeps only the last of several cookies in a local response, but runs the response
    // phase for it: there they are added.
    let in_response_phase = |name: &str| plugin.host() == Host::Nginx && name == "set-cookie";
    let (later, now): (Vec<_>, Vec<_>) =
        response.headers.into_iter().partition(|(name, _)| in_response_phase(name));
    *pending.response.borrow_mut() = later;
    let headers: Vec<(&str, &str)> =
        now.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let loses_body = plugin.host() == Host::Nginx && pending.loses_body.get();
    let body = if pending.is_head.get() || loses_body { &[] } else { response.body.as_slice() };
    // If the host refuses this, the request stays undecided: every later callback refuses it again.
    let sent = abi::send_local_response(response.status, &headers, body);
    let sent = sent.or_else(|_| abi::send_local_response(500, &[], &[]));
    pending.is_decided.set(sent.is_ok());
}

/// `%FILTER_STATE(wasm.vestibule_reason:PLAIN)%` in Envoy's access log; `$vestibule_reason` in nginx's,
/// if its configuration declares the variable.
fn tell_access_log(plugin: &Rc<Plugin>, decision: &Decision) {
    match plugin.host() {
        Host::Nginx => nginx::set_variable("vestibule_reason", decision.code),
        Host::Envoy => {
            let _ = abi::set_property(&["vestibule_reason"], decision.code);
        }
    }
}
