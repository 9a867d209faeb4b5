//! All stories once more in variants: `STORIES_VARIANT=slow,last` selects them. They show, for example, where
//! the filter uses the first provider in place of the right one.
//!
//! - `slow`: every request to a provider takes seconds, and so does the browser on its way there and back.
//! - `last`: the provider of the stories is the last of several, and the default one; the one before it has
//!   other values wherever it can.
//! - `contended`: every other write to the shared data conflicts with one of another worker.
//! - `verifier`: the host verifies signatures, as Envoy does. For the built module it always does in Envoy.
//! - `pieces`: a body that Envoy gathers comes in pieces, and its end in a piece of its own.
//! - `late`: it comes after the next reply, if the request waits for one; otherwise time passes between its
//!   pieces.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Value, json};
use vestibule::http::{Headers, Request};
use vestibule::time::{Seconds, Timestamp};

use super::gateway::{CalloutId, Failing, Gateway, SentCallout, Stream};
use super::{CLIENT_SECRET, Provider, Reply, Seen};

const KNOWN: [&str; 6] = ["slow", "last", "contended", "verifier", "pieces", "late"];

static CHOSEN: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let chosen = std::env::var("STORIES_VARIANT").unwrap_or_default();
    let words: BTreeSet<String> =
        chosen.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    for word in &words {
        assert!(KNOWN.contains(&word.as_str()), "STORIES_VARIANT knows {KNOWN:?}, not {word}");
    }
    words
});

fn is(word: &str) -> bool {
    CHOSEN.contains(word)
}

/// How long a request to a provider takes.
pub fn exchange() -> Seconds {
    Seconds(if is("slow") { 2 } else { 0 })
}

/// How long a browser takes to a provider, and back.
pub fn way() -> Seconds {
    Seconds(if is("slow") { 9 } else { 0 })
}

/// Whether `main` comes after the other providers.
pub fn main_is_last() -> bool {
    is("last")
}

pub fn is_contended() -> bool {
    is("contended")
}

pub fn has_verifier() -> bool {
    is("verifier")
}

/// How much of a body of this length is there each time that some of it arrives, and whether that is all.
pub fn pieces(length: usize) -> Vec<(usize, bool)> {
    if !is("pieces") {
        return vec![(length, true)];
    }
    vec![(length / 2, false), (length, false), (length, true)]
}

/// Whether bodies arrive late.
pub fn bodies_are_late() -> bool {
    is("late")
}

/// Another provider, before that of the stories. No browser is sent to it.
const FIRST: &str = "first";
const FIRST_ISSUER: &str = "https://first.example:8443/realms/one";

/// The name of `main` in this variant, which is not the first.
const LAST: &str = "zmain";

/// The same configuration with `main` as the last provider, and its changed names.
pub fn arranged(mut document: Value) -> (Value, Option<Renamed>) {
    let providers = document["providers"].as_object_mut().unwrap();
    // Where nobody logs in, another provider would change that.
    if !is("last") || !providers.get("main").is_some_and(|main| main["client_id"].is_string()) {
        return (document, None);
    }
    let main = providers.remove("main").unwrap();
    let is_alone = providers.is_empty();
    if is_alone {
        let mut first = json!({
            "issuer": FIRST_ISSUER, "callout": FIRST, "redirect_uri": "/oidc/first-callback",
            "client_id": FIRST, "client_secret": CLIENT_SECRET,
            "leeway_seconds": 0, "max_age_seconds": 77, "scopes": ["openid", "first"],
        });
        if document["session"]["insecure_allow_http"] != true {
            first["response_mode"] = "form_post".into();
        }
        if !main["audiences"].is_null() {
            first["audiences"] = main["audiences"].clone();
        }
        document["providers"][FIRST] = first;
        document["default_provider"] = "main".into();
    }
    document["providers"][LAST] = main;
    let is_main = |name: &&mut Value| **name == "main";
    document.get_mut("default_provider").into_iter().filter(is_main).for_each(|name| *name = LAST.into());
    if let Some(rules) = document.get_mut("rules").and_then(Value::as_array_mut) {
        let named = rules.iter_mut().filter_map(|rule| rule.get_mut("provider"));
        named.filter(is_main).for_each(|name| *name = LAST.into());
    }
    let session = &document["session"];
    let base = match (session["cookie_name"].as_str(), &session["insecure_allow_http"]) {
        (Some(name), _) => name,
        (None, Value::Bool(true)) => "vestibule",
        (None, _) if session["domain"].is_string() => "__Secure-vestibule",
        (None, _) => "__Host-vestibule",
    };
    let in_stories = if is_alone { base.to_owned() } else { format!("{base}-main") };
    let renamed = Renamed {
        in_stories,
        real: format!("{base}-{LAST}"),
        dropped: is_alone.then(|| format!("{base}-{FIRST}")),
    };
    (document, Some(renamed))
}

/// The provider in front of `main`.
pub fn first() -> Option<Provider> {
    is("last").then(|| Provider::new(FIRST_ISSUER, FIRST))
}

/// Names of metrics and lines of the log, with the names that the stories use.
pub fn as_in_stories(text: &str) -> String {
    text.replace(LAST, "main")
}

/// Whether a metric is about the provider that the stories do not have.
pub fn is_not_in_stories(metric: &str) -> bool {
    is("last") && metric.ends_with(FIRST)
}

/// The session cookies: their names in the stories, and their real ones.
#[derive(Clone)]
pub struct Renamed {
    in_stories: String,
    real: String,
    /// The cookie of the provider that the stories do not have.
    dropped: Option<String>,
}

impl Renamed {
    /// The `Cookie` field of a request.
    fn sent(&self, field: &[u8]) -> Vec<u8> {
        let piece = |piece: &[u8]| {
            let (blank, bare) = piece.strip_prefix(b" ").map_or((&b""[..], piece), |bare| (&b" "[..], bare));
            match bare.strip_prefix(self.in_stories.as_bytes()) {
                Some(rest @ [b'=', ..] | rest @ [b'.', b'1'..=b'9', ..]) => {
                    [blank, self.real.as_bytes(), rest].concat()
                }
                _ => piece.to_vec(),
            }
        };
        field.split(|byte| *byte == b';').map(piece).collect::<Vec<_>>().join(&b';')
    }

    /// A `Set-Cookie` field of a response. None if it belongs to the provider that the stories do not have.
    fn seen(&self, field: String) -> Option<String> {
        if self.dropped.as_ref().is_some_and(|dropped| field.starts_with(dropped)) {
            assert!(field.contains("=; ") && field.contains("Max-Age=0"), "there is no login: {field}");
            return None;
        }
        Some(match field.strip_prefix(&self.real) {
            Some(rest) => format!("{}{rest}", self.in_stories),
            None => field,
        })
    }
}

/// A proxy whose cookies are renamed for the story.
pub struct Renaming {
    pub inner: Box<dyn Gateway>,
    pub names: Renamed,
}

impl Gateway for Renaming {
    fn begin(&mut self, request: &Request, now: Timestamp) -> Stream {
        let renamed = |(name, value): (&str, &[u8])| match name {
            "cookie" => (name.to_owned(), self.names.sent(value)),
            _ => (name.to_owned(), value.to_vec()),
        };
        let headers: Headers = request.headers.iter().map(renamed).collect();
        self.inner.begin(&Request { headers, ..request.clone() }, now)
    }

    fn body(&mut self, stream: Stream, body: &[u8], now: Timestamp) {
        self.inner.body(stream, body, now);
    }

    fn another_worker(&self) -> Box<dyn Gateway> {
        Box::new(Renaming { inner: self.inner.another_worker(), names: self.names.clone() })
    }

    fn outcome(&mut self, stream: Stream, now: Timestamp) -> Option<Seen> {
        let mut seen = self.inner.outcome(stream, now)?;
        let renamed = |(name, value): (String, String)| match name.as_str() {
            "set-cookie" => self.names.seen(value).map(|value| (name, value)),
            _ => Some((name, value)),
        };
        seen.headers = seen.headers.into_iter().filter_map(renamed).collect();
        Some(seen)
    }

    fn in_flight(&self) -> Vec<(CalloutId, SentCallout)> {
        self.inner.in_flight()
    }

    fn reply(&mut self, callout: CalloutId, reply: Reply, now: Timestamp) {
        self.inner.reply(callout, reply, now);
    }

    fn leave(&mut self, stream: Stream) {
        self.inner.leave(stream);
    }

    fn tick(&mut self, now: Timestamp) {
        self.inner.tick(now);
    }

    fn shared_data_fails(&mut self, failing: Failing) {
        self.inner.shared_data_fails(failing);
    }

    fn randomness_fails(&mut self, fails: bool) {
        self.inner.randomness_fails(fails);
    }

    fn is_built_module(&self) -> bool {
        self.inner.is_built_module()
    }

    fn trailers(&mut self, stream: Stream, trailers: &Headers) -> Headers {
        self.inner.trailers(stream, trailers)
    }
}
