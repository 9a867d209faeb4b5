//! One question to an endpoint of a provider.

use crate::error::Error;
use crate::flow::Callouts;
use crate::http::{Callout, ProviderResponse};
use crate::time::Seconds;

/// When it is worth trying again.
const RETRY_AFTER: Seconds = Seconds(1);

/// What an endpoint answers, whatever its status.
///
/// # Errors
/// No answer, or the answer of a proxy that stands in for a provider it cannot reach.
pub async fn ask(callouts: &Callouts, request: Callout) -> Result<ProviderResponse, Error> {
    let what = request.destination();
    let received = callouts.send(request).await.and_then(ProviderResponse::of_provider);
    received.map_err(|why| Error::Unreachable { what, why, retry_after: RETRY_AFTER })
}
