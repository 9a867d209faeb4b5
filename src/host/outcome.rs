//! The outcome of a request: it is admitted, or answered here.

use super::abi::{self, Action, Map};
use super::kind::Host;
use super::nginx;
use super::pending::{Pending, Turn};
use crate::audit::Decision;
use crate::filter::Answer;
use crate::filter::admission::Admission;
use crate::http::Response;

/// Carries out the decision about a request.
pub fn finish(pending: &Pending, answer: Answer, turn: Turn) -> Action {
    match answer {
        Answer::Continue(edits) => let_through(pending, edits, turn),
        Answer::Respond(response, decision) => {
            respond(pending, response, &decision);
            Action::Pause
        }
    }
}

/// Admits a request.
fn let_through(pending: &Pending, edits: Admission, turn: Turn) -> Action {
    let removed = edits.remove().iter().map(|name| abi::remove_field(Map::Request, name));
    let set = edits.set().map(|(name, value)| abi::set_field(Map::Request, name, value));
    if !removed.chain(set).all(|done| done.is_ok()) {
        refuse(pending, 500, "bug");
        return Action::Pause;
    }
    set_reason_for_access_log(&edits.decision);
    if edits.changes_the_response() {
        *pending.edits.borrow_mut() = Some(edits);
    }
    pending.is_decided.set(true);
    pending.is_admitted.set(true);
    if Host::known() == Host::Nginx {
        nginx::admit(pending.lock.take());
    }
    if turn != Turn::Own && abi::continue_request().is_err() {
        refuse(pending, 500, "bug");
        return Action::Pause;
    }
    Action::Continue
}

/// Refuses a request before there is a filter: the answer has only the code.
pub fn refuse(pending: &Pending, status: u16, code: &'static str) {
    let response = Response::new(status)
        .header("x-vestibule-code", code)
        .header("content-type", "text/plain")
        .body(format!("{code}\n"));
    respond(pending, response, &Decision { code, ..Decision::default() });
}

/// Answers a request here.
fn respond(pending: &Pending, response: Response, decision: &Decision) {
    set_reason_for_access_log(decision);
    // One host keeps only the last of several cookies in a local response, but runs the response
    // phase for it: there they are added.
    let in_response_phase = |name: &str| Host::known() == Host::Nginx && name == "set-cookie";
    let (later, now): (Vec<_>, Vec<_>) =
        response.headers.into_iter().partition(|(name, _)| in_response_phase(name));
    *pending.response.borrow_mut() = later;
    let headers: Vec<(&str, &str)> =
        now.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let loses_body = Host::known() == Host::Nginx && pending.loses_body.get();
    let body = if pending.is_head.get() || loses_body { &[] } else { response.body.as_slice() };
    // If the host refuses this, the request stays undecided: every later callback refuses it again.
    let sent = abi::send_local_response(response.status, &headers, body);
    let sent = sent.or_else(|_| abi::send_local_response(500, &[], &[]));
    pending.is_decided.set(sent.is_ok());
}

/// `%FILTER_STATE(wasm.vestibule_reason:PLAIN)%` in Envoy's access log; `$vestibule_reason` in nginx's,
/// if its configuration declares the variable.
fn set_reason_for_access_log(decision: &Decision) {
    match Host::known() {
        Host::Nginx => nginx::set_variable("vestibule_reason", decision.code),
        Host::Envoy => {
            let _ = abi::set_property(&["vestibule_reason"], decision.code);
        }
    }
}
