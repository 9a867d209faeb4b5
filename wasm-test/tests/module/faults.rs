//! Callouts that are answered late, out of order, never, twice, with garbage, or after everybody has left.
//! Whatever happens, a request has one response, and nothing undecided goes to the upstream.

use std::collections::BTreeMap;

use serde_json::json;
use wasm_test::{CalloutReply, Incoming, Progress, StreamId, Worker};

use crate::gateway::{answered, sent_callout};
use crate::site::{BOTH, Site, get, got};
use crate::world::{Key, Proxy, SITE};

/// The random choices of a run, determined by its number.
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

/// Requests of every kind that needs a callout.
fn requests(site: &mut Site) -> Vec<Incoming> {
    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-site", "cross-site")];
    let address = site.world.sent_to_provider("/orders");
    let back = site.world.authorize(&address);
    let cookies = site.world.browser.header(true, site.world.now).unwrap();
    let callback = [&navigation[..], &[("cookie", cookies.as_str())]].concat();
    let now = site.world.now;
    let stranger = Key::new("k9", 9);
    let claims =
        json!({"iss": "https://idp.example.com", "aud": "https://api.example.com", "exp": now.0 + 900});
    let unknown = format!("Bearer {}", stranger.sign(&json!({}), &claims));
    vec![
        get(back.strip_prefix(SITE).unwrap(), &callback),
        get("/orders", &navigation),
        get("/api/orders", &[("authorization", &unknown)]),
    ]
}

/// A token that is valid once the new key of the provider is fetched.
fn good(site: &mut Site) -> Incoming {
    let next = Key::new("k2", 2);
    let now = site.world.now.0;
    let claims = json!({"iss": "https://idp.example.com", "sub": "robot", "aud": "https://api.example.com",
        "client_id": "robot", "iat": now, "exp": now + 7_200});
    let token = format!("Bearer {}", next.sign(&json!({"typ": "at+jwt"}), &claims));
    site.world.idp().keys.push(next);
    get("/api/orders", &[("authorization", &token)])
}

/// The outcomes of the requests of a run.
#[derive(Debug, Default)]
struct Ended {
    refused: usize,
    /// At once, because the key was cached.
    admitted: usize,
    /// After a callout.
    admitted_later: usize,
}

/// Requests without a response, and whether each may pass.
type Waiting = BTreeMap<StreamId, MayPass>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MayPass {
    Never,
    Now,
    AfterWaiting,
}

/// One run: requests begin, and their callouts end in every way and order.
fn run(proxy: Proxy, seed: u64, ended: &mut Ended) {
    let mut choices = Choices(seed);
    let mut site = Site::on(proxy);
    let mut requests: Vec<_> =
        requests(&mut site).into_iter().map(|request| (request, MayPass::Never)).collect();
    requests.push((good(&mut site), MayPass::Now));
    let mut waiting = Waiting::new();
    let mut left = Vec::new();
    for step in 0..60 {
        let mut worker = site.worker.borrow_mut();
        if step < 40 && choices.next(2) == 0 {
            let (request, may_pass) = requests[choices.next(requests.len())].clone();
            waiting.insert(worker.begin(request), may_pass);
            settle(&mut worker, &mut waiting, ended);
        }
        let callouts = worker.callouts();
        if !callouts.is_empty() {
            // Any of them, not the oldest.
            let (token, callout) = callouts[choices.next(callouts.len())].clone();
            match choices.next(8) {
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
                5 | 6 => {
                    let reply = site.world.reply(&sent_callout(callout)).unwrap();
                    worker.answer(token, answered(reply));
                }
                _ => {
                    drop(worker);
                    site.world.after(choices.next(40) as u64);
                    site.world.tick();
                    worker = site.worker.borrow_mut();
                }
            }
        }
        settle(&mut worker, &mut waiting, ended);
    }
    // The remaining callouts fail, as in a host after the time that was set.
    for _ in 0..40 {
        let mut worker = site.worker.borrow_mut();
        for (token, _) in worker.callouts() {
            worker.answer(token, CalloutReply::Failed);
        }
        worker.tick();
        settle(&mut worker, &mut waiting, ended);
    }
    assert_eq!(waiting.len(), 0, "{proxy:?} {seed}: they wait for ever");
    let worker = site.worker.borrow();
    assert_eq!((worker.open(), worker.traps()), (0, 0), "{proxy:?} {seed}");
}

/// Collects the responses of requests that have ended: each once.
fn settle(worker: &mut Worker, waiting: &mut Waiting, ended: &mut Ended) {
    waiting.retain(|stream, may_pass| match worker.progress(*stream) {
        Progress::Waits => {
            assert!(!worker.reached_upstream(*stream), "an undecided request goes to the upstream");
            if *may_pass == MayPass::Now {
                *may_pass = MayPass::AfterWaiting;
            }
            true
        }
        Progress::Ended(outgoing) => {
            assert_eq!(worker.progress(*stream), Progress::Returned);
            match may_pass {
                _ if outgoing.upstream.is_none() => {
                    assert!(outgoing.status == 302 || outgoing.status >= 400, "{outgoing:?}");
                    ended.refused += 1;
                }
                MayPass::Never => panic!("it is unauthenticated and goes to the upstream: {outgoing:?}"),
                MayPass::Now => ended.admitted += 1,
                MayPass::AfterWaiting => ended.admitted_later += 1,
            }
            if outgoing.upstream.is_some() {
                assert_eq!((outgoing.status, got(&outgoing, "x-auth-sub")), (200, vec![&b"robot"[..]]));
            }
            false
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn every_request_has_one_answer_whatever_becomes_of_its_callouts() {
    for proxy in BOTH {
        let mut ended = Ended::default();
        for seed in 0..100 {
            run(proxy, seed, &mut ended);
        }
        let Ended { refused, admitted, admitted_later } = ended;
        assert!(refused > 100 && admitted > 10 && admitted_later > 5, "{proxy:?}: {ended:?}");
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
            // Also a host that does not abandon them.
            for (token, callout) in callouts {
                worker.deliver(callout.context, token, garbage(token as usize));
            }
            assert_eq!((worker.traps(), worker.open()), (0, 0));
        }
        site.world.log_in("/orders").is(302, "login_completed");
    }
}

#[test]
fn a_garbage_reply_is_a_failed_callout() {
    for proxy in BOTH {
        for choice in 0..36 {
            let mut site = Site::on(proxy);
            for request in requests(&mut site) {
                let mut worker = site.worker.borrow_mut();
                let stream = worker.begin(request);
                let has_callout = !worker.callouts().is_empty();
                while let Some((token, _)) = worker.callouts().first() {
                    worker.answer(*token, garbage(choice));
                }
                let Progress::Ended(outgoing) = worker.progress(stream) else { panic!("{proxy:?} {choice}") };
                assert!(
                    (outgoing.status >= 400 || !has_callout) && outgoing.upstream.is_none(),
                    "{proxy:?} {choice} {outgoing:?}"
                );
            }
            assert_eq!(site.worker.borrow().traps(), 0);
        }
    }
}

/// No host does that.
#[test]
fn a_duplicate_reply_admits_nobody() {
    for (proxy, is_good) in BOTH.into_iter().flat_map(|proxy| [(proxy, false), (proxy, true)]) {
        let mut site = Site::on(proxy);
        let unknown = requests(&mut site).remove(2);
        let request = good(&mut site);
        let stream = site.worker.borrow_mut().begin(request);
        let (token, callout) = site.worker.borrow().callouts()[0].clone();
        let context = callout.context;
        let reply = match is_good {
            true => answered(site.world.reply(&sent_callout(callout)).unwrap()),
            false => garbage(11),
        };
        site.worker.borrow_mut().answer(token, reply.clone());
        let first = site.end(stream);
        let (status, times) = if is_good { (200, 1) } else { (503, 0) };
        assert_eq!((first.status, first.upstream.iter().count()), (status, times), "{proxy:?}");
        // Meanwhile another request waits, whose token no key verifies.
        site.world.after(300);
        site.worker.borrow_mut().set_time(site.world.now.0 * 1_000_000_000);
        let other = site.worker.borrow_mut().begin(unknown);
        assert_eq!(site.worker.borrow_mut().progress(other), Progress::Waits, "{proxy:?}");
        site.worker.borrow_mut().deliver(context, token, reply);
        assert_eq!(
            site.worker.borrow_mut().progress(stream),
            Progress::Returned,
            "{proxy:?}: it had its answer"
        );
        assert_eq!(site.worker.borrow_mut().progress(other), Progress::Waits, "{proxy:?}");
        let other = site.end(other);
        assert!(other.status >= 400 && other.upstream.is_none(), "{proxy:?}");
        site.world.log_in("/orders").is(302, "login_completed");
        assert_eq!(site.worker.borrow().traps(), 0, "{proxy:?}");
    }
}

/// Replies arrive in another order than the callouts were sent.
#[test]
fn swapped_replies_do_not_mix_logins() {
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
        assert_eq!(callouts.len(), 3, "no code is shared");
        for (token, callout) in callouts.into_iter().rev() {
            let reply = site.world.reply(&sent_callout(callout)).unwrap();
            site.worker.borrow_mut().answer(token, answered(reply));
        }
        for (stream, page) in streams.into_iter().zip(["/1", "/2", "/3"]) {
            let outgoing = site.end(stream);
            let location = outgoing.headers.iter().find(|(name, _)| name == "location").unwrap();
            assert_eq!((outgoing.status, location.1.as_slice()), (302, page.as_bytes()), "{proxy:?}");
        }
    }
}
