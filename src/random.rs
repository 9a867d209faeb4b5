//! Random values that stay unpredictable where the random source of the host is not.
//!
//! ngx_wasm_module implements `random_get` with libc `random()` seeded from process id and time: a few
//! hundred guesses find it. So every random value is drawn from a generator keyed with a secret of the
//! configuration; host randomness, time, a counter and the worker's identity are only further inputs. An
//! attacker without the secret cannot predict a value as long as HMAC-SHA256 and ChaCha20 are pseudorandom
//! functions, however bad the host is.
//!
//! HMAC makes a seed of all inputs for each draw, and ChaCha20 (RFC 8439) makes the output and the next state
//! of the seed: a fast-key-erasure generator.

use std::cell::RefCell;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use hkdf::Hkdf;
use hmac::Hmac;
use hmac::digest::{FixedOutput, KeyInit, Update};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::time::Timestamp;

/// Bytes of host randomness that go into every draw.
const HOST_BYTES: usize = 32;

/// Salt of the key derivation: nothing else is derived from the secret with it.
const KEY_LABEL: &[u8] = b"vestibule random generator v2";

/// The characters of [`Random::reference`]: no two look alike in print or by hand, and no vowels, so no
/// words.
const REFERENCE_ALPHABET: &[u8; 24] = b"2346789CDFGHJKMNPQRTVWXY";

/// 2^64 divided by the golden ratio: the step of SplitMix64 (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", 2014).
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// The host gave no randomness. The request that needs it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the random source of the proxy failed")
    }
}

/// Requests randomness from the host.
pub type HostRandomness = fn(&mut [u8]) -> Result<(), NoRandomness>;

/// The generator of one worker. One per instance of the module; for one thread.
pub struct Random {
    mac: Hmac<Sha256>,
    worker: u64,
    host: HostRandomness,
    state: RefCell<State>,
}

struct State {
    chain: Zeroizing<[u8; 32]>,
    draws: u64,
    /// What references are made of, from the first on.
    references: Option<u64>,
}

impl Random {
    /// A generator keyed with `key`, a secret of the configuration.
    ///
    /// `worker` distinguishes generators that share the key: it should differ between workers, machines and
    /// starts (for example nanoseconds at the start mixed with the address of the machine). It is the only
    /// difference if the host source is not only predictable but the same everywhere.
    pub fn new(key: &Secret, worker: u64, host: HostRandomness) -> Self {
        let (extracted, _) = Hkdf::<Sha256>::extract(Some(KEY_LABEL), key.expose().as_bytes());
        // HMAC fills a short key with zeros up to its block (RFC 2104 section 2).
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block.iter_mut().zip(extracted).for_each(|(to, from)| *to = from);
        let state = State { chain: Zeroizing::new([0; 32]), draws: 0, references: None };
        Random { mac: Hmac::new(&block), worker, host, state: RefCell::new(state) }
    }

    /// Fills `out`.
    ///
    /// # Errors
    /// [`NoRandomness`] when the host source fails: although the key alone would do, a host in such
    /// a state is not trusted. `out` is then untouched.
    pub fn fill(&self, out: &mut [u8], now: Timestamp) -> Result<(), NoRandomness> {
        self.fill_all(&mut [out], now)
    }

    /// Fills several values, of which none says anything of another: one draw, and one call of the host.
    ///
    /// # Errors
    /// As [`Random::fill`].
    pub fn fill_all(&self, values: &mut [&mut [u8]], now: Timestamp) -> Result<(), NoRandomness> {
        let mut host = Zeroizing::new([0; HOST_BYTES]);
        (self.host)(host.as_mut_slice())?;

        let mut state = self.state.borrow_mut();
        state.draws = state.draws.wrapping_add(1);
        // Every part has a fixed length, so no two different inputs make the same message.
        let seed = self.mac(&[
            state.chain.as_slice(),
            host.as_slice(),
            &now.0.to_be_bytes(),
            &state.draws.to_be_bytes(),
            &self.worker.to_be_bytes(),
        ]);
        // Each seed is the key of one keystream only.
        let mut stream = ChaCha20::new((&*seed).into(), &Default::default());
        // The seed of earlier output cannot be computed from the new state.
        state.chain.fill(0);
        stream.apply_keystream(state.chain.as_mut_slice());
        for value in values {
            value.fill(0);
            stream.apply_keystream(value);
        }
        Ok(())
    }

    /// Text of `bytes` random bytes in base64url without padding: `state`, `nonce`,
    /// `code_verifier`, session ids. 32 bytes make the 43 characters of RFC 7636 section 4.1.
    ///
    /// # Errors
    /// As [`Random::fill`].
    pub fn token(&self, now: Timestamp, bytes: usize) -> Result<String, NoRandomness> {
        let mut random = Zeroizing::new(vec![0; bytes]);
        self.fill(&mut random, now)?;
        Ok(text(&random))
    }

    /// A reference for one response that is easy to read over the phone, such as `K7Q2-9FTX`. There are 10^11
    /// of them: enough to find one line of a log; it is no secret. So a worker draws once, and mixes each from
    /// that and a count: every refusal has one.
    ///
    /// # Errors
    /// As [`Random::fill`], at the first.
    pub fn reference(&self, now: Timestamp) -> Result<String, NoRandomness> {
        let known = self.state.borrow().references;
        let seed = match known {
            Some(seed) => seed,
            None => {
                let mut random = [0; 8];
                self.fill(&mut random, now)?;
                u64::from_be_bytes(random)
            }
        };
        let seed = seed.wrapping_add(GOLDEN_RATIO);
        self.state.borrow_mut().references = Some(seed);
        let (mut rest, base) = (mixed(seed), REFERENCE_ALPHABET.len() as u64);
        let mut reference = String::with_capacity(9);
        while reference.len() < 9 {
            if reference.len() == 4 {
                reference.push('-');
            }
            let index = usize::try_from(rest.checked_rem(base).unwrap_or_default()).unwrap_or_default();
            reference.extend(REFERENCE_ALPHABET.get(index).map(|letter| char::from(*letter)));
            rest = rest.checked_div(base).unwrap_or_default();
        }
        Ok(reference)
    }

    /// A nonce for one sealed text. 192 bits: random ones do not collide.
    ///
    /// # Errors
    /// As [`Random::fill`].
    pub fn nonce24(&self, now: Timestamp) -> Result<[u8; 24], NoRandomness> {
        let mut nonce = [0; 24];
        self.fill(&mut nonce, now)?;
        Ok(nonce)
    }

    /// A key for one cache ([`crate::cache::Cache`]).
    ///
    /// # Errors
    /// As [`Random::fill`].
    pub fn key16(&self, now: Timestamp) -> Result<[u8; 16], NoRandomness> {
        let mut key = [0; 16];
        self.fill(&mut key, now)?;
        Ok(key)
    }

    fn mac(&self, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut mac = self.mac.clone();
        for part in parts {
            mac.update(part);
        }
        Zeroizing::new(mac.finalize_fixed().into())
    }
}

/// The output of SplitMix64 for a state. Different states give different outputs.
fn mixed(state: u64) -> u64 {
    let state = (state ^ state.wrapping_shr(30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ state.wrapping_shr(27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ state.wrapping_shr(31)
}

/// Random bytes as text: base64url without padding.
pub fn text(random: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(random)
}

impl fmt::Debug for Random {
    /// Neither key nor state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000);

    fn constant(out: &mut [u8]) -> Result<(), NoRandomness> {
        out.fill(7);
        Ok(())
    }

    fn broken(_: &mut [u8]) -> Result<(), NoRandomness> {
        Err(NoRandomness)
    }

    fn generator(key: &str, worker: u64) -> Random {
        Random::new(&Secret::from(key), worker, constant)
    }

    #[test]
    fn a_predictable_host_does_not_make_predictable_values() {
        let first = |random: &Random| random.token(NOW, 32).unwrap();
        let known = first(&generator("a secret of the configuration", 1));
        assert_eq!(known, first(&generator("a secret of the configuration", 1)), "it is deterministic");
        assert_ne!(known, first(&generator("another secret of the configuration", 1)));
        assert_ne!(known, first(&generator("a secret of the configuration", 2)));
        let later = generator("a secret of the configuration", 1);
        assert_ne!(known, later.token(Timestamp(NOW.0 + 1), 32).unwrap());
    }

    #[test]
    fn several_values_of_one_draw_differ_and_take_one_call_of_the_host() {
        thread_local! {
            static CALLS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
        }
        fn counted(out: &mut [u8]) -> Result<(), NoRandomness> {
            CALLS.set(CALLS.get().wrapping_add(1));
            constant(out)
        }
        let random = Random::new(&Secret::from("key"), 1, counted);
        let (mut one, mut other, mut long) = ([0; 32], [0; 32], [0; 40]);
        random.fill_all(&mut [&mut one, &mut other, &mut long], NOW).unwrap();
        assert_eq!(CALLS.get(), 1);
        let blocks = HashSet::from([one, other, *long.first_chunk().unwrap()]);
        assert_eq!(blocks.len(), 3);
        assert!(long[32..] != one[..8] && long[32..] != other[..8] && long[32..] != [0; 8]);
    }

    #[test]
    fn every_draw_takes_32_bytes_of_the_host() {
        fn counted(out: &mut [u8]) -> Result<(), NoRandomness> {
            out.fill(7);
            if out.len() == 32 { Ok(()) } else { Err(NoRandomness) }
        }
        let random = Random::new(&Secret::from("key"), 1, counted);
        for bytes in [1, 16, 32, 100] {
            assert!(random.fill(&mut vec![0; bytes], NOW).is_ok(), "{bytes}");
        }
    }

    #[test]
    fn the_randomness_of_the_host_matters() {
        fn other(out: &mut [u8]) -> Result<(), NoRandomness> {
            out.fill(8);
            Ok(())
        }
        let (a, b) = (generator("key", 1), Random::new(&Secret::from("key"), 1, other));
        assert_ne!(a.token(NOW, 32), b.token(NOW, 32));
    }

    #[test]
    fn nothing_repeats_with_a_stopped_clock_and_a_constant_host() {
        let random = generator("key", 1);
        let nonces: HashSet<_> = (0..1 << 16).map(|_| random.nonce24(NOW).unwrap()).collect();
        assert_eq!(nonces.len(), 1 << 16);
    }

    /// The state of a generator reveals nothing of its earlier output.
    #[test]
    fn the_state_moves_on_with_every_draw_and_in_one_direction() {
        let random = generator("key", 1);
        let chains: HashSet<[u8; 32]> = (0..1000)
            .map(|_| {
                let before = *random.state.borrow().chain;
                random.fill(&mut [0; 8], NOW).unwrap();
                assert_ne!(*random.state.borrow().chain, before);
                before
            })
            .collect();
        assert_eq!(chains.len(), 1000);
        // The output of a draw depends on the earlier draws, not only on their number.
        let (one, other) = (generator("key", 1), generator("key", 1));
        one.fill(&mut [0; 8], NOW).unwrap();
        other.fill(&mut [0; 8], Timestamp(NOW.0 + 1)).unwrap();
        assert_ne!(one.token(NOW, 32), other.token(NOW, 32));
    }

    /// Who reads the memory of a worker, and knows the key, computes nothing that it drew before.
    #[test]
    fn earlier_output_cannot_be_computed_from_the_key_and_the_state() {
        let random = generator("key", 1);
        let mut drawn = [0; 32];
        random.fill(&mut drawn, NOW).unwrap();
        let chain = random.state.borrow().chain.clone();
        assert_ne!(*chain, drawn);
        assert_ne!(*random.mac(&[chain.as_slice()]), drawn);
        // As if the state were the seed.
        let mut stream = [0; 128];
        ChaCha20::new((&*chain).into(), &Default::default()).apply_keystream(&mut stream);
        assert!(!stream.windows(32).any(|part| part == drawn));
    }

    #[test]
    fn a_long_draw_does_not_repeat_its_blocks() {
        let mut out = [0; 32 * 64 + 5];
        generator("key", 1).fill(&mut out, NOW).unwrap();
        let blocks: HashSet<_> = out.chunks(32).collect();
        assert_eq!(blocks.len(), 65);
        assert_ne!(out[32 * 64..], [0; 5]);
    }

    #[test]
    fn without_host_randomness_nothing_is_drawn() {
        let random = Random::new(&Secret::from("key"), 1, broken);
        let mut out = [9; 16];
        assert_eq!(random.fill(&mut out, NOW), Err(NoRandomness));
        assert_eq!(out, [9; 16]);
        assert_eq!(random.token(NOW, 32), Err(NoRandomness));
        assert_eq!(random.nonce24(NOW), Err(NoRandomness));
        assert_eq!(random.key16(NOW), Err(NoRandomness));
        assert_eq!(random.reference(NOW), Err(NoRandomness));
    }

    #[test]
    fn a_reference_has_no_characters_that_look_alike() {
        let random = generator("key", 1);
        let references: HashSet<String> = (0..10_000).map(|_| random.reference(NOW).unwrap()).collect();
        assert_eq!(references.len(), 10_000);
        let mut seen = HashSet::new();
        for reference in &references {
            let Some((one, other)) = reference.split_once('-') else { panic!("{reference}: no groups") };
            assert_eq!((one.len(), other.len()), (4, 4), "{reference}");
            seen.extend(one.bytes().chain(other.bytes()));
        }
        for look_alike in ["0DO", "1IL", "2Z", "5S", "8B", "UV"] {
            let known = look_alike.bytes().filter(|letter| seen.contains(letter)).count();
            assert!(known <= 1, "{look_alike}");
        }
        assert!(seen.iter().all(|letter| letter.is_ascii_digit() || letter.is_ascii_uppercase()));
        assert!(!b"AEIOU".iter().any(|vowel| seen.contains(vowel)), "no words");
        assert_eq!(seen.len(), REFERENCE_ALPHABET.len(), "none is never used");
    }

    #[test]
    fn thirty_two_bytes_make_a_code_verifier() {
        let token = generator("key", 1).token(NOW, 32).unwrap();
        assert_eq!(token.len(), 43);
        assert!(token.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
    }
}
