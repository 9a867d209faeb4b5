//! Text that must never be shown: client secrets, keys, tokens, codes, verifiers.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret text. It has no `Display`, its `Debug` is redacted, it is compared in constant time
/// and its memory is cleared when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text into custody.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text itself. The name is long so that every use can be found.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret::new(text)
    }
}

impl serde::Serialize for Secret {
    /// Only for what is sealed before it leaves the process: a session, a login.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::from("canary");
        assert!(!format!("{secret:?}").contains("canary"));
        assert_eq!(secret, Secret::from("canary"));
        assert_ne!(secret, Secret::from("canarz"));
    }

    #[test]
    fn log_08_the_memory_of_a_dropped_secret_is_cleared() {
        fn is_cleared_on_drop<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        is_cleared_on_drop(&Secret::from("canary").0);
    }
}
