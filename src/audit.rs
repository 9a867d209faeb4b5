//! One decision, one line: who, what, and why.

use std::fmt::Write;

use crate::error::shown;
use crate::http::Request;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// It goes on to the upstream.
    Admitted,
    /// A page of ours, or a redirect, as it was asked for.
    Answered,
    /// It gets a no.
    #[default]
    Refused,
}

/// What was decided about a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// What becomes of it.
    pub outcome: Outcome,
    /// Stable code: why.
    pub code: &'static str,
    /// The rule that decided, if the request came as far as a rule.
    pub rule: String,
    /// The provider that vouches for the identity.
    pub provider: String,
    /// The subject of the identity.
    pub subject: String,
    /// Stands in the answer and in the log line, so that one finds the other. Only of refusals.
    pub reference: String,
}

/// Writes the line of a request that goes on. Off unless the log level is `debug`: the proxy's own
/// access log has one line per request already.
pub fn admitted(request: &Request, decision: &Decision) {
    if log::log_enabled!(log::Level::Debug) {
        log::debug!("{}", line("admitted", request, decision));
    }
}

/// Writes the line of an answer of our own; `detail` is the error in words.
pub fn answered(request: &Request, decision: &Decision, status: u16, detail: &str) {
    if log::log_enabled!(log::Level::Info) {
        let mut line = line("answered", request, decision);
        let _ = write!(line, " status={status}");
        if !detail.is_empty() {
            let _ = write!(line, ": {detail}");
        }
        log::info!("{line}");
    }
}

/// The query is left out: it carries codes and states.
fn line(what: &str, request: &Request, decision: &Decision) -> String {
    let mut line = format!("{what} code={}", decision.code);
    for (name, value) in [("rule", &decision.rule), ("provider", &decision.provider)] {
        if !value.is_empty() {
            let _ = write!(line, " {name}={value}");
        }
    }
    if !decision.subject.is_empty() {
        let _ = write!(line, " sub={}", quoted(&decision.subject));
    }
    if !decision.reference.is_empty() {
        let _ = write!(line, " reference={}", decision.reference);
    }
    let _ = write!(
        line,
        " method={} host={} path={}",
        quoted(&request.method),
        quoted(&request.authority),
        quoted(request.path_only())
    );
    line
}

/// A value from outside cannot end its own quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}
