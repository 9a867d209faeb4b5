//! The check of a provider: its addresses, the registration of the client, and the conditions for its tokens.

use std::rc::Rc;
use std::time::Duration;

use super::address::{address, endpoint_path_fault, exact_address};
use super::choices::{CalloutChoice, ResponseMode, UserinfoUse};
use super::client::{self, ClientAuthentication};
use super::document::{CalloutObject, Names, ProviderObject};
use super::issuer::{self, Issuers};
use super::parameters;
use super::problem::Problem;
use super::resource::Resource;
use super::roles::{
    CalloutTargets, KeySource, Provider, RedirectUri, Refresh, RelyingParty, ResourceServer, Roles,
};
use super::shape::Reading;
use super::value::{Member, Text};
use crate::jose::{Algorithm, KeySet};
use crate::time::Seconds;

/// Longest name of a provider, in characters.
const NAME_LIMIT: usize = 32;

/// More tolerance than this gives a warning, in seconds.
const LEEWAY_WARNING: u64 = 120;

/// Checks one provider. `resources`: those of the rules that accept its bearer tokens. `site_http`: browsers
/// reach the site by plain HTTP.
pub(super) fn check(
    member: Member<ProviderObject>,
    resources: Vec<Rc<Resource>>,
    site_http: bool,
    reading: &mut Reading,
) -> Option<Roles> {
    let Member { place, name, value: provider } = member;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    // They would be the names of other cookies of ours.
    if name == "tries" || name == "logout" || name.starts_with("login-") {
        let rule = "must not be called tries or logout, and its name must not begin with login-";
        reading.problems.add(Problem::at(&place, rule));
    }
    if name.is_empty() || name.len() > NAME_LIMIT || !name.bytes().all(plain) {
        let rule = format!("must have a name of 1 to {NAME_LIMIT} of the characters a-z 0-9 _ -");
        reading.problems.add(Problem::at(&place, rule));
    }
    let insecure_allow_http = provider.insecure_allow_http;
    if insecure_allow_http == Some(true) {
        reading.warn(&place.key("insecure_allow_http"), "an attacker on the network can log in as anybody");
    }
    let leeway = provider.leeway_seconds.as_ref().map(|leeway| leeway.0);
    if leeway.is_some_and(|leeway| leeway > LEEWAY_WARNING) {
        reading.warn(
            &place.key("leeway_seconds"),
            "tokens count for long after their end; better set the clocks",
        );
    }
    let logs_in = provider.client_id.is_some();
    let client = if logs_in { client::check(&provider, reading) } else { None };
    if !logs_in {
        for_tokens_alone(&provider, !resources.is_empty(), reading);
    }
    let allow_http = insecure_allow_http == Some(true);
    let keys = key_source(&provider, allow_http, reading);
    let (tenants, further) = (provider.tenants?, provider.accepted_issuers?);
    let issuer =
        provider.issuer.and_then(|issuer| issuer::check(&issuer, tenants, further, allow_http, reading));
    let callout = match (provider.callout, &keys) {
        (Some(callout), _) => callout_targets(callout, provider.userinfo, logs_in, reading),
        (None, Some(KeySource::Configuration(_))) => Some(CalloutTargets::none()),
        (None, _) => {
            let rule = if logs_in { "is required" } else { "is required without jwks" };
            reading.refuse(Problem::at(&place.key("callout"), rule))
        }
    };
    let scopes = provider.scopes.and_then(|scopes| check_scopes(scopes, reading));
    let redirect_uri = provider.redirect_uri.and_then(|uri| check_redirect_uri(&uri, site_http, reading));
    let response_mode = provider.response_mode;
    if site_http && response_mode == Some(ResponseMode::FormPost) {
        let rule = "must not be form_post with session.insecure_allow_http";
        let problem = Problem::at(&place.key("response_mode"), rule);
        // A form from another site brings only cookies with `SameSite=None`.
        reading.problems.add(problem.advice("browsers accept SameSite=None only over https"));
    }
    let post_logout_redirect_uri = provider
        .post_logout_redirect_uri
        .and_then(|uri| check_post_logout_redirect_uri(uri, site_http, reading));
    let post_logout_redirect_parameter = provider.post_logout_redirect_parameter.and_then(|name| {
        if parameters::is_name(&name.text) {
            return Some(name.text);
        }
        reading.refuse(name.problem(parameters::NAME_RULE))
    });
    let end_session_endpoint =
        provider.end_session_endpoint.and_then(|endpoint| address(&endpoint, allow_http, reading));
    let refreshes = provider.refresh?;
    let refresh = Refresh {
        before: Seconds(provider.refresh_before_seconds?.0),
        grace: Seconds(provider.refresh_grace_seconds?.0),
        default_expires_in: Seconds(provider.default_expires_in_seconds?.0),
    };
    let mut authorization_parameters = Vec::new();
    for parameter in provider.authorization_parameters?.0 {
        authorization_parameters.extend(parameters::check(parameter, reading));
    }
    let mut parameters_from_request = Vec::new();
    for parameter in provider.parameters_from_request?.0 {
        parameters_from_request.extend(parameters::check_from_request(parameter, reading));
    }
    let Issuers { issuer, accepted, patterns } = issuer?;
    let names_itself =
        client.as_ref().filter(|it| matches!(it.authentication, ClientAuthentication::PrivateKeyJwt(_)));
    let is_an_address = accepted.first() == Some(&issuer);
    if !is_an_address && names_itself.is_some_and(|client| client.assertion_audience.is_none()) {
        let rule = "is required for private_key_jwt where the issuer says {tenantid}";
        reading.problems.add(Problem::at(&place.key("token_endpoint_auth_audience"), rule));
    }
    let checked = Rc::new(Provider {
        name,
        issuer,
        issuers: accepted,
        issuer_patterns: patterns,
        keys: keys?,
        callout: callout?,
        callout_timeout: Duration::from_secs(provider.callout_timeout_seconds?.0),
        userinfo: provider.userinfo?,
        end_session_endpoint,
        algorithms: provider.algorithms.map_or_else(|| Algorithm::ALL.to_vec(), |algorithms| algorithms.0),
        leeway: Seconds(leeway?),
        insecure_allow_http: insecure_allow_http?,
    });
    let relying_party = |client| {
        Some(RelyingParty {
            provider: Rc::clone(&checked),
            client,
            scopes: scopes?,
            refresh: refreshes.then_some(refresh),
            authorization_parameters,
            parameters_from_request,
            max_age: provider.max_age_seconds.map(|seconds| Seconds(seconds.0)),
            redirect_uri: redirect_uri?,
            response_mode: response_mode?,
            post_logout_redirect_uri,
            post_logout_redirect_parameter: post_logout_redirect_parameter?,
            trusted_audiences: texts(provider.trusted_audiences?),
        })
    };
    let relying_party = match logs_in {
        true => Some(Rc::new(relying_party(client?)?)),
        false => None,
    };
    let resource_server = ResourceServer {
        provider: Rc::clone(&checked),
        audiences: texts(provider.audiences?),
        clients_without_audience: texts(provider.clients_without_audience?),
        resources,
        require_access_token_type: provider.require_access_token_type?,
    };
    let takes_tokens = !(resource_server.audiences.is_empty()
        && resource_server.clients_without_audience.is_empty()
        && resource_server.resources.is_empty());
    Some(Roles {
        provider: checked,
        relying_party,
        resource_server: takes_tokens.then(|| Rc::new(resource_server)),
    })
}

/// Notes the keys that only logins use.
fn for_tokens_alone(provider: &ProviderObject, has_resources: bool, reading: &mut Reading) {
    let given = [
        ("client_secret", provider.client_secret.is_some()),
        ("client_secret_next", provider.client_secret_next.is_some()),
        ("client_secret_expires_at", provider.client_secret_expires_at.is_some()),
        ("token_endpoint_auth_method", provider.token_endpoint_auth_method.is_some()),
        ("private_key", provider.private_key.is_some()),
        ("private_key_next", provider.private_key_next.is_some()),
        ("max_age_seconds", provider.max_age_seconds.is_some()),
        ("post_logout_redirect_uri", provider.post_logout_redirect_uri.is_some()),
        ("end_session_endpoint", provider.end_session_endpoint.is_some()),
    ];
    for (key, _) in given.iter().filter(|(_, is_given)| *is_given) {
        let problem = Problem::at(&provider.place.key(key), "has no use without client_id");
        reading.problems.add(problem.advice("add client_id, so that people log in, or remove it"));
    }
    let names_none = |list: &Option<Names>| list.as_ref().is_some_and(|list| list.0.is_empty());
    if !has_resources && names_none(&provider.audiences) && names_none(&provider.clients_without_audience) {
        let problem = Problem::at(&provider.place.key("client_id"), "is required without audiences");
        let advice = "add client_id, so that people log in, or audiences, so that its bearer tokens count";
        reading.problems.add(problem.advice(advice));
    }
}

fn key_source(provider: &ProviderObject, allow_http: bool, reading: &mut Reading) -> Option<KeySource> {
    let place = |text: &Text| text.place.clone();
    let jwks = provider.jwks.as_ref().map(|text| text.place.clone());
    let (jwks_uri, discovery_uri) =
        (provider.jwks_uri.as_ref().map(place), provider.discovery_uri.as_ref().map(place));
    let mut given = [&jwks, &jwks_uri, &discovery_uri].into_iter().flatten();
    if let (Some(_), Some(second)) = (given.next(), given.next()) {
        let problem = Problem::at(second, "must not stand beside another source of the keys");
        return reading.refuse(problem.advice("give one of jwks, jwks_uri and discovery_uri"));
    }
    let alone = jwks.as_ref().or(jwks_uri.as_ref());
    if let Some(place) = alone.filter(|_| provider.client_id.is_some()) {
        let problem = Problem::at(place, "must not stand beside client_id");
        return reading.refuse(problem.advice("logins need the discovery document, which names the keys"));
    }
    if let Some(text) = &provider.jwks {
        return match KeySet::read(text.text.as_bytes()) {
            Ok(_) => Some(KeySource::Configuration(text.text.clone())),
            Err(error) => {
                reading.refuse(Problem::at(&text.place, format!("must be a key set as JSON text ({error})")))
            }
        };
    }
    match (&provider.jwks_uri, &provider.discovery_uri) {
        (Some(text), _) => address(text, allow_http, reading).map(KeySource::Address),
        (None, Some(text)) => address(text, allow_http, reading).map(|it| KeySource::Discovery(Some(it))),
        (None, None) => Some(KeySource::Discovery(None)),
    }
}

fn texts(names: Names) -> Vec<String> {
    names.0.into_iter().map(|name| name.text).collect()
}

fn callout_targets(
    callout: CalloutChoice,
    use_of_userinfo: Option<UserinfoUse>,
    logs_in: bool,
    reading: &mut Reading,
) -> Option<CalloutTargets> {
    let CalloutObject { place, default, discovery, jwks, token, userinfo } = match callout {
        CalloutChoice::All(Text { text, .. }) => {
            return Some(CalloutTargets {
                discovery: text.clone(),
                jwks: text.clone(),
                token: text.clone(),
                userinfo: None,
                default: Some(text),
            });
        }
        CalloutChoice::Each(object) => *object,
    };
    let (default, userinfo) = (default.map(|target| target.text), userinfo.map(|target| target.text));
    let mut target = |own: Option<String>, key: &str| match own.or_else(|| default.clone()) {
        Some(target) => Some(target),
        None => reading.refuse(Problem::at(&place.key(key), "is required where there is no default")),
    };
    if use_of_userinfo == Some(UserinfoUse::Always) {
        target(userinfo.clone(), "userinfo")?;
    }
    // Without logins no code is redeemed.
    let token = if logs_in { token } else { token.or_else(|| jwks.clone()) };
    let [discovery, jwks, token] = [discovery, jwks, token].map(|target| target.map(|target| target.text));
    let (discovery, jwks, token) =
        (target(discovery, "discovery"), target(jwks, "jwks"), target(token, "token"));
    Some(CalloutTargets { discovery: discovery?, jwks: jwks?, token: token?, userinfo, default })
}

/// `openid` comes first, each scope once.
fn check_scopes(scopes: Names, reading: &mut Reading) -> Option<Vec<String>> {
    let mut checked = vec!["openid".to_owned()];
    for scope in scopes.0 {
        scope_token(&scope, reading);
        if !checked.contains(&scope.text) {
            checked.push(scope.text);
        }
    }
    Some(checked)
}

/// Notes a problem unless the text is one `scope-token` (RFC 6749 section 3.3).
pub(super) fn scope_token(scope: &Text, reading: &mut Reading) {
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if !scope.text.bytes().all(allowed) {
        let problem = scope.problem("must be one scope, without blanks, quotation marks and backslashes");
        reading.problems.add(problem.advice("give each scope as an item of its own"));
    }
}

fn check_redirect_uri(uri: &Text, site_http: bool, reading: &mut Reading) -> Option<RedirectUri> {
    if !uri.text.starts_with('/') {
        return exact_address(uri, site_http, reading).map(RedirectUri::Fixed);
    }
    match endpoint_path_fault(&uri.text) {
        None => Some(RedirectUri::Path(uri.text.clone())),
        Some(fault) => reading.refuse(uri.problem(fault)),
    }
}

fn check_post_logout_redirect_uri(uri: Text, site_http: bool, reading: &mut Reading) -> Option<String> {
    if !uri.text.starts_with('/') {
        address(&uri, site_http, reading)?;
    } else if let Some(fault) = super::address::rule_path_fault(&uri.text) {
        return reading.refuse(uri.problem(fault));
    }
    Some(uri.text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::trial::{self, accepted, read, refused};

    fn provider(keys: Value) -> Value {
        json!({"providers": {"main": keys}})
    }

    #[test]
    fn the_defaults_of_a_provider_are_safe() {
        let config = read(json!({})).unwrap();
        let provider = trial::relying_party(&config);
        assert_eq!(provider.name, "main");
        assert_eq!(provider.scopes, ["openid"]);
        assert_eq!(provider.redirect_uri, RedirectUri::Path("/oidc/callback".into()));
        assert_eq!(provider.algorithms, Algorithm::ALL);
        assert_eq!(provider.leeway, Seconds(60));
        assert_eq!(provider.callout_timeout, Duration::from_secs(5));
        assert!(config.providers[0].resource_server.is_none() && !provider.insecure_allow_http);
        assert_eq!(config.warnings, Vec::<String>::new());
    }

    #[test]
    fn issuers_are_https_and_kept_as_written() {
        refused([
            (
                provider(json!({"issuer": "http://idp"})),
                "providers.main.issuer: must be an https address, got \"http://idp\" (use https, or set insecure_allow_http for a test)",
            ),
            (
                provider(json!({"issuer": "idp.example.com"})),
                "providers.main.issuer: must be an absolute address",
            ),
            (provider(json!({"issuer": "https://idp/?a"})), "providers.main.issuer: must not have a query"),
            (
                provider(json!({"issuer": "https://idp/#a"})),
                "providers.main.issuer: must not have a fragment",
            ),
            (provider(json!({"issuer": "https://u:p@idp/"})), "providers.main.issuer: must not have a user"),
            (
                provider(json!({"issuer": "https://login.example/{tenant}/v2.0"})),
                "providers.main.issuer: must not have placeholders",
            ),
            (
                provider(json!({"issuer": "https://idp/.well-known/openid-configuration"})),
                "providers.main.issuer: must be the issuer, not",
            ),
            (provider(json!({"issuer": "ftp://idp/"})), "providers.main.issuer: must be an https address"),
        ]);
        for issuer in
            ["https://idp.example.com/", "https://IDP.example.com:443/Realm", "https://idp.example.com"]
        {
            assert_eq!(
                read(provider(json!({"issuer": issuer}))).unwrap().providers[0].provider.issuer,
                issuer
            );
        }
    }

    #[test]
    fn form_post_needs_https() {
        let change = json!({
            "session": {"insecure_allow_http": true, "cookie_name": "app"},
            "providers": {"main": {"response_mode": "form_post"}},
        });
        refused([(
            change,
            "providers.main.response_mode: must not be form_post with session.insecure_allow_http",
        )]);
    }

    #[test]
    fn no_provider_name_makes_the_name_of_another_cookie() {
        for name in ["tries", "logout", "login-a", "login-", "", "Main", "a.b"] {
            let more = json!({"issuer": "https://b.example", "callout": "b", "client_id": "c", "redirect_uri": "/b"});
            let problems = crate::config::trial::problems(
                json!({"providers": {name: more}, "default_provider": "main"}),
            );
            assert!(
                problems
                    .iter()
                    .any(|problem| problem.contains("must not be called")
                        || problem.contains("must have a name")),
                "{name}: {problems:?}"
            );
        }
    }

    #[test]
    fn insecure_and_unwise_settings_give_warnings() {
        let config = read(provider(
            json!({"issuer": "http://idp", "insecure_allow_http": true, "leeway_seconds": 121}),
        ));
        let warnings = config.unwrap().warnings;
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].starts_with("providers.main.insecure_allow_http: "));
        assert!(warnings[1].starts_with("providers.main.leeway_seconds: "));
        refused([(
            provider(json!({"leeway_seconds": 301})),
            "providers.main.leeway_seconds: must be a whole number of seconds from 0 to 300, got 301",
        )]);
    }

    #[test]
    fn algorithms_none_and_hmac_are_refused_with_the_reason() {
        refused([
            (
                provider(json!({"algorithms": ["none"]})),
                "providers.main.algorithms[0]: must be an asymmetric signature algorithm, got \"none\" (an unsigned token proves nothing)",
            ),
            (
                provider(json!({"algorithms": ["RS256", "NoNe"]})),
                "providers.main.algorithms[1]: must be an asymmetric",
            ),
            (
                provider(json!({"algorithms": ["RS256", "HS256"]})),
                "providers.main.algorithms[1]: must be an asymmetric signature algorithm, got \"HS256\" (with HS ",
            ),
            (
                provider(json!({"algorithms": ["rs256"]})),
                "providers.main.algorithms[0]: must be one of RS256, ",
            ),
            (
                provider(json!({"algorithms": []})),
                "providers.main.algorithms: must have from 1 to 10 items, got 0",
            ),
        ]);
    }

    #[test]
    fn scopes_are_tokens_and_always_include_openid() {
        let config = read(provider(json!({"scopes": ["email", "openid", "email"]}))).unwrap();
        assert_eq!(trial::relying_party(&config).scopes, ["openid", "email"]);
        refused([
            (
                provider(json!({"scopes": ["openid email"]})),
                "providers.main.scopes[0]: must be one scope, without blanks",
            ),
            (provider(json!({"scopes": "openid"})), "providers.main.scopes: must be a list"),
        ]);
    }

    #[test]
    fn callout_is_one_target_or_one_for_each_purpose() {
        let targets = |callout: Value| {
            read(provider(json!({"callout": callout}))).map(|c| c.providers[0].provider.callout.clone())
        };
        let expected = |jwks: &str, userinfo: Option<&str>, default: Option<&str>| {
            Ok(CalloutTargets {
                discovery: "a".into(),
                jwks: jwks.into(),
                token: "a".into(),
                userinfo: userinfo.map(str::to_owned),
                default: default.map(str::to_owned),
            })
        };
        assert_eq!(targets(json!("a")), expected("a", None, Some("a")));
        assert_eq!(targets(json!({"default": "a", "jwks": "b"})), expected("b", None, Some("a")));
        assert_eq!(targets(json!({"discovery": "a", "token": "a", "jwks": "b"})), expected("b", None, None));
        assert_eq!(targets(json!({"default": "a", "userinfo": "c"})), expected("a", Some("c"), Some("a")));
        refused([
            (
                provider(json!({"callout": {"discovery": "a", "token": "b"}})),
                "providers.main.callout.jwks: is required where there is no default",
            ),
            (
                provider(json!({"callout": {"default": "a", "introspection": "b"}})),
                "providers.main.callout.introspection: is not a known key",
            ),
            (
                provider(
                    json!({"callout": {"discovery": "a", "token": "a", "jwks": "b"}, "userinfo": "always"}),
                ),
                "providers.main.callout.userinfo: is required where there is no default",
            ),
        ]);
    }

    #[test]
    fn redirect_addresses_are_https_exact_and_on_a_host_of_the_session() {
        refused([
            (
                provider(json!({"redirect_uri": "http://app.example.com/cb"})),
                "providers.main.redirect_uri: must be an https address",
            ),
            (
                provider(json!({"redirect_uri": "https://*.example.com/cb"})),
                "providers.main.redirect_uri: must not have wildcards",
            ),
            (
                provider(json!({"redirect_uri": "https://app.example.com"})),
                "providers.main.redirect_uri: must be written in its normal form",
            ),
            (provider(json!({"redirect_uri": "/"})), "providers.main.redirect_uri: must not be / alone"),
            (
                provider(json!({"redirect_uri": "/a/../cb"})),
                "providers.main.redirect_uri: must not have the segments",
            ),
            (
                provider(json!({"redirect_uri": "//evil.example/cb"})),
                "providers.main.redirect_uri: must not have //",
            ),
            (
                provider(json!({"redirect_uri": "https://evil.example/cb"})),
                "providers.main.redirect_uri: must have a host that is one of session.hosts",
            ),
            (
                provider(json!({"post_logout_redirect_uri": "http://app.example.com/"})),
                "providers.main.post_logout_redirect_uri: must be an https address",
            ),
            (
                provider(json!({"post_logout_redirect_uri": "/oidc/logout"})),
                "providers.main.post_logout_redirect_uri: must be another path than endpoints.logout",
            ),
        ]);
        accepted([
            provider(
                json!({"redirect_uri": "https://app.example.com/cb", "post_logout_redirect_uri": "https://www.example.com/?bye"}),
            ),
            provider(json!({"post_logout_redirect_uri": "/bye"})),
            json!({
                "providers": {"main": {"redirect_uri": "http://app.example.com/cb"}},
                "session": {"insecure_allow_http": true},
            }),
        ]);
    }

    /// A provider of bearer tokens alone, with these changes.
    fn tokens_alone(keys: Value) -> Value {
        let mut main = json!({"client_id": null, "client_secret": null, "audiences": ["api"]});
        for (key, value) in keys.as_object().unwrap() {
            main[key] = value.clone();
        }
        json!({"providers": {"main": main}, "session": null})
    }

    #[test]
    fn a_provider_without_a_client_is_for_tokens_alone() {
        let config = read(tokens_alone(json!({}))).unwrap();
        assert!(config.providers[0].relying_party.is_none() && config.providers[0].resource_server.is_some());
        assert!(config.session.keys.is_empty());
        let accept = config.rules.last().unwrap().accept;
        assert_eq!(accept, crate::config::Accept::Identity { session: false, bearer: true });
        refused([
            (
                tokens_alone(json!({"audiences": []})),
                "providers.main.client_id: is required without audiences (add client_id, so that people log in, or",
            ),
            (
                tokens_alone(json!({"client_secret": "s"})),
                "providers.main.client_secret: has no use without client_id",
            ),
            (
                tokens_alone(json!({"max_age_seconds": 5})),
                "providers.main.max_age_seconds: has no use without",
            ),
            (json!({"session": null}), "session: is required"),
            (tokens_alone(json!({"callout": null})), "providers.main.callout: is required without jwks"),
        ]);
        let with = |change: Value| {
            let mut document = tokens_alone(json!({}));
            document.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            document
        };
        refused([
            (
                with(json!({"rules": [{"path": "/a", "accept": "session"}]})),
                "rules[0].accept: must not have session where the provider has no client_id (name a provider",
            ),
            (
                with(json!({"default_provider": "main"})),
                "default_provider: must be a provider with a client_id",
            ),
        ]);
        accepted([with(json!({"rules": [{"path": "/a", "accept": "bearer", "provider": "main"}]}))]);
    }

    #[test]
    fn the_keys_of_a_provider_have_one_source() {
        const KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        accepted([
            tokens_alone(json!({"jwks": KEYS, "callout": null})),
            tokens_alone(json!({"jwks_uri": "https://idp.example.com/keys"})),
            tokens_alone(json!({"discovery_uri": "https://idp.example.com/metadata?p=1"})),
            provider(json!({"discovery_uri": "https://idp.example.com/metadata"})),
        ]);
        refused([
            (
                tokens_alone(json!({"jwks": KEYS, "jwks_uri": "https://idp.example.com/keys"})),
                "providers.main.jwks_uri: must not stand beside another source of the keys",
            ),
            (
                tokens_alone(json!({"jwks_uri": "https://a.example", "discovery_uri": "https://a.example"})),
                "providers.main.discovery_uri: must not stand beside another source of the keys",
            ),
            (
                provider(json!({"jwks_uri": "https://idp.example.com/keys"})),
                "providers.main.jwks_uri: must not stand beside client_id",
            ),
            (provider(json!({"jwks": KEYS})), "providers.main.jwks: must not stand beside client_id"),
            (
                tokens_alone(json!({"jwks_uri": "http://idp.example.com/keys"})),
                "providers.main.jwks_uri: must be an https address",
            ),
            (tokens_alone(json!({"jwks": "keys"})), "providers.main.jwks: must be a key set as JSON text ("),
            (
                tokens_alone(json!({"jwks": "{\"keys\": [{\"kty\": \"unknown\"}]}"})),
                "providers.main.jwks: must be a key set as JSON text (a key set must have a usable key",
            ),
        ]);
    }

    #[test]
    fn further_issuers_have_tenants_only_where_the_provider_has_them() {
        accepted([provider(
            json!({"accepted_issuers": ["accounts.google.com", "http://adfs.example/trust"]}),
        )]);
        let rule = "providers.main.accepted_issuers[0]: must be an issuer, with {tenantid} only where";
        refused([(provider(json!({"accepted_issuers": ["https://sts.example/{tenantid}/"]})), rule)]);
    }

    #[test]
    fn several_providers_need_a_default_and_redirect_paths_of_their_own() {
        let other = json!({"issuer": "https://other.example", "callout": "o", "client_id": "c"});
        let mut own = other.clone();
        own["redirect_uri"] = "/oidc/other".into();
        refused([
            (
                json!({"providers": {"other": other}, "default_provider": "main"}),
                "providers.other.redirect_uri: must be another path than providers.main.redirect_uri (so that",
            ),
            (
                json!({"providers": {"other": own}}),
                "default_provider: is required where there are several providers (known are: main, other)",
            ),
            (
                json!({"default_provider": "mian"}),
                "default_provider: must be one of the providers, got \"mian\" (known are: main)",
            ),
            (
                json!({"providers": {"Main Realm": own}, "default_provider": "main"}),
                "providers[\"Main Realm\"]: must have a name of 1 to 32",
            ),
        ]);
        accepted([json!({"providers": {"other": own}, "default_provider": "main"})]);
    }
}
