//! Envoy's own verifier of signatures, through its foreign function `verify_signature`.

use std::cell::Cell;

use prost::Message;

use super::abi;
use crate::jose::verify::HostCheck;

thread_local! {
    /// The other host traps on foreign functions, and only a request can tell which host this is.
    static ALLOWED: Cell<bool> = const { Cell::new(false) };
}

/// `VerifySignatureArguments` of Envoy.
#[derive(Clone, PartialEq, Message)]
struct Arguments {
    #[prost(string, tag = "1")]
    hash_function: String,
    #[prost(bytes, tag = "2")]
    public_key: Vec<u8>,
    #[prost(bytes, tag = "3")]
    signature: Vec<u8>,
    #[prost(bytes, tag = "4")]
    text: Vec<u8>,
}

/// `VerifySignatureResult` of Envoy.
#[derive(Clone, PartialEq, Message)]
struct Outcome {
    #[prost(bool, tag = "1")]
    result: bool,
}

/// Declares that the host's verifier may be used.
pub fn allow(allowed: bool) {
    ALLOWED.set(allowed);
}

/// Calls the host's verifier.
pub fn by_host(check: &HostCheck<'_>) -> Option<bool> {
    if !ALLOWED.get() {
        return None;
    }
    let arguments = Arguments {
        hash_function: check.hash.to_owned(),
        public_key: check.public_key_der.to_vec(),
        signature: check.signature.to_vec(),
        text: check.message.to_vec(),
    };
    let outcome = abi::foreign_function("verify_signature", &arguments.encode_to_vec());
    Some(Outcome::decode(outcome.ok()?.as_slice()).ok()?.result)
}
