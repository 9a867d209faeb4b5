//! What one request costs the core on the most common paths: allocations, their bytes, and instructions.
//! Counted, not timed, so the figures are the same on every machine.
//!
//! None of them may rise. To lower one, make it cheaper, run `make budgets`, and write down what the tests
//! say: allocations and bytes exactly, instructions with two parts in a hundred of slack. What the built
//! module costs is in `wasm-test/tests/module/budgets.rs`.

// Everything here is a test; clippy knows that only of the functions marked so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects, clippy::string_slice)]

/// The gateway that the world of the stories uses.
#[path = "../stories/native.rs"]
#[allow(dead_code, reason = "the stories use more of it")]
mod gateway;
#[path = "../memory/mod.rs"]
mod memory;
#[path = "../sessions/mod.rs"]
mod sessions;
#[path = "../stories/world/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the stories use more of it")]
mod world;

use std::io::Write as _;
use std::process::Command;
use std::rc::Rc;
use std::{env, hint};

use log::{LevelFilter, Log, Metadata, Record};
use serde_json::{Value, json};
use vestibule::config::Config;
use vestibule::filter::{Answer, Filter, HostFunctions};
use vestibule::flow::Step;
use vestibule::http::Request;
use vestibule::time::{Seconds, Timestamp};

use memory::{Taken, taken_by};
use sessions::sessions_like;
use world::{SentCallout, World, document};

/// What a request with this decision may cost.
struct Budget {
    code: &'static str,
    allocations: u64,
    bytes: u64,
    instructions: u64,
}

const BUDGETS: [Budget; 8] = [
    Budget { code: "session", allocations: 9, bytes: 761, instructions: 21_500 },
    Budget { code: "token", allocations: 2, bytes: 109, instructions: 10_900 },
    Budget { code: "public", allocations: 0, bytes: 0, instructions: 7_600 },
    Budget { code: "login_begins", allocations: 72, bytes: 8765, instructions: 111_700 },
    Budget { code: "not_logged_in", allocations: 78, bytes: 9101, instructions: 50_700 },
    // A new token. The host verifies its signature, at no cost here.
    Budget { code: "token", allocations: 106, bytes: 14235, instructions: 150_600 },
    // A session that this worker has not seen, which is opened.
    Budget { code: "session", allocations: 59, bytes: 5576, instructions: 102_400 },
    // A session that was seen, without a count of logins in the cookies of the browser.
    Budget { code: "session", allocations: 3, bytes: 230, instructions: 18_600 },
];

/// Those of [`BUDGETS`] whose credential is new each time.
const NEW_TOKEN: usize = 5;
const NEW_SESSION: usize = 6;

/// Requests of one run under valgrind; the other run makes twice as many. A token lives for 300 seconds.
const ROUNDS: u64 = 100;

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

/// Public assets, an API for tokens, and pages for people. Each line of the log is written.
fn configuration() -> Value {
    json!({
        "providers": {"main": {"audiences": ["https://api.example.com"]}},
        "rules": [
            {"name": "public", "path_prefix": "/public", "accept": "public"},
            {"name": "api", "path_prefix": "/api", "accept": "bearer"},
            {"name": "pages", "path_prefix": "/"},
        ],
        "log": {"rate_limit": 0},
    })
}

/// Further claims, as common providers have them in access tokens: 1 KB of JSON in all.
fn new_claims(number: u64) -> Value {
    json!({
        "jti": format!("b0a1c2d3-{number:012}"), "azp": "orders-frontend", "typ": "Bearer", "acr": "1",
        "sid": "7d0b8a52-6f64-4f2b-9c6a-1f4f7e0d6c11", "auth_time": 1_699_999_000, "email_verified": true,
        "name": "Robot of Orders", "preferred_username": "robot", "email": "robot@example.com",
        "scope": "openid profile email orders.read orders.write",
        "allowed-origins": ["https://app.example.com", "https://admin.example.com"],
        "realm_access": {"roles": ["offline_access", "uma_authorization", "default-roles-acme"]},
        "resource_access": {
            "orders": {"roles": ["reader", "writer", "approver"]},
            "account": {"roles": ["manage-account", "manage-account-links", "view-profile"]},
        },
        "groups": ["/sales/emea", "/sales/emea/leads", "/warehouse", "/finance/approvers"],
    })
}

/// Formats what a proxy shows by itself, as the host does.
struct Formats;

impl Log for Formats {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        hint::black_box(record.args().to_string());
    }

    fn flush(&self) {}
}

/// A worker that has seen every session and every token once.
struct Worker {
    filter: Rc<Filter>,
    now: Timestamp,
    /// In the order of [`BUDGETS`].
    requests: Vec<Request>,
    /// Tokens that the filter has not seen yet.
    unseen: Vec<String>,
    /// The same of cookies.
    unseen_sessions: Vec<String>,
}

impl Worker {
    fn new() -> Worker {
        // The first logger that is installed stays, and that of a world would store its lines.
        let _ = log::set_logger(&Formats);
        let mut world = World::with(&configuration());
        world.log_in("/orders").is(302, "login_completed");
        let now = world.now;
        let session = world.browser.header(false, now).unwrap();
        let mut unseen_sessions = sessions_like(&session, &configuration(), 0..2 * ROUNDS as usize + 3);
        let other = unseen_sessions.pop().unwrap();
        let token = format!("Bearer {}", world.idp().access_token(&json!({}), now));
        let request = |path: &str, field: Option<(&str, &str)>| {
            world.program(path, &FIELDS.into_iter().chain(field).collect::<Vec<_>>())
        };
        let requests = vec![
            request("/orders", Some(("cookie", &session))),
            request("/api/x", Some(("authorization", &token))),
            request("/public/x", None),
            request("/orders", None),
            request("/api/x", None),
            request("/api/x", None),
            request("/orders", None),
            request("/orders", Some(("cookie", &other))),
        ];
        let unseen = |number: u64| world.idp().access_token(&new_claims(number), now);
        let unseen = (0..2 * ROUNDS + 2).map(unseen).map(|token| format!("Bearer {token}")).collect();
        log::set_max_level(LevelFilter::Info);
        let document = document(&configuration());
        let config = Config::read(document.to_string().as_bytes(), &|_| None).unwrap();
        let host = HostFunctions { verify: Some(|_| Some(true)), ..gateway::host_functions(&document, 1) };
        let filter = Filter::new(config, &host, now).unwrap();
        // The token is unknown, so the provider is fetched.
        let mut step = filter.start(requests[1].clone(), now);
        while let Step::Callout(callout, flow) = step {
            step = flow.resume(world.reply(&SentCallout::from(&*callout)), now);
        }
        assert!(matches!(step, Step::Done(Answer::Continue(_))));
        let mut worker = Worker { filter, now, requests, unseen, unseen_sessions };
        (0..BUDGETS.len()).for_each(|way| drop(worker.decide(way)));
        worker
    }

    /// One request, a second after the one before.
    fn decide(&mut self, way: usize) -> (Taken, Answer) {
        self.now = self.now + Seconds(1);
        let mut request = self.requests[way].clone();
        if way == NEW_TOKEN {
            let token = self.unseen.pop().unwrap();
            request.headers.push("authorization", token.as_bytes());
        }
        if way == NEW_SESSION {
            request.headers.push("cookie", self.unseen_sessions.pop().unwrap());
        }
        let (taken, answer) = taken_by(|| decide(&self.filter, request, self.now));
        let code = match &answer {
            Answer::Continue(edits) => edits.decision.code,
            Answer::Respond(_, decision) => decision.code,
        };
        assert_eq!(code, BUDGETS[way].code);
        (taken, answer)
    }
}

/// The part of the core that is measured.
fn decide(filter: &Rc<Filter>, request: Request, now: Timestamp) -> Answer {
    match filter.start(request, now) {
        Step::Done(answer) => answer,
        _ => panic!("it is decided at once"),
    }
}

/// Exact, so that a saving lowers the limit too.
#[test]
fn a_request_allocates_within_its_budget() {
    let mut worker = Worker::new();
    for (way, budget) in BUDGETS.iter().enumerate() {
        let (taken, _) = worker.decide(way);
        let limit = Taken { allocations: budget.allocations, bytes: budget.bytes };
        assert_eq!(taken, limit, "{}: a saving lowers its budget, nothing raises it", budget.code);
    }
}

/// Instructions of a whole run of [`played_under_valgrind`].
fn instructions_of(way: usize, repetitions: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "played_under_valgrind", "--ignored", "--test-threads=1"])
        .envs([("BUDGETS_WAY", way.to_string()), ("BUDGETS_REPETITIONS", repetitions.to_string())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let collected = said.lines().find_map(|line| line.split("Collected : ").nth(1));
    collected.unwrap_or_else(|| panic!("{said}")).trim().parse().unwrap()
}

#[test]
#[ignore = "the test below runs it"]
fn played_under_valgrind() {
    let number = |name: &str| env::var(name).unwrap().parse::<u64>().unwrap();
    let mut worker = Worker::new();
    for _ in 0..number("BUDGETS_REPETITIONS") {
        hint::black_box(worker.decide(number("BUDGETS_WAY") as usize));
    }
}

/// A run with twice as many requests has the same fixed cost, so the difference is the cost of the requests.
#[test]
fn a_request_runs_within_its_instruction_budget() {
    // Not through `print!`: the harness hides what a passing test prints.
    let say = |line: &str| drop(std::io::stderr().write_all(line.as_bytes()));
    if env::var_os("BUDGETS_INSTRUCTIONS").is_none() {
        return say("skipped: `make budgets` counts instructions, of the core as it is optimised\n");
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        return say("skipped: valgrind, which counts instructions, is not installed\n");
    }
    for (way, budget) in BUDGETS.iter().enumerate() {
        let once = instructions_of(way, ROUNDS);
        let each = (instructions_of(way, 2 * ROUNDS) - once) / ROUNDS;
        say(&format!("{}: {each} instructions of {}\n", budget.code, budget.instructions));
        assert!(each <= budget.instructions, "{}: {each} instructions", budget.code);
        assert!(each >= budget.instructions / 10 * 9, "{}: lower its budget to {each}", budget.code);
    }
}
