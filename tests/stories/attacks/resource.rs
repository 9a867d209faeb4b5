//! RS-..: access tokens of programs.

use serde_json::{Value, json};
use vestibule::config::Config;

use super::forge::{AUDIENCE, ISSUER, compact, honest};
use super::refused::{access_claims, api, assert_rejected, changed};
use crate::world::{BODIES_COME_UNSEEN, SESSION, World, document, lines, merge};

fn token_with(world: &World, changes: Value) -> String {
    compact(
        r#"{"alg":"ES256","kid":"k1"}"#,
        changed(&access_claims(world.now.0), &changes).to_string(),
        &honest(),
    )
}

#[test]
fn authorization_holds_one_bearer_token_or_is_refused() {
    let mut world = World::with(&api());
    let good = token_with(&world, json!({}));
    let bearer = |scheme: &str| format!("{scheme}{good}");
    let canary = "canary\"quoted";
    for (id, values, status, error) in [
        ("RS-01", vec![], 401, None),
        ("RS-02", vec![bearer("Bearer ")], 200, None),
        ("RS-02", vec![bearer("bearer ")], 200, None),
        ("RS-02", vec![bearer("BEARER ")], 200, None),
        ("RS-02", vec![bearer("bEaReR ")], 200, None),
        ("RS-02", vec![bearer("Bearer  ")], 400, Some("invalid_request")),
        ("RS-02", vec![bearer("Bearer\t")], 400, Some("invalid_request")),
        ("RS-02", vec![bearer("Bearer=")], 400, Some("invalid_request")),
        ("RS-02", vec!["Bearer".to_owned()], 400, Some("invalid_request")),
        ("RS-02", vec!["Bearer ".to_owned()], 401, Some("invalid_token")),
        ("RS-02", vec![bearer(" Bearer ")], 401, None),
        ("RS-02", vec![bearer("Bearer ") + " "], 401, Some("invalid_token")),
        ("RS-04", vec![bearer("DPoP ")], 401, None),
        ("RS-04", vec!["Basic YWRtaW46YWRtaW4=".to_owned()], 401, None),
        ("RS-04", vec![bearer("Negotiate ")], 401, None),
        ("RS-04", vec![bearer("Bearerx ")], 401, None),
        ("RS-04", vec![bearer("Token ")], 401, None),
        ("RS-04", vec![bearer("")], 401, None),
        ("RS-08", vec!["Bearer \u{fc}\"\\x".to_owned()], 401, Some("invalid_token")),
        ("RS-08", vec![bearer("Bearer ") + ", Basic x"], 401, Some("invalid_token")),
        ("RS-08", vec![bearer("Bearer ") + "\r\nx-admin: 1"], 401, Some("invalid_token")),
        ("RS-08", vec![bearer("Bearer ") + "\u{0}"], 401, Some("invalid_token")),
        ("RS-08", vec![bearer("Bearer ") + ";x"], 401, Some("invalid_token")),
        ("RS-08", vec![bearer("Bearer "), bearer("Bearer ")], 400, Some("invalid_request")),
        ("RS-08", vec![bearer("Bearer "), "Bearer wrong".to_owned()], 400, Some("invalid_request")),
        ("RS-08", vec!["Basic x".to_owned(), bearer("Bearer ")], 400, Some("invalid_request")),
        ("RS-29", vec![format!("Bearer {canary}")], 401, Some("invalid_token")),
        ("RS-29", vec!["Bearer canary\r\nset-cookie: a=b".to_owned()], 401, Some("invalid_token")),
        ("RS-29", vec!["Bearer canary.canary.canary".to_owned()], 401, Some("invalid_token")),
    ] {
        let mut request = world.program("/api/orders", &[]);
        values.iter().for_each(|value| request.headers.push("authorization", value.as_str()));
        let seen = world.send(request);
        assert_eq!(
            (seen.status, seen.upstream.is_some()),
            (status, status == 200),
            "{id} {values:?}: {seen:?}"
        );
        if status == 200 {
            continue;
        }
        let challenge = seen.header("www-authenticate").unwrap_or_else(|| panic!("{id} {values:?}"));
        assert!(challenge.starts_with("Bearer realm=\"app.example.com\""), "{id} {values:?}: {challenge}");
        match error {
            None => assert!(!challenge.contains("error"), "{id} {values:?}: {challenge}"),
            Some(error) => {
                assert!(challenge.contains(&format!("error=\"{error}\"")), "{id} {values:?}: {challenge}")
            }
        }
        assert!(!challenge.contains("canary") && !seen.body.contains("canary"), "RS-29 {seen:?}");
        assert!(challenge.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "RS-29 {challenge:?}");
    }
    // The realm is the host that the client sent: it cannot break out of its quotes either.
    let mut request = world.program("/api/orders", &[]);
    request.authority = "a\", error=\"x\r\nb".to_owned();
    let challenge = world.send(request).header("www-authenticate").unwrap_or_default().to_owned();
    assert!(!challenge.contains("error=\"x") && !challenge.contains('\n'), "RS-29 {challenge:?}");
}

#[test]
fn a_token_is_accepted_in_authorization_only() {
    let mut world = World::with(&api());
    let good = token_with(&world, json!({}));
    for query in [
        format!("access_token={good}"),
        format!("x=1&access_token={good}"),
        format!("access%5ftoken={good}"),
        format!("%61ccess_token={good}"),
        "access_token".to_owned(),
    ] {
        let request = world.program(&format!("/api/orders?{query}"), &[]);
        let seen = world.send(request);
        assert_eq!((seen.status, seen.upstream.is_none()), (400, true), "RS-05 {seen:?}");
        assert!(seen.header("www-authenticate").unwrap().contains("invalid_request"), "RS-05");
    }
    let request = world.program("/api/orders", &[("content-type", "application/x-www-form-urlencoded")]);
    let mut request = request;
    request.method = "POST".to_owned();
    let seen = world.send_with_body(request, format!("access_token={good}").as_bytes());
    assert_eq!((seen.status, seen.upstream.is_none()), (401, true), "RS-06 {seen:?}");
    for cookie in ["access_token", "token", "Authorization", "__Host-token", SESSION, "__Host-vestibule-main"]
    {
        for value in [good.clone(), format!("Bearer {good}"), format!("1.{good}")] {
            let request = world.program("/api/orders", &[("cookie", &format!("{cookie}={value}"))]);
            let seen = world.send(request);
            assert_eq!((seen.status, seen.upstream.is_none()), (401, true), "RS-07 {cookie}: {seen:?}");
        }
    }
    for header in [
        "x-access-token",
        "x-forwarded-access-token",
        "proxy-authorization",
        "x-authorization",
        "sec-websocket-protocol",
    ] {
        let request = world.program("/api/orders", &[(header, &format!("Bearer {good}"))]);
        assert_eq!(world.send(request).status, 401, "RS-07 {header}");
    }
}

#[test]
fn only_access_tokens_for_this_audience_are_accepted() {
    let mut strict = api();
    merge(&mut strict, &json!({"providers": {"main": {"require_access_token_type": true}}}));
    for (id, header, changes, code, strict_code) in [
        ("RS-09", json!({}), json!({"aud": "gateway"}), "access_token_audience", "access_token_header_type"),
        (
            "RS-09",
            json!({}),
            json!({"aud": "gateway", "nonce": "n"}),
            "access_token_is_id_token",
            "access_token_header_type",
        ),
        ("RS-09", json!({}), json!({"nonce": "n"}), "access_token_is_id_token", "access_token_header_type"),
        ("RS-09", json!({}), json!({"at_hash": "h"}), "access_token_is_id_token", "access_token_header_type"),
        (
            "RS-09",
            json!({"typ": "JWT"}),
            json!({"c_hash": "h"}),
            "access_token_is_id_token",
            "access_token_header_type",
        ),
        ("RS-09", json!({}), json!({"typ": "ID"}), "access_token_use", "access_token_header_type"),
        ("RS-09", json!({}), json!({"token_use": "id"}), "access_token_use", "access_token_header_type"),
        (
            "RS-09",
            json!({"typ": "at+jwt"}),
            json!({"token_use": "refresh"}),
            "access_token_use",
            "access_token_use",
        ),
        ("RS-09", json!({"typ": "at+jwt"}), json!({"events": {}}), "access_token_use", "access_token_use"),
        (
            "RS-11",
            json!({"typ": "at+jwt"}),
            json!({"aud": null}),
            "access_token_claim_missing",
            "access_token_claim_missing",
        ),
        ("RS-11", json!({"typ": "at+jwt"}), json!({"iss": null}), "token_issuer", "token_issuer"),
        (
            "RS-11",
            json!({"typ": "at+jwt"}),
            json!({"exp": null}),
            "access_token_claim_missing",
            "access_token_claim_missing",
        ),
        (
            "RS-27",
            json!({"typ": "at+jwt"}),
            json!({"cnf": {"x5t#S256": "x"}}),
            "access_token_bound",
            "access_token_bound",
        ),
        (
            "RS-27",
            json!({"typ": "at+jwt"}),
            json!({"cnf": {"jkt": "x"}}),
            "access_token_bound",
            "access_token_bound",
        ),
        ("RS-27", json!({"typ": "at+jwt"}), json!({"cnf": {}}), "access_token_bound", "access_token_bound"),
        ("RS-27", json!({"typ": "at+jwt"}), json!({"cnf": "x"}), "access_token_bound", "access_token_bound"),
    ] {
        for (change, expected) in [(&api(), code), (&strict, strict_code)] {
            let mut world = World::with(change);
            let mut full = json!({"alg": "ES256", "kid": "k1"});
            merge(&mut full, &header);
            let token = compact(
                full.to_string(),
                changed(&access_claims(world.now.0), &changes).to_string(),
                &honest(),
            );
            let seen = world.with_token("/api", &token);
            assert_rejected(id, &format!("{header} {changes}"), expected, &seen);
        }
    }
}

#[test]
fn a_token_without_the_required_client_or_scope_is_forbidden() {
    let mut change = api();
    change["rules"] = json!([
        {"name": "client", "path_prefix": "/client", "accept": "bearer", "require": {"any_of": [
            {"claims": [{"claim": "client_id", "any_of": ["robot"]}]}, {"claims": [{"claim": "azp", "any_of": ["robot"]}]}]}},
        {"name": "scope", "accept": "bearer", "require": {"scopes": ["orders.read", "orders.write"]}},
    ]);
    let mut world = World::with(&change);
    for (id, path, changes, status) in [
        ("RS-12", "/client", json!({"client_id": "robot"}), 200),
        ("RS-12", "/client", json!({"azp": "robot"}), 200),
        ("RS-12", "/client", json!({"client_id": "other"}), 403),
        ("RS-12", "/client", json!({"client_id": "robot2"}), 403),
        ("RS-12", "/client", json!({"client_id": {"robot": 1}}), 403),
        ("RS-12", "/client", json!({}), 403),
        ("RS-14", "/x", json!({"scope": "orders.read orders.write"}), 200),
        ("RS-14", "/x", json!({"scope": "orders.read"}), 403),
        ("RS-14", "/x", json!({"scope": "orders.readorders.write"}), 403),
        ("RS-14", "/x", json!({}), 403),
        // RS-28: a right of the actor is no right of the subject.
        ("RS-28", "/x", json!({"act": {"sub": "admin", "scope": "orders.read orders.write"}}), 403),
        ("RS-28", "/client", json!({"act": {"client_id": "robot"}, "may_act": {"client_id": "robot"}}), 403),
    ] {
        let token = token_with(&world, changes.clone());
        for _ in 0..2 {
            let seen = world.with_token(path, &token);
            assert_eq!(
                (seen.status, seen.upstream.is_some()),
                (status, status == 200),
                "{id} {changes}: {seen:?}"
            );
            if status == 403 {
                let challenge = seen.header("www-authenticate").unwrap();
                assert!(challenge.contains("error=\"insufficient_scope\""), "{id} {challenge}");
                let names_scopes = challenge.ends_with("scope=\"orders.read orders.write\"");
                assert_eq!(names_scopes, path == "/x", "{id} {challenge}");
            }
        }
    }
    let token = token_with(&world, json!({"act": {"sub": "admin"}, "client_id": "robot"}));
    assert_eq!(world.with_token("/client", &token).upstream_header("x-auth-sub"), Some("mallory"), "RS-28");
}

#[test]
fn rs_15_only_configured_issuers_are_accepted_and_none_is_looked_up() {
    let mut world = World::with(&api());
    for iss in [
        json!("https://evil.example"),
        json!("https://idp.example.com/"),
        json!("https://idp.example.com/realms/../"),
        json!("https://IDP.EXAMPLE.COM"),
        json!("https://idp.example.com@evil.example"),
        json!("file:///etc/passwd"),
        json!("http://169.254.169.254/"),
        json!([ISSUER]),
        json!({"iss": ISSUER}),
        json!(""),
        json!(null),
    ] {
        let token = token_with(&world, json!({"iss": iss}));
        let seen = world.with_token("/api", &token);
        assert_rejected("RS-15", &iss.to_string(), "token_issuer", &seen);
        assert_eq!(world.idp().request_log, Vec::<&str>::new(), "RS-15 DISC-02 {iss}: no request is sent");
    }
    for name in ["x-issuer", "x-tenant", "x-realm", "x-provider"] {
        let request =
            world.program("/api?tenant=evil&issuer=https://evil.example", &[(name, "https://evil.example")]);
        world.send(request);
    }
    world.get("/orders?issuer=https://evil.example&provider=evil").is(302, "login_begins");
    assert_eq!(world.idp().request_log, ["metadata", "keys"], "DISC-02: the configured one alone");
}

#[test]
fn a_session_and_a_token_are_never_mixed() {
    let mut change = api();
    merge(&mut change, &json!({"rules": [{"name": "both", "accept": ["session", "bearer"]}]}));
    let mut world = World::with(&change);
    world.log_in("/orders").is(302, "login_completed");
    let bob = token_with(&world, json!({"sub": "bob"}));
    let mut request = world.navigation("/orders", false);
    request.headers.push("authorization", format!("Bearer {bob}"));
    let seen = world.send(request.clone());
    assert_eq!(seen.is(200, "token").upstream_header("x-auth-sub"), Some("bob"), "RS-23");
    assert_eq!(seen.upstream_header("x-auth-email"), None, "RS-23: nothing of the session's");
    // A session does not make up for an invalid token.
    for bad in [format!("{bob}A"), "x".to_owned(), token_with(&world, json!({"aud": "other"}))] {
        let mut request = world.navigation("/orders", false);
        request.headers.push("authorization", format!("Bearer {bad}"));
        assert_eq!(world.send(request).status, 401, "RS-23");
    }
    // RS-24: a bearer-only rule never redirects to a login, session or not.
    let mut world = World::with(&api());
    world.log_in("/orders").is(302, "login_completed");
    let seen = world.get("/api");
    assert_eq!((seen.status, seen.header("location"), seen.cookies().len()), (401, None, 0), "RS-24");
    for accept in
        [json!("Bearer"), json!(true), json!("yes"), json!(1), json!(["bearer", "public"]), json!([])]
    {
        let rule = json!({"providers": {"main": {"audiences": [AUDIENCE]}}, "rules": [{"accept": accept}]});
        assert!(Config::read(document(&rule).to_string().as_bytes(), &|_| None).is_err(), "RS-24 {accept}");
    }
    for value in [json!("true"), json!("yes"), json!(1), json!("false")] {
        let change = json!({"providers": {"main": {"require_access_token_type": value}}});
        assert!(Config::read(document(&change).to_string().as_bytes(), &|_| None).is_err(), "RS-24 {value}");
    }
}

#[test]
fn only_a_real_preflight_passes_without_identity() {
    let mut world = World::with(&api());
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "PUT")];
    for path in ["/orders", "/api/orders"] {
        let mut request = world.program(path, &preflight);
        request.method = "OPTIONS".to_owned();
        let seen = world.send_pretending(request, &[("x-auth-sub", "mallory")]);
        assert_eq!(seen.is(200, "cors_preflight").upstream_header("x-auth-sub"), None, "RS-25 {path}");
    }
    let mut closed = World::with(&json!({"rules": [{"path_prefix": "/closed", "accept": "deny"}]}));
    let mut request = closed.program("/closed/x", &preflight);
    request.method = "OPTIONS".to_owned();
    closed.send(request).is(403, "denied");
    type Fields = Vec<(&'static str, &'static str)>;
    let rows: Vec<(&str, &str, Fields)> = vec![
        ("GET", "another method", preflight.to_vec()),
        ("POST", "another method", preflight.to_vec()),
        ("options", "another method", preflight.to_vec()),
        ("OPTIONS", "no origin", vec![preflight[1]]),
        ("OPTIONS", "no method", vec![preflight[0]]),
        ("OPTIONS", "an empty method", vec![preflight[0], ("access-control-request-method", "")]),
        (
            "OPTIONS",
            "two methods",
            vec![preflight[0], preflight[1], ("access-control-request-method", "GET")],
        ),
        ("OPTIONS", "an empty origin", vec![("origin", " "), preflight[1]]),
        ("OPTIONS", "two origins", vec![preflight[0], ("origin", "https://b.example"), preflight[1]]),
        ("OPTIONS", "a cookie", [&preflight[..], &[("cookie", "a=1")]].concat()),
        ("OPTIONS", "no origin at all", vec![("origin", "x"), preflight[1]]),
        ("OPTIONS", "an address", vec![("origin", "https://a.example/"), preflight[1]]),
        ("OPTIONS", "a list", vec![("origin", "https://a.example https://b.example"), preflight[1]]),
        ("OPTIONS", "credentials", [&preflight[..], &[("authorization", "Basic x")]].concat()),
        ("OPTIONS", "credentials", [&preflight[..], &[("proxy-authorization", "Basic x")]].concat()),
        ("OPTIONS", "another protocol", [&preflight[..], &[("upgrade", "websocket")]].concat()),
        ("OPTIONS", "a body", [&preflight[..], &[("content-length", "5")]].concat()),
        ("OPTIONS", "a body", [&preflight[..], &[("transfer-encoding", "chunked")]].concat()),
        (
            "OPTIONS",
            "another method in disguise",
            [&preflight[..], &[("x-http-method-override", "DELETE")]].concat(),
        ),
        (
            "OPTIONS",
            "another method in disguise",
            [&preflight[..], &[("X_HTTP_Method_Override", "DELETE")]].concat(),
        ),
        ("OPTIONS", "another method in disguise", [&preflight[..], &[("x-http-method", "DELETE")]].concat()),
        (
            "OPTIONS",
            "another method in disguise",
            [&preflight[..], &[("x-method-override", "DELETE")]].concat(),
        ),
    ];
    for (method, what, headers) in rows {
        let mut request = world.program("/orders", &headers);
        request.method = method.to_owned();
        assert!(world.send(request).upstream.is_none(), "RS-25 {what}");
    }
}

#[test]
fn with_bypass_switched_off_a_preflight_needs_a_credential() {
    let mut change = api();
    change["rules"] = json!([
        {"name": "dav", "path_prefix": "/dav", "bypass_cors_preflight": false},
        {"name": "api", "path_prefix": "/api", "accept": "bearer", "bypass_cors_preflight": false},
        {"name": "open", "path_prefix": "/open", "accept": "public", "bypass_cors_preflight": false},
    ]);
    let mut world = World::with(&change);
    for (path, status, code) in [
        ("/dav/report", 401, "not_logged_in"),
        ("/api/orders", 401, "not_logged_in"),
        ("/open/x", 200, "public"),
        ("/orders", 200, "cors_preflight"),
    ] {
        let preflight = [("origin", "https://a.example"), ("access-control-request-method", "PUT")];
        let mut request = world.program(path, &preflight);
        request.method = "OPTIONS".to_owned();
        assert_eq!(world.send(request).is(status, code).upstream.is_some(), status == 200, "RS-25 {path}");
    }
}

#[test]
fn a_preflight_has_no_body() {
    let mut world = World::on_envoy_alone(BODIES_COME_UNSEEN, &api());
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "PUT")];
    let mut request = world.program("/orders", &preflight);
    request.method = "OPTIONS".to_owned();
    world.send(request.clone()).is(200, "cors_preflight");
    request.has_body = true;
    assert!(world.send(request).upstream.is_none(), "RS-25 a body that is not announced");
}

#[test]
fn rs_26_grpc_clients_get_a_grpc_status() {
    let mut world = World::with(&api());
    for content_type in
        ["application/grpc", "application/grpc+proto", "application/grpc;x=y", "APPLICATION/GRPC"]
    {
        let mut request = world
            .program("/api/orders.v1.Orders/List", &[("content-type", content_type), ("te", "trailers")]);
        request.method = "POST".to_owned();
        let seen = world.send(request);
        assert_eq!((seen.status, seen.upstream.is_none()), (200, true), "RS-26 {content_type}");
        assert_eq!(seen.header("grpc-status"), Some("16"), "RS-26 {content_type}");
    }
    assert!(lines().iter().all(|line| !line.contains(|c: char| c.is_control())));
}
