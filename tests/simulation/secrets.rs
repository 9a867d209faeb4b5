//! All secrets of a world, and whether a text shows any of them.

use std::collections::BTreeSet;

/// Every run of so many bytes of a secret is looked for, because a leaked part is a leak.
const RUN: usize = 16;

#[derive(Default)]
pub struct Secrets {
    runs: BTreeSet<[u8; RUN]>,
}

impl Secrets {
    /// Runs are counted from the end, because the beginning of a token or cookie is no secret.
    pub fn add(&mut self, secret: &str) {
        assert!(secret.bytes().all(is_of_a_secret), "a secret that would not be found");
        self.runs.extend(secret.as_bytes().rchunks_exact(RUN).map(|run| <[u8; RUN]>::try_from(run).unwrap()));
    }

    /// The part of a secret that a text shows.
    pub fn shown_in(&self, text: &str) -> Option<String> {
        // Most words of a page are shorter than a run, so this is quick.
        let words = text.as_bytes().split(|byte| !is_of_a_secret(*byte));
        let mut windows = words.filter(|word| word.len() >= RUN).flat_map(|word| word.windows(RUN));
        let run = windows.find(|window| self.runs.contains(<&[u8; RUN]>::try_from(*window).unwrap()))?;
        Some(String::from_utf8_lossy(run).into_owned())
    }
}

fn is_of_a_secret(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.=+/:%".contains(&byte)
}
