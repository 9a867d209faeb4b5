//! Discovery documents of real providers: each is accepted when its own issuer is configured, and
//! refused when any other is.
//!
//! The documents are not part of this repository. The environment variable `VESTIBULE_VECTORS`
//! names the folder that holds `discovery/*.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use std::{env, fs};

use serde_json::Value;
use vestibule::config::{
    CalloutTargets, Client, ClientAuthentication, Provider, RedirectUri, RelyingParty, ResponseMode, Roles,
    UserinfoUse,
};
use vestibule::oidc::discovery::{Metadata, MetadataError};
use vestibule::time::Seconds;

fn documents() -> Option<BTreeMap<String, Vec<u8>>> {
    let Some(folder) = env::var_os("VESTIBULE_VECTORS").map(PathBuf::from) else {
        println!("skipped: VESTIBULE_VECTORS is not set");
        return None;
    };
    let paths = fs::read_dir(folder.join("discovery")).unwrap().map(|entry| entry.unwrap().path());
    let documents = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    Some(
        documents
            .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
            .collect(),
    )
}

/// A provider with a callout target for each endpoint.
fn provider(issuer: &str) -> Provider {
    Provider {
        name: "provider".into(),
        issuer: issuer.into(),
        issuers: vec![issuer.into()],
        issuer_patterns: vec![issuer.into()],
        keys: vestibule::config::KeySource::Discovery(None),
        callout: CalloutTargets {
            discovery: "discovery".into(),
            jwks: "jwks".into(),
            token: "token".into(),
            userinfo: None,
            default: None,
        },
        callout_timeout: Duration::from_secs(5),
        userinfo: UserinfoUse::IfNeeded,
        end_session_endpoint: None,
        algorithms: Vec::new(),
        leeway: Seconds(60),
        insecure_allow_http: false,
    }
}

/// The roles of such a provider, which serves logins.
fn roles(provider: Provider) -> Roles {
    let provider = Rc::new(provider);
    let relying_party = RelyingParty {
        provider: Rc::clone(&provider),
        client: Client {
            id: "client".into(),
            authentication: ClientAuthentication::SecretPost("a secret".into()),
            next: None,
            secret_expires_at: None,
            assertion_audience: None,
        },
        scopes: vec!["openid".into()],
        refresh: None,
        authorization_parameters: Vec::new(),
        parameters_from_request: Vec::new(),
        max_age: None,
        redirect_uri: RedirectUri::Path("/oidc/callback".into()),
        response_mode: ResponseMode::Query,
        post_logout_redirect_uri: None,
        post_logout_redirect_parameter: "post_logout_redirect_uri".into(),
        trusted_audiences: Vec::new(),
    };
    Roles { provider, relying_party: Some(Rc::new(relying_party)), resource_server: None }
}

/// The keys of `callout` that are needed where all endpoints share one target.
fn noted_with_one_way(body: &[u8], issuer: &str) -> Vec<&'static str> {
    let mut provider = provider(issuer);
    provider.callout.jwks = provider.callout.discovery.clone();
    provider.callout.token = provider.callout.discovery.clone();
    let notes = Metadata::read(body, &roles(provider)).unwrap().notes;
    let is_noted = |key: &&str| notes.iter().any(|note| note.contains(&format!("set callout.{key} ")));
    ["jwks", "token"].into_iter().filter(is_noted).collect()
}

/// The keys of `callout` whose endpoints are on another host than the document.
fn elsewhere(document: &Value) -> Vec<&'static str> {
    let host = |member: &str| {
        let address = document[member].as_str().unwrap();
        address.split('/').nth(2).unwrap().to_owned()
    };
    let is_elsewhere = |(_, member): &(&str, &str)| host(member) != host("issuer");
    let endpoints = [("jwks", "jwks_uri"), ("token", "token_endpoint")];
    endpoints.into_iter().filter(is_elsewhere).map(|(key, _)| key).collect()
}

#[test]
fn documents_of_real_providers_are_read() {
    let Some(documents) = documents() else { return };
    assert!(documents.len() >= 12, "only {} documents", documents.len());
    for (name, body) in documents {
        let document: Value = serde_json::from_slice(&body).unwrap();
        let issuer = document["issuer"].as_str().unwrap();

        let metadata =
            Metadata::read(&body, &roles(provider(issuer))).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(metadata.token_endpoint.as_str(), document["token_endpoint"], "{name}");
        assert_eq!(metadata.jwks_uri.as_str(), document["jwks_uri"], "{name}");
        for (member, read) in [
            ("userinfo_endpoint", &metadata.userinfo_endpoint),
            ("end_session_endpoint", &metadata.end_session_endpoint),
        ] {
            assert_eq!(read.as_ref().map(|url| url.as_str()), document[member].as_str(), "{name}: {member}");
        }
        assert!(metadata.notes.is_empty(), "{name}: {:?}", metadata.notes);
        assert_eq!(noted_with_one_way(&body, issuer), elsewhere(&document), "{name}");

        let other = Metadata::read(&body, &roles(provider("https://other.example"))).unwrap_err();
        assert!(matches!(other, MetadataError::Issuer { .. }), "{name}");
    }
}
