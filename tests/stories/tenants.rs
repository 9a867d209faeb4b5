//! One provider for many tenants, as Microsoft Entra ID.

use serde_json::{Value, json};

use super::kept::{form, kept, note_of_login, restore};
use crate::world::{World, answer, merge};

const PLACE: &str = "https://idp.example.com/{tenantid}/v2.0";
const AUDIENCE: &str = "https://api.example.com";

fn issuer(tenant: &str) -> String {
    PLACE.replace("{tenantid}", tenant)
}

fn configured(change: &Value) -> Value {
    let mut full = json!({
        "providers": {"main": {"issuer": PLACE, "tenants": ["one", "two"], "audiences": [AUDIENCE]}},
        "rules": [{"name": "api", "path_prefix": "/api", "accept": "bearer"}],
        "identity": {"headers": {"x-auth-iss": "iss"}},
        "endpoints": {"backchannel_logout": "/oidc/backchannel-logout"},
    });
    merge(&mut full, change);
    full
}

/// The provider publishes one document for all tenants, and its tokens name this one.
fn world(tenant: &str, change: &Value) -> World {
    let mut world = World::with(&configured(change));
    world.idp().issuer = issuer("organizations");
    world.idp().metadata = json!({"issuer": PLACE, "authorization_response_iss_parameter_supported": null});
    world.idp().callback = json!({"iss": null});
    world.idp().id_token = json!({"iss": issuer(tenant), "tid": tenant});
    world
}

#[test]
fn people_of_listed_tenants_log_in() {
    for tenant in ["one", "two"] {
        let mut world = world(tenant, &json!({}));
        world.log_in("/orders").is(302, "login_completed");
        let seen = world.get("/orders");
        assert_eq!(seen.is(200, "session").upstream_header("x-auth-iss"), Some(issuer(tenant).as_str()));
    }
}

#[test]
fn clm_04_people_of_other_tenants_are_refused() {
    for tenant in ["three", "{tenantid}", "organizations", "One", "one/v2.0/../two"] {
        let mut world = world(tenant, &json!({}));
        world.log_in("/orders").is(502, "id_token_issuer");
        world.get("/orders").is(302, "login_begins");
    }
}

#[test]
fn tokens_of_listed_tenants_are_accepted_and_others_refused() {
    for (tenant, status, code) in [
        ("one", 200, "token"),
        ("two", 200, "token"),
        ("three", 401, "token_issuer"),
        ("{tenantid}", 401, "token_issuer"),
    ] {
        let mut world = world("one", &json!({}));
        let now = world.now;
        let token = world.idp().access_token(&json!({"iss": issuer(tenant)}), now);
        world.with_token("/api", &token).is(status, code);
    }
}

#[test]
fn iss_in_the_response_must_be_a_listed_tenant() {
    for (tenant, code) in [("one", "login_completed"), ("three", "authorization_issuer")] {
        let mut world = world("one", &json!({}));
        world.idp().callback = json!({"iss": issuer(tenant)});
        assert_eq!(world.log_in("/orders").code, code, "{tenant}");
    }
}

#[test]
fn sessions_of_a_delisted_tenant_end() {
    let mut world = world("two", &json!({}));
    world.log_in("/orders").is(302, "login_completed");
    world.restart_with(&configured(&json!({"providers": {"main": {"tenants": ["two", "three"]}}})));
    world.get("/orders").is(200, "session");
    world.restart_with(&configured(&json!({"providers": {"main": {"tenants": ["one"]}}})));
    world.get("/orders").is(302, "login_begins");
}

/// CLM-04: both claims of a token must name the same tenant.
#[test]
fn clm_04_issuer_and_tenant_of_a_token_agree() {
    for (iss, tid, code) in [
        (issuer("one"), json!("one"), "token"),
        (issuer("one"), Value::Null, "token"),
        (issuer("one"), json!("two"), "access_token_issuer"),
        (issuer("one"), json!("three"), "access_token_issuer"),
        (issuer("two"), json!("not-a-tenant"), "access_token_issuer"),
        (issuer("two"), json!("{tenantid}"), "access_token_issuer"),
        (issuer("two"), json!(["two"]), "access_token_issuer"),
        (issuer("three"), json!("one"), "token_issuer"),
        (PLACE.to_owned(), json!("one"), "token_issuer"),
    ] {
        let mut world = world("one", &json!({}));
        let now = world.now;
        let token = world.idp().access_token(&json!({"iss": iss, "tid": tid}), now);
        assert_eq!(world.with_token("/api", &token).code, code, "{iss} {tid}");
    }
}

/// JWK-27: Entra publishes with each key the issuer of the tokens that it may sign.
#[test]
fn jwk_27_a_key_with_an_issuer_verifies_for_its_tenants_only() {
    for (key_issuer, code) in [
        (json!(PLACE), "token"),
        (json!(issuer("one")), "token"),
        (Value::Null, "token"),
        (json!(issuer("two")), "jws_key_issuer"),
        (json!(issuer("three")), "jws_key_issuer"),
        (json!(""), "jws_key_issuer"),
    ] {
        let mut world = world("one", &json!({}));
        let mut keys = world.idp().published();
        keys["keys"][0]["issuer"] = key_issuer.clone();
        world.idp().instead.insert("keys", answer(200, keys));
        let now = world.now;
        let token = world.idp().access_token(&json!({"iss": issuer("one")}), now);
        assert_eq!(world.with_token("/api", &token).code, code, "{key_issuer}");
        let login = if code == "token" { "login_completed" } else { code };
        assert_eq!(world.log_in("/orders").code, login, "{key_issuer}");
    }
}

#[test]
fn a_refresh_stays_in_its_tenant() {
    for (tenant, code) in [("one", "session"), ("two", "session_not_refreshed")] {
        let mut world = world("one", &json!({}));
        world.idp().refreshes.gives = true;
        world.log_in("/orders").is(302, "login_completed");
        world.idp().refreshes.id_token = json!({"iss": issuer(tenant), "tid": tenant});
        let cookies = world.browser.header(false, world.now).unwrap();
        let request = world.after(301).program("/orders", &[("cookie", &cookies)]);
        assert_eq!(world.send(request).code, code, "{tenant}");
    }
}

#[test]
fn equal_claims_of_another_tenant_are_another_person() {
    let change = json!({"rules": [{"path": "/pay", "authentication": {"acr_values": ["gold"]}}]});
    for (tenant, expected) in [("one", "one"), ("two", "two")] {
        let mut world = world("one", &change);
        world.log_in("/orders").is(302, "login_completed");
        world.idp().id_token =
            json!({"iss": issuer(tenant), "tid": tenant, "acr": "bronze", "jti": "the second"});
        let cookies = world.browser.header(false, world.now).unwrap();
        world.log_in("/pay").is(403, "step_up_not_met");
        assert_eq!(world.get("/orders").upstream_header("x-auth-iss"), Some(issuer(expected).as_str()));
        let old = world.program("/orders", &[("cookie", &cookies)]);
        let code = if tenant == "one" { "session" } else { "session_logged_out" };
        assert_eq!(world.send(old).code, code);
    }
}

#[test]
fn an_equal_subject_of_another_tenant_is_another_person() {
    for (tenant, code) in [("one", "form_restored"), ("two", "kept_form_other_person")] {
        let mut world = world("one", &json!({}));
        world.log_in("/").is(302, "login_completed");
        world.after(4000);
        let request = form(&world, "/orders");
        let kept = kept(&mut world, request, "a=1");
        let times = (world.now.0, world.now.0 + 300);
        world.idp().id_token = json!({"iss": issuer(tenant), "tid": tenant, "iat": times.0, "exp": times.1});
        let note = note_of_login(&mut world, &kept);
        assert_eq!(restore(&mut world, &kept.sealed, &note).code, code);
    }
}

/// A world in which alice of tenant `one` is logged in, in session `s1` of the provider.
fn alice_of_one(change: &Value) -> World {
    let mut world = world("one", change);
    world.idp().id_token = json!({"iss": issuer("one"), "tid": "one", "sid": "s1"});
    world.log_in("/orders").is(302, "login_completed");
    world.get("/orders").is(200, "session");
    world.after(10);
    world
}

fn bring(world: &mut World, tenant: &str, changes: &Value) -> &'static str {
    let mut full = json!({"iss": issuer(tenant), "jti": "the same"});
    full.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let now = world.now;
    let token = world.idp().logout_token(&full, now);
    let mut request =
        world.program("/oidc/backchannel-logout", &[("content-type", "application/x-www-form-urlencoded")]);
    request.method = "POST".to_owned();
    world.send_with_body(request, format!("logout_token={token}").as_bytes()).code
}

#[test]
fn a_tenant_ends_only_sessions_of_its_own_people() {
    for named in [json!({"sub": null}), json!({"sid": null})] {
        let mut world = alice_of_one(&json!({}));
        assert_eq!(bring(&mut world, "two", &named), "logged_out_by_provider");
        world.get("/orders").is(200, "session");
        // The same `jti` at another tenant is another token.
        assert_eq!(bring(&mut world, "one", &named), "logged_out_by_provider");
        world.get("/orders").is(302, "login_begins");
        assert_eq!(bring(&mut world, "one", &named), "logout_token_replayed");
    }
}

#[test]
fn a_tenant_ends_no_login_in_flight_of_another() {
    for (tenant, code) in [("two", "login_completed"), ("one", "session_revoked")] {
        let mut world = world("one", &json!({}));
        let address = world.sent_to_provider("/orders");
        assert_eq!(bring(&mut world, tenant, &json!({"sid": null})), "logged_out_by_provider");
        let back = world.authorize(&address);
        assert_eq!(world.come_back(&back).code, code, "{tenant}");
    }
}

#[test]
fn front_channel_logout_names_the_tenant() {
    let change = json!({"endpoints": {"frontchannel_logout": "/oidc/frontchannel-logout"}});
    let mut world = alice_of_one(&change);
    for (tenant, code) in [("two", "frontchannel_no_session"), ("one", "frontchannel_logged_out")] {
        let iss: String = url::form_urlencoded::byte_serialize(issuer(tenant).as_bytes()).collect();
        assert_eq!(world.get(&format!("/oidc/frontchannel-logout?iss={iss}&sid=s1")).code, code, "{tenant}");
    }
}

#[test]
fn probe_literal_key_issuer() {
    let live = "https://live.example/v2.0";
    let mut world = world("one", &json!({"providers": {"main": {"accepted_issuers": [live]}}}));
    let mut keys = world.idp().published();
    keys["keys"][0]["issuer"] = json!(live);
    world.idp().instead.insert("keys", answer(200, keys));
    let now = world.now;
    let token = world.idp().access_token(&json!({"iss": issuer("one"), "tid": "one"}), now);
    eprintln!("PROBE1 {}", world.with_token("/api", &token).code);
    eprintln!("PROBE1 login {}", world.log_in("/orders").code);
}
