//! Several VMs of one proxy: workers that act at the same moment, and requests with their own VM.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};
use wasm_test::{Module, Outgoing, Progress, Setup, Worker};

use crate::gateway::{answered, sent_callout};
use crate::site::{BOTH, Site, field, get, got, page};
use crate::world::{Browser, Proxy};

type Shared = Rc<RefCell<Worker>>;

/// A site, and another worker of the same proxy. Both have had a request, and so detected their host.
fn two_workers(proxy: Proxy, change: &Value) -> (Site, Shared) {
    two_filters(proxy, change, |_| {})
}

/// The same with other settings for the second worker.
fn two_filters(proxy: Proxy, change: &Value, otherwise: impl FnOnce(&mut Setup)) -> (Site, Shared) {
    let mut first = None;
    let site = Site::with(proxy, change, |host| first = Some(host.clone()));
    let mut second = first.expect("it was set up");
    second.process_id += 1;
    otherwise(&mut second);
    let other = Rc::new(RefCell::new(Worker::start(Module::built(), second).unwrap()));
    for worker in [&site.worker, &other] {
        let stream = worker.borrow_mut().begin(get("/oidc/logged-out", &[]));
        assert!(matches!(worker.borrow_mut().progress(stream), Progress::Ended(_)));
    }
    (site, other)
}

fn set_time(site: &Site, worker: &Shared) {
    worker.borrow_mut().set_time(site.world.now.0 * 1_000_000_000);
}

/// Answers the callouts that a worker has sent.
fn answer(site: &mut Site, worker: &Shared) {
    let callouts = worker.borrow().callouts();
    for (token, callout) in callouts {
        let reply = site.world.reply(&sent_callout(callout)).unwrap();
        worker.borrow_mut().answer(token, answered(reply));
    }
}

/// One after the other, or the second just before the first takes the lease.
#[test]
fn of_two_workers_at_the_same_moment_one_fetches() {
    for (proxy, at_once) in BOTH.into_iter().flat_map(|proxy| [(proxy, false), (proxy, true)]) {
        let (mut site, other) = two_workers(proxy, &json!({}));
        if at_once {
            let other = Rc::clone(&other);
            let shared = site.shared.clone().unwrap();
            shared.before_the_next_write(move || other.borrow_mut().tick());
        }
        site.worker.borrow_mut().tick();
        if !at_once {
            other.borrow_mut().tick();
        }
        let questions = |site: &Site| [&site.worker, &other].map(|worker| worker.borrow().callouts().len());
        let first = questions(&site);
        assert_eq!(first, if at_once { [0, 1] } else { [1, 0] }, "{proxy:?} at once: {at_once}");
        // The first worker never gets its reply: then the other fetches.
        site.world.after(9);
        for (seconds, expected) in [(0, first), (1, [1, 1])] {
            site.world.after(seconds);
            for worker in [&site.worker, &other] {
                set_time(&site, worker);
                worker.borrow_mut().tick();
            }
            assert_eq!(questions(&site), expected, "{proxy:?} {seconds}");
        }
    }
}

#[test]
fn of_two_workers_at_the_same_moment_one_refreshes() {
    for proxy in BOTH {
        let (mut site, other) = two_workers(proxy, &json!({}));
        site.world.idp().refreshes.gives = true;
        site.world.log_in("/orders").is(302, "login_completed");
        site.world.tick();
        other.borrow_mut().tick();
        let session = site.world.browser.header(false, site.world.now).unwrap();
        site.world.after(301);
        set_time(&site, &site.worker);
        set_time(&site, &other);
        let second = Rc::new(RefCell::new(None));
        let meanwhile = {
            let (other, second, session) = (Rc::clone(&other), Rc::clone(&second), session.clone());
            move || {
                *second.borrow_mut() = Some(other.borrow_mut().begin(get("/orders", &[("cookie", &session)])))
            }
        };
        site.shared.clone().unwrap().before_the_next_write(meanwhile);
        let first = site.worker.borrow_mut().begin(get("/orders", &[("cookie", &session)]));
        let second = second.take().expect("the first writes its lease");
        let streams = [(Rc::clone(&site.worker), first), (other, second)];
        let mut ended = [None, None];
        for _ in 0..10 {
            for ((worker, stream), ended) in streams.iter().zip(&mut ended) {
                worker.borrow_mut().tick();
                answer(&mut site, worker);
                if let Progress::Ended(outgoing) = worker.borrow_mut().progress(*stream) {
                    *ended = Some(*outgoing);
                }
            }
        }
        for outgoing in ended {
            let outgoing: Outgoing = outgoing.expect("it is decided");
            assert_eq!(
                (outgoing.status, got(&outgoing, "x-auth-sub")),
                (200, vec![&b"alice"[..]]),
                "{proxy:?}"
            );
        }
        let refreshes = &site.world.idp().refreshes;
        assert_eq!((refreshes.used, refreshes.reused), (1, 0), "{proxy:?}");
    }
}

/// They have the same name, and the same cluster or address.
#[test]
fn filters_with_different_providers_share_no_documents() {
    for proxy in BOTH {
        let (mut site, other) = two_filters(proxy, &json!({}), |setup| {
            let document = String::from_utf8(setup.configurations.remove(0)).unwrap();
            assert!(document.contains("https://idp.example.com"));
            setup.configurations.push(document.replace("https://idp.", "https://other.").into_bytes());
        });
        for worker in [&site.worker, &other] {
            worker.borrow_mut().tick();
        }
        let targets = |worker: &Shared| {
            let callouts = worker.borrow().callouts();
            callouts.into_iter().map(|(_, callout)| sent_callout(callout).url.to_string()).collect::<Vec<_>>()
        };
        let document = "/.well-known/openid-configuration";
        assert_eq!(targets(&site.worker), [format!("https://idp.example.com{document}")], "{proxy:?}");
        assert_eq!(targets(&other), [format!("https://other.example.com{document}")], "{proxy:?}");
        let worker = Rc::clone(&site.worker);
        answer(&mut site, &worker);
        answer(&mut site, &worker);
        for worker in [&site.worker, &other] {
            worker.borrow_mut().tick();
        }
        assert_eq!(targets(&other).len(), 1, "{proxy:?}: it still waits for its own");
        let stream = other.borrow_mut().begin(page("/orders"));
        assert!(
            !matches!(other.borrow_mut().progress(stream), Progress::Ended(outgoing) if outgoing.status == 302)
        );
    }
}

/// nginx's `isolation stream`: the VM has nothing that another request fetched, and no ticks.
#[test]
fn a_request_in_a_vm_of_its_own_is_decided_normally() {
    let mut site = Site::with(Proxy::Nginx, &json!({}), |host| host.isolates_requests = true);
    site.world.idp().refreshes.gives = true;
    let code =
        |outgoing: &Outgoing| (outgoing.status, field(outgoing, "x-vestibule-code").map(str::to_owned));
    let refused = |status: u16, code: &str| (status, Some(code.to_owned()));
    for round in 0..3 {
        site.world.log_in("/orders").is(302, "login_completed");
        let session = site.world.browser.header(false, site.world.now).unwrap();
        site.world.browser = Browser::default();
        let now = site.world.now;
        let good = format!("Bearer {}", site.world.idp().access_token(&json!({}), now));
        let stale = json!({"exp": now.0 - 300, "iat": now.0 - 600});
        let stale = format!("Bearer {}", site.world.idp().access_token(&stale, now));
        for (path, name, value, subject) in
            [("/orders", "cookie", &session, "alice"), ("/api/x", "authorization", &good, "robot")]
        {
            let outgoing = site.send(get(path, &[(name, value)]));
            assert_eq!(got(&outgoing, "x-auth-sub"), [subject.as_bytes()], "{round} {path}");
        }
        assert_eq!(code(&site.send(get("/orders", &[]))), refused(401, "not_logged_in"));
        assert_eq!(
            code(&site.send(get("/api/x", &[("authorization", &stale)]))),
            refused(401, "access_token_expired")
        );
        // Later requests find a refreshed session, and the end of one that was logged out.
        site.world.after(301);
        let outgoing = site.send(get("/orders", &[("cookie", &session)]));
        assert_eq!((outgoing.status, site.world.idp().refreshes.used), (200, round + 1));
        site.send(get("/oidc/logout", &[("cookie", &session), ("sec-fetch-mode", "navigate")]));
        assert_eq!(
            code(&site.send(get("/orders", &[("cookie", &session)]))),
            refused(401, "session_logged_out"),
        );
    }
    // The provider is unreachable: a new VM finds its documents in the shared data, and no new key.
    let now = site.world.now;
    let good = format!("Bearer {}", site.world.idp().access_token(&json!({}), now));
    let unknown = site.world.idp().access_token_with(&json!({"kid": "unknown"}), &json!({}), now);
    site.world.idp().is_down = true;
    let outgoing = site.send(get("/api/x", &[("authorization", &good)]));
    assert_eq!(got(&outgoing, "x-auth-sub"), [b"robot"]);
    let outgoing = site.send(get("/api/x", &[("authorization", &format!("Bearer {unknown}"))]));
    assert_eq!((outgoing.status, outgoing.upstream), (503, None));
}
