//! What one request costs in the built module: the host functions that it calls, one by one, and the
//! instructions that it runs. Counted, not timed, so the figures are the same on every machine.
//!
//! None of them may rise. To lower one, make it cheaper and write down what the test says: calls exactly,
//! instructions with two parts in a hundred of slack.

use std::collections::BTreeMap;

use serde_json::json;
use wasm_test::{Incoming, Progress};

use crate::sessions::sessions_like;
use crate::site::{BOTH, Site, configuration, get};
use crate::world::merge;

/// What a request with this decision may cost.
struct Budget {
    code: &'static str,
    instructions: u64,
    /// Without `proxy_`, each with the number of calls.
    calls: &'static [(&'static str, u64)],
}

const ENVOY: [Budget; 8] = [
    Budget {
        code: "session",
        instructions: 66_100,
        calls: &[
            ("add_header_map_value", 1),
            ("get_current_time_nanoseconds", 2),
            ("get_header_map_pairs", 1),
            ("get_header_map_value", 1),
            ("remove_header_map_value", 1),
            ("replace_header_map_value", 5),
            ("set_property", 1),
        ],
    },
    Budget {
        code: "token",
        instructions: 35_600,
        calls: &[
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("get_header_map_value", 1),
            ("remove_header_map_value", 1),
            ("replace_header_map_value", 2),
            ("set_property", 1),
        ],
    },
    Budget {
        code: "public",
        instructions: 26_800,
        calls: &[
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("get_header_map_value", 1),
            ("set_property", 1),
        ],
    },
    Budget {
        code: "login_begins",
        instructions: 286_000,
        calls: &[
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("log", 1),
            ("send_local_response", 1),
            ("set_property", 1),
        ],
    },
    Budget {
        code: "not_logged_in",
        instructions: 105_000,
        calls: &[
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("log", 1),
            ("send_local_response", 1),
            ("set_property", 1),
        ],
    },
    // A new token, with ES256: Envoy verifies it.
    Budget {
        code: "token",
        instructions: 127_700,
        calls: &[
            ("call_foreign_function", 1),
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("get_header_map_value", 1),
            ("remove_header_map_value", 1),
            ("replace_header_map_value", 2),
            ("set_property", 1),
        ],
    },
    // A session that this worker has not seen, which is opened.
    Budget {
        code: "session",
        instructions: 244_900,
        calls: &[
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("get_header_map_value", 1),
            ("get_shared_data", 5),
            ("remove_header_map_value", 1),
            ("replace_header_map_value", 4),
            ("set_property", 1),
        ],
    },
    // A session that was seen, without a count of logins in the cookies of the browser.
    Budget {
        code: "session",
        instructions: 57_200,
        calls: &[
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("get_header_map_value", 1),
            ("remove_header_map_value", 1),
            ("replace_header_map_value", 4),
            ("set_property", 1),
        ],
    },
];

const NGINX: [Budget; 8] = [
    Budget {
        code: "session",
        instructions: 76_500,
        calls: &[
            ("add_header_map_value", 1),
            ("get_current_time_nanoseconds", 2),
            ("get_header_map_pairs", 1),
            ("get_header_map_value", 1),
            ("get_property", 3),
            ("replace_header_map_value", 6),
            ("set_property", 2),
        ],
    },
    Budget {
        code: "token",
        instructions: 45_400,
        calls: &[
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("get_header_map_value", 1),
            ("get_property", 3),
            ("replace_header_map_value", 3),
            ("set_property", 2),
        ],
    },
    Budget {
        code: "public",
        instructions: 36_600,
        calls: &[
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("get_header_map_value", 1),
            ("get_property", 3),
            ("set_property", 2),
        ],
    },
    Budget {
        code: "login_begins",
        instructions: 296_000,
        calls: &[
            ("add_header_map_value", 1),
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("get_property", 3),
            ("log", 1),
            ("send_local_response", 1),
            ("set_property", 1),
        ],
    },
    Budget {
        code: "not_logged_in",
        instructions: 113_700,
        calls: &[
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("get_property", 3),
            ("log", 1),
            ("send_local_response", 1),
            ("set_property", 1),
        ],
    },
    // A new token, with ES256: the module verifies it.
    Budget {
        code: "token",
        instructions: 13_168_200,
        calls: &[
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("get_header_map_value", 1),
            ("get_property", 3),
            ("replace_header_map_value", 3),
            ("set_property", 2),
        ],
    },
    // A session that this worker has not seen, which is opened.
    Budget {
        code: "session",
        instructions: 255_400,
        calls: &[
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("get_header_map_value", 1),
            ("get_property", 3),
            ("get_shared_data", 5),
            ("replace_header_map_value", 5),
            ("set_property", 2),
        ],
    },
    // A session that was seen, without a count of logins in the cookies of the browser.
    Budget {
        code: "session",
        instructions: 68_300,
        calls: &[
            ("get_current_time_nanoseconds", 1),
            ("get_header_map_pairs", 1),
            ("get_header_map_value", 1),
            ("get_property", 3),
            ("replace_header_map_value", 5),
            ("set_property", 2),
        ],
    },
];

/// What a browser sends with every request.
const FIELDS: [(&str, &str); 10] = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "de,en-US;q=0.7,en;q=0.3"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("upgrade-insecure-requests", "1"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("priority", "u=0, i"),
    ("x-request-id", "5c2f1c1e-6f3a-4b7e-9a55-0d2c8f1f9b10"),
];

fn request(path: &str, field: Option<(&str, &str)>) -> Incoming {
    get(path, &FIELDS.into_iter().chain(field).collect::<Vec<_>>())
}

/// The cost of a request: calls by the names of the functions, and instructions.
fn measure(site: &Site, requests: &[Incoming; 3], code: &str) -> (BTreeMap<&'static str, u64>, u64) {
    let mut worker = site.worker.borrow_mut();
    let mut cost = None;
    // The third request finds everything in the caches.
    for (second, request) in (1..).zip(requests) {
        worker.set_time((site.world.now.0 + second) * 1_000_000_000);
        let (calls, instructions) = (worker.all_calls().clone(), worker.instructions());
        let stream = worker.begin(request.clone());
        let Progress::Ended(outgoing) = worker.progress(stream) else { panic!("{code}: decided at once") };
        assert_eq!(outgoing.code.as_deref(), Some(code));
        let all = worker.all_calls().iter();
        let made = all.map(|(name, count)| (*name, count - calls.get(name).unwrap_or(&0)));
        let made = made.filter(|(_, count)| *count > 0);
        cost = Some((made.collect(), worker.instructions() - instructions));
    }
    cost.unwrap()
}

#[test]
fn a_request_costs_the_module_at_most_its_budget() {
    let mut wrong = Vec::new();
    for (proxy, budgets) in BOTH.into_iter().zip([ENVOY, NGINX]) {
        // The usual log level of a proxy, without a rate limit.
        let change = json!({"log": {"rate_limit": 0}});
        let mut site = Site::with(proxy, &change, |host| host.environment.clear());
        site.world.log_in("/orders").is(302, "login_completed");
        let session = site.world.browser.header(false, site.world.now).unwrap();
        let now = site.world.now;
        let mut configuration = configuration();
        merge(&mut configuration, &change);
        let sessions = sessions_like(&session, &configuration, 0..4);
        let token = format!("Bearer {}", site.world.idp().access_token(&json!({}), now));
        site.send(get("/api/x", &[("authorization", &token)]));
        let mut with_new_token = |number: u64| {
            let changes = json!({"jti": number.to_string()});
            let token = format!("Bearer {}", site.world.idp().access_token(&changes, now));
            request("/api/x", Some(("authorization", &token)))
        };
        let new_tokens = [1, 2, 3].map(&mut with_new_token);
        let same = |path: &str, field: Option<(&str, &str)>| [(); 3].map(|()| request(path, field));
        let requests = [
            same("/orders", Some(("cookie", session.as_str()))),
            same("/api/x", Some(("authorization", token.as_str()))),
            same("/public/x", None),
            same("/orders", None),
            same("/api/x", None),
            new_tokens,
            [0, 1, 2].map(|number: usize| request("/orders", Some(("cookie", &sessions[number])))),
            same("/orders", Some(("cookie", &sessions[3]))),
        ];
        for (Budget { code, instructions, calls }, requests) in budgets.iter().zip(&requests) {
            let (made, run) = measure(&site, requests, code);
            let made: Vec<_> = made
                .into_iter()
                .map(|(name, count)| (name.strip_prefix("proxy_").unwrap_or(name), count))
                .collect();
            let is_within = made == *calls && (instructions / 10 * 9..=*instructions).contains(&run);
            if !is_within {
                wrong.push(format!("{proxy:?} {code}: {run} instructions of {instructions}, calls {made:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "fewer lower a budget, nothing raises it: {wrong:#?}");
}
