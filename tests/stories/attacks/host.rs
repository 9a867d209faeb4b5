//! HOST-..: how a proxy and the upstreams behind it interpret a host, and which rule applies.

use serde_json::{Value, json};

use crate::world::{CLIENT_SECRET, Proxy, Seen, World};

const STATUS: &str = "status.example.com";
const PARTNER: &str = "partner.example.com";

/// The upstreams: an application for each of these hosts, and one for all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Application {
    Status,
    Partner,
    Rest,
}

/// How a proxy chooses the application for a value of `:authority`.
type Choice = fn(&str) -> Application;

fn named(host: &str) -> Application {
    match host {
        STATUS => Application::Status,
        PARTNER => Application::Partner,
        _ => Application::Rest,
    }
}

fn without_port(authority: &str) -> &str {
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

/// Envoy: virtual hosts by their whole name.
fn envoy(authority: &str) -> Application {
    named(&authority.to_ascii_lowercase())
}

/// `ignore_port_in_host_matching`, and routes of Kong.
fn ignores_ports(authority: &str) -> Application {
    envoy(without_port(authority))
}

/// `server_name`.
fn nginx(authority: &str) -> Application {
    let host = without_port(authority);
    envoy(host.strip_suffix('.').unwrap_or(host))
}

/// The proxies that the proxy of the world stands for: Envoy forwards what nginx drops.
fn proxies(world: &World) -> &'static [(&'static str, Choice)] {
    match world.proxy {
        Proxy::Envoy => {
            &[("Envoy", envoy), ("Envoy that ignores ports", ignores_ports), ("what is behind it", nginx)]
        }
        Proxy::Nginx => &[("nginx", nginx), ("Kong", ignores_ports)],
    }
}

/// Malformed hosts, each with the reason why it might be accepted.
const ODD: [(&str, &str); 31] = [
    ("HOST-01", "status.example.com:1"),
    ("HOST-01", "status.example.com:80"),
    ("HOST-01", "status.example.com:8443"),
    ("HOST-01", "status.example.com:65535"),
    ("HOST-01", "STATUS.example.com:1"),
    ("HOST-02", "status.example.com."),
    ("HOST-02", "Status.Example.Com."),
    ("HOST-02", "status.example.com:"),
    ("HOST-02", "status.example.com.:"),
    ("HOST-02", "status.example.com.:443"),
    ("HOST-02", "status.example.com.:1"),
    ("HOST-02", "status.example.com:00443"),
    ("HOST-02", "status.example.com:00080"),
    ("HOST-02", "status.example.com:0"),
    ("HOST-02", "status.example.com:65979"),
    ("HOST-02", "status.example.com:99999999999999999999"),
    ("HOST-02", "status.example.com.."),
    ("HOST-04", "status.example.com:-1"),
    ("HOST-04", "status.example.com:+443"),
    ("HOST-04", "status.example.com:443:443"),
    ("HOST-04", "status.example.com:443@admin.example.com"),
    ("HOST-04", "admin.example.com@status.example.com"),
    ("HOST-04", "[status.example.com]"),
    ("HOST-04", "status%2eexample.com"),
    ("HOST-04", "%73tatus.example.com"),
    ("HOST-04", "\u{ff53}tatus.example.com"),
    ("HOST-04", "status\u{3002}example.com"),
    ("HOST-04", "status.example.com/"),
    ("HOST-04", "status.example.com,admin.example.com"),
    ("HOST-04", " status.example.com"),
    ("HOST-04", ""),
];

fn visit(world: &mut World, authority: &str) -> Seen {
    let mut request = world.program("/x", &[]);
    authority.clone_into(&mut request.authority);
    world.send(request)
}

#[test]
fn no_spelling_of_a_host_gets_the_rule_of_another_virtual_host() {
    for rules in [
        json!([{"hosts": [STATUS], "accept": "public"}]),
        json!([{"hosts": [STATUS], "path_prefix": "/x", "accept": "public"}]),
        json!([{"hosts": [STATUS], "methods": ["GET"], "accept": "public"}]),
        json!([{"hosts": [PARTNER], "accept": "deny"}, {"hosts": [STATUS], "accept": "public"}]),
        // The reverse: every other host is public, and this one is not.
        json!([{"hosts": [STATUS], "accept": "deny"}, {"path_prefix": "/x", "accept": "public"}]),
    ] {
        let mut world = World::with(&json!({"rules": rules}));
        let is_open =
            |application: Application| match rules[0]["accept"] == "deny" && rules[0]["hosts"][0] == STATUS {
                true => application != Application::Status,
                false => application == Application::Status,
            };
        for (id, authority) in ODD.into_iter().chain([
            ("HOST-03", STATUS),
            ("HOST-03", "status.example.com:443"),
            ("HOST-04", "STATUS.EXAMPLE.COM"),
            ("HOST-04", "under_score.example.com"),
            ("HOST-04", "xn--stats-0ra.example.com"),
            ("HOST-04", "[::1]"),
            ("HOST-04", "[::1]:443"),
            ("HOST-01", "other.example.com:1"),
            ("HOST-02", "other.example.com."),
        ]) {
            let seen = visit(&mut world, authority);
            let Some(upstream) = &seen.upstream else {
                assert!(matches!(seen.status, 400..=403), "{id} {authority}: {seen:?}");
                continue;
            };
            let sent = upstream.one(":authority").unwrap();
            for (proxy, application) in proxies(&world) {
                assert!(is_open(application(sent)), "{id} {rules}: {authority} in {proxy}: {seen:?}");
            }
        }
        for (id, authority) in ODD {
            let seen = visit(&mut world, authority);
            assert_eq!(seen.status, 400, "{id} {rules}: {authority}");
            assert!(["host_ambiguous", "path_not_a_host"].contains(&seen.code), "{id} {authority}: {seen:?}");
        }
    }
}

#[test]
fn a_configured_port_belongs_to_the_host() {
    let mut world = World::with(&json!({
        "session": {"hosts": ["app.example.com", "odd.example.com:8443"]},
        "rules": [{"name": "status", "hosts": [STATUS, "odd.example.com", "port.example.com:9000"], "accept": "public"}],
    }));
    for authority in [
        STATUS,
        "STATUS.example.com:443",
        "status.example.com:443",
        "odd.example.com",
        "odd.example.com:443",
        "odd.example.com:8443",
        "port.example.com:9000",
    ] {
        visit(&mut world, authority).is(200, "public");
    }
    for authority in [
        "status.example.com:8443",
        "status.example.com:9000",
        "odd.example.com:9000",
        "odd.example.com:08443",
        "odd.example.com.:8443",
        "port.example.com",
        "port.example.com:443",
        "port.example.com:8443",
    ] {
        visit(&mut world, authority).is(400, "host_ambiguous");
    }
    // Envoy chooses as if the default port were not there; nginx always does so.
    let named = visit(&mut world, "status.example.com:443");
    let expected = if world.proxy == Proxy::Envoy { STATUS } else { "status.example.com:443" };
    assert_eq!(named.upstream_header(":authority"), Some(expected), "HOST-03");
    assert_eq!(
        visit(&mut world, "odd.example.com:8443").upstream_header(":authority"),
        Some("odd.example.com:8443")
    );

    let mut over_http = World::with(&json!({
        "session": {"insecure_allow_http": true},
        "rules": [{"hosts": [STATUS], "accept": "public"}],
    }));
    visit(&mut over_http, "status.example.com:80").is(200, "public");
    visit(&mut over_http, "status.example.com:443").is(400, "host_ambiguous");

    let mut in_nginx = World::on(Proxy::Nginx, &json!({"rules": [{"hosts": [STATUS], "accept": "public"}]}));
    let named = visit(&mut in_nginx, "status.example.com:443");
    assert_eq!(named.is(200, "public").upstream_header(":authority"), Some("status.example.com:443"));
}

/// Where no rule names hosts, or all rules have the same effect, no request is refused for its port.
#[test]
fn hosts_are_checked_only_where_rules_name_hosts() {
    let any = json!({"rules": [{"path_prefix": "/x", "accept": "public"}]});
    let elsewhere = json!({"rules": [
        {"path_prefix": "/x", "accept": "public"},
        {"hosts": [STATUS], "path_prefix": "/y", "accept": "public"},
    ]});
    for (change, is_named) in [(any, false), (elsewhere, true)] {
        let mut world = World::with(&change);
        for authority in ["status.example.com:1", "status.example.com.", "localhost:10000", "10.0.0.1:8080"] {
            let seen = visit(&mut world, authority);
            assert_eq!(
                seen.is(200, "public").upstream_header(":authority"),
                Some(authority),
                "HOST-01 {change}"
            );
        }
        // Without rules that name hosts, the host is not checked at all.
        assert_eq!(visit(&mut world, "status.example.com:x").status, if is_named { 400 } else { 200 });
    }
}

fn with_partner_at(rule: Value) -> World {
    World::with(&json!({
        "providers": {"partner": {
            "issuer": "https://partner.example", "callout": "partner", "redirect_uri": "/oidc/partner",
            "client_id": "guest", "client_secret": CLIENT_SECRET,
        }},
        "default_provider": "main",
        "session": {"hosts": ["app.example.com", PARTNER]},
        "rules": [rule, {"path_prefix": "/", "provider": "main", "authentication": {"acr_values": ["gold"]}}],
    }))
}

#[test]
fn a_session_does_not_open_another_virtual_host() {
    for rule in [
        json!({"hosts": [PARTNER], "provider": "partner"}),
        // The rule is weaker in another respect: the default rule requires more.
        json!({"hosts": [PARTNER], "provider": "main"}),
        json!({"hosts": [PARTNER], "provider": "main", "require": {"claims": [{"claim": "sub", "any_of": ["alice"]}]}}),
    ] {
        let mut world = with_partner_at(rule.clone());
        world.browser.host = PARTNER.to_owned();
        world.log_in("/orders").is(302, "login_completed");
        world.get("/orders").is(200, "session");
        for authority in [
            "partner.example.com:1",
            "partner.example.com.",
            "partner.example.com:",
            "partner.example.com:00443",
            "partner.example.com.:443",
        ] {
            let mut request = world.navigation("/orders", false);
            authority.clone_into(&mut request.authority);
            let seen = world.send(request);
            seen.is(400, "host_ambiguous");
            assert!(seen.cookies().is_empty(), "HOST-05 {rule} {authority}");
        }
        let mut request = world.navigation("/orders", false);
        "partner.example.com:443".clone_into(&mut request.authority);
        let seen = world.send(request);
        let sent = seen.is(200, "session").upstream_header(":authority").unwrap().to_owned();
        for (proxy, application) in proxies(&world) {
            assert_eq!(application(&sent), Application::Partner, "HOST-05 {proxy}");
        }
        // Logins and logouts only happen at hosts that are written as in the configuration.
        for page in ["/oidc/login", "/oidc/logout", "/oidc/session"] {
            for authority in ["partner.example.com:1", "partner.example.com.", "partner.example.com:0443"] {
                let mut request = world.navigation(page, false);
                authority.clone_into(&mut request.authority);
                let seen = world.send(request);
                assert!(seen.upstream.is_none(), "HOST-05 {page}: {seen:?}");
                let leads_there = |value: &str| value.contains(&format!("{authority}/"));
                assert!(
                    !seen.headers.iter().any(|(_, value)| leads_there(value)),
                    "HOST-05 {page}: {seen:?}"
                );
            }
        }
    }
}
