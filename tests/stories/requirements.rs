//! What rules require of claims and tokens; scopes that a login requests for a rule; rules that only report.

use serde_json::{Value, json};
use url::Url;
use vestibule::http::Request;

use crate::world::metrics::{metric, metrics};
use crate::world::{BEGINNING, Seen, World, lines, log, merge};

const AUDIENCE: &str = "https://api.example.com";

fn with_rules(rules: Value) -> Value {
    json!({"providers": {"main": {"audiences": [AUDIENCE]}}, "rules": rules})
}

fn token(world: &mut World, claims: &Value) -> String {
    let now = world.now;
    world.idp().access_token(claims, now)
}

/// The code for a person whose ID token has these claims.
fn code_of_person(change: &Value, path: &str, claims: &Value) -> &'static str {
    let mut world = World::with(change);
    world.idp().id_token = claims.clone();
    world.log_in("/orders").is(302, "login_completed");
    world.get(path).code
}

/// The same for a program whose access token has them.
fn code_of_program(change: &Value, path: &str, claims: &Value) -> &'static str {
    let mut world = World::with(change);
    let token = token(&mut world, claims);
    world.with_token(path, &token).code
}

fn scopes_of(address: &Url) -> Vec<String> {
    let (_, scope) = address.query_pairs().find(|(name, _)| name == "scope").unwrap();
    scope.split(' ').map(str::to_owned).collect()
}

/// A request of a script with the cookies of the browser.
fn fetch(world: &World, path: &str) -> Request {
    let cookies = world.browser.header(false, world.now).unwrap_or_default();
    world.program(path, &[("cookie", &cookies), ("sec-fetch-mode", "cors")])
}

#[test]
fn roles_can_be_names_of_members() {
    let roles = "urn:zitadel:iam:org:project:roles";
    let change = with_rules(json!([
        {"name": "admin", "path": "/admin", "require": {"claims": [
            {"claim": roles, "format": "names", "any_of": ["admin"]}]}},
        {"name": "acme", "path": "/acme", "require": {"claims": [
            {"claim": [roles, "admin", "4711"], "present": true}]}},
    ]));
    let granted = json!({"admin": {"4711": "acme.example"}, "user": {"4712": "b.example"}});
    for (path, found, is_met) in [
        ("/admin", granted.clone(), true),
        ("/acme", granted, true),
        ("/admin", json!({"user": {"4711": "acme.example"}}), false),
        ("/admin", json!(["admin"]), false),
        ("/acme", json!({"admin": {"4712": "b.example"}}), false),
    ] {
        let claims = json!({ roles: found });
        let expected = |code: &'static str| if is_met { code } else { "requirement_claim" };
        assert_eq!(code_of_person(&change, path, &claims), expected("session"), "{path} {claims}");
        assert_eq!(code_of_program(&change, path, &claims), expected("token"), "{path} {claims}");
    }
}

#[test]
fn a_claim_can_forbid() {
    let change = with_rules(json!([{"name": "all", "path": "/all", "require": {
        "claims": [{"claim": "groups", "none_of": ["banned"]}],
        "none_of": [{"claims": [{"claim": "act", "present": true}]}, {"scopes": ["impersonation"]}],
    }}]));
    for (claims, code) in [
        (json!({}), "token"),
        (json!({"groups": ["staff"]}), "token"),
        (json!({"act": null}), "token"),
        (json!({"groups": ["staff", "banned"]}), "requirement_claim"),
        (json!({"groups": "banned"}), "requirement_claim"),
        (json!({"groups": {"banned": true}}), "requirement_claim"),
        (json!({"groups": [["banned"]]}), "requirement_claim"),
        (json!({"act": {"sub": "agent"}}), "requirement_none_of"),
        (json!({"scope": "read impersonation"}), "requirement_none_of"),
    ] {
        assert_eq!(code_of_program(&change, "/all", &claims), code, "{claims}");
        if claims.get("scope").is_none() {
            let code = if code == "token" { "session" } else { code };
            assert_eq!(code_of_person(&change, "/all", &claims), code, "{claims}");
        }
    }
}

#[test]
fn an_email_domain_needs_a_verified_address() {
    let change =
        with_rules(json!([{"name": "staff", "path": "/staff", "require": {"email_domains": ["good.com"]}}]));
    for (email, verified, is_met) in [
        (json!("ann@good.com"), json!(true), true),
        (json!("Ann@GOOD.com"), json!(true), true),
        (json!("ann@good.com"), json!("true"), false),
        (json!("ann@good.com"), json!(false), false),
        (json!("ann@good.com"), json!(null), false),
        (json!("ann@evil-good.com"), json!(true), false),
        (json!("ann@good.com.evil"), json!(true), false),
        (json!("ann@sub.good.com"), json!(true), false),
        (json!("\"ann@evil\"@good.com"), json!(true), false),
        (json!("ann@evil.com@good.com"), json!(true), false),
        (json!("ann@g\u{f6}od.com"), json!(true), false),
        (json!("ann\u{ff20}evil.com@good.com"), json!(true), false),
        (json!(["ann@good.com"]), json!(true), false),
    ] {
        let claims = json!({"email": email, "email_verified": verified});
        let expected = |code: &'static str| if is_met { code } else { "requirement_email" };
        assert_eq!(code_of_person(&change, "/staff", &claims), expected("session"), "{claims}");
        assert_eq!(code_of_program(&change, "/staff", &claims), expected("token"), "{claims}");
    }
    log::forget();
    let claims = json!({"email": "canary@other.com", "email_verified": true});
    code_of_person(&change, "/staff", &claims);
    let line = lines().into_iter().find(|line| line.contains("answered code=requirement_email")).unwrap();
    assert!(line.ends_with("at one of \"good.com\", but is at another domain"), "{line}");
    assert!(!line.contains("canary"), "claims are personal: {line}");
}

#[test]
fn numbers_are_numbers() {
    let level = json!({"claims": [{"claim": "level", "min": 3, "max": 9_007_199_254_740_992_u64}]});
    let change = with_rules(json!([{"name": "level", "path": "/level", "require": level}]));
    for (level, is_met) in [
        (json!(3), true),
        (json!(3.5), true),
        (json!(9_007_199_254_740_992_u64), true),
        (json!(9_007_199_254_740_993_u64), false),
        (json!(2.999_999), false),
        (json!("3"), false),
        (json!([3]), false),
        (json!(true), false),
    ] {
        let claims = json!({ "level": level });
        let expected = |code: &'static str| if is_met { code } else { "requirement_claim" };
        assert_eq!(code_of_person(&change, "/level", &claims), expected("session"), "{level}");
        assert_eq!(code_of_program(&change, "/level", &claims), expected("token"), "{level}");
    }
}

/// A world whose `/agent` is for short-lived tokens of one client.
fn for_agents() -> World {
    let limits = json!({"clients": ["agent"], "max_age_seconds": 300, "max_lifetime_seconds": 900});
    World::with(&with_rules(json!([{"name": "agent", "path": "/agent", "token": limits}])))
}

#[test]
fn a_rule_limits_age_lifetime_and_client_of_a_token() {
    let now = BEGINNING.0;
    for (claims, status, code) in [
        (json!({"client_id": "agent"}), 200, "token"),
        (json!({"client_id": null, "azp": "agent"}), 200, "token"),
        (json!({"client_id": "agent", "iat": now - 360, "exp": now + 540}), 200, "token"),
        (json!({"client_id": "agent", "iat": now - 361, "exp": now + 539}), 401, "token_too_old"),
        (json!({"client_id": "agent", "exp": now + 901}), 401, "token_lifetime"),
        (json!({"client_id": "agent", "iat": null}), 401, "token_time_unknown"),
        (json!({"client_id": "robot", "azp": "agent"}), 403, "requirement_client"),
        (json!({"client_id": null}), 403, "requirement_client"),
    ] {
        let mut world = for_agents();
        world.stop_clock();
        world.now = BEGINNING;
        let token = token(&mut world, &claims);
        let seen = world.with_token("/agent", &token);
        assert_eq!((seen.status, seen.code), (status, code), "RS-12 {claims}");
        if status == 401 {
            assert!(seen.header("www-authenticate").unwrap().contains("error=\"invalid_token\""), "{seen:?}");
        }
        world.with_token("/orders", &token).is(200, "token");
    }
}

#[test]
fn a_cached_token_becomes_too_old() {
    let mut world = for_agents();
    world.stop_clock();
    let token = token(&mut world, &json!({"client_id": "agent", "exp": BEGINNING.0 + 900}));
    world.with_token("/agent", &token).is(200, "token");
    world.after(360).with_token("/agent", &token).is(200, "token");
    world.after(1).with_token("/agent", &token).is(401, "token_too_old");
    world.with_token("/orders", &token).is(200, "token");
}

#[test]
fn limits_of_a_token_do_not_concern_sessions() {
    let mut world = for_agents();
    world.log_in("/agent").is(302, "login_completed");
    world.after(301).get("/agent").is(200, "session");
}

fn scoped() -> Value {
    json!({
        "providers": {"main": {"audiences": [AUDIENCE], "scopes": ["openid", "email"]}},
        "rules": [
            {"name": "pay", "path_prefix": "/pay", "authentication": {"scopes": ["pay", "email"]},
                "require": {"scopes": ["pay"]}},
            {"name": "calendar", "path": "/calendar", "accept": "session",
                "authentication": {"scopes": ["calendar"]}},
        ],
    })
}

#[test]
fn a_rule_adds_scopes_to_the_first_login() {
    let mut world = World::with(&scoped());
    assert_eq!(scopes_of(&world.sent_to_provider("/pay")), ["openid", "email", "pay"]);
    assert_eq!(scopes_of(&world.sent_to_provider("/calendar")), ["openid", "email", "calendar"]);
    assert_eq!(scopes_of(&world.sent_to_provider("/orders")), ["openid", "email"]);
    world.log_in("/pay").is(302, "login_completed");
    world.get("/pay").is(200, "session");
    world.get("/orders").is(200, "session");
}

#[test]
fn a_session_without_the_scopes_steps_up_once() {
    let mut world = World::with(&scoped());
    world.log_in("/orders").is(302, "login_completed");
    let address = world.sent_to_provider("/pay/now");
    assert_eq!(scopes_of(&address), ["openid", "email", "pay"]);
    let back = world.authorize(&address);
    assert_eq!(world.come_back(&back).is(302, "login_completed").location(), "/pay/now");
    world.get("/pay/now").is(200, "session");
    // The other rule takes nothing away.
    let address = world.sent_to_provider("/calendar");
    assert_eq!(scopes_of(&address), ["openid", "email", "calendar", "pay"]);
    let back = world.authorize(&address);
    world.come_back(&back).is(302, "login_completed");
    for path in ["/calendar", "/pay", "/calendar", "/orders"] {
        world.get(path).is(200, "session");
    }
}

#[test]
fn scopes_that_are_not_granted_are_requested_once() {
    let mut world = World::with(&scoped());
    world.idp().tokens = json!({"scope": "openid email"});
    world.log_in("/orders").is(302, "login_completed");
    for path in ["/pay", "/calendar"] {
        world.log_in(path).is(302, "login_completed");
    }
    for _ in 0..5 {
        world.get("/calendar").is(200, "session");
        let seen = world.get("/pay");
        seen.is(403, "requirement_scopes");
    }
}

#[test]
fn requested_scopes_survive_a_refresh() {
    let mut world = World::with(&scoped());
    world.idp().refreshes.gives = true;
    world.log_in("/pay").is(302, "login_completed");
    world.after(301).get("/pay").is(200, "session");
    assert_eq!(world.idp().refreshes.used, 1);
    world.after(301).get("/pay").is(200, "session");
}

#[test]
fn a_script_is_told_which_scopes_to_log_in_with() {
    let mut world = World::with(&scoped());
    world.log_in("/orders").is(302, "login_completed");
    let request = fetch(&world, "/calendar");
    let seen = world.send(request);
    let challenge = seen.is(401, "authentication_scopes").header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
    assert!(challenge.ends_with("scope=\"calendar\""), "{challenge}");
    let problem: Value = serde_json::from_str(&seen.body).unwrap();
    let login = problem["login"].as_str().unwrap();
    assert_eq!(login, "/oidc/login?scope=calendar");
    let seen = world.get(&format!("{login}&return_to=/orders"));
    let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
    assert_eq!(scopes_of(&address), ["openid", "email", "calendar"]);
    // Only what a rule names.
    let seen = world.get("/oidc/login?scope=admin&return_to=/orders");
    let address = Url::parse(seen.is(302, "login_begins").location()).unwrap();
    assert_eq!(scopes_of(&address), ["openid", "email"]);
    let back = world.authorize(&address);
    world.come_back(&back).is(302, "login_completed");
}

#[test]
fn scopes_of_a_login_do_not_concern_tokens() {
    let mut world = World::with(&scoped());
    for (scope, status, code) in [("pay", 200, "token"), ("read", 403, "requirement_scopes")] {
        let token = token(&mut world, &json!({ "scope": scope }));
        world.with_token("/pay", &token).is(status, code);
    }
}

#[test]
fn a_scope_of_a_rule_brings_the_claims_of_userinfo() {
    let change = json!({
        "providers": {"main": {"audiences": [AUDIENCE]}},
        "rules": [{"name": "staff", "path": "/staff", "authentication": {"scopes": ["email"]},
            "require": {"email_domains": ["good.com"]}}],
    });
    let mut world = World::with(&change);
    world.idp().id_token = json!({"email": null});
    world.idp().userinfo = json!({"email": "ann@good.com", "email_verified": true});
    world.log_in("/orders").is(302, "login_completed");
    assert!(!world.idp().request_log.contains(&"userinfo"), "the scope was not requested");
    world.log_in("/staff").is(302, "login_completed");
    world.get("/staff").is(200, "session");
}

fn reporting() -> Value {
    let mut rules = json!([
        {"name": "admin", "path": "/admin", "require": {"claims": [{"claim": "groups", "any_of": ["admins"]}]}},
        {"name": "strong", "path": "/strong", "authentication": {"acr_values": ["gold"], "scopes": ["extra"]}},
        {"name": "agent", "path": "/agent", "accept": "bearer", "token": {"clients": ["agent"]}},
    ]);
    for rule in rules.as_array_mut().unwrap() {
        merge(rule, &json!({"report_only": true}));
    }
    with_rules(rules)
}

fn reported(code: &str) -> Vec<String> {
    let start = format!("INFO reported code={code} ");
    lines().into_iter().filter(|line| line.starts_with(&start)).collect()
}

fn assert_identity(seen: &Seen, subject: &str) {
    assert_eq!(seen.upstream_header("x-auth-sub"), Some(subject), "{seen:?}");
}

#[test]
fn a_rule_that_only_reports_refuses_nobody_who_is_authenticated() {
    log::forget();
    let mut world = World::with(&reporting());
    let address = world.sent_to_provider("/strong");
    assert_eq!(scopes_of(&address), ["openid"], "a report changes no login");
    assert!(!address.as_str().contains("acr_values"), "{address}");
    world.idp().id_token = json!({"groups": ["canary"]});
    world.log_in("/orders").is(302, "login_completed");
    assert_identity(world.get("/admin").is(200, "session"), "alice");
    assert_identity(world.get("/strong").is(200, "session"), "alice");
    let robot = token(&mut world, &json!({"groups": ["canary"]}));
    assert_identity(world.with_token("/agent", &robot).is(200, "token"), "robot");
    let agent = token(&mut world, &json!({"client_id": "agent"}));
    assert_identity(world.with_token("/agent", &agent).is(200, "token"), "robot");

    let of_admin = reported("requirement_claim");
    assert_eq!(of_admin.len(), 1, "{of_admin:?}");
    for part in
        ["rule=admin", "provider=main", "sub=\"alice\"", "path=\"/admin\"", "is a list of 1 other value"]
    {
        assert!(of_admin[0].contains(part), "{part}: {of_admin:?}");
    }
    assert!(!of_admin[0].contains("canary"), "claims are personal: {of_admin:?}");
    assert_eq!((reported("authentication_scopes").len(), reported("requirement_client").len()), (1, 1));
    world.tick();
    if metrics().is_empty() {
        // This proxy has none.
        return;
    }
    for code in ["requirement_claim", "authentication_scopes", "requirement_client"] {
        let count = metric(&format!("reports.code.{code}.provider.main"));
        assert_eq!(count, Some(1), "{code} {:#?}", metrics());
        let refusals = metric(&format!("decisions.outcome.refused.code.{code}.provider.main"));
        assert_eq!(refusals, None, "nobody was refused");
    }
}

#[test]
fn a_rule_that_only_reports_requires_authentication_all_the_same() {
    let mut world = World::with(&reporting());
    let request = fetch(&world, "/admin");
    world.send(request).is(401, "not_logged_in");
    let expired = token(&mut world, &json!({"exp": BEGINNING.0 - 1000, "iat": BEGINNING.0 - 2000}));
    world.with_token("/admin", &expired).is(401, "access_token_expired");
    let agent = world.program("/agent", &[]);
    world.send(agent).is(401, "not_logged_in");
    world.log_in("/orders").is(302, "login_completed");
    let session_alone = fetch(&world, "/agent");
    world.send(session_alone).is(401, "not_logged_in");
}

#[test]
fn reports_do_not_fill_the_log() {
    log::forget();
    let mut change = reporting();
    merge(&mut change, &json!({"log": {"rate_limit": 2}}));
    let mut world = World::with(&change);
    world.log_in("/orders").is(302, "login_completed");
    world.stop_clock();
    for _ in 0..10 {
        world.get("/admin").is(200, "session");
    }
    assert_eq!(reported("requirement_claim").len(), 2);
    world.after(11).tick();
    let left_out =
        lines().into_iter().filter(|line| line.contains("left out 8 lines with code=requirement_claim"));
    assert_eq!(left_out.count(), 1, "{:?}", lines());
}
