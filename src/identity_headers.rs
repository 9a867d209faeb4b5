//! What a worker remembers of an identity for the requests with it: headers, and rules that it satisfies.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use crate::cache::memory_of;
use crate::identity::{Identity, Proof};
use crate::oidc::claims::numeric_date;
use crate::text::SharedText;
use crate::time::Timestamp;

/// Headers that were built once, in one piece of memory: for each the number of its name, the length of its
/// value, and the value.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedHeaders {
    names: Option<Rc<[String]>>,
    packed: Option<Rc<[u8]>>,
    /// How much of it counts. Bytes.
    end: usize,
}

/// What precedes a value in [`SharedHeaders`]: two bytes for the name, and four for the length.
const PREFIX: usize = 6;

impl SharedHeaders {
    /// Names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = self.packed.as_deref().and_then(|packed| packed.get(..self.end)).unwrap_or_default();
        std::iter::from_fn(move || {
            let ([name @ .., a, b, c, d], after) = rest.split_first_chunk::<PREFIX>()?;
            let name = self.names.as_ref()?.get(usize::from(u16::from_le_bytes(*name)))?;
            let length = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).ok()?;
            let (value, after) = after.split_at_checked(length)?;
            rest = after;
            Some((name.as_str(), value))
        })
    }
}

/// Appends a header as [`SharedHeaders`] has it. What has no room there is left out, which does not happen.
pub(crate) fn pack(packed: &mut Vec<u8>, name: usize, value: &[u8]) {
    if let (Ok(name), Ok(length)) = (u16::try_from(name), u32::try_from(value.len())) {
        packed.extend_from_slice(&name.to_le_bytes());
        packed.extend_from_slice(&length.to_le_bytes());
        packed.extend_from_slice(value);
    }
}

/// What requests with an identity need of it: the headers that pass it to the upstream, built once per session
/// or token, and which rules it is known to satisfy. No claims, and no token that is not forwarded.
pub struct IdentityHeaders {
    /// The subject, for the decisions about requests.
    pub subject: SharedText,
    is_by_token: bool,
    packed: Rc<[u8]>,
    id_token: Option<IdTokenHeader>,
    auth_time: Option<Timestamp>,
    satisfied: SatisfiedRules,
}

/// The last header, if that is an ID token.
#[derive(Clone, Copy)]
pub(crate) struct IdTokenHeader {
    pub(crate) expires_at: Timestamp,
    /// Where it begins. Bytes.
    pub(crate) begin: usize,
}

impl IdentityHeaders {
    /// What requests with this identity need of it. `packed` are its headers.
    pub(crate) fn new(identity: &Identity, packed: Vec<u8>, id_token: Option<IdTokenHeader>) -> Self {
        IdentityHeaders {
            subject: identity.subject().unwrap_or_default().into(),
            is_by_token: matches!(identity.proof(), Proof::Bearer { .. }),
            packed: packed.into(),
            id_token,
            auth_time: numeric_date(identity.claims(), "auth_time").ok().flatten(),
            satisfied: SatisfiedRules::default(),
        }
    }

    /// Whether an access token in the request proved it.
    pub fn is_by_token(&self) -> bool {
        self.is_by_token
    }

    /// About how much memory they take, besides themselves. Bytes.
    pub fn memory(&self) -> usize {
        memory_of(self.packed.len()).saturating_add(memory_of(self.subject.len()))
    }

    /// When the person authenticated, if it is known.
    pub fn auth_time(&self) -> Option<Timestamp> {
        self.auth_time
    }

    /// The rules that the identity satisfies, but for the age of the authentication.
    pub fn satisfied(&self) -> &SatisfiedRules {
        &self.satisfied
    }

    /// The headers at `now`: no expired ID token.
    pub(crate) fn headers(&self, now: Timestamp, names: &Rc<[String]>) -> SharedHeaders {
        let expired = self.id_token.filter(|id_token| now >= id_token.expires_at);
        let end = expired.map_or(self.packed.len(), |id_token| id_token.begin);
        SharedHeaders { names: Some(Rc::clone(names)), packed: Some(Rc::clone(&self.packed)), end }
    }
}

/// The rules whose requirements an identity is known to satisfy, by their numbers. Claims and scopes of a
/// session or token do not change, so each is evaluated once.
#[derive(Debug, Default)]
pub struct SatisfiedRules(OnceCell<Box<[Cell<u64>]>>);

impl SatisfiedRules {
    /// Whether this rule is one of them.
    pub fn has(&self, rule: usize) -> bool {
        let word = self.0.get().and_then(|words| words.get(rule.wrapping_shr(6)));
        word.is_some_and(|word| word.get() & SatisfiedRules::bit(rule) != 0)
    }

    /// Adds a rule, one of `count`.
    pub fn add(&self, rule: usize, count: usize) {
        let words = self.0.get_or_init(|| vec![Cell::new(0); count.div_ceil(64)].into());
        if let Some(word) = words.get(rule.wrapping_shr(6)) {
            word.set(word.get() | SatisfiedRules::bit(rule));
        }
    }

    fn bit(rule: usize) -> u64 {
        1_u64.wrapping_shl(u32::try_from(rule & 63).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_satisfied_only_if_it_was_noted() {
        let satisfied = SatisfiedRules::default();
        assert!((0..256).all(|rule| !satisfied.has(rule)));
        for noted in [0, 63, 64, 255] {
            satisfied.add(noted, 256);
            assert!(satisfied.has(noted), "{noted}");
        }
        let all = (0..1_000).filter(|rule| satisfied.has(*rule)).collect::<Vec<_>>();
        assert_eq!(all, [0, 63, 64, 255]);
        let few = SatisfiedRules::default();
        few.add(64, 64);
        assert!((0..1_000).all(|rule| !few.has(rule)), "it is none of them");
    }

    #[test]
    fn packed_headers_are_read_as_they_were_packed_and_malformed_ones_not_at_all() {
        let names: Rc<[String]> = ["a".to_owned(), "b".to_owned()].into();
        let mut packed = Vec::new();
        pack(&mut packed, 1, b"one");
        pack(&mut packed, 0, b"");
        pack(&mut packed, 1, &[0xff; 300]);
        let read = |packed: &[u8], end: usize| -> Vec<(String, Vec<u8>)> {
            let headers = SharedHeaders { names: Some(Rc::clone(&names)), packed: Some(packed.into()), end };
            headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
        };
        let all = [("b", &b"one"[..]), ("a", b""), ("b", &[0xff; 300])];
        let all = all.map(|(name, value)| (name.to_owned(), value.to_vec()));
        assert_eq!(read(&packed, packed.len()), all);
        assert_eq!(read(&packed, packed.len() - 1), all[..2]);
        assert_eq!(read(&packed, packed.len() + 1), []);
        assert_eq!(read(&[2, 0, 0, 0, 0, 0], 6), [], "there is no such name");
    }
}
