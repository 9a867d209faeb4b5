//! Envoy's own verifier of signatures, through its foreign function `verify_signature`.

use prost::Message;

use super::{abi, kind};
use crate::jose::verify::HostCheck;

/// `VerifySignatureResult` of Envoy.
#[derive(Clone, PartialEq, Message)]
struct Outcome {
    #[prost(bool, tag = "1")]
    result: bool,
    #[prost(string, tag = "2")]
    error: String,
}

/// The beginning of Envoy's error for an invalid signature. Where it cannot verify, because it does not support the
/// hash or the key, it has another error.
const INVALID: &str = "Failed to verify digest.";

/// Calls the host's verifier. `None` unless it verified: then the module has to.
pub fn by_host(check: &HostCheck<'_>) -> Option<bool> {
    if !kind::has_verifier() {
        return None;
    }
    let outcome = abi::foreign_function("verify_signature", &arguments(check)?).ok()?;
    let outcome = Outcome::decode(outcome.as_slice()).ok()?;
    match outcome.result {
        true => Some(true),
        false => outcome.error.starts_with(INVALID).then_some(false),
    }
}

/// `VerifySignatureArguments` of Envoy: fields 1 to 4, each after one byte with its number and type. Encoded here,
/// because a message of `prost` owns its fields, so each would be copied twice.
fn arguments(check: &HostCheck<'_>) -> Option<Vec<u8>> {
    let fields = [
        (0x0a, check.hash.as_bytes()),
        (0x12, check.public_key_der),
        (0x1a, check.signature),
        (0x22, check.message),
    ];
    let mut arguments =
        Vec::with_capacity(fields.iter().map(|(_, field)| field.len().saturating_add(4)).sum());
    for (tag, field) in fields {
        arguments.push(tag);
        prost::encode_length_delimiter(field.len(), &mut arguments).ok()?;
        arguments.extend_from_slice(field);
    }
    Some(arguments)
}

/// For the test of the host's verifier: a request header has a signature, and the response has the results of the
/// host and of the module.
#[cfg(feature = "test-vectors")]
pub mod vectors {
    use std::cell::Cell;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use crate::http::Request;
    use crate::jose::verify::{HostCheck, signature};
    use crate::jose::{Algorithm, KeySet};

    thread_local! {
        /// The last result of the host, if it was called.
        static BY_HOST: Cell<Option<Option<bool>>> = const { Cell::new(None) };
    }

    fn by_host(check: &HostCheck<'_>) -> Option<bool> {
        let result = super::by_host(check);
        BY_HOST.set(Some(result));
        result
    }

    /// The results for `algorithm key message signature`, all but the first in base64url; the key is a JWK.
    pub fn verdict(request: &Request) -> Option<&'static str> {
        let line = request.headers.all("x-vestibule-verify").next()?;
        Some(judge(std::str::from_utf8(line).ok()?).unwrap_or("unreadable"))
    }

    fn judge(line: &str) -> Option<&'static str> {
        let mut words = line.split(' ');
        let algorithm = Algorithm::parse(words.next()?)?;
        // A proxy drops the blank before an empty last word.
        let mut bytes = || URL_SAFE_NO_PAD.decode(words.next().unwrap_or_default()).ok();
        let (jwk, message, made) = (bytes()?, bytes()?, bytes()?);
        let Ok(keys) = KeySet::read(&[br#"{"keys":["#, &jwk[..], b"]}"].concat()) else {
            return Some("unusable_key");
        };
        let key = keys.iter().next()?.public_key();
        BY_HOST.set(None);
        let with_host = signature(algorithm, key, &message, &made, Some(by_host));
        let in_module = signature(algorithm, key, &message, &made, None);
        Some(match (BY_HOST.get(), in_module, with_host == in_module) {
            (_, _, false) => "different",
            (None, true, _) => "module_valid",
            (None, false, _) => "module_invalid",
            (Some(None), ..) => "host_cannot",
            (Some(Some(_)), true, _) => "both_valid",
            (Some(Some(_)), false, _) => "both_invalid",
        })
    }
}
