//! A browser and our cookies: what is set comes back, what is deleted is gone, and what somebody
//! else puts there is worth nothing.

mod logins;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::parts::{COOKIE_LIMIT, PARTS_LIMIT};
use super::*;
use crate::config::{
    CalloutTargets, Client, ClientAuthentication, Config, Endpoints, Identity, Provider, RedirectUri,
    ResponseMode, SameSite, UserinfoUse,
};
use crate::http::Headers;
use crate::secret::Secret;
use crate::time::{Seconds, Timestamp};

pub(super) const NOW: Timestamp = Timestamp(1_700_000_000);
const BASE: &str = "__Host-vestibule";
const STATE: &str = "0123456789abcdef-the-rest-of-the-state_0123";

fn provider(name: &str) -> Provider {
    let callout = |target: &str| target.to_owned();
    Provider {
        name: name.into(),
        issuer: format!("https://{name}.example"),
        issuers: vec![format!("https://{name}.example")],
        callout: CalloutTargets {
            discovery: callout("idp"),
            jwks: callout("idp"),
            token: callout("idp"),
            userinfo: None,
            default: None,
        },
        callout_timeout: Duration::from_secs(5),
        client: Client {
            id: "client".into(),
            authentication: ClientAuthentication::None,
            next: None,
            secret_expires_at: None,
            assertion_audience: None,
        },
        scopes: vec!["openid".into()],
        userinfo: UserinfoUse::IfNeeded,
        refresh: None,
        authorization_parameters: Vec::new(),
        parameters_from_request: Vec::new(),
        max_age: None,
        redirect_uri: RedirectUri::Path("/callback".into()),
        response_mode: ResponseMode::Query,
        post_logout_redirect_uri: None,
        post_logout_redirect_parameter: "post_logout_redirect_uri".into(),
        end_session_endpoint: None,
        audiences: Vec::new(),
        clients_without_audience: Vec::new(),
        trusted_audiences: Vec::new(),
        algorithms: Vec::new(),
        require_access_token_type: false,
        leeway: Seconds(60),
        insecure_allow_http: false,
    }
}

/// One provider, eight hours, half an hour idle, ten minutes for a login.
pub(super) fn configuration() -> Config {
    Config {
        providers: vec![provider("main")],
        session: crate::config::Session {
            keys: vec![Secret::from("a secret of 32 characters or more, first")],
            cookie_name: BASE.into(),
            same_site: SameSite::Lax,
            partitioned: false,
            domain: None,
            claims: Vec::new(),
            hosts: Vec::new(),
            absolute_lifetime: Seconds(28_800),
            idle_timeout: Seconds(1800),
            max_cookies: 8,
            refreshed_sessions: crate::config::Room { mebibytes: 64 },
            login_lifetime: Seconds(600),
            preserve_form: true,
            preserve_fragment: false,
            insecure_allow_http: false,
        },
        rules: Vec::new(),
        identity: Identity {
            headers: Vec::new(),
            access_token_header: None,
            id_token_header: None,
            request_headers_to_remove: Vec::new(),
            session_claims: Vec::new(),
        },
        endpoints: Endpoints {
            login: "/login".into(),
            logout: "/logout".into(),
            logged_out: "/logged-out".into(),
            session: "/session".into(),
            restore: "/restore".into(),
            backchannel_logout: None,
            frontchannel_logout: None,
        },
        log: crate::config::Log { rate_limit: 20 },
        shared_data: false,
        warnings: Vec::new(),
    }
}

/// A session that began now.
pub(crate) fn session() -> Session {
    Session {
        of_userinfo: Vec::new(),
        id: "an id".into(),
        subject: "alice".into(),
        claims: json!({"groups": ["a", "b"], "email": "alice@example.com"}).as_object().unwrap().clone(),
        scopes: vec!["openid".into()],
        id_token: None,
        id_token_expires_at: None,
        is_id_token_kept: false,
        access_token: Some(Secret::from("an access token")),
        access_token_expires_at: Some(Timestamp(NOW.0 + 300)),
        refresh_token: None,
        nonce: None,
        obtained_at: None,
        generation: 0,
        created_at: NOW,
        seen_at: NOW,
        expires_at: Timestamp(1_700_028_800),
        needs: "fingerprint".into(),
    }
}

/// A text of so many bytes that nothing makes shorter than three quarters: it has six bits in each.
pub(crate) fn noise(bytes: usize) -> String {
    use sha2::{Digest, Sha256};
    let digests = (0..=bytes as u64 / 32).flat_map(|n| Sha256::digest(n.to_be_bytes()));
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    digests.take(bytes).map(|byte| char::from(alphabet[usize::from(byte % 64)])).collect()
}

/// A session whose plaintext is longer by about three quarters of `bytes`.
fn session_of(bytes: usize) -> Session {
    let claims = Map::from_iter([("pad".to_owned(), Value::String(noise(bytes)))]);
    Session { claims, ..session() }
}

fn login(state: &str) -> Login {
    Login {
        state: state.into(),
        nonce: "a nonce".into(),
        code_verifier: "a verifier".into(),
        return_to: "/orders?page=2".into(),
        redirect_uri: "https://app.example/callback".into(),
        started_at: NOW,
        landing: Default::default(),
        began_as: None,
        needless: 0,
        rounds: 1,
        acr_values: Vec::new(),
        max_age: None,
        person: None,
    }
}

fn cookies(change: impl FnOnce(&mut Config)) -> Cookies {
    let mut config = configuration();
    change(&mut config);
    Cookies::new(&config)
}

/// A nonce per call, as the caller's generator would give.
fn nonce() -> [u8; 24] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&DRAWN.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    nonce
}

/// Keeps cookies by name, as a browser does that visits one host.
#[derive(Default, Clone)]
struct Browser(BTreeMap<String, String>);

impl Browser {
    fn receives<I: IntoIterator<Item = String>>(&mut self, set_cookies: I) {
        for set_cookie in set_cookies {
            assert!(set_cookie.len() <= COOKIE_LIMIT, "{} bytes", set_cookie.len());
            let (pair, attributes) = set_cookie.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match attributes.contains("Max-Age=0") {
                true => self.0.remove(name),
                false => self.0.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    fn headers(&self) -> Headers {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { Headers::new() } else { [("cookie", pairs.join("; "))].into_iter().collect() }
    }

    fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    fn logs_in(&mut self, cookies: &Cookies, session: &Session) {
        let headers = self.headers();
        self.receives(cookies.set_session(0, session, &Jar::read(&headers), nonce()).unwrap());
    }

    fn begins(&mut self, cookies: &Cookies, login: &Login, now: Timestamp) {
        let headers = self.headers();
        self.receives(cookies.set_login(0, login, &Jar::read(&headers), now, nonce()));
    }

    fn finishes(&self, cookies: &Cookies, state: &str, now: Timestamp) -> Result<Login, LoginMissing> {
        cookies.open_login(0, state, &Jar::read(&self.headers()), now)
    }

    fn session(&self, cookies: &Cookies) -> Option<Session> {
        session_in(cookies, &self.headers())
    }
}

fn session_in(cookies: &Cookies, headers: &Headers) -> Option<Session> {
    cookies.session_text(0, &Jar::read(headers)).find_map(|text| cookies.open_session(0, &text))
}

fn header(text: &str) -> Headers {
    [("cookie", text)].into_iter().collect()
}

fn logged_in(cookies: &Cookies, session: &Session) -> Browser {
    let mut browser = Browser::default();
    browser.logs_in(cookies, session);
    browser
}

#[test]
fn a_session_comes_back_as_it_was() {
    let cookies = cookies(|_| {});
    for session in [session(), Session { access_token: None, access_token_expires_at: None, ..session() }] {
        assert_eq!(logged_in(&cookies, &session).session(&cookies), Some(session));
    }
    assert_eq!(Browser::default().session(&cookies), None);
}

#[test]
fn every_cookie_has_its_attributes() {
    let secure = cookies(|_| {});
    let jar = Jar::default();
    let end = |cookie: &String| cookie.split_once(';').unwrap().1.to_owned();
    let lax = " Path=/; Secure; HttpOnly; SameSite=Lax";
    assert_eq!(end(&secure.set_session(0, &session(), &jar, nonce()).unwrap()[0]), lax);
    assert_eq!(
        end(&secure.set_login(0, &login(STATE), &jar, NOW, nonce())[0]),
        format!("{lax}; Max-Age=600")
    );
    assert_eq!(end(&secure.set_rounds(&[(1, 1)], &Jar::default(), NOW)), format!("{lax}; Max-Age=120"));

    let strict = cookies(|config| config.session.same_site = SameSite::Strict);
    assert!(strict.set_session(0, &session(), &jar, nonce()).unwrap()[0].ends_with("; SameSite=Strict"));
    assert!(strict.set_login(0, &login(STATE), &jar, NOW, nonce())[0].contains("; SameSite=Lax;"));
    assert!(strict.set_rounds(&[(1, 1)], &Jar::default(), NOW).contains("; SameSite=Lax;"));

    let plain = cookies(|config| {
        config.session.insecure_allow_http = true;
        config.session.cookie_name = "vestibule".into();
    });
    let cookie = &plain.set_session(0, &session(), &jar, nonce()).unwrap()[0];
    assert!(cookie.starts_with("vestibule=1."));
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"));
}

#[test]
fn deletion_repeats_every_attribute() {
    let cookies = cookies(|config| config.session.same_site = SameSite::None);
    let gone = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    assert_eq!(
        cookies.delete_session(0, &Jar::default()),
        [format!("{BASE}=; Path=/; Secure; HttpOnly; SameSite=None; {gone}")]
    );
    assert_eq!(
        cookies.delete_login(0, STATE),
        [format!("{BASE}-login-0123456789abcdef=; Path=/; Secure; HttpOnly; SameSite=None; {gone}")]
    );
}

#[test]
fn with_several_providers_each_has_a_session_of_its_own() {
    let cookies = cookies(|config| config.providers.push(provider("other")));
    let jar = Jar::default();
    let mut browser = Browser::default();
    browser.receives(cookies.set_session(0, &session(), &jar, nonce()).unwrap());
    let other = Session { subject: "bob".into(), ..session() };
    browser.receives(cookies.set_session(1, &other, &jar, nonce()).unwrap());
    assert_eq!(browser.names(), [format!("{BASE}-main"), format!("{BASE}-other")]);

    let headers = browser.headers();
    let jar = Jar::read(&headers);
    for (provider, subject) in [(0, "alice"), (1, "bob")] {
        let text = cookies.session_text(provider, &jar).next().unwrap();
        assert_eq!(cookies.open_session(provider, &text).unwrap().subject, subject);
        assert_eq!(cookies.open_session(1 - provider, &text), None, "not at the other provider");
    }
    assert_eq!(cookies.session_text(2, &jar).count(), 0);
    assert_eq!(cookies.open_session(2, "1.AAAA"), None);
}

#[test]
fn a_session_of_any_size_comes_back_whole_or_is_not_written() {
    let cookies = cookies(|_| {});
    let (mut seen, mut too_large) = ([false; PARTS_LIMIT], 0);
    for bytes in (0..32_800).step_by(139).chain(3500..3700).chain(31_500..31_800) {
        let session = session_of(bytes);
        match cookies.set_session(0, &session, &Jar::default(), nonce()) {
            Ok(set_cookies) => {
                let full = set_cookies.iter().rev().skip(1);
                full.for_each(|cookie| assert_eq!(cookie.len(), COOKIE_LIMIT, "parts are filled"));
                seen[set_cookies.len() - 1] = true;
                let mut browser = Browser::default();
                browser.receives(set_cookies);
                assert_eq!(browser.session(&cookies), Some(session), "{bytes}");
            }
            Err(SessionTooLarge { bytes, limit }) => {
                assert!(bytes > limit);
                assert!(limit > 8 * 4000);
                too_large += 1;
            }
        }
    }
    assert_eq!(seen, [true; PARTS_LIMIT]);
    assert!(too_large > 0);
}

#[test]
fn a_name_that_leaves_no_room_is_an_error_and_no_crash() {
    let cookies = cookies(|config| config.session.cookie_name = "x".repeat(5000));
    let error = cookies.set_session(0, &session(), &Jar::default(), nonce()).unwrap_err();
    assert_eq!(error.limit, 0);
    assert_eq!(error.code(), "session_too_large");
}

#[test]
fn parts_count_only_together_and_by_number() {
    let cookies = cookies(|_| {});
    let whole = logged_in(&cookies, &session_of(8000));
    assert_eq!(whole.0.len(), 3);
    let pairs: Vec<String> = whole.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let [first, second, third] = pairs.as_slice() else { panic!("three parts") };
    let opens = |parts: &[&str]| session_in(&cookies, &header(&parts.join("; "))).is_some();

    assert!(opens(&[first, second, third]));
    assert!(opens(&[third, second, first]), "in any order");
    assert!(opens(&[third, "a=1", first, "b=2", second]));
    assert!(opens(&[first, second, third, &format!("{BASE}.3=stale")]), "a part too many is not read");
    for missing in [&[first, second][..], &[first, third], &[second, third], &[second], &[first]] {
        let parts: Vec<&str> = missing.iter().map(|part| part.as_str()).collect();
        assert!(!opens(&parts));
    }
    let renumbered = [first, &second.replace(".1=", ".2="), &third.replace(".2=", ".1=")];
    assert!(!opens(&renumbered.map(String::as_str)), "not swapped");
    for twice in [first, second, third] {
        assert!(!opens(&[first, second, third, twice]), "not doubled");
    }
    for count in ["0", "1", "2", "4", "9", "99999999", "-1", "1e9", "4294967296", ""] {
        let renamed = first.replacen("=3.", &format!("={count}."), 1);
        assert!(!opens(&[&renamed, second, third, &format!("{BASE}.3=")]), "{count:?}");
    }
}

#[test]
fn a_session_in_one_part_is_found_among_foreign_ones_of_its_name() {
    let cookies = cookies(|_| {});
    let real = logged_in(&cookies, &session()).0.remove(BASE).unwrap();
    let opens = |values: &[&str]| {
        let pairs: Vec<_> = values.iter().map(|value| format!("{BASE}={value}")).collect();
        session_in(&cookies, &header(&pairs.join("; "))).is_some()
    };
    assert!(opens(&[&real]));
    assert!(opens(&["1.tossed", "2.tossed", "x", "", "1.x", &real]));
    assert!(opens(&["1.a", "1.b", "1.c", &real]));
    assert!(!opens(&["1.a", "1.b", "1.c", "1.d", &real]), "four are tried");
    let headers: Headers = [("cookie", [BASE.as_bytes(), b"=1.\xff\xfe"].concat())].into_iter().collect();
    assert_eq!(session_in(&cookies, &headers), None);
}

#[test]
fn parts_that_are_not_needed_any_more_are_deleted() {
    let cookies = cookies(|_| {});
    for (before, after) in [(8000, 0), (8000, 4000), (0, 8000), (4000, 8000), (8000, 8000)] {
        let mut browser = logged_in(&cookies, &session_of(before));
        browser.logs_in(&cookies, &session_of(after));
        assert_eq!(browser.session(&cookies), Some(session_of(after)));
        assert_eq!(browser.0.len(), logged_in(&cookies, &session_of(after)).0.len());
    }
}

#[test]
fn a_deleted_session_leaves_nothing() {
    let cookies = cookies(|_| {});
    let mut browser = logged_in(&cookies, &session_of(20_000));
    browser.0.insert("theirs".into(), "x".into());
    let headers = browser.headers();
    browser.receives(cookies.delete_session(0, &Jar::read(&headers)));
    assert_eq!(browser.names(), ["theirs"]);
}

#[test]
fn a_browser_with_too_many_cookies_gets_rid_of_all_of_ours() {
    let cookies = cookies(|_| {});
    let headers = header(&format!("{BASE}=1.x; {}", "a=b; ".repeat(1000)));
    let jar = Jar::read(&headers);
    assert_eq!(cookies.session_text(0, &jar).count(), 0);
    assert_eq!(cookies.delete_session(0, &jar).len(), PARTS_LIMIT);
    assert_eq!(cookies.set_session(0, &session(), &jar, nonce()).unwrap().len(), PARTS_LIMIT);
}

#[test]
fn a_login_replaces_whatever_session_was_there() {
    let cookies = cookies(|_| {});
    let mut browser = logged_in(&cookies, &Session { id: "planted".into(), ..session() });
    let planted = browser.0[BASE].clone();
    browser.logs_in(&cookies, &Session { id: "new".into(), ..session() });
    assert_ne!(browser.0[BASE], planted);
    assert_eq!(browser.session(&cookies).unwrap().id, "new");
}

#[test]
fn a_changed_session_does_not_open() {
    let cookies = cookies(|_| {});
    let text = logged_in(&cookies, &session()).0.remove(BASE).unwrap();
    assert!(cookies.open_session(0, &text).is_some());
    for place in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        assert_eq!(cookies.open_session(0, &String::from_utf8(changed).unwrap()), None, "{place}");
    }
}

#[test]
fn what_opens_and_is_no_session_is_no_session() {
    let cookies = cookies(|_| {});
    let valid = serde_json::to_string(&session()).unwrap();
    let tenant = seal::Tenant::new(&["main", "https://main.example", "client"]);
    let sealer = seal::Sealer::new(&configuration().session.keys, &[tenant]);
    let sealed = |plaintext: &[u8]| {
        let text = sealer.seal(seal::Purpose::Session, 0, &[1], nonce(), plaintext);
        cookies.open_session(0, &format!("1.{text}"))
    };
    assert!(sealed(valid.as_bytes()).is_some());
    for plaintext in [
        "".to_owned(),
        "{}".to_owned(),
        "null".to_owned(),
        format!("{valid}{valid}"),
        valid.replacen('{', r#"{"extra":1,"#, 1),
        valid.replacen('{', r#"{"u":"mallory","#, 1),
        "[".repeat(20_000),
    ] {
        assert_eq!(sealed(plaintext.as_bytes()), None, "{plaintext}");
    }
    assert_eq!(sealed(b"\xff\xfe"), None);
}

#[test]
fn a_login_is_no_session_and_a_session_is_no_login() {
    let cookies = cookies(|_| {});
    let login_name = format!("{BASE}-login-0123456789abcdef");
    let mut browser = logged_in(&cookies, &session());
    browser.begins(&cookies, &login(STATE), NOW);
    let (session, login) = (browser.0[BASE].clone(), browser.0[&login_name].clone());

    for text in [login.clone(), format!("1.{login}")] {
        browser.0.insert(BASE.into(), text);
        assert_eq!(browser.session(&cookies), None);
    }
    for text in [session.clone(), session.replacen("1.", "", 1)] {
        browser.0.insert(login_name.clone(), text);
        assert_eq!(browser.finishes(&cookies, STATE, NOW), Err(LoginMissing::NotOpened));
    }
    browser.0.insert(format!("{BASE}-rounds"), login);
    assert_eq!(cookies.rounds(cookies.lost(0), &Jar::read(&browser.headers()), NOW).0, 0);
}

#[test]
fn keys_are_rotated_and_old_sessions_written_again() {
    let old = configuration().session.keys.remove(0);
    let new = Secret::from("a secret of 32 characters or more, second");
    let before = cookies(|_| {});
    let both = cookies(|config| config.session.keys = vec![new.clone(), old]);
    let after = cookies(|config| config.session.keys = vec![new]);

    let mut browser = logged_in(&before, &session());
    assert_eq!(browser.session(&both), Some(session()));
    assert_eq!(browser.session(&after), None);
    assert!(both.needs_reseal(&browser.0[BASE]));
    browser.logs_in(&both, &session());
    assert!(!both.needs_reseal(&browser.0[BASE]));
    assert_eq!(browser.session(&after), Some(session()));
    assert!(both.needs_reseal("nonsense"));
}

#[test]
fn another_configuration_with_the_same_keys_and_names_opens_nothing() {
    let here = cookies(|_| {});
    let mut browser = logged_in(&here, &session());
    browser.begins(&here, &login(STATE), NOW);
    for there in [
        cookies(|config| config.providers[0].client.id = "another".into()),
        cookies(|config| config.providers[0].issuer = "https://another.example".into()),
        cookies(|config| config.providers[0].name = "another".into()),
    ] {
        assert_eq!(browser.session(&there), None);
        assert_eq!(browser.finishes(&there, STATE, NOW), Err(LoginMissing::NotOpened));
    }
}

#[test]
fn rounds_are_counted_for_two_minutes() {
    let here = cookies(|config| config.providers.push(provider("other")));
    // Whoever has other keys counts together with this one.
    let there =
        cookies(|config| config.session.keys = vec![Secret::from("another secret of 32 characters!")]);
    let mut browser = Browser::default();
    let rounds = |cookies: &Cookies, browser: &Browser, of: u32, now| {
        let headers = browser.headers();
        cookies.rounds(of, &Jar::read(&headers), now)
    };
    let lost = [here.lost(0), here.lost(1)];
    let pages = [here.needless(0, "/a?n=1"), here.needless(0, "/b")];
    assert_eq!([there.lost(0), there.needless(0, "/a#n")], [lost[0], pages[0]]);
    let none = (0, Timestamp(0));
    assert_eq!(rounds(&here, &browser, lost[0], NOW), none);
    assert_eq!(here.clear_rounds(&Jar::default(), NOW), None);
    browser.receives([here.set_rounds(&[(lost[0], ROUNDS_LIMIT)], &Jar::default(), NOW)]);
    for cookies in [&here, &there] {
        assert_eq!(rounds(cookies, &browser, lost[0], Timestamp(NOW.0 + 119)), (ROUNDS_LIMIT, NOW));
        assert_eq!(rounds(cookies, &browser, lost[0], Timestamp(NOW.0 + 120)), none);
        // Clocks may differ, but no count is for ever.
        assert_eq!(rounds(cookies, &browser, lost[0], Timestamp(NOW.0 - 119)), (ROUNDS_LIMIT, NOW));
        assert_eq!(rounds(cookies, &browser, lost[0], Timestamp(NOW.0 - 120)), none);
    }
    for of in [lost[1], pages[0], pages[1]] {
        assert_eq!(rounds(&here, &browser, of, NOW), none, "neither another provider nor another page");
    }
    let (headers, later) = (browser.headers(), Timestamp(NOW.0 + 1));
    let more = [(lost[1], 1), (pages[0], 2), (pages[1], 0)];
    browser.receives([here.set_rounds(&more, &Jar::read(&headers), later)]);
    let counted = |browser: &Browser| {
        [lost[0], lost[1], pages[0], pages[1]].map(|of| rounds(&here, browser, of, later).0)
    };
    assert_eq!(counted(&browser), [ROUNDS_LIMIT, 1, 2, 0]);
    // Needless logins happen while the session works.
    let headers = browser.headers();
    browser.receives(here.clear_rounds(&Jar::read(&headers), later));
    assert_eq!(counted(&browser), [0, 0, 2, 0]);
    // Nothing is written anew that is as it was.
    let headers = browser.headers();
    assert_eq!(here.clear_rounds(&Jar::read(&headers), later), None);
    browser.receives([here.set_rounds(&[(pages[0], 0)], &Jar::read(&headers), later)]);
    assert!(browser.0.is_empty());
    browser.0.insert(format!("{BASE}-rounds"), "junk".into());
    let headers = browser.headers();
    browser.receives(here.clear_rounds(&Jar::read(&headers), later));
    assert!(browser.0.is_empty());
}

#[test]
fn what_is_no_count_is_left_out_and_there_is_an_end_to_counts() {
    let cookies = cookies(|_| {});
    let (at, of) = (NOW.0, cookies.lost(0));
    let read = |value: &str| {
        let headers: Headers = [("cookie", format!("{BASE}-rounds={value}"))].into_iter().collect();
        cookies.rounds(of, &Jar::read(&headers), NOW).0
    };
    assert_eq!(read(&format!("{of}.2.{at}")), 2);
    assert_eq!(read(&format!("junk:{of}.2.{at}")), 2);
    for value in [
        String::new(),
        "junk".into(),
        ":::".into(),
        format!("{of}.300.{at}"),
        format!("{of}.-1.{at}"),
        format!("{of}.2"),
        format!("{of}.2.{at}.0"),
        format!("{of}.2.99999999999999999999999"),
        format!("{}{of}.2.{at}", "0.1.1:".repeat(8)),
    ] {
        assert_eq!(read(&value), 0, "{value}");
    }
    let many: String = (0..200).map(|n| format!("{n}.1.{at}:")).collect();
    let headers: Headers = [("cookie", format!("{BASE}-rounds={many}"))].into_iter().collect();
    let written = cookies.set_rounds(&[(of, 1)], &Jar::read(&headers), NOW);
    assert!(written.len() < 400, "{written}");
}

#[test]
fn a_login_that_an_upstream_begins_leaves_a_sign_and_nothing_else_does() {
    let cookies = cookies(|_| {});
    let id = Login::id(STATE).unwrap();
    let name = format!("{BASE}-login-{id}");
    let sign = cookies.login_behind(format!("{name}=sealed; Path=/; Secure").as_bytes()).unwrap();
    assert!(sign.starts_with(&format!("{name}=behind; ")) && sign.contains("; HttpOnly; "), "{sign}");
    for field in [
        format!("{name}=; Max-Age=0"),
        format!("{name}; Path=/"),
        format!("{BASE}=x"),
        format!("{BASE}-rounds=x"),
        format!("{BASE}-login-short=x"),
        format!("{name}x=x"),
        format!("{BASE}-login-{id}\r\n=x"),
        format!("lang={name}=x"),
    ] {
        assert_eq!(cookies.login_behind(field.as_bytes()), None, "{field}");
    }
    assert_eq!(cookies.login_behind(b"\xff=x"), None);
    let mut browser = Browser::default();
    browser.receives([sign]);
    assert_eq!(browser.finishes(&cookies, STATE, NOW), Err(LoginMissing::Behind));
}

#[test]
fn the_cookie_of_another_filter_is_known_by_the_login_that_it_names() {
    let cookies = cookies(|_| {});
    let id = Login::id(STATE).unwrap();
    for (name, expected) in [
        (format!("other-login-{id}"), Some("other")),
        (format!("{BASE}-login-{id}"), None),
        (format!("other-login-{id}x"), None),
        (format!("other-{id}"), None),
    ] {
        let headers: Headers = [("cookie", format!("{name}=1"))].into_iter().collect();
        assert_eq!(cookies.of_another_filter(STATE, &Jar::read(&headers)).as_deref(), expected, "{name}");
        assert_eq!(cookies.of_another_filter("short", &Jar::read(&headers)), None);
    }
}

#[test]
fn every_cookie_of_ours_is_taken_out_before_the_upstream() {
    let cookies = cookies(|_| {});
    let mut browser = logged_in(&cookies, &session_of(20_000));
    browser.begins(&cookies, &login(STATE), NOW);
    browser.receives([cookies.set_rounds(&[(1, 1)], &Jar::default(), NOW)]);
    browser.0.insert(format!("{BASE}-of-a-former-provider"), "x".into());
    let strip = |browser: &Browser| without_ours(&browser.headers(), |name| cookies.is_ours(name));
    assert_eq!(strip(&browser), CookieEdit::Remove);
    for theirs in ["__host-vestibule", "__Host-vestibules", "__Host-vest", "vestibule", "a"] {
        browser.0.insert(theirs.into(), "x".into());
    }
    let expected = "__Host-vest=x; __Host-vestibules=x; __host-vestibule=x; a=x; vestibule=x";
    assert_eq!(strip(&browser), CookieEdit::Replace(expected.into()));
}

#[test]
fn a_cookie_shows_no_secret() {
    let cookies = cookies(|_| {});
    let shown = format!("{:?} {:?} {cookies:?}", session(), login(STATE));
    for secret in ["an access token", STATE, "a nonce", "a verifier", "a secret of"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[test]
fn what_an_upstream_may_set_is_nothing_that_a_browser_could_take_for_ours() {
    let cookies = Cookies::new(&configuration());
    for field in [
        "{}=x; Path=/",
        "{}",
        "{}.1=x",
        "{}-login-abc=x",
        "{}-anything; Max-Age=0",
        " \t{}\t =x",
        "={}=x",
        " = {}=x",
        "\u{1}{}=x",
        "a=1, {}=x",
        "a=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT,{}=x",
    ] {
        for name in [BASE.to_owned(), BASE.to_uppercase(), BASE.to_lowercase()] {
            let field = field.replace("{}", &name);
            assert!(cookies.are_set_by(field.as_bytes()), "{field:?}");
        }
    }
    for field in
        ["", ";", "=", ",", "a=b", "{}x=1", "x{}=1", "{}_x=1", "a={}; Path=/", "a=1; {}=x", "\u{e4}{}=1"]
    {
        let field = field.replace("{}", BASE);
        assert!(!cookies.are_set_by(field.as_bytes()), "{field:?}");
    }
}
