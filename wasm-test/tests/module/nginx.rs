//! What nginx with ngx_wasm_module does differently from Envoy, where the filter must know it. Each row of
//! `wasm-test/hosts.md` has a test here, in `hosts.rs` or among the stories.

use serde_json::json;
use wasm_test::{
    CalloutReply, IN_NAME_ONLY_ON_NGX_WASM, Incoming, Module, Outgoing, Profile, Progress, Setup, SharedData,
    StreamId, Worker,
};

use crate::site::{BOTH, Site, cookies, field, get, got, page};
use crate::world::{BEGINNING, Browser, Key, Proxy, World, document, noise};

/// The response of a worker to a request that it decides at once.
fn at_once(worker: &mut Worker, incoming: Incoming) -> Outgoing {
    let stream = worker.begin(incoming);
    match worker.progress(stream) {
        Progress::Ended(outgoing) => *outgoing,
        other => panic!("{other:?}"),
    }
}

fn code(outgoing: &Outgoing) -> (u16, Option<&str>) {
    (outgoing.status, field(outgoing, "x-vestibule-code"))
}

/// nginx hands over 100 pairs, of which four are its own, and hides the others.
#[test]
fn too_many_header_fields_are_refused_before_they_are_listed() {
    let site = Site::on(Proxy::Nginx);
    let mut worker = site.worker.borrow_mut();
    let with = |count: usize| {
        // One of them is `Host`.
        let mut request = get("/public/x", &[]);
        request.headers = (1..count).map(|number| (format!("x-{number}"), b"1".to_vec())).collect();
        request
    };
    let outgoing = at_once(&mut worker, with(96));
    assert_eq!((outgoing.status, outgoing.upstream.is_some()), (200, true));
    let listed = worker.calls("proxy_get_header_map_pairs");
    let mut hiding = with(97);
    hiding.headers.last_mut().unwrap().0 = "x-auth-sub".to_owned();
    let outgoing = at_once(&mut worker, hiding);
    assert_eq!(code(&outgoing), (431, Some("too_many_headers")));
    assert_eq!(worker.calls("proxy_get_header_map_pairs"), listed);
}

/// A worker of nginx whose filter refuses its configuration exits and is not restarted, and Kong continues
/// without the filter.
#[test]
fn an_invalid_configuration_fails_closed_in_both_hosts() {
    for bad in ["", "{", "[]", "{\"providers\": {}}", "{\"unknown\": 1}"] {
        let start = |profile| Worker::start(Module::built(), Setup::new(profile, bad.as_bytes(), 0));
        assert!(start(Profile::Envoy).is_err(), "{bad}");
        let mut worker = start(Profile::NgxWasm).unwrap_or_else(|error| panic!("{error:?}"));
        for path in ["/", "/public/x", "/oidc/logged-out"] {
            let outgoing = at_once(&mut worker, get(path, &[]));
            assert_eq!(code(&outgoing), (500, Some("configuration")), "{bad} {path}");
            assert_eq!(outgoing.upstream, None);
        }
    }
}

#[test]
fn a_body_before_the_decision_is_refused() {
    let mut site = Site::on(Proxy::Nginx);
    let mut request = get("/orders", &[("content-length", "4"), ("sec-fetch-mode", "navigate")]);
    request.has_body = true;
    let mut worker = site.worker.borrow_mut();
    let stream = worker.begin(request);
    let (token, callout) = worker.callouts().remove(0);
    worker.body(stream, b"abcd", true);
    assert_eq!(worker.progress(stream), Progress::Waits);
    worker.forget(stream);
    let Progress::Ended(outgoing) = worker.progress(stream) else { panic!("it waits") };
    assert_eq!(code(&outgoing), (500, Some("bug")));
    assert_eq!((outgoing.upstream, outgoing.upstream_body), (None, Vec::new()));
    // A second local response would be a trap.
    worker.deliver(callout.context, token, CalloutReply::Failed);
    assert_eq!(worker.traps(), 0);
    drop(worker);
    site.world.log_in("/orders").is(302, "login_completed");
}

#[test]
fn an_unexpected_reply_changes_nothing() {
    for proxy in BOTH {
        let mut site = Site::on(proxy);
        let stream = site.worker.borrow_mut().begin(page("/orders"));
        let context = site.worker.borrow().callouts()[0].1.context;
        for context in [context, 1, 0, u32::MAX] {
            site.worker.borrow_mut().deliver(context, 99, CalloutReply::Failed);
        }
        assert_eq!(site.worker.borrow_mut().progress(stream), Progress::Waits, "{proxy:?}");
        assert_eq!(site.end(stream).status, 302);
        site.world.log_in("/orders").is(302, "login_completed");
    }
}

/// The module traps in the reply for one request. Replies for others come to the next VM, which does not know
/// them, and without a response nginx would forward them.
#[test]
fn a_request_of_a_trapped_module_is_refused_by_the_next() {
    let mut site = Site::with(Proxy::Nginx, &json!({}), |host| host.expects_trap = true);
    site.world.log_in("/orders").is(302, "login_completed");
    site.world.browser = Browser::default();
    let requests: Vec<Incoming> = (0..3).map(|number| site.callback(&format!("/{number}"))).collect();
    let mut worker = site.worker.borrow_mut();
    let streams: Vec<StreamId> = requests.into_iter().map(|request| worker.begin(request)).collect();
    let callouts = worker.callouts();
    assert_eq!(callouts.len(), 3);
    worker.change(|host| host.traps_at = Some("proxy_get_header_map_value"));
    let reply = CalloutReply::Answer { headers: vec![(":status".into(), b"200".to_vec())], body: vec![] };
    worker.answer(callouts[0].0, reply.clone());
    worker.change(|host| host.traps_at = None);
    assert_eq!(worker.traps(), 1);
    for (stream, (token, _)) in streams.into_iter().zip(callouts).skip(1) {
        worker.answer(token, reply.clone());
        let Progress::Ended(outgoing) = worker.progress(stream) else { panic!("it waits") };
        assert_eq!((code(&outgoing), outgoing.upstream.is_some()), ((500, Some("bug")), false));
    }
    assert_eq!(worker.traps(), 1);
}

/// A callout that is sent during a reply would use a connection that is about to be freed.
#[test]
fn the_root_context_sends_callouts_only_in_ticks() {
    let mut site = Site::on(Proxy::Nginx);
    for _ in 0..5 {
        // Metadata, then keys, each time they are due.
        let (metadata, keys) = (site.world.idp().count("metadata"), site.world.idp().count("keys"));
        for _ in 0..4 {
            site.world.tick();
        }
        let now = (site.world.idp().count("metadata"), site.world.idp().count("keys"));
        assert_eq!(now, (metadata + 1, keys + 1));
        site.world.after(100_000);
    }
    assert_eq!(site.worker.borrow().crashes(), [""; 0]);
}

/// The header fields and a size arrive, but the body does not.
#[test]
fn a_truncated_reply_is_a_failed_callout() {
    for (proxy, size) in BOTH.into_iter().flat_map(|proxy| [(proxy, 1), (proxy, 500), (proxy, u32::MAX)]) {
        let mut site = Site::on(proxy);
        let stranger = Key::new("k9", 9);
        let now = site.world.now.0;
        let claims =
            json!({"iss": "https://idp.example.com", "aud": "https://api.example.com", "exp": now + 900});
        let unknown = format!("Bearer {}", stranger.sign(&json!({}), &claims));
        let mut callouts = 0;
        for is_known in [false, true] {
            let mut requests = vec![get("/api/x", &[("authorization", &unknown)])];
            if is_known {
                requests.push(site.callback("/orders"));
            } else {
                requests.push(page("/orders"));
            }
            for request in requests {
                let stream = site.worker.borrow_mut().begin(request);
                let mut worker = site.worker.borrow_mut();
                let headers = vec![
                    (":status".to_owned(), b"200".to_vec()),
                    ("content-type".to_owned(), b"application/json".to_vec()),
                ];
                callouts += worker.callouts().len();
                while let Some((token, _)) = worker.callouts().first() {
                    worker.answer(*token, CalloutReply::Broken { headers: headers.clone(), size });
                }
                let Progress::Ended(outgoing) = worker.progress(stream) else { panic!("it waits") };
                assert!(outgoing.status >= 400 && outgoing.upstream.is_none(), "{proxy:?}: {outgoing:?}");
            }
            site.world.after(120).log_in("/orders").is(302, "login_completed");
            site.world.browser = Browser::default();
            site.world.after(120);
        }
        assert!(callouts >= 2, "{proxy:?}: {callouts}");
    }
}

/// nginx would empty a body that is given in the reply without one to a request that had one, and then send
/// nothing at all.
#[test]
fn a_local_response_that_would_lose_its_body_has_none() {
    let empty = |status: &str| CalloutReply::Answer {
        headers: vec![(":status".to_owned(), status.as_bytes().to_vec())],
        body: Vec::new(),
    };
    for proxy in BOTH {
        for (reply, has_body) in [
            (CalloutReply::Failed, proxy == Proxy::Envoy),
            (empty("200"), proxy == Proxy::Envoy),
            (empty("500"), proxy == Proxy::Envoy),
            (
                CalloutReply::Answer { headers: vec![(":status".into(), b"500".to_vec())], body: vec![b'x'] },
                true,
            ),
        ] {
            let mut site = Site::logged_in(proxy);
            site.world.browser = Browser::default();
            let request = site.callback("/orders");
            let stream = site.worker.borrow_mut().begin(request);
            let token = site.worker.borrow().callouts()[0].0;
            site.worker.borrow_mut().answer(token, reply);
            let Progress::Ended(outgoing) = site.worker.borrow_mut().progress(stream) else {
                panic!("it waits")
            };
            assert!(outgoing.status >= 500 && outgoing.upstream.is_none());
            assert!(field(&outgoing, "x-vestibule-code").is_some_and(|code| !code.is_empty()));
            assert_eq!(!outgoing.body.is_empty(), has_body, "{proxy:?}: {outgoing:?}");
        }
    }
}

/// On a keep-alive connection nginx loses that a request waits. A request without a body is then shown to no
/// filter at all.
#[test]
fn a_request_resumed_undecided_finds_no_upstream() {
    for (is_guarded, scheme) in [(true, None), (false, Some("https")), (false, None)] {
        let mut site = Site::with(Proxy::Nginx, &json!({}), |host| {
            host.is_guarded = is_guarded;
            host.upstream_scheme = scheme.map(str::to_owned);
        });
        let request = site.callback("/orders");
        let mut worker = site.worker.borrow_mut();
        let stream = worker.begin(request);
        assert_eq!(worker.progress(stream), Progress::Waits);
        worker.forget(stream);
        let Progress::Ended(outgoing) = worker.progress(stream) else { panic!("it waits") };
        let is_open = !is_guarded && scheme.is_none();
        assert_eq!(outgoing.upstream.is_some(), is_open, "what `$vestibule` and `$upstream_scheme` are for");
        assert_eq!(outgoing.status, if is_open { 200 } else { 500 });
    }
}

#[test]
fn in_kong_an_undecided_request_has_no_upstream_scheme() {
    for scheme in ["http", "https", "grpc"] {
        let mut site =
            Site::with(Proxy::Nginx, &json!({}), |host| host.upstream_scheme = Some(scheme.to_owned()));
        site.world.log_in("/orders").is(302, "login_completed");
        let session = site.world.browser.header(false, site.world.now).unwrap();
        for (path, headers, passes) in [
            ("/public/x", vec![], true),
            ("/orders", vec![("cookie", session.as_str())], true),
            ("/orders", vec![], false),
            ("/api/x", vec![("authorization", "Bearer a.b.c")], false),
            ("/oidc/logged-out", vec![], false),
        ] {
            let outgoing = site.send(get(path, &headers));
            let said = outgoing.properties.iter().filter(|(name, _)| name == "ngx.upstream_scheme");
            let said: Vec<&[u8]> = said.map(|(_, said)| said.as_slice()).collect();
            let expected: &[&[u8]] = if passes {
                &[b"undecided-by-vestibule", scheme.as_bytes()]
            } else {
                &[b"undecided-by-vestibule"]
            };
            assert_eq!(said, expected, "{path}");
            assert_eq!(outgoing.upstream.is_some(), passes, "{path}");
        }
    }
    // Without this variable, or with an empty one, nothing is done.
    for scheme in [None, Some(String::new())] {
        let mut site = Site::with(Proxy::Nginx, &json!({}), |host| host.upstream_scheme = scheme);
        let outgoing = site.send(get("/public/x", &[]));
        assert!(outgoing.properties.iter().all(|(name, _)| name != "ngx.upstream_scheme"));
        assert_eq!(outgoing.status, 200);
    }
}

#[test]
fn a_trap_before_or_in_a_reply_leads_to_no_upstream() {
    for (trap, waits) in [("proxy_get_header_map_value", true), ("proxy_get_header_map_pairs", false)] {
        let mut site = Site::with(Proxy::Nginx, &json!({}), |host| {
            host.expects_trap = true;
            host.is_guarded = true;
            host.traps_at = Some(trap);
        });
        let stream = site.worker.borrow_mut().begin(page("/orders"));
        if waits {
            let token = site.worker.borrow().callouts()[0].0;
            site.worker.borrow_mut().answer(
                token,
                CalloutReply::Answer { headers: vec![(":status".into(), b"200".to_vec())], body: vec![] },
            );
        }
        let outgoing = site.end(stream);
        assert_eq!((outgoing.status, outgoing.upstream), (500, None), "{trap}");
        site.worker.borrow_mut().change(|host| host.traps_at = None);
        site.world.log_in("/orders").is(302, "login_completed");
    }
}

#[test]
fn the_host_is_that_of_the_client_and_of_nginx() {
    let change = json!({
        "session": {"hosts": ["app.example.com", "[::1]"]},
        "rules": [{"name": "here", "hosts": ["app.example.com", "[::1]"], "accept": "public"}],
    });
    let site = Site::with(Proxy::Nginx, &change, |_| {});
    let mut worker = site.worker.borrow_mut();
    for (header, addressed, is_let_through) in [
        ("app.example.com", "", true),
        ("app.example.com:443", "", true),
        ("APP.example.com", "", true),
        ("[::1]", "", true),
        ("[::1]:443", "", true),
        // nginx would choose the same host, but the upstream behind it may not.
        ("APP.example.com.", "", false),
        ("app.example.com.:8443", "", false),
        ("app.example.com:1", "", false),
        // nginx uses its own name then.
        ("", "", false),
        ("other.example.com", "", false),
        // An absolute request line.
        ("app.example.com", "app.example.com", true),
        ("app.example.com", "other.example.com", false),
        ("other.example.com", "app.example.com", false),
        // nginx does not report these.
        ("app..example.com", "", false),
        ("app.example.com/", "", false),
    ] {
        let mut request = get("/x", &[]);
        (request.authority, request.addressed_host) = (header.to_owned(), addressed.to_owned());
        let outgoing = at_once(&mut worker, request);
        assert_eq!(
            outgoing.upstream.is_some(),
            is_let_through,
            "HOST-06 {header:?} {addressed:?}: {}",
            outgoing.status
        );
    }
}

#[test]
fn the_pass_variable_is_set_for_admitted_requests_only() {
    let mut site = Site::logged_in(Proxy::Nginx);
    let session = site.world.browser.header(false, site.world.now).unwrap();
    for (path, headers, passes) in [
        ("/public/x", vec![], true),
        ("/orders", vec![("cookie", session.as_str())], true),
        ("/orders", vec![], false),
        ("/orders", vec![("sec-fetch-mode", "navigate")], false),
        ("/api/x", vec![("authorization", "Bearer a.b.c")], false),
        ("/public/../x", vec![], false),
        ("/oidc/callback", vec![], false),
        ("/oidc/logged-out", vec![], false),
    ] {
        let outgoing = site.send(get(path, &headers));
        let said: Vec<&[u8]> = outgoing
            .properties
            .iter()
            .filter(|(name, _)| name == "ngx.vestibule")
            .map(|(_, said)| said.as_slice())
            .collect();
        assert_eq!(said, if passes { vec![&b"pass"[..]] } else { vec![] }, "{path}");
        assert_eq!(outgoing.upstream.is_some(), passes, "{path}");
        assert!(
            outgoing.properties.iter().any(|(name, said)| name == "ngx.vestibule_reason" && !said.is_empty())
        );
    }
}

#[test]
fn undeclared_variables_are_not_set() {
    let mut site = Site::with(Proxy::Nginx, &json!({}), |host| host.variables.clear());
    site.world.log_in("/orders").is(302, "login_completed");
    site.world.get("/orders").is(200, "session");
    let outgoing = site.send(get("/public/x", &[]));
    assert_eq!((outgoing.status, outgoing.properties), (200, Vec::new()));
}

/// Only the first value ever written has no version before it.
#[test]
fn documents_fetched_again_reach_the_other_workers() {
    let change = json!({"providers": {"main": {"audiences": ["https://api.example.com"]}}});
    let mut world = World::on(Proxy::Nginx, &change);
    let token = |world: &mut World| {
        let now = world.now;
        world.idp().access_token(&json!({}), now)
    };
    for (round, key) in ["k1", "k2", "k3"].into_iter().enumerate() {
        world.idp().keys = vec![Key::new(key, round as u8 + 1)];
        // The first request shows a worker which proxy runs it.
        for worker in [0, 1] {
            world.on_worker(worker).get("/oidc/logged-out");
        }
        // Metadata, then keys, then it shares them.
        (0..3).for_each(|_| world.on_worker(0).tick());
        world.on_worker(1).tick();
        let of_this_round = token(&mut world);
        for worker in [1, 0] {
            world.on_worker(worker).with_token("/orders", &of_this_round).is(200, "token");
        }
        assert_eq!(world.idp().count("keys"), round + 1, "one worker fetches, and shares with the other");
        world.after(4_000);
    }
}

#[test]
fn all_cookies_of_a_local_response_arrive() {
    for proxy in BOTH {
        let mut site = Site::with(proxy, &json!({"identity": {"headers": {"x-groups": "groups"}}}), |_| {});
        site.world.idp().id_token = json!({"groups": noise(7_000)});
        let request = site.callback("/orders");
        let outgoing = site.send(request);
        assert_eq!(outgoing.status, 302);
        assert!(cookies(&outgoing) >= 4, "{proxy:?}: the parts of the session, and the end of the login");
    }
}

/// On nginx a local response there has a wrong length, and the client hangs.
#[test]
fn no_local_response_is_sent_in_the_response_phase() {
    let mut site = Site::logged_in(Proxy::Nginx);
    site.world.after(200);
    // A refreshed session is set in the response of the upstream.
    site.world.get("/orders").is(200, "session");
    assert!(site.worker.borrow().crashes().is_empty());
}

#[test]
fn the_path_is_decided_on_as_it_was_sent() {
    let mut site = Site::on(Proxy::Nginx);
    for path in ["/x/..%2fpublic/x", "/%70ublic/x/../../orders", "/public%2f..%2forders"] {
        let outgoing = site.send(get(path, &[]));
        assert_eq!((outgoing.status >= 400, outgoing.upstream), (true, None), "{path}");
    }
    let address = "/caf%C3%A9/a%20b?x=%31&y=%2F";
    assert_eq!(site.world.log_in(address).is(302, "login_completed").location(), address);
}

#[test]
fn the_server_name_is_not_the_requested_host() {
    let mut site = Site::on(Proxy::Nginx);
    let address = site.world.sent_to_provider("/orders");
    let redirect_uri = address.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    assert_eq!(redirect_uri, "https://app.example.com/oidc/callback");
    // `:authority`, and the property `request.host`.
    for authority in ["gateway.internal:8443", "node-17"] {
        let request = Incoming { authority: authority.to_owned(), ..page("/orders") };
        assert_eq!(code(&site.send(request)).1, Some("host_not_allowed"), "{authority}");
    }
}

/// The memory is not configured.
#[test]
fn without_shared_memory_nothing_is_shared_and_nothing_traps() {
    let mut site = Site::with(Proxy::Nginx, &json!({"shared_data": false}), |host| {
        assert!(host.shared_data.is_none());
    });
    site.world.log_in("/orders").is(302, "login_completed");
    site.world.get("/orders").is(200, "session");
    site.world.after(4_000).tick();
    site.world.get("/oidc/logout").is(303, "logged_out");
    let worker = site.worker.borrow();
    assert_eq!(worker.calls("proxy_get_shared_data") + worker.calls("proxy_set_shared_data"), 0);
}

/// A root context whose checksum is small looks like one of Envoy's, until the first request detects the host.
#[test]
fn a_root_context_with_a_small_number_gets_no_function_of_envoy() {
    let mut site = Site::with(Proxy::Nginx, &json!({}), |host| host.first_root = 7);
    site.world.idp().refreshes.gives = true;
    site.world.log_in("/orders").is(302, "login_completed");
    site.world.after(301).tick();
    site.world.get("/orders").is(200, "session");
    let session = site.world.browser.header(false, site.world.now).unwrap();
    site.world.get("/oidc/logout").is(303, "logged_out");
    site.world.tick();
    let outgoing = site.send(get("/orders", &[("cookie", &session)]));
    assert_eq!(code(&outgoing), (401, Some("session_logged_out")));
    let worker = site.worker.borrow();
    for function in IN_NAME_ONLY_ON_NGX_WASM {
        assert_eq!(worker.calls(function), 0, "{function}");
    }
    for function in ["proxy_define_metric", "proxy_increment_metric", "proxy_record_metric"] {
        assert_eq!(worker.calls(function), 0, "{function}");
    }
    assert!(worker.calls("proxy_set_shared_data") > 0);
    assert!(!site.shared.as_ref().unwrap().is_empty(), "its writes fit this host");
}

/// The configuration promises the memory, and nginx does not have it: one missing line must not open the
/// site.
#[test]
fn missing_shared_memory_refuses_every_request() {
    let mut site = Site::with(Proxy::Nginx, &json!({}), |host| {
        host.shared_data = None;
        host.expects_trap = true;
        // As in Kong, which has no guard behind the filter.
        host.is_guarded = false;
    });
    for _ in 0..3 {
        let seen = site.send(page("/admin"));
        assert_eq!((seen.status, seen.upstream), (500, None));
        site.worker.borrow_mut().tick();
    }
    assert_eq!(site.worker.borrow().traps(), 3, "in requests, where none waits, and never in a tick");
}

/// A callout that the host has lost does not block the provider for ever.
#[test]
fn a_callout_that_never_ends_is_repeated_by_other_requests() {
    let mut site = Site::with(Proxy::Nginx, &json!({}), |_| {});
    let request = site.world.navigation("/admin", false);
    let (callout, _lost) = site.world.begin(&request);
    assert!(callout.url.path().ends_with("/openid-configuration"), "{}", callout.url);
    site.world.get("/admin").is(503, "provider_unreachable");
    site.world.after(66).get("/admin").is(302, "login_begins");
}

/// To nginx two names with one CRC-32 are the same: a read of one may return the other. `plumless` and
/// `buckeroo` are the best-known pair.
#[test]
fn a_shared_value_under_a_colliding_name_is_refused() {
    let data = SharedData::default();
    assert!(data.set(Profile::NgxWasm, b"plumless", b"of plumless", 0));
    assert_eq!(data.get(Profile::NgxWasm, b"buckeroo").unwrap().0, b"of plumless");
    assert!(data.get(Profile::Envoy, b"buckeroo").is_none());
    // Every stored value is replaced by that of another name.
    let mut site = Site::logged_in(Proxy::Nginx);
    let shared = site.shared.clone().unwrap();
    assert!(!shared.is_empty());
    shared.mix_up();
    site.world.get("/oidc/logout").is(303, "logged_out");
    shared.mix_up();
    site.world.after(100).tick();
    site.world.log_in("/orders").is(302, "login_completed");
    site.world.get("/orders").is(200, "session");
    assert_eq!(site.worker.borrow().traps(), 0);
}

#[test]
fn the_tick_is_set_once_for_each_configuration() {
    for configurations in [1, 3] {
        let setup = Setup {
            configurations: vec![document(&json!({})).to_string().into_bytes(); configurations],
            ..Setup::new(Profile::NgxWasm, b"", BEGINNING.0 * 1_000_000_000)
        };
        let mut worker = Worker::start(Module::built(), setup).unwrap();
        (0..5).for_each(|_| worker.tick());
        assert_eq!(worker.calls("proxy_set_tick_period_milliseconds"), configurations as u64);
        assert!(worker.crashes().is_empty());
    }
}

/// The host records a crash if a property is read there, or if a request is the target of a call.
#[test]
fn the_root_context_reads_no_property_and_wakes_no_request() {
    let mut site = Site::on(Proxy::Nginx);
    site.world.tick();
    let (first, second) = {
        let mut worker = site.worker.borrow_mut();
        (worker.begin(page("/orders")), worker.begin(get("/api/x", &[])))
    };
    for _ in 0..5 {
        site.world.after(4_000).tick();
    }
    for stream in [first, second] {
        assert!(site.end(stream).status >= 302);
    }
    assert!(site.worker.borrow().crashes().is_empty());
}

/// The host does not report whether there is memory for a metric, and ends the module if there is none.
#[test]
fn no_metric_is_defined_where_that_may_end_the_module() {
    let mut site = Site::on(Proxy::Nginx);
    // Before the first request detects the host, and after: there are callouts to count.
    site.world.tick();
    site.world.after(1).tick();
    assert!(site.worker.borrow().calls("proxy_http_call") > 0);
    site.world.idp().refreshes.gives = true;
    site.world.log_in("/orders").is(302, "login_completed");
    site.world.get("/orders").is(200, "session");
    site.world.after(301).get("/orders").is(200, "session");
    site.world.get("/oidc/logout").is(303, "logged_out");
    site.world.tick();
    assert_eq!(site.worker.borrow().traps(), 0);
    for function in
        ["proxy_define_metric", "proxy_increment_metric", "proxy_record_metric", "proxy_get_metric"]
    {
        assert_eq!(site.worker.borrow().calls(function), 0, "{function}");
    }
}

/// nginx stores a body that is larger than its buffer in a file, and hands none of it over.
#[test]
fn a_body_in_a_file_is_not_read_as_empty() {
    let change = json!({"endpoints": {"backchannel_logout": "/oidc/backchannel-logout"}});
    for keeps_bodies_in_files in [false, true] {
        let mut site =
            Site::with(Proxy::Nginx, &change, |host| host.keeps_bodies_in_files = keeps_bodies_in_files);
        site.world.log_in("/orders").is(302, "login_completed");
        let now = site.world.after(10).now;
        let token = site.world.idp().logout_token(&json!({"sub": "alice", "sid": null}), now);
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let mut request = site.world.program("/oidc/backchannel-logout", &form);
        request.method = "POST".to_owned();
        let seen = site.world.send_with_body(request, format!("logout_token={token}").as_bytes());
        if keeps_bodies_in_files {
            // The provider is to try again: its request was valid.
            seen.is(503, "body_not_given");
            site.world.get("/orders").is(200, "session");
        } else {
            seen.is(200, "logged_out_by_provider");
            site.world.get("/orders").is(302, "login_begins");
        }
    }
}

/// Removing a missing field crashes nginx, and a removed field reaches the upstream anyway.
#[test]
fn no_header_is_removed_where_removal_fails() {
    let mut site = Site::logged_in(Proxy::Nginx);
    let session = site.world.browser.header(false, site.world.now).unwrap();
    for (path, headers) in [
        ("/public/x", vec![]),
        ("/public/x", vec![("cookie", session.as_str())]),
        ("/orders", vec![("cookie", session.as_str())]),
        ("/orders", vec![]),
    ] {
        let outgoing = site.send(get(path, &headers));
        assert!(got(&outgoing, "cookie").iter().all(|cookie| cookie.is_empty()), "{path}");
    }
    assert_eq!(site.worker.borrow().calls("proxy_remove_header_map_value"), 0);
}
