//! The domain of an e-mail address.

use std::fmt;

use serde_json::{Map, Value};

use super::words::listed;

/// Longest address (RFC 5321 section 4.5.3.1.3, without the angle brackets). Bytes.
const ADDRESS_LIMIT: usize = 254;

/// An address that is not at one of the required domains. The address itself is personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailMissing {
    /// The accepted domains.
    pub required: Vec<String>,
    /// What is wrong.
    pub found: EmailFault,
}

/// What is wrong with `email`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailFault {
    /// It is absent, or no text.
    Absent,
    /// `email_verified` is not `true`: anybody can write an address into a profile.
    NotVerified,
    /// It is not one plain address. Of others nobody knows how an upstream reads them.
    NotPlain,
    /// It is at another domain.
    OtherDomain,
}

impl fmt::Display for EmailMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let required = listed(&self.required, ", ");
        let found = match self.found {
            EmailFault::Absent => "is absent or no text",
            EmailFault::NotVerified => "is not verified (email_verified is not true)",
            EmailFault::NotPlain => "is not a plain address",
            EmailFault::OtherDomain => "is at another domain",
        };
        write!(f, "the claim email must be a verified address at one of {required}, but {found}")
    }
}

/// Checks that the address is verified and at one of these domains, which are in lower case.
///
/// # Errors
/// What is wrong with it.
pub fn is_at(domains: &[String], claims: &Map<String, Value>) -> Result<(), EmailMissing> {
    match fault(domains, claims) {
        None => Ok(()),
        Some(found) => Err(EmailMissing { required: domains.to_vec(), found }),
    }
}

fn fault(domains: &[String], claims: &Map<String, Value>) -> Option<EmailFault> {
    let Some(Value::String(address)) = claims.get("email") else { return Some(EmailFault::Absent) };
    let Some(domain) = domain_of(address) else { return Some(EmailFault::NotPlain) };
    // Domains are compared as DNS does: ASCII letters in any case (RFC 4343). An international domain comes in
    // ASCII or not at all.
    if !domains.iter().any(|accepted| accepted.eq_ignore_ascii_case(domain)) {
        return Some(EmailFault::OtherDomain);
    }
    // `"true"` is a text, which a provider could write for every address.
    let is_verified = claims.get("email_verified") == Some(&Value::Bool(true));
    (!is_verified).then_some(EmailFault::NotVerified)
}

/// The domain of a plain address: a dot-atom without quotes and comments (RFC 5322 section 3.4.1), one `@`, a
/// domain. `"a@evil"@example.com` is an address too, but some programs read another domain in it
/// (GHSA-c5c4-8r6x-56w3).
fn domain_of(address: &str) -> Option<&str> {
    let (local, domain) = address.split_once('@')?;
    let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let is_plain = !local.is_empty() && local.bytes().all(is_atom) && address.len() <= ADDRESS_LIMIT;
    is_plain.then_some(domain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(email: Value, verified: Value) -> Option<EmailFault> {
        let claims = json!({"email": email, "email_verified": verified});
        is_at(&["example.com".to_owned(), "b.example".to_owned()], claims.as_object().unwrap())
            .err()
            .map(|missing| missing.found)
    }

    #[test]
    fn the_domain_of_an_address_is_compared_whole_in_any_letter_case() {
        for email in
            ["ann@example.com", "ANN@EXAMPLE.COM", "a.b+c@Example.Com", "ann@b.example", "%40@b.example"]
        {
            assert_eq!(found(json!(email), json!(true)), None, "{email}");
        }
        for email in [
            "ann@evil-example.com",
            "ann@evilexample.com",
            "ann@example.com.evil",
            "ann@sub.example.com",
            "ann@example.com.",
            "ann@example.com ",
            "ann@example.com\u{0}",
            "ann@evil.example@example.com",
            "ann@",
            "ann@example\u{2024}com",
            "ann@\u{ff45}xample.com",
            "ann@ex\u{e4}mple.com",
            "ann@EXAMPLE\u{ff0e}COM",
            "ann@example.co\u{1e43}",
            "ann@[example.com]",
            "ann@example.com>",
        ] {
            assert_eq!(found(json!(email), json!(true)), Some(EmailFault::OtherDomain), "{email}");
        }
    }

    #[test]
    fn an_address_that_can_be_read_in_two_ways_is_at_no_domain() {
        for email in [
            "\"a@evil\"@example.com",
            "\"ann\"@example.com",
            "@example.com",
            " ann@example.com",
            "an n@example.com",
            "ann\u{ff20}evil.example@example.com",
            "m\u{fc}ller@example.com",
            "<ann@example.com>",
            "Ann <ann@example.com>",
            "a,b@example.com",
            "(x)ann@example.com",
            "ann\r\n@example.com",
            "example.com",
            "",
        ] {
            assert_eq!(found(json!(email), json!(true)), Some(EmailFault::NotPlain), "{email}");
        }
        let long = format!("{}@example.com", "x".repeat(243));
        assert_eq!(found(json!(long), json!(true)), Some(EmailFault::NotPlain));
        assert_eq!(found(json!(long.get(1..)), json!(true)), None);
    }

    #[test]
    fn an_address_must_be_verified() {
        for verified in [json!(false), json!("true"), json!(1), json!(null), json!([true])] {
            let fault = found(json!("ann@example.com"), verified.clone());
            assert_eq!(fault, Some(EmailFault::NotVerified), "{verified}");
        }
        for email in [json!(null), json!(["ann@example.com"]), json!({"ann@example.com": true}), json!(true)]
        {
            assert_eq!(found(email.clone(), json!(true)), Some(EmailFault::Absent), "{email}");
        }
        let domains = ["example.com".to_owned()];
        let claims = json!({"email": "ann@example.com"});
        let missing = is_at(&domains, claims.as_object().unwrap()).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "the claim email must be a verified address at one of \"example.com\", but is not verified \
             (email_verified is not true)"
        );
        assert!(is_at(&domains, &Map::new()).is_err());
    }
}
