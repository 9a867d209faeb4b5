//! Every code: one row each, with the texts for people and operators, and how a refusal is answered.
//!
//! A new refusal is one row, of an existing or a new [`ErrorKind`], and one arm in the `code` function of the
//! error. The compiler finds a row without an error. `make schemas` writes the tables of `docs/errors.md`,
//! and a test keeps them up to date.

use std::fmt;

use crate::time::Seconds;

/// Rows become constants for the errors, and a [`Section`] for the reference, which is not in the module
/// because its texts are long.
///
/// `NAME = KIND, "code", "what it means" => "what to do";` is a refusal. Without texts it is another kind of
/// the code above it. Without name and kind it is in the log only, or no refusal.
macro_rules! codes {
    ($section:ident = $title:literal, $status:expr;
     $($($name:ident = $kind:expr,)? $code:literal $(, $meaning:literal => $remedy:literal)?;)*) => {
        $($(pub(crate) static $name: $crate::codes::Code =
            $crate::codes::Code { name: $code, kind: &$kind };)?)*

        pub(super) const $section: Section = Section {
            title: $title,
            status: $status,
            rows: &[$($crate::codes::Row {
                code: $code,
                kind: optional!($(&$kind)?),
                words: optional!($(($meaning, $remedy))?),
            }),*],
        };
    };
}

macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

mod event;
mod login;
mod provider;
pub mod reference;
mod request;
mod session;
mod site;
mod token;

pub(crate) use login::*;
pub(crate) use provider::*;
pub(crate) use request::*;
pub(crate) use session::*;
pub(crate) use site::*;
pub(crate) use token::*;

/// The code of a refusal. It never changes its meaning.
#[derive(Clone, Copy)]
pub struct Code {
    /// As in the answer, the log and the access log.
    pub name: &'static str,
    /// How a refusal with this code is answered.
    pub kind: &'static ErrorKind,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq<str> for Code {
    fn eq(&self, name: &str) -> bool {
        self.name == name
    }
}

/// Why a request was refused, for `WWW-Authenticate`. Constants only: input is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// There was no token: the challenge has no error (RFC 6750 section 3.1).
    NoToken,
    /// The token cannot be read.
    InvalidRequest,
    /// The token is not acceptable.
    InvalidToken,
    /// The token, or the session, lacks a required right.
    InsufficientScope,
    /// Another, or a more recent, authentication is needed (RFC 9470 section 3).
    InsufficientUserAuthentication,
}

impl Challenge {
    /// The registered error, and a description for developers.
    pub(crate) fn error(self) -> Option<(&'static str, &'static str)> {
        match self {
            Challenge::NoToken => None,
            Challenge::InvalidRequest => Some(("invalid_request", "the access token cannot be read")),
            Challenge::InvalidToken => Some(("invalid_token", "the access token is not acceptable here")),
            Challenge::InsufficientScope => {
                Some(("insufficient_scope", "the identity does not have what this address requires"))
            }
            Challenge::InsufficientUserAuthentication => Some((
                "insufficient_user_authentication",
                "a different or more recent authentication is required",
            )),
        }
    }
}

/// How refusals are answered. Several codes share one if the refused client can do the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorKind {
    /// The status of the answer.
    pub status: u16,
    /// The heading of the page: what has happened.
    pub title: &'static str,
    /// What a person can do, in plain words: no rules, claims, addresses or keys.
    pub advice: &'static str,
    /// What a program gets instead of the message of the error, where that message has text that an
    /// attacker can choose by a link, or details that only the operator can fix.
    pub says: Option<&'static str>,
    /// The challenge, where bearer tokens are accepted.
    pub challenge: Option<Challenge>,
    /// Whether it concerns an authenticated person or program.
    pub is_of_somebody: bool,
    /// Whether another account may be admitted.
    pub is_of_account: bool,
    /// Whether the page leads to a new login.
    pub begins_login: bool,
    /// Whether the page leads to the front page: not where the same refusal would follow.
    pub has_front_page: bool,
    /// When a retry makes sense.
    pub retry_after: Option<Seconds>,
}

impl ErrorKind {
    const fn new(status: u16, title: &'static str, advice: &'static str) -> ErrorKind {
        ErrorKind {
            status,
            title,
            advice,
            says: None,
            challenge: None,
            is_of_somebody: false,
            is_of_account: false,
            begins_login: false,
            has_front_page: true,
            retry_after: None,
        }
    }

    const fn status(self, status: u16) -> ErrorKind {
        ErrorKind { status, ..self }
    }

    const fn says(self, words: &'static str) -> ErrorKind {
        ErrorKind { says: Some(words), ..self }
    }

    const fn challenge(self, challenge: Challenge) -> ErrorKind {
        ErrorKind { challenge: Some(challenge), ..self }
    }

    const fn somebody(self) -> ErrorKind {
        ErrorKind { is_of_somebody: true, ..self }
    }

    const fn other_account(self) -> ErrorKind {
        ErrorKind { is_of_somebody: true, is_of_account: true, ..self }
    }

    const fn login(self) -> ErrorKind {
        ErrorKind { begins_login: true, ..self }
    }

    const fn no_front_page(self) -> ErrorKind {
        ErrorKind { has_front_page: false, ..self }
    }

    const fn retry_after(self, wait: Seconds) -> ErrorKind {
        ErrorKind { retry_after: Some(wait), ..self }
    }
}

/// A table of the reference.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its heading, without the status.
    pub title: &'static str,
    /// The status of the answer unless a row has its own.
    pub status: Option<u16>,
    /// Its rows.
    pub rows: &'static [Row],
}

/// A code as the reference describes it.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The code.
    pub code: &'static str,
    /// How it is answered; `None` if it is no refusal, or one that is made before there is a filter.
    pub kind: Option<&'static ErrorKind>,
    /// Meaning and advice, for an operator; `None` for another kind of a code.
    pub words: Option<(&'static str, &'static str)>,
}
