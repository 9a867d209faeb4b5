//! Logins that lead nowhere, counted so that no browser goes round in circles.
//!
//! There are two kinds. A *lost* login was completed, and no session came back: a cookie is dropped, or
//! another filter overwrites it. A *needless* one ended although a session was there when it began: another
//! filter behind this one or beside it asked for it, or the application did.
//!
//! The cookie is plain text, so that filters with different keys count together. Whoever makes one up can
//! show somebody the page that ends a loop, which has a way out, and nothing else: no count lets anybody in.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::config::ProviderIndex;
use crate::error::shown;
use crate::time::{Seconds, Timestamp};

use super::cookies::Cookies;
use super::jar::Jar;
use super::parts::CANDIDATES_LIMIT;

/// So many logins that led nowhere are a loop.
pub const ROUNDS_LIMIT: u8 = 3;

/// A login that begins so soon after the session did was asked for by no person.
pub const NEEDLESS_WITHIN: Seconds = Seconds(10);

/// A count is forgotten after this time: whoever logs in again later is in no loop.
const ROUNDS_LIFETIME: Seconds = Seconds(120);

/// Counts that one cookie holds, each of one client at one provider.
const COUNTS_LIMIT: usize = 8;

/// Cookies that a line of the log names.
const COOKIES_NAMED: usize = 16;

/// How often logins in the last two minutes led nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rounds {
    /// Logins that were completed without a working session after them.
    pub lost: u8,
    /// Logins that ended although a session was there when they began.
    pub needless: u8,
}

/// Why a browser is not sent round once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginLoop {
    /// No session came back.
    Lost,
    /// Somebody behind or beside this filter asks for logins.
    OtherFilter,
    /// Logins are asked for although a session is there.
    Needless,
}

impl fmt::Display for LoginLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LoginLoop::Lost => "login succeeded several times, but the browser never came back with a session",
            LoginLoop::OtherFilter => {
                "there is a session, but login after login begins that this filter did not ask for, as another \
                 filter in front of the same pages does"
            }
            LoginLoop::Needless => {
                "there is a session, but the address of the login is opened again and again, right after each login"
            }
        })
    }
}

/// One count in the cookie: `name.lost.needless.written_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Count {
    of: String,
    rounds: Rounds,
    written_at: Timestamp,
}

/// Between two counts.
const SEPARATOR: char = ':';

/// Names a client at a provider, the same in every filter that has it.
pub(super) fn name(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// The counts in a cookie that still matter. What is none is left out.
fn read(value: &[u8], now: Timestamp) -> Vec<Count> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let counts = text.split(SEPARATOR).take(COUNTS_LIMIT).filter_map(count);
    // One from the future would never end. Clocks of proxies differ by less.
    let counts = counts.filter(|count| {
        now.since(count.written_at) < ROUNDS_LIFETIME && count.written_at.since(now) < ROUNDS_LIFETIME
    });
    counts.collect()
}

fn count(text: &str) -> Option<Count> {
    let mut fields = text.split('.');
    let (of, lost, needless, written_at) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_name = of.len() == 8 && of.bytes().all(|byte| byte.is_ascii_hexdigit());
    let rounds = Rounds { lost: lost.parse().ok()?, needless: needless.parse().ok()? };
    let written_at = Timestamp(written_at.parse().ok()?);
    (is_name && fields.next().is_none()).then(|| Count { of: of.to_owned(), rounds, written_at })
}

/// The value of a cookie with these counts, the first ones if there are too many.
fn write(counts: &[Count]) -> String {
    let texts: Vec<String> = counts
        .iter()
        .take(COUNTS_LIMIT)
        .map(|Count { of, rounds, written_at }| {
            format!("{of}.{}.{}.{}", rounds.lost, rounds.needless, written_at.0)
        })
        .collect();
    texts.join(&SEPARATOR.to_string())
}

impl Cookies {
    /// How many logins in the last two minutes led nowhere.
    pub fn rounds(&self, provider: ProviderIndex, jar: &Jar<'_>, now: Timestamp) -> Rounds {
        let mut most = Rounds::default();
        for count in self.counts(jar, now).into_iter().filter(|count| self.is_of(count, provider)) {
            most.lost = most.lost.max(count.rounds.lost);
            most.needless = most.needless.max(count.rounds.needless);
        }
        most
    }

    /// Remembers that count, beside those of others.
    pub fn set_rounds(
        &self,
        provider: ProviderIndex,
        rounds: Rounds,
        jar: &Jar<'_>,
        now: Timestamp,
    ) -> String {
        let mut counts = self.counts(jar, now);
        counts.retain(|count| !self.is_of(count, provider));
        let of = self.counted_as.get(provider).cloned().unwrap_or_default();
        counts.insert(0, Count { of, rounds, written_at: now });
        self.rounds_cookie(&counts)
    }

    /// Forgets the lost logins, if the browser has a count of them: the session works. Needless ones stay,
    /// because they happen while it works.
    pub fn clear_rounds(&self, jar: &Jar<'_>, now: Timestamp) -> Option<String> {
        let mut values = jar.all(&self.rounds_name);
        let value = values.next()?;
        let mut counts = self.counts(jar, now);
        for count in &mut counts {
            count.rounds.lost = 0;
        }
        counts.retain(|count| count.rounds != Rounds::default());
        let text = write(&counts);
        let is_as_before = values.next().is_none() && text.as_bytes() == value;
        match counts.is_empty() {
            _ if is_as_before => None,
            true => Some(self.other_attributes.delete(&self.rounds_name)),
            false => Some(self.rounds_cookie(&counts)),
        }
    }

    fn counts(&self, jar: &Jar<'_>, now: Timestamp) -> Vec<Count> {
        let values = jar.all(&self.rounds_name).take(CANDIDATES_LIMIT);
        values.flat_map(|value| read(value, now)).collect()
    }

    fn is_of(&self, count: &Count, provider: ProviderIndex) -> bool {
        self.counted_as.get(provider).is_some_and(|name| *name == count.of)
    }

    fn rounds_cookie(&self, counts: &[Count]) -> String {
        self.other_attributes.set_for(&self.rounds_name, &write(counts), ROUNDS_LIFETIME)
    }

    /// The names of the cookies of ours in a jar, for the log. They hold nothing secret: a login is named by a
    /// part of its `state`, which is left out.
    pub fn names_in(&self, jar: &Jar<'_>) -> Vec<String> {
        let ours = jar.iter().map(|(name, _)| name).filter(|name| self.is_ours(name));
        let names = ours.take(COOKIES_NAMED).map(|name| String::from_utf8_lossy(name).into_owned());
        names
            .map(|name| match name.starts_with(&self.login_prefix) {
                true => format!("{}*", self.login_prefix),
                false => shown(&name),
            })
            .collect()
    }
}
