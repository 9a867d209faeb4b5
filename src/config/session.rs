//! Sessions: keys, cookie, lifetimes.

use super::address;
use super::choices::SameSite;
use super::claim_path::ClaimPath;
use super::document::{Hosts, SessionObject};
use super::problem::{Place, Problem};
use super::shape::{Reading, Shape};
use super::value::{SecretText, Text};
use crate::http::is_token;
use crate::secret::Secret;
use crate::time::Seconds;

/// Shortest session key, in characters.
const KEY_MIN: usize = 32;
/// Longest session key, in characters.
const KEY_LIMIT: usize = 1024;
/// Fewer different characters than this are not random.
const KEY_VARIETY: usize = 8;
/// Words of keys that were copied from an example.
const EXAMPLE_WORDS: [&str; 10] = [
    "changeme",
    "change-me",
    "change_me",
    "replace",
    "example",
    "password",
    "secret",
    "default",
    "placeholder",
    "insert",
];
/// How a key is made.
const KEY_ADVICE: &str = "make one with: openssl rand -base64 32";

/// Longest name of a cookie, in characters.
const COOKIE_NAME_LIMIT: usize = 64;
/// Prefixes by which browsers insist on `Secure` (RFC 6265bis section 4.1.3).
const SECURE_PREFIXES: [&str; 2] = ["__Host-", "__Secure-"];

/// Second-level domains under country domains that are public suffixes, such as `co.uk`.
const SECOND_LEVELS: [&str; 8] = ["ac", "co", "com", "edu", "gov", "mil", "net", "org"];

/// Shortest idle timeout, in seconds.
const IDLE_MIN: u64 = 60;
/// A longer absolute lifetime than this gives a warning, in seconds.
const LIFETIME_WARNING: u64 = 7 * 24 * 3600;

/// Sessions and cookies.
#[derive(Debug, Clone)]
pub struct Session {
    /// Secrets from which the sealing keys are derived: the first seals, all open. At least one if somebody can log
    /// in.
    pub keys: Vec<Secret>,
    /// Name of the session cookie; our other cookies begin with it.
    pub cookie_name: String,
    /// `SameSite` of the session cookie.
    pub same_site: SameSite,
    /// `Partitioned` of every cookie. Then `same_site` is `None`, and the site is reached by `https`.
    pub partitioned: bool,
    /// `Domain` of every cookie: a host in lower case; each of `hosts` is it or below it. Then `hosts` is not
    /// empty, and the name has no `__Host-`.
    pub domain: Option<String>,
    /// Claims that are stored for other filters.
    pub claims: Vec<ClaimPath>,
    /// Hosts (with port unless it is the default one) on which people log in. Empty: any.
    pub hosts: Vec<String>,
    /// Absolute lifetime: a session ends this long after the login.
    pub absolute_lifetime: Seconds,
    /// Idle timeout: a session ends when it was not used for this long. Zero: none.
    pub idle_timeout: Seconds,
    /// Cookies that a session may take, at most [`PARTS_LIMIT`](crate::session::PARTS_LIMIT).
    pub max_cookies: u8,
    /// Room for refreshed sessions whose browser does not have the new cookie yet.
    pub refreshed_sessions: Room,
    /// A login must be completed within this time.
    pub login_lifetime: Seconds,
    /// A form that is submitted without a session is preserved over the login.
    pub preserve_form: bool,
    /// The fragment of an address is preserved over the login.
    pub preserve_fragment: bool,
    /// The site is served over plain HTTP: cookies without `Secure`, addresses with `http:`.
    pub insecure_allow_http: bool,
}

/// Room in the shared data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// MiB.
    pub mebibytes: u64,
}

impl Room {
    /// The share of one of this many buckets. Bytes.
    pub fn bucket_limit(self, buckets: u16) -> usize {
        let bytes = usize::try_from(self.mebibytes).unwrap_or(usize::MAX).saturating_mul(1024 * 1024);
        bytes.checked_div(usize::from(buckets)).unwrap_or_default()
    }
}

impl Session {
    /// The scheme of the site's addresses, and its default port.
    pub fn scheme(&self) -> (&'static str, u16) {
        let scheme = if self.insecure_allow_http { "http" } else { "https" };
        (scheme, usual_port(self.insecure_allow_http))
    }
}

pub(super) fn check(session: SessionObject, reading: &mut Reading) -> Option<Session> {
    let insecure_allow_http = session.insecure_allow_http;
    let http = insecure_allow_http == Some(true);
    if http {
        reading.warn(
            &session.place.key("insecure_allow_http"),
            "an attacker on the network can take over every session",
        );
    }
    let same_site = session.same_site;
    if http && same_site == Some(SameSite::None) {
        let problem =
            Problem::at(&session.place.key("same_site"), "must not be None with insecure_allow_http");
        reading.problems.add(problem.advice("browsers accept SameSite=None only over https"));
    }
    let partitioned = session.partitioned;
    if partitioned == Some(true) {
        check_partitioned(&session.place, same_site, http, reading);
    }
    let absolute = session.absolute_lifetime_seconds.as_ref().map(|seconds| seconds.0);
    if absolute.is_some_and(|absolute| absolute > LIFETIME_WARNING) {
        reading.warn(
            &session.place.key("absolute_lifetime_seconds"),
            "a stolen cookie counts for more than 7 days",
        );
    }
    let idle = session.idle_timeout_seconds.as_ref().map(|seconds| seconds.0);
    if let (Some(idle), Some(absolute)) = (idle, absolute)
        && idle != 0
        && !(IDLE_MIN..=absolute).contains(&idle)
    {
        let rule = format!("must be 0, or from {IDLE_MIN} to absolute_lifetime_seconds ({absolute})");
        reading
            .problems
            .add(Problem::at(&session.place.key("idle_timeout_seconds"), rule).got(idle.to_string()));
    }
    let has_domain = session.domain.is_some();
    let cookie_name = match session.cookie_name {
        Some(name) => check_cookie_name(name, http, has_domain, reading),
        None if http => Some("vestibule".to_owned()),
        None if has_domain => Some("__Secure-vestibule".to_owned()),
        None => Some("__Host-vestibule".to_owned()),
    };
    let keys = session.keys.and_then(|keys| check_keys(&keys.0, reading));
    let hosts = session.hosts.map(|hosts| check_hosts(&hosts, http, reading)).unwrap_or_default();
    let domain = session.domain.map(|domain| check_domain(&domain, &hosts, reading));
    Some(Session {
        keys: keys?,
        cookie_name: cookie_name?,
        same_site: same_site?,
        partitioned: partitioned?,
        domain: match domain {
            Some(domain) => Some(domain?),
            None => None,
        },
        claims: session.claims?.0,
        hosts,
        absolute_lifetime: Seconds(absolute?),
        idle_timeout: Seconds(idle?),
        max_cookies: u8::try_from(session.max_cookies?.0).ok()?,
        refreshed_sessions: Room { mebibytes: session.refreshed_sessions_mib?.0 },
        login_lifetime: Seconds(session.login_lifetime_seconds?.0),
        preserve_form: session.preserve_form?,
        preserve_fragment: session.preserve_fragment?,
        insecure_allow_http: insecure_allow_http?,
    })
}

/// The session where nobody logs in: the defaults, without keys.
pub(super) fn none(reading: &mut Reading) -> Option<Session> {
    let place = Place::root().key("session");
    let placeholder = serde_json::json!({"keys": ["0123456789abcdefghijklmnopqrstuvwxyz"]});
    let session = SessionObject::read(placeholder, &place, reading)?;
    Some(Session { keys: Vec::new(), ..check(session, reading)? })
}

/// The port that an address of the site has unless it names another (RFC 9110 section 4.2).
pub(super) fn usual_port(http: bool) -> u16 {
    if http { 80 } else { 443 }
}

fn check_hosts(hosts: &Hosts, http: bool, reading: &mut Reading) -> Vec<String> {
    hosts.0.iter().filter_map(|host| address::host(host, Some(usual_port(http)), reading)).collect()
}

/// CHIPS: browsers accept a partitioned cookie only over https, and it is useful only in frames, where
/// browsers send only cookies with `SameSite=None`.
fn check_partitioned(place: &Place, same_site: Option<SameSite>, http: bool, reading: &mut Reading) {
    let place = place.key("partitioned");
    if http {
        let problem = Problem::at(&place, "must not be true with insecure_allow_http");
        reading.problems.add(problem.advice("browsers accept partitioned cookies only over https"));
    }
    if matches!(same_site, Some(SameSite::Lax | SameSite::Strict)) {
        let problem = Problem::at(&place, "must not be true unless same_site is None");
        reading.problems.add(problem.advice("in frames of other sites browsers send no other cookie"));
    }
}

/// A `Domain` is shared with every host below it, so all of these must belong to the operator. Browsers know
/// the public suffixes (the Public Suffix List) and drop the cookie; obvious ones are refused here, with a
/// reason.
fn check_domain(domain: &Text, hosts: &[String], reading: &mut Reading) -> Option<String> {
    if domain.text.starts_with('.') {
        return reading.refuse(domain.problem("must not begin with a dot").advice("leave it out"));
    }
    let name = address::host(domain, None, reading)?;
    let labels: Vec<&str> = name.split('.').collect();
    let is_address = name.starts_with('[') || labels.iter().all(|label| label.parse::<u8>().is_ok());
    let rule = match labels.as_slice() {
        _ if is_address => "must be a name, not an address: browsers share cookies by names only",
        [_] => "must not be a top-level domain: it belongs to everybody",
        [second, top] if top.len() == 2 && SECOND_LEVELS.contains(second) => {
            "must not be a public suffix: hosts of others are below it"
        }
        _ if hosts.is_empty() => "must not be set without hosts: name those on which people log in",
        _ => {
            let is_below = |host: &String| is_part_of(host, &name);
            let Some(other) = hosts.iter().find(|host| !is_below(host)) else { return Some(name) };
            let rule = format!("must be each of the hosts, or above it, but is not above \"{other}\"");
            return reading.refuse(domain.problem(rule));
        }
    };
    reading.refuse(domain.problem(rule))
}

/// RFC 6265bis section 5.1.3: the host is the domain or ends with a dot and it. A port does not matter.
fn is_part_of(host: &str, domain: &str) -> bool {
    let name = host.split(':').next().unwrap_or_default();
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn check_keys(keys: &[SecretText], reading: &mut Reading) -> Option<Vec<Secret>> {
    for (index, key) in keys.iter().enumerate() {
        let problem = if let Some(fault) = key_fault(key.secret.expose()) {
            Problem::at(&key.place, fault).advice(KEY_ADVICE)
        } else if keys.iter().take(index).any(|earlier| earlier.secret == key.secret) {
            Problem::at(&key.place, "must be another key than those before it").advice(KEY_ADVICE)
        } else {
            continue;
        };
        reading.problems.add(problem);
    }
    Some(keys.iter().map(|key| key.secret.clone()).collect())
}

/// Why a text is no session key. Reveals nothing of the key but its length.
fn key_fault(key: &str) -> Option<String> {
    let length = key.chars().count();
    if length < KEY_MIN {
        return Some(format!("must have at least {KEY_MIN} characters, got {length}"));
    }
    if key.len() > KEY_LIMIT {
        return Some(format!("must have at most {KEY_LIMIT} bytes, got {}", key.len()));
    }
    let lower = key.to_ascii_lowercase();
    if EXAMPLE_WORDS.iter().any(|word| lower.contains(word)) {
        return Some("must be random, but has a word as in an example".to_owned());
    }
    let repeats = |period: usize| key.chars().zip(key.chars().skip(period)).all(|(one, other)| one == other);
    let is_new = |(index, one): &(usize, char)| key.chars().take(*index).all(|earlier| earlier != *one);
    let variety = key.chars().enumerate().filter(is_new).count();
    (variety < KEY_VARIETY || (1..=length / 2).any(repeats))
        .then(|| "must be random, but repeats the same characters".to_owned())
}

fn check_cookie_name(name: Text, http: bool, has_domain: bool, reading: &mut Reading) -> Option<String> {
    if name.text.len() > COOKIE_NAME_LIMIT || !is_token(&name.text) {
        let rule = format!(
            "must be the name of a cookie: at most {COOKIE_NAME_LIMIT} characters, no blanks, = or ;"
        );
        return reading.refuse(name.problem(rule));
    }
    let after_prefix = SECURE_PREFIXES.iter().find_map(|prefix| name.text.strip_prefix(prefix));
    // Browsers compare the prefix without regard to case.
    let lower = name.text.to_ascii_lowercase();
    let looks_secure = SECURE_PREFIXES.iter().any(|prefix| lower.starts_with(&prefix.to_ascii_lowercase()));
    if has_domain && lower.starts_with("__host-") {
        let problem = name.problem("must not begin with __Host- where there is a domain");
        return reading.refuse(problem.advice("such a cookie belongs to one host; use __Secure-"));
    }
    match (http, after_prefix) {
        (true, _) if looks_secure => reading.refuse(
            name.problem("must not begin with __Host- or __Secure- with insecure_allow_http")
                .advice("browsers accept such cookies only over https"),
        ),
        (false, None) => reading.refuse(
            name.problem("must begin with __Host- or __Secure-")
                .advice("so that no other site can set the cookie"),
        ),
        (false, Some("")) => reading.refuse(name.problem("must have a name after the prefix")),
        _ => Some(name.text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sha2::{Digest, Sha256};

    use crate::config::trial::{KEY, accepted, read, refused};

    fn session(keys: Value) -> Value {
        json!({"session": keys})
    }

    #[test]
    fn guessable_session_keys_are_refused() {
        for (key, fault) in [
            ("", "must not be empty"),
            ("changeme", "must have at least 32 characters, got 8 "),
            ("kJ8v2Qw0Zr5tYx7BnM3cLp9HsD4fGa6", "must have at least 32 characters, got 31 "),
            ("ChangeMe-ChangeMe-ChangeMe-9fA27x", "must be random, but has a word as in an example"),
            ("my-very-long-and-Secret-passphrase", "must be random, but has a word as in an example"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "must be random, but repeats the same characters"),
            ("k3J9xQ0zk3J9xQ0zk3J9xQ0zk3J9xQ0z", "must be random, but repeats the same characters"),
            ("0110100111010110010101110100010110", "must be random, but repeats the same characters"),
        ] {
            let problems = crate::config::trial::problems(session(json!({"keys": [key]})));
            assert_eq!(problems.len(), 1, "{key}");
            assert!(problems[0].starts_with(&format!("session.keys[0]: {fault}")), "{problems:?}");
            assert!(key.is_empty() || !problems[0].contains(key));
        }
        refused([
            (
                session(json!({"keys": [KEY, KEY]})),
                "session.keys[1]: must be another key than those before it",
            ),
            (session(json!({"keys": []})), "session.keys: must have from 1 to 16 items, got 0"),
        ]);
        accepted([session(json!({"keys": ["f0a1c2b394857669d0e1b2c3a4f59687", KEY]}))]);
    }

    /// A file may have been read in the place of a key.
    #[test]
    fn a_session_key_has_a_length_limit() {
        let hex = |length: usize| {
            let digests = (0..=16_u32).flat_map(|number| Sha256::digest(number.to_be_bytes()));
            let mut text: String = digests.map(|byte| format!("{byte:02x}")).collect();
            text.truncate(length);
            text
        };
        accepted([session(json!({"keys": [hex(1024)]}))]);
        refused([(
            session(json!({"keys": [hex(1025)]})),
            "session.keys[0]: must have at most 1024 bytes, got 1025",
        )]);
    }

    #[test]
    fn cookie_names_have_a_prefix_that_browsers_enforce() {
        for name in
            ["a b", "a=b", "a;b", "__Host-a b", "__Host-\u{e4}", &format!("__Host-{}", "x".repeat(58))]
        {
            let problems = crate::config::trial::problems(session(json!({"cookie_name": name})));
            assert_eq!(problems.len(), 1, "{name}");
            assert!(
                problems[0].starts_with("session.cookie_name: must be the name of a cookie"),
                "{problems:?}"
            );
        }
        refused([
            (
                session(json!({"cookie_name": "session"})),
                "session.cookie_name: must begin with __Host- or __Secure-, got \"session\"",
            ),
            (session(json!({"cookie_name": "__host-x"})), "session.cookie_name: must begin with __Host-"),
            (
                session(json!({"cookie_name": "__Host-"})),
                "session.cookie_name: must have a name after the prefix",
            ),
            (
                session(json!({"cookie_name": "__secure-x", "insecure_allow_http": true})),
                "session.cookie_name: must not begin with __Host- or __Secure-",
            ),
            (
                session(json!({"same_site": "None", "insecure_allow_http": true})),
                "session.same_site: must not be None",
            ),
        ]);
        accepted([session(json!({"cookie_name": "__Secure-a", "same_site": "None"}))]);
        let name = |keys| read(session(keys)).unwrap().session.cookie_name;
        assert_eq!(name(json!({})), "__Host-vestibule");
        assert_eq!(name(json!({"insecure_allow_http": true})), "vestibule");
    }

    #[test]
    fn lifetimes_are_consistent_with_each_other() {
        refused([
            (
                session(json!({"idle_timeout_seconds": 28801})),
                "session.idle_timeout_seconds: must be 0, or from 60 to absolute_lifetime_seconds (28800), got 28801",
            ),
            (
                session(json!({"idle_timeout_seconds": 59})),
                "session.idle_timeout_seconds: must be 0, or from 60",
            ),
            (
                session(json!({"login_lifetime_seconds": 3601})),
                "session.login_lifetime_seconds: must be a whole number",
            ),
            (
                session(json!({"absolute_lifetime_seconds": 31 * 86400})),
                "session.absolute_lifetime_seconds: must be a whole number",
            ),
        ]);
        accepted([
            session(json!({"idle_timeout_seconds": 0})),
            session(json!({"idle_timeout_seconds": 28800})),
        ]);
    }

    #[test]
    fn hosts_are_listed_without_wildcards() {
        let rule = "session.hosts[0]: ";
        for host in ["*", ".com", "*.example.com", "https://a.example", "a.example:443", "a.example/x"] {
            let problems = crate::config::trial::problems(session(json!({"hosts": [host]})));
            assert!(problems.len() == 1 && problems[0].starts_with(rule), "{host}: {problems:?}");
        }
        let hosts = read(session(json!({"hosts": ["App.example.com:8443"]}))).unwrap().session.hosts;
        assert_eq!(hosts, ["app.example.com:8443"]);
    }

    #[test]
    fn unwise_session_settings_give_warnings() {
        for (change, place) in [
            (json!({"insecure_allow_http": true}), "session.insecure_allow_http: "),
            (json!({"absolute_lifetime_seconds": 8 * 86400}), "session.absolute_lifetime_seconds: "),
            (json!({"hosts": null}), "session.hosts: any host"),
        ] {
            let warnings = read(session(change.clone())).unwrap().warnings;
            assert!(warnings.len() == 1 && warnings[0].starts_with(place), "{change}: {warnings:?}");
        }
        let fixed = json!({
            "session": {"hosts": null},
            "providers": {"main": {"redirect_uri": "https://app.example.com/cb"}},
        });
        assert_eq!(read(fixed).unwrap().warnings, Vec::<String>::new());
    }

    #[test]
    fn a_domain_covers_every_host_and_is_no_public_suffix() {
        let session = |keys: Value| json!({"session": keys});
        let hosts = json!(["app.example.com", "api.app.example.com:8443"]);
        for (domain, expected) in [("app.example.com", "app.example.com"), ("Example.COM", "example.com")] {
            let config = read(session(json!({"domain": domain, "hosts": hosts}))).unwrap();
            assert_eq!(config.session.domain.as_deref(), Some(expected));
            assert_eq!(config.session.cookie_name, "__Secure-vestibule");
        }
        for (domain, rule) in [
            ("api.app.example.com", "must be each of the hosts, or above it, but is not above \"app.example"),
            ("pp.example.com", "must be each of the hosts, or above it"),
            ("evil.example", "must be each of the hosts, or above it"),
            (".example.com", "must not begin with a dot"),
            ("com", "must not be a top-level domain"),
            ("localhost", "must not be a top-level domain"),
            ("co.uk", "must not be a public suffix"),
            ("127.0.0.1", "must be a name, not an address"),
            ("[::1]", "must be a name, not an address"),
            ("*.example.com", "must not have wildcards"),
            ("example.com:8443", "must be a host without port"),
            ("example.com; Secure", "must be the name of one host"),
        ] {
            let problems = crate::config::trial::problems(session(json!({"domain": domain, "hosts": hosts})));
            let expected = format!("session.domain: {rule}");
            assert!(problems.iter().any(|problem| problem.starts_with(&expected)), "{problems:?}");
        }
        refused([
            (
                session(json!({"domain": "example.com", "hosts": null})),
                "session.domain: must not be set without hosts",
            ),
            (
                session(json!({"domain": "example.com", "hosts": hosts, "cookie_name": "__Host-x"})),
                "session.cookie_name: must not begin with __Host- where there is a domain",
            ),
        ]);
    }

    #[test]
    fn partitioned_needs_same_site_none_and_https() {
        let session = |keys: Value| json!({"session": keys});
        let config = read(session(json!({"partitioned": true, "same_site": "None"}))).unwrap();
        assert!(config.session.partitioned);
        for same_site in [json!(null), json!("Lax"), json!("Strict")] {
            refused([(
                session(json!({"partitioned": true, "same_site": same_site})),
                "session.partitioned: must not be true unless same_site is None",
            )]);
        }
        let problems = crate::config::trial::problems(session(
            json!({"partitioned": true, "same_site": "None", "insecure_allow_http": true}),
        ));
        let rule = "session.partitioned: must not be true with insecure_allow_http";
        assert!(problems.iter().any(|problem| problem.starts_with(rule)), "{problems:?}");
    }
}
