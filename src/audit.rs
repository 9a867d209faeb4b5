//! One decision, one line: who, what, and why. Clients that have not authenticated cannot fill the log:
//! of their lines each code has so many in a time, and the rest is counted.

use std::cell::RefCell;
use std::fmt::Write;

use log::Level;

use crate::http::Request;
use crate::oidc::claims::SUBJECT_LIMIT;
use crate::text::{shown, shown_to};
use crate::time::{Seconds, Timestamp};

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

impl Outcome {
    /// As it stands in the names of metrics.
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
    /// The session that came along or was begun, if it could be read. The same for its whole life.
    pub session: String,
    /// Stands in the answer and in the log line, so that one finds the other. Only of refusals.
    pub reference: String,
    /// Whether somebody had authenticated for it, a person, a program or a provider: then its line is
    /// never left out.
    pub authenticated: bool,
}

/// Writes the line of a request that goes on. Off unless the log level is `debug`: the proxy's own
/// access log has one line per request already.
pub fn admitted(request: &Request, decision: &Decision) {
    if log::log_enabled!(Level::Debug) {
        log::debug!("{}", line("admitted", request, decision));
    }
}

/// Lines that may come as often as somebody likes. One per worker.
pub struct Log {
    /// Of clients that have not authenticated, for one code.
    budget: Budget,
    windows: RefCell<Vec<Window>>,
}

/// How many lines may be written in a time.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// 0: as many as there are.
    lines: u64,
    window: Seconds,
    /// Whoever sees the lines is told what is left out.
    level: Level,
}

/// The time of one budget that is being used.
struct Window {
    code: &'static str,
    began_at: Timestamp,
    budget: Budget,
    written: u64,
    left_out: u64,
    /// What was left out last.
    last: String,
}

/// For how long lines are counted together.
const WINDOW: Seconds = Seconds(10);

/// The same for what whoever runs this must be told, but not often.
const LONG_WINDOW: Seconds = Seconds(600);

impl Log {
    /// `lines` of one code in ten seconds; 0: no limit.
    pub fn new(lines: u64) -> Log {
        Log { budget: Budget { lines, window: WINDOW, level: Level::Info }, windows: RefCell::default() }
    }

    /// Writes the line of an answer of our own; `detail` is the error in words.
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
        let mut line = line("answered", request, decision);
        let _ = write!(line, " status={status}");
        if !detail.is_empty() {
            let _ = write!(line, ": {detail}");
        }
        log::info!("{line}");
    }

    /// Writes a warning that any client can bring about, once in ten minutes. `line` is without the code.
    pub fn warn(&self, code: &'static str, line: &str, now: Timestamp) {
        let budget = Budget { lines: 1, window: LONG_WINDOW, level: Level::Warn };
        if self.has_room(budget, code, String::new, now) {
            log::warn!("code={code} {line}");
        }
    }

    /// Says what was left out, where the time for that is over. For every tick.
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
        // A warning hides no refusal of the same code.
        let place =
            windows.iter().position(|window| window.code == code && window.budget.level == budget.level);
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
            // Said at once, should this worker end before the time is over.
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

    /// A clock that went back ends it too.
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
    for (name, value) in [("session", &decision.session), ("reference", &decision.reference)] {
        if !value.is_empty() {
            let _ = write!(line, " {name}={value}");
        }
    }
    line.push_str(&place(request));
    line
}

/// A subject as it stands in the log. Each of its characters may take ten to escape: two people never look
/// alike.
pub(crate) fn shown_subject(subject: &str) -> String {
    shown_to(subject, SUBJECT_LIMIT.saturating_mul(10))
}

/// What was asked for.
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
