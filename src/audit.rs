//! One log line per decision: who, what, and why. Unauthenticated clients cannot fill the log: the lines
//! about them are limited per code and time, and the rest is counted.

use std::cell::RefCell;
use std::fmt::Write;

use log::Level;

use crate::http::Request;
use crate::oidc::claims::SUBJECT_LIMIT;
use crate::text::{SharedText, shown, shown_to};
use crate::time::{Seconds, Timestamp};

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// It goes on to the upstream.
    Admitted,
    /// A response of an endpoint, or a redirect, as requested.
    Answered,
    /// It is refused.
    #[default]
    Refused,
}

impl Outcome {
    /// As in the names of metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Outcome::Admitted => "admitted",
            Outcome::Answered => "answered",
            Outcome::Refused => "refused",
        }
    }
}

/// What was decided about a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// The outcome.
    pub outcome: Outcome,
    /// Stable code: why.
    pub code: &'static str,
    /// The rule that decided, if a rule was selected.
    pub rule: SharedText,
    /// The provider that vouches for the identity.
    pub provider: SharedText,
    /// The subject of the identity.
    pub subject: SharedText,
    /// The id of the session that came with the request or began, if it could be read. Constant for its whole
    /// life.
    pub session: SharedText,
    /// A reference in the answer and in the log line, which connects the two. Only for refusals.
    pub reference: String,
    /// Whether the request was authenticated, by a person, a program or a provider: then its line is never
    /// omitted.
    pub authenticated: bool,
}

/// Writes the line of an admitted request. Only at log level `debug`: the proxy's own access log has one line
/// per request already.
pub fn admitted(request: &Request, decision: &Decision) {
    if log::log_enabled!(Level::Debug) {
        log::debug!("{}", line("admitted", request, decision));
    }
}

/// Log lines that clients can cause at any rate. One per worker.
pub struct Log {
    /// Lines about unauthenticated clients, per code.
    budget: Budget,
    windows: RefCell<Vec<Window>>,
}

/// How many lines may be written per period.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// 0: no limit.
    lines: u64,
    window: Seconds,
    /// The first word of the lines. Lines of one kind do not use up the budget of another.
    what: &'static str,
    /// Omissions are themselves logged.
    level: Level,
}

/// The period of one budget in use.
struct Window {
    code: &'static str,
    began_at: Timestamp,
    budget: Budget,
    written: u64,
    left_out: u64,
    /// The request that was omitted last.
    last: String,
}

/// Length of the period in which lines are counted.
const WINDOW: Seconds = Seconds(10);

/// Length of the period for warnings to the operator, which must appear, but not often.
const LONG_WINDOW: Seconds = Seconds(600);

impl Log {
    /// `lines` of one code in ten seconds; 0: no limit.
    pub fn new(lines: u64) -> Log {
        Log {
            budget: Budget { lines, window: WINDOW, what: "answered", level: Level::Info },
            windows: RefCell::default(),
        }
    }

    /// Writes the line of an answer of our own; `detail` is the error message.
    pub fn answered(
        &self,
        request: &Request,
        decision: &Decision,
        status: u16,
        detail: &str,
        now: Timestamp,
    ) {
        if !log::log_enabled!(Level::Info) {
            return;
        }
        let place = || place(request);
        if !decision.authenticated && !self.has_room(self.budget, decision.code, place, now) {
            return;
        }
        let mut line = line(self.budget.what, request, decision);
        let _ = write!(line, " status={status}");
        if !detail.is_empty() {
            let _ = write!(line, ": {detail}");
        }
        log::info!("{line}");
    }

    /// Writes the line of a refusal that does not happen: as that of the refusal, with another first word.
    /// Everybody who is admitted may cause one, so the number of lines is limited.
    pub fn noted(
        &self,
        what: &'static str,
        request: &Request,
        decision: &Decision,
        detail: &str,
        now: Timestamp,
    ) {
        let budget = Budget { what, ..self.budget };
        if log::log_enabled!(Level::Info) && self.has_room(budget, decision.code, || place(request), now) {
            log::info!("{}: {detail}", line(budget.what, request, decision));
        }
    }

    /// Writes a warning that any client can cause, once in ten minutes. `line` is without the code.
    pub fn warn(&self, code: &'static str, line: &str, now: Timestamp) {
        let budget = Budget { lines: 1, window: LONG_WINDOW, what: "warning", level: Level::Warn };
        if self.has_room(budget, code, String::new, now) {
            log::warn!("code={code} {line}");
        }
    }

    /// Logs how many lines were omitted, for periods that are over. Called at every tick.
    pub fn tick(&self, now: Timestamp) {
        self.windows.borrow_mut().retain_mut(|window| {
            let is_over = window.is_over(now);
            if is_over {
                window.close();
            }
            !is_over
        });
    }

    /// Whether a line of this code may be written. If not, it is counted.
    fn has_room(
        &self,
        budget: Budget,
        code: &'static str,
        shown_place: impl FnOnce() -> String,
        now: Timestamp,
    ) -> bool {
        if budget.lines == 0 {
            return true;
        }
        let mut windows = self.windows.borrow_mut();
        // A warning does not hide a refusal of the same code.
        let place =
            windows.iter().position(|window| window.code == code && window.budget.what == budget.what);
        let place = place.unwrap_or_else(|| {
            windows.push(Window::new(code, budget, now));
            windows.len().saturating_sub(1)
        });
        let Some(window) = windows.get_mut(place) else { return true };
        if window.is_over(now) {
            window.close();
            *window = Window::new(code, budget, now);
        }
        if window.written < budget.lines {
            window.written = window.written.saturating_add(1);
            return true;
        }
        if window.left_out == 0 {
            // Logged at once, in case this worker ends before the period is over.
            let Budget { window: Seconds(seconds), level, .. } = budget;
            log::log!(level, "more lines with code={code} are left out for up to {seconds} s and counted");
        }
        window.left_out = window.left_out.saturating_add(1);
        window.last = shown_place();
        false
    }
}

impl Window {
    fn new(code: &'static str, budget: Budget, now: Timestamp) -> Window {
        Window { code, began_at: now, budget, written: 0, left_out: 0, last: String::new() }
    }

    /// A clock that was set back ends the period too.
    fn is_over(&self, now: Timestamp) -> bool {
        now < self.began_at || self.began_at + self.budget.window <= now
    }

    fn close(&self) {
        let code = self.code;
        if self.left_out == 0 {
            return;
        }
        let last = if self.last.is_empty() { String::new() } else { format!(", the last with{}", self.last) };
        log::log!(self.budget.level, "left out {} lines with code={code}{last}", self.left_out);
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
        let _ = write!(line, " sub=\"{}\"", shown_subject(&decision.subject));
    }
    for (name, value) in [("session", &*decision.session), ("reference", &decision.reference)] {
        if !value.is_empty() {
            let _ = write!(line, " {name}={value}");
        }
    }
    line.push_str(&place(request));
    line
}

/// A subject as the log shows it. Each of its characters may take ten to escape: different people must stay
/// distinguishable.
pub(crate) fn shown_subject(subject: &str) -> String {
    shown_to(subject, SUBJECT_LIMIT.saturating_mul(10))
}

/// The requested path.
fn place(request: &Request) -> String {
    format!(
        " method={} host={} path={}",
        quoted(&request.method),
        quoted(&request.authority),
        quoted(request.path_only())
    )
}

/// A value from outside cannot end its own quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}
