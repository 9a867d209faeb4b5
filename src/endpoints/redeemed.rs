//! Which logins were redeemed: the provider sees each code once.

use std::rc::Rc;

use crate::error::{ClientError, Error};
use crate::filter::Filter;
use crate::provider::RelyingParty;
use crate::session::{Login, LoginMissing};
use crate::store::{Claim, Key, Record, Table};
use crate::time::Timestamp;

/// States of logins whose code was sent to the provider: room for some 31,000 within the lifetime of a
/// login.
const REDEEMED: Table = Table { name: "redeemed_codes", buckets: 64, bucket_limit: 16 * 1024 };

/// Whether the code of a login was sent to the provider.
pub fn is_redeemed(filter: &Filter, party: &Rc<RelyingParty>, state: &str, now: Timestamp) -> bool {
    let rows = REDEEMED.rows(&filter.store, party.tenant());
    matches!(rows.find(Key::new(&[state.as_bytes()]), now), Ok(Some(_)))
}

/// The provider sees each code once, however often the callback is sent, and to whichever worker
/// (RFC 6749 section 4.1.2).
pub fn once(filter: &Filter, party: &Rc<RelyingParty>, login: &Login, now: Timestamp) -> Result<(), Error> {
    let key = Key::new(&[login.state.expose().as_bytes()]);
    // As long as the login can be finished: it may have begun before the clock went back.
    let until = now.max(login.started_at) + filter.config.session.login_lifetime;
    let redeemed = REDEEMED.rows(&filter.store, party.tenant());
    match redeemed.claim(key, &Record::new(&[], until), now) {
        Claim::Made => Ok(()),
        Claim::Held(_) | Claim::Contended => Err(ClientError::Login(LoginMissing::Used).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_codes_are_remembered_at_once() {
        assert!(REDEEMED.has_room_for(10_000));
    }
}
