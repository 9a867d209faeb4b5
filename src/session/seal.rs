//! Sealing: cookies can be neither read nor changed nor used elsewhere.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Incremented when the meaning of a sealed text changes. Texts of another version do not open.
const FORMAT_VERSION: u8 = 1;

/// Salt of the key derivation: nothing else is derived from the secrets with it.
const KEY_LABEL: &[u8] = b"vestibule sealed cookie";

const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// Bytes that sealing adds before base64url: key id, nonce, tag.
pub const OVERHEAD_BYTES: usize = KEY_ID_BYTES + NONCE_BYTES + TAG_BYTES;

/// Longer texts are not opened. Characters; more than all cookies of a session hold.
pub const TEXT_LIMIT: usize = 32 * 1024;

/// The same for a form, which is not in a cookie.
pub const FORM_TEXT_LIMIT: usize = 96 * 1024;

/// The purpose of a sealed text. A text of one purpose does not open for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A person who is logged in.
    Session = 1,
    /// A login in flight.
    Login = 2,
    /// A logout in flight.
    Logout = 4,
    /// The origin of a login, in `state`.
    LoginOrigin = 5,
    /// A form that waits for a login.
    Form = 6,
    /// The completed login for which a form waits, and its person.
    CompletedLogin = 7,
    /// The changes of a session by a refresh.
    Refreshed = 8,
}

const PURPOSES: [Purpose; 7] = [
    Purpose::Session,
    Purpose::Login,
    Purpose::Logout,
    Purpose::LoginOrigin,
    Purpose::Form,
    Purpose::CompletedLogin,
    Purpose::Refreshed,
];

/// The owner of a sealed text, as unambiguous bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant(Vec<u8>);

impl Tenant {
    /// The tenant that these parts identify together. Each goes in with its length: `["ab", "c"]`
    /// is not `["a", "bc"]`.
    pub fn new(parts: &[&str]) -> Self {
        let mut bytes = Vec::new();
        parts.iter().for_each(|part| append(&mut bytes, part.as_bytes()));
        Tenant(bytes)
    }
}

/// Seals and opens for one tenant under all configured secrets: the first seals, all open.
///
/// XChaCha20-Poly1305, whose nonce is long enough to be random. The key is derived with HKDF-SHA256
/// (RFC 5869) per secret, purpose, tenant and format version, once, when the filter is configured.
/// The same facts and a context of the caller are the associated data. The text is base64url of
/// key id, nonce, ciphertext and tag.
pub struct Sealer {
    keys: Vec<Key>,
}

/// Identifies a secret, and reveals nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyName([u8; KEY_ID_BYTES]);

impl KeyName {
    /// A name from its written form. `None` if malformed.
    pub fn read(bytes: &[u8]) -> Option<KeyName> {
        Some(KeyName(bytes.try_into().ok()?))
    }

    /// The name in its written form.
    pub fn bytes(&self) -> [u8; KEY_ID_BYTES] {
        self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One configured secret.
struct Key {
    id: [u8; KEY_ID_BYTES],
    /// One per purpose, in their order.
    derived: Vec<Derived>,
}

struct Derived {
    cipher: XChaCha20Poly1305,
    /// The associated data up to the caller's context.
    associated: Vec<u8>,
}

impl Sealer {
    /// Derives every key that will be needed.
    pub fn new(keys: &[Secret], tenant: &Tenant) -> Self {
        // A key that cannot be derived (HKDF refuses only absurd lengths) is a key that is not there.
        Sealer { keys: keys.iter().filter_map(|secret| Key::derive(secret, tenant)).collect() }
    }

    /// Seals `plaintext`. The nonce must never have been used before: random bytes.
    ///
    /// The result is empty, and an empty text does not open, if there is no key.
    pub fn seal(
        &self,
        purpose: Purpose,
        context: &[u8],
        nonce: [u8; NONCE_BYTES],
        plaintext: &[u8],
    ) -> String {
        let Some((key, derived)) = self.keys.first().and_then(|key| Some((key, key.derived_for(purpose)?)))
        else {
            return String::new();
        };
        let mut bytes = Vec::with_capacity(plaintext.len().saturating_add(OVERHEAD_BYTES));
        bytes.extend_from_slice(&key.id);
        bytes.extend_from_slice(&nonce);
        let mut body = Zeroizing::new(plaintext.to_vec());
        let associated = derived.associated_with(context);
        match derived.cipher.encrypt_inout_detached(&nonce.into(), &associated, body.as_mut_slice().into()) {
            Ok(tag) => {
                bytes.extend_from_slice(&body);
                bytes.extend_from_slice(&tag);
                URL_SAFE_NO_PAD.encode(&bytes)
            }
            Err(_) => String::new(),
        }
    }

    /// Opens what [`Sealer::seal`] made for the same purpose, tenant and context.
    ///
    /// Every failure is the same: the sender of a text does not learn why it does not open.
    pub fn open(&self, purpose: Purpose, context: &[u8], text: &str) -> Option<Zeroizing<Vec<u8>>> {
        let limit = if purpose == Purpose::Form { FORM_TEXT_LIMIT } else { TEXT_LIMIT };
        if text.len() > limit {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, rest) = bytes.split_first_chunk::<KEY_ID_BYTES>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let (body, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        self.keys.iter().filter(|key| key.id == *id).find_map(|key| {
            let derived = key.derived_for(purpose)?;
            let mut plaintext = Zeroizing::new(body.to_vec());
            let associated = derived.associated_with(context);
            derived
                .cipher
                .decrypt_inout_detached(
                    nonce.into(),
                    &associated,
                    plaintext.as_mut_slice().into(),
                    tag.into(),
                )
                .ok()?;
            Some(plaintext)
        })
    }

    /// Whether the text names the key that seals. If not, an opened text should be sealed again, so that
    /// old keys can be removed.
    pub fn is_by_first_key(&self, text: &str) -> bool {
        // Eight characters are six bytes: the key id and two of the nonce.
        let start = text.get(..8).and_then(|start| URL_SAFE_NO_PAD.decode(start).ok());
        let id = start.as_deref().and_then(|start| start.first_chunk::<KEY_ID_BYTES>());
        id.is_some() && id == self.keys.first().map(|key| &key.id)
    }

    /// The key that a text names, if it is unknown: the text was sealed with another key. The name is not
    /// secret: it is part of every text. An attacker can write one, so it proves nothing.
    pub fn unknown_key(&self, text: &str) -> Option<KeyName> {
        if text.len() > TEXT_LIMIT {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() >= OVERHEAD_BYTES)?;
        let id = bytes.first_chunk::<KEY_ID_BYTES>()?;
        (!self.keys.iter().any(|key| key.id == *id)).then_some(KeyName(*id))
    }

    /// The names of our keys: the first seals, all open.
    pub fn key_names(&self) -> impl Iterator<Item = KeyName> {
        self.keys.iter().map(|key| KeyName(key.id))
    }

    /// Length in characters of the sealed text of a plaintext of so many bytes.
    pub fn sealed_len(plaintext: usize) -> usize {
        let bytes = plaintext.saturating_add(OVERHEAD_BYTES);
        base64::encoded_len(bytes, false).unwrap_or(usize::MAX)
    }
}

impl Key {
    fn derive(secret: &Secret, tenant: &Tenant) -> Option<Key> {
        let hkdf = Hkdf::<Sha256>::new(Some(KEY_LABEL), secret.expose().as_bytes());
        let mut id = [0; KEY_ID_BYTES];
        hkdf.expand(b"key id", &mut id).ok()?;
        let derived = PURPOSES.iter().map(|purpose| Derived::new(&hkdf, id, *purpose, tenant));
        Some(Key { id, derived: derived.collect::<Option<_>>()? })
    }

    fn derived_for(&self, purpose: Purpose) -> Option<&Derived> {
        self.derived.get(PURPOSES.iter().position(|known| *known == purpose)?)
    }
}

impl Derived {
    fn new(
        hkdf: &Hkdf<Sha256>,
        id: [u8; KEY_ID_BYTES],
        purpose: Purpose,
        tenant: &Tenant,
    ) -> Option<Derived> {
        let mut associated = Vec::new();
        append(&mut associated, KEY_LABEL);
        append(&mut associated, &[FORMAT_VERSION]);
        append(&mut associated, &[purpose as u8]);
        append(&mut associated, &tenant.0);
        let mut key = Zeroizing::new([0; 32]);
        hkdf.expand(&associated, key.as_mut_slice()).ok()?;
        append(&mut associated, &id);
        let cipher = XChaCha20Poly1305::new_from_slice(key.as_slice()).ok()?;
        Some(Derived { cipher, associated })
    }

    fn associated_with(&self, context: &[u8]) -> Vec<u8> {
        let mut associated = Vec::with_capacity(self.associated.len().saturating_add(context.len()));
        associated.extend_from_slice(&self.associated);
        append(&mut associated, context);
        associated
    }
}

impl fmt::Debug for Sealer {
    /// No keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer with {} keys", self.keys.len())
    }
}

/// Appends a field after its length, so that different lists of fields make different bytes.
fn append(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
    bytes.extend_from_slice(field);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NONCE: [u8; 24] = [5; 24];
    const OLD: &str = "the old secret, 32 characters and more";
    const NEW: &str = "the new secret, 32 characters and more";

    fn sealer(keys: &[&str]) -> Sealer {
        let keys: Vec<Secret> = keys.iter().map(|key| Secret::from(*key)).collect();
        Sealer::new(&keys, &Tenant::new(&["a", "https://idp", "client"]))
    }

    fn sealed(sealer: &Sealer) -> String {
        sealer.seal(Purpose::Session, b"1", NONCE, b"plaintext")
    }

    fn opens(sealer: &Sealer, text: &str) -> bool {
        sealer.open(Purpose::Session, b"1", text).is_some()
    }

    #[test]
    fn sealed_texts_of_every_length_open() {
        let sealer = sealer(&[NEW]);
        for length in [0, 1, 2, 3, 15, 16, 17, 4095, 4096, 4097, 20_000] {
            let plaintext = vec![b'x'; length];
            let text = sealer.seal(Purpose::Session, b"1", NONCE, &plaintext);
            assert_eq!(text.len(), Sealer::sealed_len(length));
            assert!(text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
            assert_eq!(*sealer.open(Purpose::Session, b"1", &text).unwrap(), plaintext);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused() {
        let sealer = sealer(&[NEW]);
        let bytes = URL_SAFE_NO_PAD.decode(sealed(&sealer)).unwrap();
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                assert!(!opens(&sealer, &URL_SAFE_NO_PAD.encode(&changed)), "byte {place}, bit {bit}");
            }
        }
    }

    #[test]
    fn other_encodings_of_a_sealed_text_are_refused() {
        let sealer = sealer(&[NEW]);
        let text = sealed(&sealer);
        for place in 0..text.len() {
            for other in b"AQgwz09-_=+/ %\0" {
                let mut changed = text.clone().into_bytes();
                if changed[place] != *other {
                    changed[place] = *other;
                    assert!(!opens(&sealer, &String::from_utf8(changed).unwrap()), "character {place}");
                }
            }
            assert!(!opens(&sealer, text.split_at(place).0), "cut at {place}");
        }
        assert!(!opens(&sealer, &format!("{text}A")));
        assert!(!opens(&sealer, &format!("{text}==")));
        assert!(!opens(&sealer, &format!(" {text}")));
        let long = sealer.seal(Purpose::Session, b"1", NONCE, &vec![b'a'; TEXT_LIMIT]);
        assert!(long.len() > TEXT_LIMIT && !opens(&sealer, &long), "too long to be looked at");
    }

    #[test]
    fn a_sealed_text_does_not_open_for_another_purpose_tenant_or_context() {
        let sealers = [sealer(&[NEW]), Sealer::new(&[Secret::from(NEW)], &Tenant::new(&["b"]))];
        for made_for in PURPOSES {
            for tenant in [0, 1] {
                let text = sealers[tenant].seal(made_for, b"1", NONCE, b"plaintext");
                for read_as in PURPOSES {
                    for (other, context) in [(0, b"1"), (0, b"2"), (1, b"1"), (1, b"2")] {
                        let same = made_for == read_as && tenant == other && context == b"1";
                        assert_eq!(sealers[other].open(read_as, context, &text).is_some(), same);
                    }
                }
            }
        }
        assert_eq!(sealer(&[]).seal(Purpose::Session, b"1", NONCE, b"plaintext"), "");
        assert!(!opens(&sealers[0], ""));
    }

    #[test]
    fn sealed_fields_keep_their_borders() {
        let with = |parts: &[&str]| Sealer::new(&[Secret::from(NEW)], &Tenant::new(parts));
        let text = sealed(&with(&["ab", "c"]));
        assert!(opens(&with(&["ab", "c"]), &text));
        for parts in [&["a", "bc"][..], &["abc"], &["ab", "c", ""], &["", "ab", "c"]] {
            assert!(!opens(&with(parts), &text), "{parts:?}");
        }
    }

    #[test]
    fn keys_are_rotated_without_ending_sessions() {
        let by_old = sealed(&sealer(&[OLD]));
        let both = sealer(&[NEW, OLD]);
        assert!(opens(&both, &by_old));
        assert!(!both.is_by_first_key(&by_old));
        let by_new = sealed(&both);
        assert!(both.is_by_first_key(&by_new));
        assert!(opens(&sealer(&[NEW]), &by_new), "the first key seals");
        assert!(!opens(&sealer(&[NEW]), &by_old), "a removed key opens nothing");
        assert!(!opens(&sealer(&[]), &by_old));
        assert!(!both.is_by_first_key("short"));
        assert!(!sealer(&[]).is_by_first_key(&by_new));
    }

    #[test]
    fn derived_keys_differ_by_purpose() {
        let keys = [NEW, OLD].map(Secret::from);
        let sealers = [sealer(&[NEW, OLD]), Sealer::new(&keys, &Tenant::new(&["b"]))];
        let mut bodies = HashSet::new();
        for key in sealers.iter().flat_map(|sealer| &sealer.keys) {
            for derived in &key.derived {
                let mut body = *b"the same plaintext under every key";
                derived
                    .cipher
                    .encrypt_inout_detached(&NONCE.into(), b"", body.as_mut_slice().into())
                    .unwrap();
                assert!(bodies.insert(body));
            }
        }
        assert_eq!(bodies.len(), 2 * 2 * PURPOSES.len());
    }

    #[test]
    fn the_sealed_format_is_stable() {
        // Computed with libsodium; changes only together with FORMAT_VERSION.
        let expected = "P-EBhQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBSCyyKO-LjtI66dYSrIOKJtrDuEtlkKh3Q8";
        assert_eq!(sealed(&sealer(&[OLD])), expected);
    }
}
