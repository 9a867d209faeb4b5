//! The claims of a login: those of the ID token, and what the userinfo endpoint adds to them.

use crate::config::UserinfoUse;
use crate::credential::bearer;
use crate::error::{ClientError, Error, ProviderError};
use crate::filter::Filter;
use crate::flow::Callouts;
use crate::jose::{Jws, JwsError, Verified};
use crate::oidc::claims::Claims;
use crate::oidc::userinfo::{Expected, Userinfo, UserinfoError, UserinfoResponse, userinfo_request};
use crate::provider::{Provider, ProviderDocuments, RelyingParty, TokenSource, send};
use crate::secret::Secret;

/// The person that an ID token has identified.
pub struct Person<'a> {
    /// The claims so far.
    pub claims: &'a Claims,
    /// The subject that userinfo must be about.
    pub subject: &'a str,
    /// The scopes that the login requested besides those of the provider.
    pub requested_scopes: &'a [String],
}

/// The claims of a person with those that the userinfo endpoint adds, if the configuration wants a request to
/// it.
///
/// # Errors
/// The endpoint was requested, and its response cannot be had or is not about this person. Then the login
/// fails: claims that are there only at times would grant and withdraw rights at random.
pub async fn claims(
    filter: &Filter,
    party: &RelyingParty,
    known: &ProviderDocuments,
    person: &Person<'_>,
    access_token: &Secret,
    callouts: &Callouts,
) -> Result<Option<Claims>, Error> {
    let provider = &party.config;
    let missing = filter.needs.missing(person.claims, provider, person.requested_scopes);
    let is_wanted = match provider.userinfo {
        UserinfoUse::Never => false,
        UserinfoUse::Always => true,
        UserinfoUse::IfNeeded => missing.is_some() && known.metadata.userinfo_endpoint.is_some(),
    };
    if !is_wanted {
        return Ok(None);
    }
    let Some(request) = userinfo_request(&known.metadata, provider, access_token) else {
        if provider.userinfo == UserinfoUse::Always {
            return Err(Error::Bug("userinfo is required (always), but has no callout target"));
        }
        log::warn!(
            "provider={}: the ID token lacks \"{}\", and userinfo_endpoint is on another host than the \
             issuer; it is fetched if callout.userinfo names its target",
            provider.name,
            missing.unwrap_or_default()
        );
        return Ok(None);
    };
    let what = request.destination();
    let wrong = |error| Error::from(ProviderError::Userinfo(what.clone(), error));
    let received = send(callouts, request).await?;
    let response = UserinfoResponse::read(&received).map_err(wrong)?;
    let expect = || Expected {
        issuer: provider.issuer_of(person.claims),
        client_id: &provider.client.id,
        subject: person.subject,
        leeway: provider.leeway,
        now: callouts.now(),
    };
    let userinfo = match response {
        UserinfoResponse::Plain(claims) => Userinfo::check(claims, &expect()),
        UserinfoResponse::Signed(text) => {
            let wrong = |error| wrong(UserinfoError::Signature(error));
            let verified = verify(party, text.expose(), &wrong, callouts).await?;
            Userinfo::check_signed(verified, &expect())
        }
    };
    Ok(Some(userinfo.map_err(wrong)?.added_to(person.claims)))
}

async fn verify(
    provider: &Provider,
    text: &str,
    wrong: &impl Fn(JwsError) -> Error,
    callouts: &Callouts,
) -> Result<Verified, Error> {
    let jws = Jws::parse(text).map_err(wrong)?;
    match bearer::verify(provider, (jws, text, TokenSource::Provider), callouts).await {
        Ok((verified, _)) => Ok(verified),
        // The wrong token did not come from the client here.
        Err(Error::Client(ClientError::Token(error))) => Err(wrong(error)),
        Err(other) => Err(other),
    }
}
