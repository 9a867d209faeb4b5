//! Codes that were redeemed, each at most once.

use crate::error::{ClientError, Error};
use crate::filter::Filter;
use crate::flow::Callouts;
use crate::provider::RelyingParty;
use crate::session::{Login, LoginMissing};
use crate::store::{Claim, Key, Record, Table};

/// `state` of each login whose code was sent to the provider: room for some 31,000 within the lifetime of a
/// login.
const REDEEMED: Table = Table { name: "redeemed_codes", buckets: 64, bucket_limit: 16 * 1024 };

/// Whether the code of a login was sent to the provider.
pub async fn is_redeemed(filter: &Filter, party: &RelyingParty, state: &str, callouts: &Callouts) -> bool {
    let redeemed = REDEEMED.agreed(&filter.store, party.tenant());
    matches!(redeemed.get(Key::new(&[state.as_bytes()]), callouts).await, Ok(Some(_)))
}

/// Redeems each code at most once, however often the callback is sent and whichever worker gets it (RFC
/// 6749 section 4.1.2).
///
/// # Errors
/// The code was sent before, or that cannot be determined.
pub async fn once(
    filter: &Filter,
    party: &RelyingParty,
    login: &Login,
    callouts: &Callouts,
) -> Result<(), Error> {
    let key = Key::new(&[login.state.expose().as_bytes()]);
    // While the login can be completed: it may have begun before the clock was set back.
    let until = callouts.now().max(login.started_at) + filter.config.session.login_lifetime;
    let redeemed = REDEEMED.agreed(&filter.store, party.tenant());
    match redeemed.put_if_absent(key, &Record::new(&[], until), callouts).await {
        Claim::Made => Ok(()),
        Claim::Held(_) | Claim::Contended => Err(ClientError::Login(LoginMissing::Used).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_redeemed_codes_fit_into_the_table() {
        assert!(REDEEMED.has_room_for(10_000));
    }
}
