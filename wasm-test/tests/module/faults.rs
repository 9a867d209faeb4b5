//! Callouts that come late, in disorder, never, twice, as garbage, or after everybody has left. Whatever
//! happens, a request has one answer, and nothing undecided goes to the upstream.

use std::collections::BTreeMap;

use serde_json::json;
use wasm_test::{CalloutReply, Incoming, Progress, StreamId};

use crate::site::{BOTH, Site, get};
use crate::world::{Proxy, SITE};

/// The random choices of a run. Each is another number; the same number is the same run.
struct Choices(u64);

impl Choices {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

fn garbage(choice: usize) -> CalloutReply {
    let status = |status: &str| (":status".to_owned(), status.as_bytes().to_vec());
    let headers = match choice % 6 {
        0 => vec![],
        1 => vec![status("")],
        2 => vec![status("two hundred")],
        3 => vec![("x".to_owned(), vec![0xff, 0, b'\n'])],
        4 => vec![
            status("200"),
            ("cache-control".to_owned(), vec![0xff; 3]),
            ("age".to_owned(), b"-1".to_vec()),
        ],
        _ => vec![status("200"), status("500"), ("content-type".to_owned(), b"application/json".to_vec())],
    };
    let body = match choice / 6 % 6 {
        0 => vec![],
        1 => vec![0xff; 100],
        2 => b"{".repeat(10_000),
        3 => b"null".to_vec(),
        4 => br#"{"keys":[{"kty":"EC"}],"issuer":1,"id_token":"a.b.c","access_token":""}"#.to_vec(),
        _ => vec![b' '; 300_000],
    };
    CalloutReply::Answer { headers, body }
}

/// Requests of every kind that asks somebody.
fn requests(site: &mut Site) -> Vec<Incoming> {
    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-site", "cross-site")];
    let address = site.world.sent_to_provider("/orders");
    let back = site.world.authorize(&address);
    let cookies = site.world.browser.header(true, site.world.now).unwrap();
    let callback = [&navigation[..], &[("cookie", cookies.as_str())]].concat();
    let now = site.world.now;
    let stranger = crate::world::Key::new("k9", 9);
    let claims =
        json!({"iss": "https://idp.example.com", "aud": "https://api.example.com", "exp": now.0 + 900});
    let unknown = format!("Bearer {}", stranger.sign(&json!({}), &claims));
    vec![
        get(back.strip_prefix(SITE).unwrap(), &callback),
        get("/orders", &navigation),
        get("/api/orders", &[("authorization", &unknown)]),
    ]
}

/// One run: requests begin, and their callouts come to every kind of end in every order.
fn run(proxy: Proxy, seed: u64) {
    let mut choices = Choices(seed);
    let mut site = Site::on(proxy);
    let requests = requests(&mut site);
    let mut waiting: BTreeMap<StreamId, bool> = BTreeMap::new();
    let mut left = Vec::new();
    let mut ended = 0;
    for step in 0..60 {
        let mut worker = site.worker.borrow_mut();
        if step < 40 && choices.next(2) == 0 {
            let request = requests[choices.next(requests.len())].clone();
            waiting.insert(worker.begin(request), true);
        }
        let callouts = worker.callouts();
        if !callouts.is_empty() {
            // Any of them, not the oldest.
            let (token, callout) = callouts[choices.next(callouts.len())].clone();
            match choices.next(6) {
                0 => worker.answer(token, CalloutReply::Failed),
                1 | 2 => worker.answer(token, garbage(choices.next(36))),
                3 => {
                    let stream = StreamId(callout.context);
                    if waiting.remove(&stream).is_some() {
                        worker.leave(stream);
                        left.push((token, callout.context));
                    }
                }
                4 => {}
                _ => {
                    drop(worker);
                    site.world.after(choices.next(40) as u64);
                    site.world.tick();
                    worker = site.worker.borrow_mut();
                }
            }
        }
        ended += settle(&mut worker, &mut waiting);
    }
    // Whoever still waits is told that nobody answered, as a host does after the time that was set.
    for _ in 0..40 {
        let mut worker = site.worker.borrow_mut();
        for (token, _) in worker.callouts() {
            worker.answer(token, CalloutReply::Failed);
        }
        worker.tick();
        ended += settle(&mut worker, &mut waiting);
    }
    assert_eq!(waiting.len(), 0, "{proxy:?} {seed}: they wait for ever");
    assert!(ended > 0);
    let worker = site.worker.borrow();
    assert_eq!((worker.open(), worker.traps()), (0, 0), "{proxy:?} {seed}");
}

/// Takes the answers of requests that have ended: each once.
fn settle(worker: &mut wasm_test::Worker, waiting: &mut BTreeMap<StreamId, bool>) -> usize {
    let mut ended = 0;
    waiting.retain(|stream, _| {
        // None of them proves anything.
        assert!(!worker.reached_upstream(*stream), "an undecided request goes to the upstream");
        match worker.progress(*stream) {
            Progress::Waits => true,
            Progress::Ended(outgoing) => {
                assert_eq!(outgoing.upstream, None);
                assert!(outgoing.status == 302 || outgoing.status >= 400, "{outgoing:?}");
                assert_eq!(worker.progress(*stream), Progress::Told);
                ended += 1;
                false
            }
            other => panic!("{other:?}"),
        }
    });
    ended
}

#[test]
fn every_request_has_one_answer_whatever_becomes_of_its_callouts() {
    for proxy in BOTH {
        for seed in 0..60 {
            run(proxy, seed);
        }
    }
}

#[test]
fn a_reply_after_the_client_has_left_does_nothing() {
    for proxy in BOTH {
        let mut site = Site::on(proxy);
        for request in requests(&mut site) {
            let mut worker = site.worker.borrow_mut();
            let stream = worker.begin(request);
            let callouts = worker.callouts();
            worker.leave(stream);
            assert_eq!(worker.callouts(), [], "the host gives them up");
            // And one that does not give them up.
            for (token, callout) in callouts {
                worker.deliver(callout.context, token, garbage(token as usize));
            }
            assert_eq!((worker.traps(), worker.open()), (0, 0));
        }
        site.world.log_in("/orders").is(302, "login_completed");
    }
}

#[test]
fn a_reply_that_is_garbage_is_a_reply_that_did_not_come() {
    for proxy in BOTH {
        for choice in 0..36 {
            let mut site = Site::on(proxy);
            for request in requests(&mut site) {
                let mut worker = site.worker.borrow_mut();
                let stream = worker.begin(request);
                let asks = !worker.callouts().is_empty();
                while let Some((token, _)) = worker.callouts().first() {
                    worker.answer(*token, garbage(choice));
                }
                let Progress::Ended(outgoing) = worker.progress(stream) else { panic!("{proxy:?} {choice}") };
                assert!(
                    (outgoing.status >= 400 || !asks) && outgoing.upstream.is_none(),
                    "{proxy:?} {choice} {outgoing:?}"
                );
            }
            assert_eq!(site.worker.borrow().traps(), 0);
        }
    }
}

/// The SDK ends the VM when a reply comes a second time. No host does that; if one did, Envoy would
/// start the module anew.
#[test]
fn a_reply_that_comes_twice_lets_nobody_in() {
    let mut site = Site::with(Proxy::Envoy, &json!({}), |setup| setup.expects_trap = true);
    let callback = requests(&mut site).remove(0);
    let stream = site.worker.borrow_mut().begin(callback);
    let (token, callout) = site.worker.borrow().callouts()[0].clone();
    let reply = garbage(11);
    site.worker.borrow_mut().answer(token, reply.clone());
    let Progress::Ended(outgoing) = site.worker.borrow_mut().progress(stream) else { panic!() };
    assert!(outgoing.status >= 400 && outgoing.upstream.is_none());
    site.worker.borrow_mut().deliver(callout.context, token, reply);
    assert_eq!(site.worker.borrow_mut().progress(stream), Progress::Told);
    site.world.log_in("/orders").is(302, "login_completed");
    assert_eq!(site.worker.borrow().traps(), 1);
}

/// Replies come in another order than the questions went out.
#[test]
fn logins_are_not_mixed_up_when_their_answers_are() {
    for proxy in BOTH {
        let mut site = Site::on(proxy);
        let mut begun = Vec::new();
        for page in ["/1", "/2", "/3"] {
            let address = site.world.sent_to_provider(page);
            let back = site.world.authorize(&address);
            begun.push(back.strip_prefix(SITE).unwrap().to_owned());
        }
        let cookies = site.world.browser.header(true, site.world.now).unwrap();
        let headers = [("sec-fetch-mode", "navigate"), ("cookie", cookies.as_str())];
        let streams: Vec<StreamId> =
            begun.iter().map(|path| site.worker.borrow_mut().begin(get(path, &headers))).collect();
        let callouts = site.worker.borrow().callouts();
        assert_eq!(callouts.len(), 3, "a code is shared with nobody");
        for (token, callout) in callouts.into_iter().rev() {
            let reply = site.world.reply(&crate::gateway::asked(callout)).unwrap();
            site.worker.borrow_mut().answer(token, crate::gateway::answered(reply));
        }
        for (stream, page) in streams.into_iter().zip(["/1", "/2", "/3"]) {
            let outgoing = site.end(stream);
            let location = outgoing.headers.iter().find(|(name, _)| name == "location").unwrap();
            assert_eq!((outgoing.status, location.1.as_slice()), (302, page.as_bytes()), "{proxy:?}");
        }
    }
}
