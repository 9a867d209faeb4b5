//! Protected resources: a client finds the provider by itself, and a token counts for its resource alone.

use serde_json::{Value, json};

use crate::world::{World, merge, with_partner};

const MCP: &str = "https://app.example.com/mcp";
const FILES: &str = "https://app.example.com/files";
const MCP_METADATA: &str = "https://app.example.com/.well-known/oauth-protected-resource/mcp";

/// Two resources, and an API whose tokens have an audience of the provider.
fn resources() -> Value {
    json!({
        "providers": {"main": {"audiences": ["https://api.example.com"]}},
        "rules": [
            {"name": "tools", "path_prefix": "/mcp", "methods": ["POST"], "accept": "bearer", "resource": MCP,
             "provider": "main", "require": {"scopes": ["mcp.call"]}},
            {"name": "mcp", "path_prefix": "/mcp", "accept": "bearer", "resource": MCP,
             "provider": "main"},
            {"name": "files", "path_prefix": "/files", "accept": "bearer", "resource": FILES,
             "require": {"scopes": ["files.read"]}},
            {"name": "api", "path_prefix": "/api", "accept": "bearer"},
        ],
    })
}

fn token(world: &mut World, audience: &Value) -> String {
    let now = world.now;
    let scope = "mcp.call files.read";
    world.idp().access_token(&json!({"aud": audience, "scope": scope}), now)
}

fn metadata_of(world: &mut World, path: &str) -> Value {
    let request = world.program(path, &[]);
    let seen = world.send(request);
    assert_eq!(seen.is(200, "resource_metadata").header("content-type"), Some("application/json"));
    assert_eq!(seen.header("access-control-allow-origin"), Some("*"), "scripts may look for it");
    serde_json::from_str(&seen.body).unwrap()
}

#[test]
fn a_client_without_a_token_finds_the_provider_by_the_challenge() {
    let mut world = World::with(&resources());
    let request = world.program("/mcp/sse", &[]);
    let seen = world.send(request);
    let challenge = format!("Bearer realm=\"app.example.com\", resource_metadata=\"{MCP_METADATA}\"");
    assert_eq!(seen.is(401, "not_logged_in").header("www-authenticate"), Some(challenge.as_str()));
    let metadata = metadata_of(&mut world, "/.well-known/oauth-protected-resource/mcp");
    let expected = json!({
        "resource": MCP, "authorization_servers": ["https://idp.example.com"],
        "bearer_methods_supported": ["header"], "scopes_supported": ["mcp.call"],
    });
    assert_eq!(metadata, expected);
    let request = world.program("/files/a", &[]);
    let challenge =
        world.send(request).is(401, "not_logged_in").header("www-authenticate").unwrap().to_owned();
    assert!(challenge.contains(", scope=\"files.read\", resource_metadata=\""), "{challenge}");
    assert!(challenge.ends_with("/.well-known/oauth-protected-resource/files\""), "{challenge}");
}

#[test]
fn every_refusal_of_a_token_names_the_metadata_and_other_rules_name_none() {
    let mut world = World::with(&resources());
    let token = token(&mut world, &json!(MCP));
    for (path, token, code) in
        [("/mcp", "nonsense", "jws_part_count"), ("/files", token.as_str(), "access_token_audience")]
    {
        let challenge =
            world.with_token(path, token).is(401, code).header("www-authenticate").unwrap().to_owned();
        let metadata = format!(
            "resource_metadata=\"https://app.example.com/.well-known/oauth-protected-resource{path}\""
        );
        assert!(
            challenge.contains("error=\"invalid_token\"") && challenge.contains(&metadata),
            "{challenge}"
        );
    }
    let request = world.program("/api", &[]);
    assert_eq!(world.send(request).header("www-authenticate"), Some("Bearer realm=\"app.example.com\""));
}

#[test]
fn a_token_of_one_resource_is_refused_at_another_and_at_an_api() {
    let mut world = World::with(&resources());
    let places = ["/mcp", "/files", "/api"];
    let audiences = [json!(MCP), json!(FILES), json!("https://api.example.com")];
    let tokens = audiences.clone().map(|audience| token(&mut world, &audience));
    // The second time the token is cached.
    for _ in 0..2 {
        for (token, own) in tokens.iter().zip(places) {
            for path in places {
                let seen = world.with_token(path, token);
                match path == own {
                    true => seen.is(200, "token"),
                    false => seen.is(401, "access_token_audience"),
                };
            }
        }
    }
    let both = token(&mut world, &json!([MCP, FILES]));
    for (path, code) in [("/mcp", "token"), ("/files", "token"), ("/api", "access_token_audience")] {
        assert_eq!(world.with_token(path, &both).code, code, "{path}");
    }
    for near in [format!("{MCP}/"), format!("{MCP}x"), MCP.to_uppercase(), "app.example.com/mcp".to_owned()] {
        let token = token(&mut world, &json!(near));
        world.with_token("/mcp", &token).is(401, "access_token_audience");
    }
}

#[test]
fn a_resource_needs_no_audiences_and_opens_no_other_rule() {
    let mut change = resources();
    change["providers"] = json!({});
    change["rules"].as_array_mut().unwrap().pop();
    let mut world = World::with(&change);
    let token = token(&mut world, &json!(MCP));
    world.with_token("/mcp", &token).is(200, "token");
    world.with_token("/elsewhere", &token).is(401, "not_logged_in");
}

/// Cognito writes no audience; such a token says nothing about the resource.
#[test]
fn a_token_without_audience_counts_for_no_resource() {
    let mut change = resources();
    merge(&mut change, &json!({"providers": {"main": {"clients_without_audience": ["shop"]}}}));
    let mut world = World::with(&change);
    let now = world.now;
    let claims = json!({"aud": null, "client_id": "shop", "token_use": "access"});
    let token = world.idp().access_token(&claims, now);
    world.with_token("/api", &token).is(200, "token");
    world.with_token("/mcp", &token).is(401, "access_token_claim_missing");
    world.with_token("/api", &token).is(200, "token");
}

#[test]
fn a_resource_names_the_provider_of_its_rule_alone() {
    let mut change = with_partner();
    let partner = json!({"name": "mcp", "path_prefix": "/mcp", "accept": "bearer", "resource": MCP, "provider": "partner"});
    change["rules"].as_array_mut().unwrap().push(partner);
    let mut world = World::with(&change);
    let metadata = metadata_of(&mut world, "/.well-known/oauth-protected-resource/mcp");
    assert_eq!(metadata["authorization_servers"], json!(["https://partner.example"]));
    let token = token(&mut world, &json!(MCP));
    world.with_token("/mcp", &token).is(401, "token_issuer");
}

#[test]
fn metadata_is_served_at_its_path_alone_and_only_read() {
    let mut world = World::with(&resources());
    for (method, status, code) in [
        ("HEAD", 200, "resource_metadata"),
        ("OPTIONS", 204, "resource_metadata"),
        ("POST", 405, "method_not_allowed"),
        ("DELETE", 405, "method_not_allowed"),
    ] {
        let mut request = world.program("/.well-known/oauth-protected-resource/mcp", &[]);
        request.method = method.to_owned();
        let seen = world.send(request);
        seen.is(status, code);
        if status == 405 {
            assert_eq!(seen.header("allow"), Some("GET, HEAD, OPTIONS"));
        }
    }
    for path in ["", "/", "/api", "/mcp/", "/mcp/x", "/mc", "/MCP"] {
        let request = world.program(&format!("/.well-known/oauth-protected-resource{path}"), &[]);
        world.send(request).is(401, "not_logged_in");
    }
    let request = world.program("/.well-known/oauth-protected-resource/mcp?a=1", &[]);
    world.send(request).is(200, "resource_metadata");
}

#[test]
fn two_hosts_may_have_resources_with_one_path() {
    let rule = |host: &str| {
        let resource = format!("https://{host}/mcp");
        json!({"name": host, "hosts": [host], "path_prefix": "/mcp", "accept": "bearer", "resource": resource})
    };
    let mut world = World::with(&json!({
        "session": {"hosts": ["app.example.com", "b.example.com"]},
        "rules": [rule("app.example.com"), rule("b.example.com")],
    }));
    for (host, expected) in [
        ("app.example.com", "https://app.example.com/mcp"),
        ("b.example.com", "https://b.example.com/mcp"),
        ("B.example.com", "https://b.example.com/mcp"),
        ("internal", "https://app.example.com/mcp"),
    ] {
        world.browser.host = host.to_owned();
        let metadata = metadata_of(&mut world, "/.well-known/oauth-protected-resource/mcp");
        assert_eq!(metadata["resource"], expected, "{host}");
    }
}
