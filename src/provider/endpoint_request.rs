//! One request to an endpoint of a provider.

use crate::error::Error;
use crate::flow::Callouts;
use crate::http::{Callout, ProviderResponse};
use crate::time::Seconds;

/// The wait before another attempt.
const RETRY_AFTER: Seconds = Seconds(1);

/// The response of an endpoint, whatever its status.
///
/// # Errors
/// No reply, or the reply of a proxy that stands in for a provider it cannot reach.
pub async fn send(callouts: &Callouts, request: Callout) -> Result<ProviderResponse, Error> {
    let what = request.destination();
    let received = callouts.send(request).await.and_then(ProviderResponse::of_provider);
    received.map_err(|why| Error::Unreachable { what, why, retry_after: RETRY_AFTER })
}
