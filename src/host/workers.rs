//! The host's shared data, through which the workers of one proxy share what they know.

use super::abi;
use super::kind::{self, Host};
use crate::store::{ReadError, ReadResult, SharedData, WriteError};

/// A version that no value has, for an absent value: Envoy does not check it there, and it is a mismatch with
/// a value that another worker has just written, where 0 would overwrite it.
const NONE_IN_ENVOY: u32 = u32::MAX;

/// The same for nginx, which takes only 0 for an absent value.
const NONE_IN_NGINX: u32 = 0;

/// The host's shared data, for the core.
pub const SHARED_DATA: SharedData = SharedData { get, set };

fn get(name: &str) -> ReadResult {
    if !kind::has_shared_data() {
        return Err(ReadError::NoSharedData);
    }
    abi::shared_data(name).map_err(|_| ReadError::Failing)
}

fn set(name: &str, value: &[u8], version: Option<u32>) -> Result<(), WriteError> {
    if !kind::has_shared_data() {
        return Err(WriteError);
    }
    let version = version.unwrap_or(match Host::likely() {
        Host::Envoy => NONE_IN_ENVOY,
        Host::Nginx => NONE_IN_NGINX,
    });
    abi::set_shared_data(name, value, version).map_err(|_| WriteError)
}
