//! Which rule applies to a request: the first whose host, path and method match.
//!
//! Host and path may be readable in several ways; see [`super::host`] and [`super::path`].
//!
//! Only `:authority`, `:path` and `:method` are used, because the proxy itself acts on them. Headers that
//! claim another address or method (`X-Forwarded-Host`, `X-Original-URL`, `X-HTTP-Method-Override` and their
//! like) are never read. The path is the one that the filter sees; a later rewrite in the proxy changes what
//! the upstream gets, not the rule.

use crate::codes::{self, Code};
use crate::text::shown;
use std::fmt;

use super::host::{self, HostOddity};
use super::path::{
    AMBIGUOUS_PATH_LIMIT, Oddity, PathReading, READINGS_LIMIT, Readings, is_plain, plain_meets,
};
use crate::config::{PathMatch, Rule};
use crate::http::Request;

/// Why no rule can be selected. The request is refused with [`PathError::status`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathError {
    /// The request target is not a path (RFC 9112 section 3.2.1): `*`, an address, nothing.
    NotAPath {
        /// The target, made safe to print.
        found: String,
    },
    /// A rule needs the host, but the request does not have one with a single reading.
    NotAHost {
        /// The authority, made safe to print.
        found: String,
    },
    /// Two readings of the host come under different rules.
    AmbiguousHost {
        /// The rule of the host without its port.
        one: String,
        /// The rule of the other reading.
        other: String,
        /// The reason for the difference.
        because: HostOddity,
    },
    /// Two readings of the path come under different rules.
    Ambiguous {
        /// The rule of the path as sent; `none` if there is none.
        one: String,
        /// The rule of the other reading; `none` if there is none.
        other: String,
        /// The reason for the difference.
        because: Oddity,
    },
    /// The path has more than [`READINGS_LIMIT`] readings.
    TooManyReadings,
    /// The path has several readings and more than [`AMBIGUOUS_PATH_LIMIT`] bytes.
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// No rule matches. A checked configuration ends with a rule that does.
    NoRule,
}

impl PathError {
    /// Stable name of the rule that was broken.
    pub fn code(&self) -> &'static Code {
        match self {
            PathError::NotAPath { .. } => &codes::PATH_NOT_A_PATH,
            PathError::NotAHost { .. } => &codes::PATH_NOT_A_HOST,
            PathError::AmbiguousHost { .. } => &codes::HOST_AMBIGUOUS,
            PathError::Ambiguous { .. } => &codes::PATH_AMBIGUOUS,
            PathError::TooManyReadings => &codes::PATH_TOO_MANY_READINGS,
            PathError::TooLong { .. } => &codes::PATH_TOO_LONG,
            PathError::NoRule => &codes::PATH_NO_RULE,
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathError::NotAPath { found } => {
                write!(f, "the request target must be a path beginning with \"/\", but is \"{found}\"")
            }
            PathError::NotAHost { found } => {
                write!(f, "rules name hosts, so the host must be a plain host and port, but is \"{found}\"")
            }
            PathError::AmbiguousHost { one, other, because } => {
                let (one, other) = (shown(one), shown(other));
                write!(
                    f,
                    "the host comes under rule {one}, but under rule {other} if a proxy looks at {because}"
                )
            }
            PathError::Ambiguous { one, other, because } => {
                let (one, other) = (shown(one), shown(other));
                write!(f, "the path comes under rule {one}, but because of {because} also under rule {other}")
            }
            PathError::TooManyReadings => {
                write!(f, "the path must have at most {READINGS_LIMIT} readings, but has more")
            }
            PathError::TooLong { found } => write!(
                f,
                "a path that can be read in several ways may have {AMBIGUOUS_PATH_LIMIT} bytes, but has {found}"
            ),
            PathError::NoRule => f.write_str("some rule must match, but none does"),
        }
    }
}

impl std::error::Error for PathError {}

/// The first rule that matches the request by host, path and method.
///
/// All readings of host and path must come under the same rule.
///
/// # Errors
/// [`PathError`]: the request must not reach the upstream.
pub fn select<'c, R: AsRef<Rule>>(rules: &'c [R], request: &Request) -> Result<&'c R, PathError> {
    let path = request.path_only();
    if !path.starts_with('/') {
        return Err(PathError::NotAPath { found: shown(path) });
    }
    if rules.iter().all(|rule| rule.as_ref().hosts.is_every()) {
        return select_at(rules, None, path, &request.method);
    }
    let Some((host, further)) = host::readings(rules, &request.authority) else {
        return Err(PathError::NotAHost { found: shown(&request.authority) });
    };
    let chosen = select_at(rules, Some(host), path, &request.method)?;
    for reading in further.into_iter().flatten() {
        let other = select_at(rules, reading.host.as_deref(), path, &request.method)?;
        if !std::ptr::eq(chosen, other) {
            let (one, other) = (chosen.as_ref().name.clone(), other.as_ref().name.clone());
            return Err(PathError::AmbiguousHost { one, other, because: reading.because });
        }
    }
    Ok(chosen)
}

/// The rule at a host in one reading; none is a host that no rule names.
fn select_at<'c, R: AsRef<Rule>>(
    rules: &'c [R],
    host: Option<&str>,
    path: &str,
    method: &str,
) -> Result<&'c R, PathError> {
    let is_of_host_and_method = |rule: &Rule| rule.hosts.has(host) && matches_method(rule, method);
    let of_host_and_method = || rules.iter().filter(|rule| is_of_host_and_method(rule.as_ref()));
    if is_plain(path) {
        let mut candidates = of_host_and_method();
        return candidates.find(|rule| plain_meets(path, &rule.as_ref().path)).ok_or(PathError::NoRule);
    }
    let candidates: Vec<&R> = of_host_and_method().collect();
    match candidates.first() {
        None => Err(PathError::NoRule),
        Some(first) if matches!(first.as_ref().path, PathMatch::Any) => Ok(first),
        Some(_) if path.len() > AMBIGUOUS_PATH_LIMIT => Err(PathError::TooLong { found: path.len() }),
        Some(_) => select_by_readings(&candidates, path),
    }
}

fn select_by_readings<'c, R: AsRef<Rule>>(candidates: &[&'c R], path: &str) -> Result<&'c R, PathError> {
    let rule_of =
        |reading: &PathReading| candidates.iter().copied().find(|rule| reading.meets(&rule.as_ref().path));
    let mut readings = Readings::of(path);
    let chosen = rule_of(&PathReading::wire(path));
    while let Some(reading) = readings.advance().map_err(|_| PathError::TooManyReadings)? {
        let other = rule_of(reading);
        let agree = match (chosen, other) {
            (Some(one), Some(other)) => std::ptr::eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        if let (false, Some(because)) = (agree, reading.because) {
            let name = |rule: Option<&R>| rule.map_or_else(|| "none".to_owned(), |r| r.as_ref().name.clone());
            return Err(PathError::Ambiguous { one: name(chosen), other: name(other), because });
        }
    }
    chosen.ok_or(PathError::NoRule)
}

/// Case-sensitive (RFC 9110 section 9.1). `HEAD` is a `GET` without the answer's body.
fn matches_method(rule: &Rule, method: &str) -> bool {
    let named = |wanted: &String| wanted == method || (wanted == "GET" && method == "HEAD");
    rule.methods.is_empty() || rule.methods.iter().any(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Accept, Authentication, Requirement, RuleHosts, TokenRequirement};
    use crate::http::HostTraits;
    use crate::pattern::anchored;

    fn rule(name: &str, path: PathMatch) -> Rule {
        Rule {
            name: name.into(),
            hosts: RuleHosts::default(),
            path,
            methods: Vec::new(),
            accept: Accept::Identity { session: true, bearer: false },
            optional: false,
            provider: 0,
            bearer_providers: Vec::new(),
            resource: None,
            require: Requirement::default(),
            authentication: Authentication::default(),
            token: TokenRequirement::default(),
            report_only: false,
            bypass_cors_preflight: true,
        }
    }

    fn prefix(path: &str) -> Rule {
        rule(path, PathMatch::Prefix(path.into()))
    }

    fn exact(path: &str) -> Rule {
        rule(path, PathMatch::Exact(path.into()))
    }

    fn pattern(text: &str) -> Rule {
        rule(text, PathMatch::Pattern(anchored(text).unwrap()))
    }

    fn default() -> Rule {
        rule("default", PathMatch::Any)
    }

    fn get(path: &str) -> Request {
        Request {
            has_body: false,
            method: "GET".into(),
            scheme: "https".into(),
            authority: "app.example".into(),
            path: path.into(),
            headers: crate::http::Headers::new(),
            host: HostTraits { removes_headers: true, wakes_requests: true, gathers_bodies: true },
        }
    }

    /// The name of the rule, or the code of the error.
    fn decision(rules: &[Rule], request: &Request) -> String {
        match select(rules, request) {
            Ok(rule) => rule.name.clone(),
            Err(error) => error.code().name.to_owned(),
        }
    }

    const REFUSED: &str = "path_ambiguous";

    #[test]
    fn a_path_that_no_rule_has_in_one_of_its_readings_is_ambiguous() {
        let rules = [prefix("/public")];
        for path in ["/public/../admin", "/public/..%2Fadmin", "/public/%2e%2e/admin"] {
            assert_eq!(decision(&rules, &get(path)), REFUSED, "{path}");
        }
        assert_eq!(decision(&rules, &get("/public/a%2Fb")), "/public");
        assert_eq!(decision(&rules, &get("/admin/..%2Fpublic")), REFUSED);
        assert_eq!(decision(&rules, &get("/admin/%2e%2e/x")), "path_no_rule");
    }

    #[test]
    fn no_spelling_of_a_path_reaches_a_public_rule_by_mistake() {
        let rules = [prefix("/public"), exact("/health"), prefix("/admin"), default()];
        let rows: &[(&str, &[(&str, &str)])] = &[
            (
                "honest paths",
                &[
                    ("/public", "/public"),
                    ("/public/", "/public"),
                    ("/public/a.js?v=..%2f", "/public"),
                    ("/public/caf%C3%A9/My%20Doc.pdf", "/public"),
                    ("/public/50%25", "/public"),
                    ("/public/a%2Fb;v=1//c", "/public"),
                    ("/health", "/health"),
                    ("/health?x=/public/", "/health"),
                    ("/health/", "default"),
                    ("/", "default"),
                ],
            ),
            (
                "PATH-01 traversal",
                &[
                    ("/public/../admin", REFUSED),
                    ("/public/./../admin", REFUSED),
                    ("/public/..//admin", REFUSED),
                    ("/public//../admin", REFUSED),
                    ("/public/x/../../admin", REFUSED),
                    ("/public/..", REFUSED),
                    ("/public/x/../y", "/public"),
                    ("/x/../y", "default"),
                ],
            ),
            (
                "PATH-02 encoded traversal",
                &[
                    ("/public/%2e%2e/admin", REFUSED),
                    ("/public/.%2e/admin", REFUSED),
                    ("/public/%2E%2E/admin", REFUSED),
                    ("/public/%252e%252e/admin", REFUSED),
                    ("/public/%c0%ae%c0%ae/admin", REFUSED),
                    ("/public/%e0%80%ae%e0%80%ae/admin", REFUSED),
                    ("/public/%f0%80%80%ae./admin", REFUSED),
                    ("/public/%25c0%25ae%25c0%25ae/admin", REFUSED),
                    ("/public/%u002e%u002e/admin", REFUSED),
                    ("/public/%ef%bc%8e%ef%bc%8e/admin", REFUSED),
                    ("/public/..%00/admin", REFUSED),
                    ("/public/..%20/admin", REFUSED),
                    ("/public/.%09./admin", REFUSED),
                    ("/public/.\t./admin", REFUSED),
                    ("/public/.%0d%0a./admin", REFUSED),
                    ("/public/.%2509./admin", REFUSED),
                    ("/public/%2e%09%2e/admin", REFUSED),
                    ("/public/.%00./admin", REFUSED),
                    ("/public/.%7f./admin", REFUSED),
                    ("/%09/admin", REFUSED),
                    ("/ad%09min", REFUSED),
                    ("/ad%0amin/x", REFUSED),
                ],
            ),
            (
                "PATH-03 encoded slash and backslash",
                &[
                    ("/public%2fadmin", REFUSED),
                    ("/public/..%2fadmin", REFUSED),
                    ("/public/..%252fadmin", REFUSED),
                    ("/public/..%c0%afadmin", REFUSED),
                    ("/public/%5c..%5cadmin", REFUSED),
                    ("/public\\..\\admin", REFUSED),
                    ("/public/..\\admin", REFUSED),
                    ("/public/..%c1%9cadmin", REFUSED),
                    ("\\public", "path_not_a_path"),
                ],
            ),
            (
                "PATH-04 double slash",
                &[
                    ("//admin", REFUSED),
                    ("//x/admin", REFUSED),
                    ("///x/admin", REFUSED),
                    ("/\\x/admin", REFUSED),
                    ("/%2Fx/admin", REFUSED),
                    ("/.//x/admin", REFUSED),
                    ("///public", REFUSED),
                    ("/public//../admin", REFUSED),
                    ("/public//x", "/public"),
                ],
            ),
            (
                "PATH-05 parameters",
                &[
                    ("/public;/../admin", REFUSED),
                    ("/public/..;/admin", REFUSED),
                    ("/public/..;x=1/admin", REFUSED),
                    ("/public/..%3b/admin", REFUSED),
                    ("/admin;x=/public/", REFUSED),
                    ("/;/public", REFUSED),
                    ("/public;x", REFUSED),
                    ("/public/x;v=1", "/public"),
                ],
            ),
            ("PATH-06 case", &[("/Public", "default"), ("/ADMIN", "default"), ("/PUBLIC/..", "default")]),
            ("PATH-07 query", &[("/admin?x=/public/", "/admin"), ("/admin?/public/health", "/admin")]),
            (
                "PATH-09 encoded delimiters",
                &[
                    ("/admin%3f/public", REFUSED),
                    ("/public%3f/../admin", REFUSED),
                    ("/admin%23/../public", REFUSED),
                    ("/admin#/../public", REFUSED),
                    ("/admin%00/../../public", REFUSED),
                    ("/public%00", REFUSED),
                    ("/public%00x", REFUSED),
                    ("/public%0dx", REFUSED),
                    ("/public%0ax", REFUSED),
                ],
            ),
            (
                "PATH-10 boundary",
                &[
                    ("/publicity", "default"),
                    ("/public.evil", "default"),
                    ("/public-", "default"),
                    ("/public.", REFUSED),
                    ("/healthz", "default"),
                ],
            ),
            (
                "PATH-14 no path",
                &[
                    ("", "path_not_a_path"),
                    ("*", "path_not_a_path"),
                    ("http://h/public", "path_not_a_path"),
                    ("public", "path_not_a_path"),
                    ("?/public", "path_not_a_path"),
                ],
            ),
            (
                "PATH-16 not UTF-8",
                &[("/public/%ff", "/public"), ("/%ff/public", "default"), ("/public%ff", "default")],
            ),
            (
                "PATH-18 no Unicode folding",
                &[
                    ("/publ\u{131}c", "default"),
                    ("/publ%C4%B1c", "default"),
                    ("/\u{ff50}ublic", "default"),
                    ("/p\u{fa}blic", "default"),
                ],
            ),
            (
                "blanks that frameworks trim",
                &[
                    ("/admin%20", REFUSED),
                    ("/admin%09/x", REFUSED),
                    ("/%0aadmin", REFUSED),
                    ("/admin%C2%A0", REFUSED),
                    ("/admin%0d%0a", REFUSED),
                    ("/health%0a", REFUSED),
                    ("/voil%C3%A0", "default"),
                ],
            ),
        ];
        for (row, cases) in rows {
            for (path, expected) in *cases {
                assert_eq!(decision(&rules, &get(path)), *expected, "{row}: {path}");
            }
        }
    }

    #[test]
    fn an_ambiguous_path_names_the_character() {
        let rules = [prefix("/public"), default()];
        for (path, because) in [
            ("/public/../admin", Oddity::DotSegment),
            ("/public%2fadmin", Oddity::Encoded(b'/')),
            ("/public;x", Oddity::Semicolon),
            ("//public", Oddity::DoubleSlash),
            ("/public\\x", Oddity::Backslash),
            ("/public%20", Oddity::Trimmed),
            ("/public#x", Oddity::End(b'#')),
            ("/public%u002fx", Oddity::Disguised),
        ] {
            match select(&rules, &get(path)).unwrap_err() {
                PathError::Ambiguous { because: found, .. } => assert_eq!(found, because, "{path}"),
                other => panic!("{path}: {other}"),
            }
        }
        let error = select(&rules, &get("/public%2fadmin")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the path comes under rule default, but because of the percent-encoded character %2F \
             also under rule /public"
        );
        assert_eq!(error.code().kind.status, 400);
    }

    #[test]
    fn a_rule_is_written_as_the_path_is_sent() {
        let rules = [exact("/caf\u{e9}"), prefix("/a%2fb"), prefix("/my docs"), exact("/50%25"), default()];
        for (path, expected) in [
            ("/caf%c3%a9", "/caf\u{e9}"),
            ("/caf%C3%A9", "/caf\u{e9}"),
            ("/caf\u{e9}", "/caf\u{e9}"),
            ("/a%2Fb/c", "/a%2fb"),
            ("/a%2fb", "/a%2fb"),
            ("/a/b", "default"),
            ("/my%20docs/x", "/my docs"),
            ("/50%25", "/50%25"),
        ] {
            assert_eq!(decision(&rules, &get(path)), expected, "{path}");
        }
    }

    #[test]
    fn prefix_slash_matches_everything_and_trailing_slashes_are_exact() {
        let rules = [exact("/admin"), prefix("/")];
        for (path, expected) in
            [("/admin", "/admin"), ("/admin/", "/"), ("/x/y", "/"), ("/admin/x/..", REFUSED), ("/x/..", "/")]
        {
            assert_eq!(decision(&rules, &get(path)), expected, "{path}");
        }
    }

    #[test]
    fn an_expression_matches_the_whole_path() {
        let rules =
            [pattern("/health"), pattern("/a|/b"), pattern("/public/.*"), pattern("(?m)^/m$"), default()];
        for (path, expected) in [
            ("/health", "/health"),
            ("/admin/health", "default"),
            ("/healthz/../admin", "default"),
            ("/health/../admin", "default"),
            ("/a", "/a|/b"),
            ("/ab", "default"),
            ("/x/b", "default"),
            ("/public/a%20b", "/public/.*"),
            ("/public/%0a/admin", REFUSED),
            ("/public/../admin", REFUSED),
            ("/m", "(?m)^/m$"),
            ("/x%0a/m", "default"),
        ] {
            let found = decision(&rules, &get(path));
            assert_eq!(found, expected, "{path}");
        }
        // Last segment only (PATH-11).
        let scripts = [pattern(r"/assets/[^/;%]*\.js"), default()];
        for (path, expected) in [
            ("/assets/x.js", r"/assets/[^/;%]*\.js"),
            ("/admin/x.js", "default"),
            ("/assets/admin;.js", "default"),
            ("/assets/admin%00.js", REFUSED),
            ("/assets/admin?.js", "default"),
        ] {
            assert_eq!(decision(&scripts, &get(path)), expected, "{path}");
        }
    }

    /// Rules as a configuration has them, whose session is at `hosts`.
    fn at_hosts(hosts: &[&str], rules: serde_json::Value) -> Vec<Rule> {
        let document = serde_json::json!({"session": {"hosts": hosts}, "rules": rules});
        crate::config::trial::read(document).unwrap().rules
    }

    fn named(authority: &str) -> Request {
        let mut request = get("/");
        request.authority = authority.into();
        request.headers.push("x-forwarded-host", "public.example.com");
        request.headers.push("forwarded", "host=public.example.com");
        request
    }

    #[test]
    fn a_host_that_a_proxy_could_take_for_another_is_refused() {
        let rules = at_hosts(
            &["app.example.com", "odd.example.com:8443", "[::1]:8080"],
            serde_json::json!([
                {"name": "public", "hosts": ["public.example.com", "odd.example.com"], "accept": "public"},
                {"name": "port", "hosts": ["port.example.com:9000"], "accept": "public"},
                {"name": "address", "hosts": ["[::1]", "127.0.0.1"], "accept": "deny"},
            ]),
        );
        for (authority, expected) in [
            ("public.example.com", "public"),
            ("Public.Example.COM", "public"),
            ("public.example.com:443", "public"),
            ("odd.example.com", "public"),
            ("odd.example.com:8443", "public"),
            ("ODD.example.com:8443", "public"),
            ("port.example.com:9000", "port"),
            ("[::1]", "address"),
            ("[::1]:8080", "address"),
            ("127.0.0.1", "address"),
            ("app.example.com", "default"),
            ("app.example.com:1", "default"),
            ("admin.example.com.", "default"),
            ("under_score.example.com:", "default"),
            ("10.0.0.1:80", "default"),
            ("public.example.com.evil", "default"),
            ("public.example.com:1", "host_ambiguous"),
            ("public.example.com:80", "host_ambiguous"),
            ("public.example.com:8443", "host_ambiguous"),
            ("public.example.com:0443", "host_ambiguous"),
            ("public.example.com:+443", "path_not_a_host"),
            ("public.example.com:99999", "host_ambiguous"),
            ("public.example.com:", "host_ambiguous"),
            ("public.example.com.", "host_ambiguous"),
            ("public.example.com.:443", "host_ambiguous"),
            ("odd.example.com.:8443", "host_ambiguous"),
            ("odd.example.com:08443", "host_ambiguous"),
            ("port.example.com", "host_ambiguous"),
            ("port.example.com:443", "host_ambiguous"),
            ("[0::1]", "host_ambiguous"),
            ("[0:0:0:0:0:0:0:1]:8080", "host_ambiguous"),
            ("[::1]:443", "address"),
            ("[::1]:1", "host_ambiguous"),
            ("127.1", "host_ambiguous"),
            ("0x7f.1", "host_ambiguous"),
            ("2130706433", "host_ambiguous"),
            ("127.0.0.1.", "host_ambiguous"),
            ("127.2", "default"),
            ("", "path_not_a_host"),
            (":80", "path_not_a_host"),
            ("public.example.com..", "path_not_a_host"),
            ("public.example.com@evil", "path_not_a_host"),
            ("admin.example.com:80@public.example.com", "path_not_a_host"),
            ("public.example.com:x", "path_not_a_host"),
            ("public.example.com,evil", "path_not_a_host"),
            ("%70ublic.example.com", "path_not_a_host"),
            ("publ\u{131}c.example.com", "path_not_a_host"),
            ("[::1", "path_not_a_host"),
            ("[x]", "path_not_a_host"),
        ] {
            assert_eq!(decision(&rules, &named(authority)), expected, "HOST-04 {authority:?}");
        }
        assert_eq!(decision(&[default()], &named("")), "default", "no rule names a host");
        let error = select(&rules, &named("public.example.com:1")).unwrap_err();
        assert_eq!(error.code().kind.status, 400);
        assert_eq!(
            error.to_string(),
            "the host comes under rule public, but under rule default if a proxy looks at the port (if the \
             site has it, name it in rules[].hosts)"
        );
    }

    #[test]
    fn an_ambiguous_host_is_accepted_where_every_reading_has_the_same_rule() {
        let rules = at_hosts(
            &["app.example.com"],
            serde_json::json!([
                {"name": "health", "path": "/health", "accept": "public"},
                {"name": "posts", "hosts": ["public.example.com"], "methods": ["POST"], "accept": "public"},
                {"name": "public", "hosts": ["public.example.com"], "path_prefix": "/public", "accept": "public"},
            ]),
        );
        for (path, expected) in [
            ("/health", "health"),
            ("/x", "default"),
            ("/public", "host_ambiguous"),
            ("/public%2fx", "path_ambiguous"),
            ("/x/../public", "path_ambiguous"),
        ] {
            for authority in ["public.example.com:1", "public.example.com."] {
                let request = Request { path: path.into(), ..named(authority) };
                assert_eq!(decision(&rules, &request), expected, "{authority} {path}");
            }
        }
    }

    #[test]
    fn only_the_default_port_of_a_named_host_is_removed() {
        let rules = at_hosts(
            &["app.example.com", "odd.example.com:8443"],
            serde_json::json!([
                {"hosts": ["a.example.com", "odd.example.com"], "accept": "public"},
                {"hosts": ["port.example.com:9000"], "accept": "public"},
            ]),
        );
        for (authority, expected) in [
            ("a.example.com:443", Some("a.example.com")),
            ("A.example.com:443", Some("A.example.com")),
            ("a.example.com", None),
            ("a.example.com:80", None),
            ("a.example.com:0443", None),
            ("a.example.com.:443", None),
            ("app.example.com:443", None),
            ("odd.example.com:8443", None),
            ("port.example.com:443", None),
            (":443", None),
            ("", None),
        ] {
            let found = super::host::without_usual_port(&rules, &named(authority), 443).map(str::to_owned);
            assert_eq!(found.as_deref(), expected, "{authority:?}");
        }
    }

    /// An authority gets one decision by proxies that use all of it and by those that drop port and dot.
    #[test]
    fn no_proxy_reads_an_accepted_host_under_another_rule() {
        const PARTS: [&str; 14] = [
            ":",
            ":443",
            ":8443",
            ":1",
            ".",
            "0",
            "443",
            "@",
            "[",
            "]",
            "status",
            ".example.com",
            "-",
            "%2e",
        ];
        let rules = at_hosts(
            &["app.example.com:8443"],
            serde_json::json!([
                {"name": "status", "hosts": ["status.example.com"], "accept": "public"},
                {"name": "app", "hosts": ["app.example.com", "[::1]"]},
            ]),
        );
        let rule_of = |host: &str| match host {
            "status.example.com" => "status",
            "app.example.com" | "app.example.com:8443" | "[::1]" => "app",
            _ => "default",
        };
        let bare = |authority: &str| {
            let port = authority.rfind(':').filter(|at| *at > authority.rfind(']').unwrap_or(0));
            let host = authority.get(..port.unwrap_or(authority.len())).unwrap();
            host.strip_suffix('.').unwrap_or(host).to_owned()
        };
        let mut random = Random(0x0068_6f73_7473);
        let (mut passed, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let first = ["status.example.com", "STATUS.example.com", "app.example.com", "[::1]", "x.example"];
            let authority = (0..random.below(4))
                .fold(first[random.below(5)].to_owned(), |text, _| text + PARTS[random.below(PARTS.len())]);
            let request = named(&authority);
            let Ok(chosen) = select(&rules, &request) else {
                refused += 1;
                continue;
            };
            passed += 1;
            let sent = super::host::without_usual_port(&rules, &request, 443).unwrap_or(&authority);
            let sent = sent.to_ascii_lowercase();
            for (proxy, seen) in [("Envoy", sent.clone()), ("nginx", bare(&sent))] {
                assert_eq!(chosen.name, rule_of(&seen), "{proxy} reads {authority:?} as {seen:?}");
            }
        }
        assert!(passed > 3_000 && refused > 3_000, "{passed} passed, {refused} refused");
    }

    #[test]
    fn methods_are_exact_and_override_headers_are_ignored() {
        let read = Rule { methods: vec!["GET".into()], ..rule("read", PathMatch::Any) };
        let rules = [read, default()];
        for (method, expected) in [
            ("GET", "read"),
            ("HEAD", "read"),
            ("get", "default"),
            ("POST", "default"),
            ("TRACE", "default"),
            ("", "default"),
        ] {
            let mut request = get("/");
            request.method = method.into();
            request.headers.push("x-http-method-override", "GET");
            assert_eq!(decision(&rules, &request), expected, "{method}");
        }
    }

    #[test]
    fn headers_that_claim_another_address_are_ignored() {
        let rules = [prefix("/public"), default()];
        let mut request = get("/admin");
        for name in
            ["x-forwarded-uri", "x-original-url", "x-rewrite-url", "x-envoy-original-path", "user-agent"]
        {
            request.headers.push(name, "/public/health");
        }
        assert_eq!(decision(&rules, &request), "default");
    }

    #[test]
    fn connect_without_a_path_is_refused_and_with_one_is_judged_like_the_rest() {
        let rules = [prefix("/public"), default()];
        let mut connect = get("");
        connect.method = "CONNECT".into();
        assert_eq!(decision(&rules, &connect), "path_not_a_path");
        connect.path = "/public/chat".into();
        assert_eq!(decision(&rules, &connect), "/public");
    }

    #[test]
    fn without_rules_everything_is_refused() {
        assert_eq!(select::<Rule>(&[], &get("/")).unwrap_err(), PathError::NoRule);
        assert_eq!(select::<Rule>(&[], &get("/%2e")).unwrap_err(), PathError::NoRule);
        assert_eq!(select(&[exact("/a")], &get("/b")).unwrap_err().code().kind.status, 403);
        assert_eq!(decision(&[exact("/a")], &get("/b/%2e")), "path_no_rule");
        assert_eq!(decision(&[exact("/a")], &get("/%61")), REFUSED);
    }

    /// Browsers' and RFC 3986's readings take dots and letters out of their encoding and leave the rest.
    #[test]
    fn a_pattern_about_encodings_also_holds_for_partly_decoded_paths() {
        let rules = [pattern("/files/[^/]*%25.*"), default()];
        for path in [
            "/files/50%25",
            "/a/%2e%2e/files/50%25",
            "/a/.%2E/files/50%25",
            "/%2e/files/50%25",
            "/%66iles/50%25",
        ] {
            assert_eq!(decision(&rules, &get(path)), REFUSED, "{path}");
        }
    }

    #[test]
    fn the_cost_of_long_paths_is_bounded() {
        let rules = [prefix("/public"), default()];
        let long = |part: &str| format!("/{}", part.repeat(32 * 1024 / part.len()));
        assert_eq!(decision(&rules, &get(&long("a/"))), "default");
        assert_eq!(decision(&rules, &get(&long("%2e/"))), "path_too_long");
        assert_eq!(decision(&rules, &get(&long("../"))), "path_too_long");
        assert_eq!(decision(&[default()], &get(&long("../"))), "default", "no rule looks at the path");
        let worst = format!("/{}", "%25%32%65;a%5c%00%0a%3f#//%c0%ae..%20/".repeat(50));
        assert!(["path_too_many_readings", "default"].contains(&decision(&rules, &get(&worst)).as_str()));
    }

    #[test]
    fn logged_parts_of_a_request_are_cut_and_escaped() {
        let error = select(&[default()], &get(&format!("x\r\n\u{1b}[31m{}", "y".repeat(500)))).unwrap_err();
        let PathError::NotAPath { found } = &error else { panic!("{error}") };
        assert_eq!(found, &format!("x\\r\\n\\u{{1b}}[31m{}...", "y".repeat(85)));
    }

    /// How different programs read a path. Written independently of the readings.
    mod programs {
        fn decode(path: &str) -> String {
            let (mut out, mut rest) = (Vec::new(), path.as_bytes());
            while let [first, tail @ ..] = rest {
                match rest.get(1..3).and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok()) {
                    Some(byte) if *first == b'%' && rest[1].is_ascii_hexdigit() => {
                        out.push(byte);
                        rest = &rest[3..];
                    }
                    _ => {
                        out.push(*first);
                        rest = tail;
                    }
                }
            }
            String::from_utf8_lossy(&out).into_owned()
        }

        fn resolve(path: &str, merge: bool) -> String {
            let mut kept: Vec<&str> = Vec::new();
            let mut segments = path.split('/').skip(1).peekable();
            while let Some(segment) = segments.next() {
                let last = segments.peek().is_none();
                match segment {
                    "." | ".." => {
                        if segment == ".." {
                            kept.pop();
                        }
                        if last {
                            kept.push("");
                        }
                    }
                    "" if merge && !last => {}
                    _ => kept.push(segment),
                }
            }
            format!("/{}", kept.join("/"))
        }

        /// Decode, merge, resolve.
        pub fn nginx(path: &str) -> String {
            let decoded = decode(path.split('#').next().unwrap());
            resolve(decoded.split('\0').next().unwrap(), true)
        }

        /// Strip parameters, decode, backslash to slash, merge, resolve.
        pub fn tomcat(path: &str) -> String {
            let bare: Vec<&str> = path.split('/').map(|s| s.split(';').next().unwrap()).collect();
            resolve(&decode(&bare.join("/")).replace('\\', "/"), true)
        }

        /// nginx before Tomcat.
        pub fn chain(path: &str) -> String {
            tomcat(&nginx(path))
        }

        /// As browsers and Node.js read an address (WHATWG URL).
        pub fn whatwg(path: &str) -> String {
            url::Url::parse(&format!("http://h{path}")).unwrap().path().to_owned()
        }

        /// Resolves before it decodes.
        pub fn late(path: &str) -> String {
            decode(&resolve(path, false))
        }
    }

    /// xorshift64; the seed is fixed so that a failure can be repeated.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0.checked_rem(bound as u64).unwrap()).unwrap()
        }
    }

    #[test]
    fn no_program_reads_an_accepted_path_under_another_rule() {
        const PARTS: [&str; 26] = [
            "public", "admin", "x", "/", "/", "/", "..", ".", ";", "%2e", "%2E", "%2f", "%5c", "\\", "%252e",
            "%252f", "%3b", "%3f", "%23", "#", "%00", "%20", "%c3%a9", "a%", "//", ";v=1",
        ];
        let rules = [prefix("/public"), exact("/x"), prefix("/admin"), pattern("/[a-z]+/x"), default()];
        type Program = fn(&str) -> String;
        let programs: [(&str, Program); 5] = [
            ("nginx", programs::nginx),
            ("tomcat", programs::tomcat),
            ("nginx before tomcat", programs::chain),
            ("whatwg", programs::whatwg),
            ("late", programs::late),
        ];
        let mut random = Random(0x0076_6573_7469_6275);
        let (mut passed, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let length = random.below(8);
            let first = ["/public", "/admin", "/x", "/", "//"][random.below(5)];
            let path = (0..length).fold(first.to_owned(), |path, _| path + PARTS[random.below(PARTS.len())]);
            let Ok(chosen) = select(&rules, &get(&path)) else {
                refused += 1;
                continue;
            };
            passed += 1;
            for (program, read) in programs {
                let seen = read(&path);
                let of_program = rules.iter().find(|rule| plain_meets(&seen, &rule.path)).unwrap();
                assert_eq!(chosen.name, of_program.name, "{program} reads {path:?} as {seen:?}");
            }
        }
        assert!(passed > 3_000 && refused > 3_000, "{passed} passed, {refused} refused");
    }
}
