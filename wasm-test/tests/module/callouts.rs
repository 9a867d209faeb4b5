//! The callouts of the filter, and everything that can happen to them.

use serde_json::json;
use wasm_test::{CalloutReply, Module, Outgoing, Progress, SharedData, StreamId, Worker};

use crate::gateway::{answered, sent_callout};
use crate::site::{BOTH, Site, field, get, page};
use crate::world::{BEGINNING, Key, Proxy, SITE, with_partner};

#[test]
fn a_target_that_nginx_cannot_parse_gets_no_callout() {
    for target in ["idp:99999", "idp:0", "idp:", "a/b", "x|y", "idp:https", "[::1"] {
        let mut site = Site::with(Proxy::Nginx, &json!({"providers": {"main": {"callout": target}}}), |_| {});
        let outgoing = site.send(page("/orders"));
        assert_eq!(
            (outgoing.status, field(&outgoing, "x-vestibule-code")),
            (503, Some("provider_unreachable")),
            "{target}"
        );
        assert_eq!(site.worker.borrow().calls("proxy_http_call"), 0, "{target}");
    }
    for target in ["idp", "idp:8443", "10.0.0.1:443", "[::1]:443"] {
        let mut site = Site::with(Proxy::Nginx, &json!({"providers": {"main": {"callout": target}}}), |_| {});
        site.world.log_in("/orders").is(302, "login_completed");
    }
}

#[test]
fn no_callout_is_sent_while_the_worker_starts() {
    for proxy in BOTH {
        let site = Site::on(proxy);
        assert_eq!(site.worker.borrow().calls("proxy_http_call"), 0);
        site.worker.borrow_mut().tick();
        assert_eq!(site.worker.borrow().calls("proxy_http_call"), 1);
    }
}

/// Continuing with a callout in flight crashes nginx.
#[test]
fn a_request_with_a_callout_is_paused() {
    let mut site = Site::on(Proxy::Nginx);
    let stranger = Key::new("k9", 9);
    let claims =
        json!({"iss": "https://idp.example.com", "aud": "https://api.example.com", "exp": BEGINNING.0 + 900});
    let unknown = format!("Bearer {}", stranger.sign(&json!({}), &claims));
    for request in [page("/orders"), get("/api/x", &[("authorization", &unknown)])] {
        let stream = site.worker.borrow_mut().begin(request);
        assert!(!site.worker.borrow().callouts().is_empty());
        assert_eq!(site.worker.borrow_mut().progress(stream), Progress::Waits);
        site.end(stream);
    }
    assert!(site.worker.borrow().crashes().is_empty());
}

#[test]
fn a_callout_has_all_pseudo_headers() {
    for proxy in BOTH {
        let mut site = Site::on(proxy);
        let request = site.callback("/orders");
        let mut worker = site.worker.borrow_mut();
        worker.tick();
        let stream = worker.begin(request);
        let callouts: Vec<_> = worker.callouts().into_iter().map(|(_, callout)| callout).collect();
        assert!(!callouts.is_empty());
        for callout in callouts {
            for name in [":method", ":path", ":authority", ":scheme"] {
                let values = callout.headers.iter().filter(|(n, _)| n == name);
                assert_eq!(values.filter(|(_, value)| !value.is_empty()).count(), 1, "{name}");
            }
            assert!(callout.timeout > 0 && callout.timeout <= 30_000);
        }
        worker.leave(stream);
    }
}

/// nginx's own limit is for each read: a response may arrive byte by byte, for hours.
#[test]
fn a_reply_hours_late_is_dated_at_its_arrival() {
    let mut site = Site::on(Proxy::Nginx);
    let request = site.callback("/orders");
    let stream = site.worker.borrow_mut().begin(request);
    let (token, callout) = site.worker.borrow().callouts().remove(0);
    let reply = site.world.reply(&sent_callout(callout)).unwrap();
    site.world.after(7_200);
    site.worker.borrow_mut().set_time(site.world.now.0 * 1_000_000_000);
    site.worker.borrow_mut().answer(token, answered(reply));
    let outgoing = site.end(stream);
    assert!(
        outgoing.status >= 400 && outgoing.upstream.is_none(),
        "the ID token is over: {}",
        outgoing.status
    );
}

/// Envoy refuses it at once.
#[test]
fn a_missing_cluster_is_an_unreachable_provider() {
    let mut site = Site::with(Proxy::Envoy, &json!({}), |host| host.clusters = vec!["other".to_owned()]);
    let outgoing = site.send(page("/orders"));
    assert_eq!((outgoing.status, field(&outgoing, "x-vestibule-code")), (503, Some("provider_unreachable")));
    assert_eq!(outgoing.upstream, None);
}

/// For a cluster that refuses connections, Envoy makes a response with status 503.
#[test]
fn both_forms_of_a_failed_callout_are_recognised() {
    for proxy in BOTH {
        let site = Site::on(proxy);
        let stream = site.worker.borrow_mut().begin(page("/orders"));
        let token = site.worker.borrow().callouts()[0].0;
        site.worker.borrow_mut().answer(token, CalloutReply::Failed);
        let Progress::Ended(outgoing) = site.worker.borrow_mut().progress(stream) else { panic!("it waits") };
        assert_eq!(
            (outgoing.status, field(&outgoing, "x-vestibule-code")),
            (503, Some("provider_unreachable"))
        );
        assert_eq!(outgoing.upstream, None);
    }
}

/// The reply to a fetch is lost if its client disconnects. The next request repeats the fetch, and so does
/// the background.
#[test]
fn a_callout_is_repeated_when_its_client_leaves() {
    for proxy in BOTH {
        for in_the_background in [false, true] {
            let mut site = Site::on(proxy);
            let stream = site.worker.borrow_mut().begin(page("/orders"));
            assert_eq!(site.worker.borrow().callouts().len(), 1);
            site.worker.borrow_mut().leave(stream);
            assert_eq!(site.worker.borrow().callouts().len(), 0);
            if in_the_background {
                site.worker.borrow_mut().tick();
                assert_eq!(site.worker.borrow().callouts().len(), 1, "{proxy:?}: a callout is in flight");
                site.world.tick();
            }
            let back = site.world.log_in("/orders");
            assert_eq!((back.status, back.location()), (302, "/orders"), "{proxy:?}");
            assert!(back.location().len() < SITE.len());
        }
    }
}

/// Answers the callouts that a worker has sent.
fn answer(site: &mut Site, worker: &mut Worker) {
    for (token, callout) in worker.callouts() {
        let reply = site.world.reply(&sent_callout(callout)).unwrap();
        worker.answer(token, answered(reply));
    }
}

#[track_caller]
fn ended(worker: &mut Worker, stream: StreamId) -> Outgoing {
    match worker.progress(stream) {
        Progress::Ended(outgoing) => *outgoing,
        other => panic!("{other:?}"),
    }
}

/// Two callbacks arrive from each of two providers whose documents a worker does not have. The second of each
/// waits for the fetch of the first, so that a tick redeems its code. One provider is unreachable by then:
/// that request is answered at once, and Envoy abandons the callouts of a request that has ended.
#[test]
fn a_callout_that_the_host_refuses_takes_no_other_request_with_it() {
    let mut setup = None;
    let mut site = Site::with(Proxy::Envoy, &with_partner(), |host| setup = Some(host.clone()));
    let logins = ["/orders/1", "/orders/2", "/partner/1", "/partner/2"].map(|page| site.callback(page));
    let setup = setup.map(|setup| wasm_test::Setup { shared_data: Some(SharedData::default()), ..setup });
    let mut worker = Worker::start(Module::built(), setup.unwrap()).unwrap();
    let [first, second, third, fourth] = logins.map(|login| worker.begin(login));
    for what in ["metadata", "keys"] {
        assert_eq!(worker.callouts().len(), 2, "{what} of each provider, for two each");
        answer(&mut site, &mut worker);
    }
    assert_eq!(worker.callouts().len(), 2, "the first of each redeems its code, the second waits for a tick");
    worker.change(|host| host.clusters = vec!["partner".to_owned()]);
    worker.tick();
    let refused = ended(&mut worker, second);
    assert_eq!((refused.status, field(&refused, "x-vestibule-code")), (503, Some("provider_unreachable")));
    for stream in [first, third, fourth] {
        assert_eq!(worker.progress(stream), Progress::Waits);
    }
    worker.change(|host| host.clusters.clear());
    while !worker.callouts().is_empty() {
        answer(&mut site, &mut worker);
    }
    for (stream, page) in [(first, "/orders/1"), (third, "/partner/1"), (fourth, "/partner/2")] {
        let outgoing = ended(&mut worker, stream);
        assert_eq!((outgoing.status, field(&outgoing, "location")), (302, Some(page)));
    }
}

/// A replaced configuration waits for a result that only it would store. The host fails to switch contexts,
/// or to accept that it is done, and the filter tries again.
#[test]
fn a_replaced_configuration_is_deleted_once_nothing_is_in_flight() {
    for fault in [None, Some("proxy_set_effective_context"), Some("proxy_done")] {
        let mut site = Site::on(Proxy::Envoy);
        let worker = std::rc::Rc::clone(&site.worker);
        let mut worker = worker.borrow_mut();
        worker.tick();
        worker.replace_configuration();
        assert!(worker.keeps_replaced_configuration(), "{fault:?}: metadata is in flight");
        worker.change(|host| host.fails_at = fault);
        while !worker.callouts().is_empty() {
            assert!(worker.keeps_replaced_configuration(), "{fault:?}: keys are in flight");
            answer(&mut site, &mut worker);
        }
        worker.tick();
        assert_eq!(worker.keeps_replaced_configuration(), fault.is_some(), "{fault:?}");
        worker.change(|host| host.fails_at = None);
        worker.tick();
        assert!(!worker.keeps_replaced_configuration(), "{fault:?}");
    }
}
