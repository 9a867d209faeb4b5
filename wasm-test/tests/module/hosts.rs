//! What either host may do to the filter.

use serde_json::json;
use wasm_test::{CalloutReply, Incoming, Module, Outgoing, Profile, Progress, Setup, Worker};

use crate::site::{BOTH, Site, get, got, page};
use crate::world::{BEGINNING, OTHER_KEY, Proxy, document, lines};

#[test]
fn on_envoy_a_trap_in_a_reply_hangs_the_request_and_restarts_the_vm() {
    let mut site = Site::with(Proxy::Envoy, &json!({}), |host| {
        host.expects_trap = true;
        host.traps_at = Some("proxy_get_header_map_value");
    });
    let stream = site.worker.borrow_mut().begin(page("/orders"));
    let token = site.worker.borrow().callouts()[0].0;
    site.worker.borrow_mut().answer(token, CalloutReply::Failed);
    assert_eq!(site.worker.borrow_mut().progress(stream), Progress::Hangs, "closed, but a hang");
    site.worker.borrow_mut().change(|host| host.traps_at = None);
    // The next VM waits until the lease of this one has ended.
    site.world.after(10).log_in("/orders").is(302, "login_completed");
}

#[test]
fn on_envoy_a_trap_in_request_headers_is_refused() {
    let mut site = Site::with(Proxy::Envoy, &json!({}), |host| {
        host.expects_trap = true;
        host.traps_at = Some("proxy_get_header_map_pairs");
    });
    let outgoing = site.send(get("/public/x", &[]));
    assert_eq!((outgoing.status, outgoing.upstream), (503, None));
}

/// WASM-04: no supported host does that.
#[test]
fn a_reentrant_host_call_admits_nobody() {
    for proxy in BOTH {
        for (function, request) in [
            ("proxy_http_call", page("/orders")),
            ("proxy_send_local_response", get("/api/x", &[])),
            ("proxy_get_property", page("/orders")),
        ] {
            let mut site = Site::with(proxy, &json!({}), |host| host.calls_back_at = Some(function));
            let outgoing = site.send(request);
            assert!(outgoing.status >= 300 && outgoing.upstream.is_none(), "WASM-04 {proxy:?} {function}");
            assert_eq!(site.worker.borrow().traps(), 0, "WASM-04 {proxy:?} {function}");
            site.worker.borrow_mut().change(|host| host.calls_back_at = None);
            site.world.log_in("/orders").is(302, "login_completed");
        }
    }
}

fn state(site: &mut Site) -> String {
    let address = site.world.sent_to_provider("/orders");
    address.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned()
}

/// On nginx everybody who knows the process id and the second can compute the host's random numbers. Two
/// workers that differ only in the configured secret draw different values.
#[test]
fn known_host_randomness_does_not_predict_ours() {
    for proxy in BOTH {
        let mut one = Site::on(proxy);
        let mut other = Site::with(proxy, &json!({"session": {"keys": [OTHER_KEY]}}), |_| {});
        let (one, other) = (state(&mut one), state(&mut other));
        let alike = one.bytes().zip(other.bytes()).filter(|(a, b)| a == b).count();
        assert!(alike * 4 < one.len(), "{one} {other}");
        // With the same secret, no value is drawn twice.
        let mut again = Site::on(proxy);
        let (first, second) = (state(&mut again), state(&mut again));
        assert_ne!(first, second);
    }
}

#[test]
fn without_host_randomness_no_login_begins() {
    let bytes = document(&json!({})).to_string().into_bytes();
    let start = |profile| {
        let mut setup = Setup::new(profile, &bytes, BEGINNING.0 * 1_000_000_000);
        setup.has_randomness = false;
        Worker::start(Module::built(), setup)
    };
    for profile in [Profile::Envoy, Profile::NgxWasm] {
        assert!(start(profile).is_err(), "{profile:?}");
    }
}

/// nginx runs all configurations of a module in one VM.
#[test]
fn configurations_in_one_vm_are_isolated() {
    let with = |key: &str, cookie: &str| {
        document(&json!({"session": {"keys": [key], "cookie_name": cookie}})).to_string().into_bytes()
    };
    let mut site = Site::on(Proxy::Nginx);
    let one = site.world.log_in("/orders");
    one.is(302, "login_completed");
    let session = site.world.browser.header(false, site.world.now).unwrap();
    let setup = Setup {
        configurations: vec![
            with(crate::world::KEY, "__Host-vestibule"),
            with(OTHER_KEY, "__Host-vestibule"),
        ],
        ..Setup::new(Profile::NgxWasm, b"", BEGINNING.0 * 1_000_000_000)
    };
    let mut worker = Worker::start(Module::built(), setup).unwrap();
    for (configuration, status) in [(0, 200), (1, 401), (0, 200)] {
        let stream = worker.begin_in(configuration, get("/orders", &[("cookie", &session)]));
        while let Some((token, callout)) = worker.callouts().first().cloned() {
            let reply = site.world.reply(&crate::gateway::sent_callout(callout)).unwrap();
            worker.answer(token, crate::gateway::answered(reply));
        }
        let Progress::Ended(outgoing) = worker.progress(stream) else { panic!("it waits") };
        assert_eq!(
            (outgoing.status, outgoing.upstream.is_some()),
            (status, status == 200),
            "{configuration}"
        );
    }
    assert!(worker.crashes().is_empty());
}

/// Only a configuration itself says whether it shares data, and not another one that runs first: otherwise
/// stored logouts would be looked up elsewhere, and sessions that had ended would be accepted again.
#[test]
fn a_configuration_without_shared_data_forgets_no_logout_when_another_has_some() {
    let with = |key: &str, is_shared: bool| {
        document(&json!({"session": {"keys": [key]}, "shared_data": is_shared})).to_string().into_bytes()
    };
    let mut site = Site::on(Proxy::Nginx);
    site.world.log_in("/orders").is(302, "login_completed");
    let session = site.world.browser.header(false, site.world.now).unwrap();
    let setup = Setup {
        configurations: vec![with(crate::world::KEY, false), with(OTHER_KEY, true)],
        ..Setup::new(Profile::NgxWasm, b"", BEGINNING.0 * 1_000_000_000)
    };
    let mut worker = Worker::start(Module::built(), setup).unwrap();
    let mut send = |configuration: u32, path: &str| {
        let headers = [("cookie", session.as_str()), ("sec-fetch-mode", "navigate")];
        let stream = worker.begin_in(configuration, get(path, &headers));
        while let Some((token, callout)) = worker.callouts().first().cloned() {
            let reply = site.world.reply(&crate::gateway::sent_callout(callout)).unwrap();
            worker.answer(token, crate::gateway::answered(reply));
        }
        let Progress::Ended(outgoing) = worker.progress(stream) else { panic!("it waits") };
        outgoing
    };
    assert!(send(0, "/orders").upstream.is_some());
    assert_eq!(send(0, "/oidc/logout").status, 303);
    assert_eq!(send(0, "/orders").upstream, None);
    assert_eq!(send(1, "/oidc/logged-out").upstream, None);
    assert_eq!(send(0, "/orders").upstream, None, "the other configuration has its first request");
}

#[test]
fn a_request_without_a_path_is_refused() {
    for proxy in BOTH {
        let mut site = Site::on(proxy);
        let request = Incoming { method: "CONNECT".to_owned(), ..get("", &[]) };
        let outgoing = site.send(request);
        assert!(outgoing.status >= 400 && outgoing.upstream.is_none());
    }
}

/// If these bytes are dropped or replaced, the path must not become one that a rule matches.
#[test]
fn a_path_that_is_not_utf8_is_refused() {
    for proxy in BOTH {
        let mut site = Site::on(proxy);
        for path in [&b"/public/\xff"[..], b"/public/x?\xc3", b"/\xf0public/x", b"/oidc/logged-out?\xff"] {
            let request = Incoming { path: path.to_vec(), ..get("", &[]) };
            let outgoing = site.send(request);
            assert!(outgoing.status >= 400 && outgoing.upstream.is_none(), "{proxy:?} {path:?}");
        }
    }
}

/// A cache that stores a response with a session would give that session to everybody.
#[test]
fn a_response_with_our_cookie_is_not_cacheable() {
    for proxy in BOTH {
        let public = [("cache-control".to_owned(), "public, max-age=600".to_owned())];
        let mut site = Site::with(proxy, &json!({}), |host| host.upstream_fields = public.to_vec());
        site.world.idp().refreshes.gives = true;
        site.world.log_in("/orders").is(302, "login_completed");
        site.world.get("/orders").is(200, "session");
        let seen = site.world.get("/orders");
        assert_eq!(seen.is(200, "session").cookies().len(), 0);
        assert_eq!(seen.header("cache-control"), Some("public, max-age=600"), "{proxy:?}: its own business");
        let seen = site.world.after(301).get("/orders");
        assert_eq!(seen.is(200, "session").cookies().len(), 1);
        assert_eq!(seen.header("cache-control"), Some("no-store"), "{proxy:?}: and nothing beside it");
    }
}

const OURS: [&str; 8] = [
    "__Host-vestibule=evil; Path=/; Secure; HttpOnly",
    "__Host-vestibule.1=evil; Path=/; Secure",
    "__Host-vestibule-login-abcdefgh=evil; Path=/; Secure",
    "__Host-vestibule-tries=; Max-Age=0",
    " \t__Host-vestibule =evil",
    "__HOST-Vestibule=evil; Path=/; Secure",
    "=__Host-vestibule=evil",
    "a=1, __Host-vestibule=evil; Path=/; Secure",
];

const ITS_OWN: [&str; 4] = [
    "theme=dark; Path=/",
    "__Host-vestibulex=1; Path=/; Secure",
    "lang=de; Expires=Thu, 01 Jan 2099 00:00:00 GMT",
    "note=__Host-vestibule; Path=/",
];

fn cookies(outgoing: &Outgoing) -> Vec<String> {
    let cookies = outgoing.headers.iter().filter(|(name, _)| name == "set-cookie");
    cookies.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect()
}

/// A service behind the filter could log people in as any person, or log them out.
#[test]
fn the_upstream_sets_no_cookie_of_ours_and_keeps_its_own() {
    for proxy in BOTH {
        let mut fields = Vec::new();
        for (ours, own) in OURS.iter().zip(ITS_OWN.iter().cycle()) {
            fields.push(("Set-Cookie".to_owned(), (*ours).to_owned()));
            if !fields.iter().any(|(_, value)| value == own) {
                fields.push(("set-cookie".to_owned(), (*own).to_owned()));
            }
        }
        let mut site = Site::with(proxy, &json!({}), |host| host.upstream_fields = fields);
        site.world.idp().refreshes.gives = true;
        assert_eq!(cookies(&site.send(get("/public/x", &[]))), ITS_OWN, "{proxy:?}");
        site.world.log_in("/orders").is(302, "login_completed");
        let session = site.world.browser.header(false, site.world.now).unwrap();
        let outgoing = site.send(get("/orders", &[("cookie", &session)]));
        // The filter itself also sets a cookie: it clears the attempt count.
        let [own @ .., attempts] = &cookies(&outgoing)[..] else { panic!("{outgoing:?}") };
        assert_eq!((outgoing.status, own), (200, &ITS_OWN.map(str::to_owned)[..]), "{proxy:?}");
        assert!(attempts.starts_with("__Host-vestibule-tries=; "), "{proxy:?}: {attempts}");
        let logged = lines().into_iter().filter(|line| line.contains("the upstream sets a cookie")).count();
        assert_eq!(logged, 1, "{proxy:?}: it is logged once in ten minutes");
        crate::world::log::forget();
    }
}

/// Another filter behind this one begins a login, whose response comes to this one.
#[test]
fn an_upstreams_login_cookie_is_replaced_by_a_marker() {
    let name = "__Host-vestibule-login-abcdefgh01234567";
    let begun = ["theme=dark; Path=/".to_owned(), format!("{name}=sealed; Path=/; Secure; HttpOnly")];
    for proxy in BOTH {
        let fields = begun.iter().map(|cookie| ("set-cookie".to_owned(), cookie.clone())).collect();
        let mut site = Site::with(proxy, &json!({}), |host| host.upstream_fields = fields);
        let sign = format!("{name}=behind; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=120");
        assert_eq!(cookies(&site.send(get("/public/x", &[]))), [begun[0].clone(), sign], "{proxy:?}");
        site.world.browser.take(&format!("{name}=behind; Path=/; Secure"), site.world.now);
        let seen = site.world.arrive("/oidc/callback?code=1&state=abcdefgh01234567");
        assert!(seen.is(400, "login_loop").body.contains("Two logins of this site"), "{proxy:?}");
    }
}

#[test]
fn unlisted_upstream_cookies_are_all_removed() {
    let many = || (0..100).map(|number| (format!("x-{number}"), "1".to_owned()));
    for (last, passes) in [(ITS_OWN[0], true), (OURS[0], false)] {
        for proxy in BOTH {
            let fields = many().chain([("set-cookie".to_owned(), last.to_owned())]).collect();
            let mut site = Site::with(proxy, &json!({}), |host| host.upstream_fields = fields);
            let found = cookies(&site.send(get("/public/x", &[])));
            assert_eq!(found.len(), usize::from(passes && proxy == Proxy::Envoy), "{proxy:?} {found:?}");
        }
    }
}

/// The filter reads every response, so this must cost next to nothing.
#[test]
fn a_response_without_cookies_costs_one_host_call() {
    for proxy in BOTH {
        let site = Site::with(proxy, &json!({}), |host| host.upstream_waits = true);
        let mut worker = site.worker.borrow_mut();
        let stream = worker.begin(get("/public/x", &[]));
        let counted = |worker: &Worker| {
            let functions = ["proxy_get_header_map_value", "proxy_get_header_map_pairs"];
            functions.map(|function| worker.calls(function))
        };
        let [value, pairs] = counted(&worker);
        worker.answer_from_upstream(stream);
        assert_eq!(counted(&worker), [value + 1, pairs], "{proxy:?}");
    }
}

#[test]
fn header_values_that_are_not_utf8_are_read_as_bytes() {
    for proxy in BOTH {
        let mut site = Site::logged_in(proxy);
        let session = site.world.browser.header(false, site.world.now).unwrap();
        let mut request = get("/orders", &[("cookie", &session)]);
        request.headers.push(("x-name".to_owned(), vec![b'a', 0xff, 0xe9]));
        let outgoing = site.send(request);
        assert_eq!(outgoing.status, 200, "{proxy:?}");
        assert_eq!(got(&outgoing, "x-name"), [&[b'a', 0xff, 0xe9][..]], "{proxy:?}");
    }
}

#[test]
fn the_environment_of_the_vm_fills_the_document() {
    let text = document(&json!({"providers": {"main": {"client_secret": "${CLIENT_SECRET}"}}})).to_string();
    let start = |environment: &[(&str, &str)]| {
        let mut setup = Setup::new(Profile::Envoy, text.as_bytes(), BEGINNING.0 * 1_000_000_000);
        setup.environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Worker::start(Module::built(), setup)
    };
    assert!(start(&[("CLIENT_SECRET", "s3cret")]).is_ok());
    assert!(start(&[]).is_err());
}

#[test]
fn the_access_log_has_the_code_of_every_decision() {
    for proxy in BOTH {
        let mut site = Site::logged_in(proxy);
        let session = site.world.browser.header(false, site.world.now).unwrap();
        for (path, headers, reason) in [
            ("/public/x", vec![], "public"),
            ("/orders", vec![("cookie", session.as_str())], "session"),
            ("/orders", vec![], "not_logged_in"),
        ] {
            let outgoing = site.send(get(path, &headers));
            let name = if proxy == Proxy::Envoy { "vestibule_reason" } else { "ngx.vestibule_reason" };
            let said =
                outgoing.properties.iter().rev().find(|(n, _)| n == name).map(|(_, said)| said.clone());
            assert_eq!(said.as_deref(), Some(reason.as_bytes()), "{proxy:?} {path}");
        }
    }
}
