//! The claims of a login: those of the ID token, and what the userinfo endpoint adds to them.

use crate::config::{ProviderIndex, UserinfoUse};
use crate::error::{ClientError, Error, ProviderError};
use crate::filter::Filter;
use crate::flow::{Callouts, bearer};
use crate::http::{Callout, CalloutFailed, Received};
use crate::jose::{Jws, Verified};
use crate::oidc::claims::Claims;
use crate::oidc::id_token::IdToken;
use crate::oidc::token::TokenResponse;
use crate::oidc::userinfo::{Expected, Userinfo, UserinfoError, UserinfoResponse, userinfo_request};
use crate::provider::Known;
use crate::time::{Seconds, Timestamp};

/// The claims of the person who logs in. Asks the userinfo endpoint if the configuration wants that.
///
/// # Errors
/// The endpoint was asked, and its answer cannot be had or is not about this person. Then nobody is
/// logged in: claims that sometimes are there would give and take rights at random.
pub async fn claims(
    filter: &Filter,
    index: ProviderIndex,
    known: &Known,
    id_token: &IdToken,
    tokens: &TokenResponse,
    callouts: &Callouts,
    now: &mut Timestamp,
) -> Result<Claims, Error> {
    let provider = &filter.provider(index).ok_or(Error::Bug("no such provider"))?.config;
    let missing = filter.needs.missing(id_token.claims(), provider);
    let is_wanted = match provider.userinfo {
        UserinfoUse::Never => false,
        UserinfoUse::Always => true,
        UserinfoUse::IfNeeded => missing.is_some() && known.metadata.userinfo_endpoint.is_some(),
    };
    if !is_wanted {
        return Ok(id_token.claims().clone());
    }
    let Some(request) = userinfo_request(&known.metadata, provider, &tokens.access_token) else {
        if provider.userinfo == UserinfoUse::Always {
            return Err(Error::Bug("userinfo is always wanted, and there is no way to it"));
        }
        log::warn!(
            "provider={}: the ID token lacks \"{}\", and userinfo_endpoint is on another host than the issuer; \
             it is asked if callout.userinfo names the way",
            provider.name,
            missing.unwrap_or_default()
        );
        return Ok(id_token.claims().clone());
    };
    let received = exchange(request, callouts, now).await?;
    let response = UserinfoResponse::read(&received).map_err(ProviderError::Userinfo)?;
    let expect = |now: &Timestamp| Expected {
        issuer: &provider.issuer,
        client_id: &provider.client.id,
        subject: id_token.subject(),
        leeway: provider.leeway,
        now: *now,
    };
    let userinfo = match response {
        UserinfoResponse::Plain(claims) => Userinfo::check(claims, &expect(now)),
        UserinfoResponse::Signed(text) => {
            let verified = verify(filter, index, text.expose(), callouts, now).await?;
            Userinfo::check_signed(verified, &expect(now))
        }
    };
    Ok(userinfo.map_err(ProviderError::Userinfo)?.added_to(id_token.claims()))
}

async fn exchange(request: Callout, callouts: &Callouts, now: &mut Timestamp) -> Result<Received, Error> {
    let answered = callouts.send(request).await;
    *now = answered.now;
    let unreachable = |why| Error::Unreachable { what: "userinfo endpoint", why, retry_after: Seconds(1) };
    let received = answered.reply.map_err(unreachable)?;
    if matches!(received.status, 502..=504) {
        return Err(unreachable(CalloutFailed::NoAnswer));
    }
    Ok(received)
}

async fn verify(
    filter: &Filter,
    index: ProviderIndex,
    text: &str,
    callouts: &Callouts,
    now: &mut Timestamp,
) -> Result<Verified, Error> {
    let wrong = |error| Error::from(ProviderError::Userinfo(UserinfoError::Signature(error)));
    let jws = Jws::parse(text).map_err(wrong)?;
    match bearer::verify(filter, index, jws, text, callouts, now).await {
        Ok((verified, _)) => Ok(verified),
        // Here it is not the client who brought a wrong token.
        Err(Error::Client(ClientError::Token(error))) => Err(wrong(error)),
        Err(other) => Err(other),
    }
}
