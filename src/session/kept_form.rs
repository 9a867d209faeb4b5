//! A form that was submitted without a session: sealed, and stored by the browser during the login.
//!
//! The sealed form opens only together with a note that its login was completed. Only the browser that
//! completed the login gets the note: an attacker who sealed a form of their own has no note for the login of
//! another person.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codes::{self, Code};
use crate::time::{Seconds, Timestamp};

use super::client_cookies::ClientCookies;
use super::cookies::{Cookies, json};
use super::seal::{FORM_TEXT_LIMIT, Purpose, Sealer};
use super::seconds;

/// How much longer than a login a form is valid: if one login is late, another begins.
const AFTER_LOGIN: Seconds = Seconds(3600);

/// The browser must restore its form within this time. The page that does it continues automatically.
pub const NOTE_LIFETIME: Seconds = Seconds(300);

/// A form as it was submitted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptForm {
    /// The site of the form.
    #[serde(rename = "o")]
    pub origin: String,
    /// Path and query of the form.
    #[serde(rename = "p")]
    pub path: String,
    /// Its body, form-encoded.
    #[serde(rename = "b")]
    pub body: String,
    /// When it was submitted.
    #[serde(rename = "t", with = "seconds")]
    pub kept_at: Timestamp,
    /// The person whose session had ended, if known: it is sent only for this person.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub filled_in_by: Option<FormOwner>,
}

/// A person: a subject identifies a person only together with its issuer (OpenID Connect Core section 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormOwner {
    #[serde(rename = "i")]
    issuer: String,
    #[serde(rename = "s")]
    subject: String,
}

impl FormOwner {
    /// The person of an ID token or of a session: issuer and subject.
    pub fn of((issuer, subject): (&str, &str)) -> FormOwner {
        FormOwner { issuer: issuer.to_owned(), subject: subject.to_owned() }
    }
}

/// The form contains what a person typed, which may be a password.
impl fmt::Debug for KeptForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptForm")
    }
}

/// The note that a login for which a form waits was completed, and by which person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompletedLogin {
    /// Name of the login, which the sealed form has too.
    #[serde(rename = "n")]
    pub login: String,
    /// The person who logged in.
    #[serde(rename = "u")]
    pub who: FormOwner,
    /// When.
    #[serde(rename = "t", with = "seconds")]
    pub finished_at: Timestamp,
}

/// Why a preserved form is not submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormLost {
    /// It does not open: it was changed, or belongs to another login or configuration, or its key was
    /// removed.
    NotOpened,
    /// The login took too long, or the browser did not restore the form in time.
    Expired {
        /// The age of the form or of the login.
        age: Seconds,
        /// The limit.
        limit: Seconds,
    },
    /// The person who logged in is not the one who filled in the form.
    OtherPerson,
    /// It was submitted before.
    SentBefore,
}

impl FormLost {
    /// Stable name of the rule.
    pub fn code(&self) -> &'static Code {
        match self {
            FormLost::NotOpened => &codes::KEPT_FORM_NOT_OPENED,
            FormLost::Expired { .. } => &codes::KEPT_FORM_EXPIRED,
            FormLost::OtherPerson => &codes::KEPT_FORM_OTHER_PERSON,
            FormLost::SentBefore => &codes::KEPT_FORM_SENT_BEFORE,
        }
    }
}

impl fmt::Display for FormLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormLost::NotOpened => {
                f.write_str("the preserved form should open with the login that it waited for, but does not")
            }
            FormLost::Expired { age, limit } => {
                write!(f, "a preserved form must be restored within {limit}, and {age} have passed")
            }
            FormLost::OtherPerson => f.write_str(
                "a preserved form is sent for the person who filled it in, but another person \
                             logged in",
            ),
            FormLost::SentBefore => f.write_str(
                "a preserved form is sent once, and this one was sent \
                                                 before",
            ),
        }
    }
}

impl Cookies {
    /// Whether a sealed form is short enough to be opened again.
    pub fn is_kept(&self, form: &KeptForm) -> bool {
        Sealer::sealed_len(json(form).len()) <= FORM_TEXT_LIMIT
    }

    /// The form in a sealed text, for the login that the note says was completed.
    ///
    /// # Errors
    /// The text is not ours or does not belong to this login, or the form has expired.
    /// It is none of ours or does not belong to this login, or it took too long.
    pub fn open_form(
        &self,
        client: &ClientCookies,
        finished: &CompletedLogin,
        form: &str,
        now: Timestamp,
    ) -> Result<KeptForm, FormLost> {
        let plaintext = client.sealer.open(Purpose::Form, finished.login.as_bytes(), form);
        let form = plaintext.and_then(|plaintext| serde_json::from_slice::<KeptForm>(&plaintext).ok());
        let form = form.ok_or(FormLost::NotOpened)?;
        let form_limit = Seconds(self.login_lifetime.0.saturating_add(AFTER_LOGIN.0));
        for (since, limit) in [(form.kept_at, form_limit), (finished.finished_at, NOTE_LIFETIME)] {
            let age = now.since(since);
            if age >= limit {
                return Err(FormLost::Expired { age, limit });
            }
        }
        Ok(form)
    }
}

impl ClientCookies {
    /// The sealed text of a form that waits for a login; the browser stores it.
    pub fn seal_form(&self, login: &str, form: &KeptForm, nonce: [u8; 24]) -> String {
        self.sealer.seal(Purpose::Form, login.as_bytes(), nonce, &json(form))
    }

    /// The note for the browser that completed a login for which a form waits.
    pub fn seal_completed(&self, finished: &CompletedLogin, nonce: [u8; 24]) -> String {
        self.sealer.seal(Purpose::CompletedLogin, b"", nonce, &json(finished))
    }

    /// The completed login in a note, if it is one of this client.
    pub fn open_finished(&self, note: &str) -> Option<CompletedLogin> {
        let plaintext = self.sealer.open(Purpose::CompletedLogin, b"", note)?;
        serde_json::from_slice(&plaintext).ok()
    }
}
