//! Detection of login loops.

use super::*;

#[test]
fn login_attempts_are_counted_for_two_minutes() {
    let here = cookies(|config| config.providers.push(roles_of("other")));
    // Filters with other keys count in the same cookie.
    let there =
        cookies(|config| config.session.keys = vec![Secret::from("another secret of 32 characters!")]);
    let mut browser = Browser::default();
    let attempts = |cookies: &Cookies, browser: &Browser, of: u32, now| {
        let headers = browser.headers();
        cookies.attempts(of, &Jar::read(&headers), now)
    };
    let lost = [here.clients()[0].lost(), here.clients()[1].lost()];
    let pages = [here.clients()[0].needless("/a?n=1"), here.clients()[0].needless("/b")];
    assert_eq!([there.clients()[0].lost(), there.clients()[0].needless("/a#n")], [lost[0], pages[0]]);
    let none = (0, Timestamp(0));
    assert_eq!(attempts(&here, &browser, lost[0], NOW), none);
    assert_eq!(here.clear_attempts(&Jar::default(), NOW), None);
    browser.receives([here.set_attempts(&[(lost[0], ATTEMPTS_LIMIT)], &Jar::default(), NOW)]);
    for cookies in [&here, &there] {
        assert_eq!(attempts(cookies, &browser, lost[0], Timestamp(NOW.0 + 119)), (ATTEMPTS_LIMIT, NOW));
        assert_eq!(attempts(cookies, &browser, lost[0], Timestamp(NOW.0 + 120)), none);
        // Clocks may differ, but every count expires.
        assert_eq!(attempts(cookies, &browser, lost[0], Timestamp(NOW.0 - 119)), (ATTEMPTS_LIMIT, NOW));
        assert_eq!(attempts(cookies, &browser, lost[0], Timestamp(NOW.0 - 120)), none);
    }
    for of in [lost[1], pages[0], pages[1]] {
        assert_eq!(attempts(&here, &browser, of, NOW), none, "neither another provider nor another page");
    }
    let (headers, later) = (browser.headers(), Timestamp(NOW.0 + 1));
    let more = [(lost[1], 1), (pages[0], 2), (pages[1], 0)];
    browser.receives([here.set_attempts(&more, &Jar::read(&headers), later)]);
    let counted = |browser: &Browser| {
        [lost[0], lost[1], pages[0], pages[1]].map(|of| attempts(&here, browser, of, later).0)
    };
    assert_eq!(counted(&browser), [ATTEMPTS_LIMIT, 1, 2, 0]);
    // Needless logins happen while the session is valid.
    let headers = browser.headers();
    browser.receives(here.clear_attempts(&Jar::read(&headers), later));
    assert_eq!(counted(&browser), [0, 0, 2, 0]);
    // An unchanged count is not written again.
    let headers = browser.headers();
    assert_eq!(here.clear_attempts(&Jar::read(&headers), later), None);
    browser.receives([here.set_attempts(&[(pages[0], 0)], &Jar::read(&headers), later)]);
    assert!(browser.0.is_empty());
    browser.0.insert(format!("{BASE}-tries"), "junk".into());
    let headers = browser.headers();
    browser.receives(here.clear_attempts(&Jar::read(&headers), later));
    assert!(browser.0.is_empty());
}

#[test]
fn malformed_attempt_counts_are_ignored_and_counts_are_bounded() {
    let cookies = cookies(|_| {});
    let (at, of) = (NOW.0, cookies.clients()[0].lost());
    let read = |value: &str| {
        let headers: Headers = [("cookie", format!("{BASE}-tries={value}"))].into_iter().collect();
        cookies.attempts(of, &Jar::read(&headers), NOW).0
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
    let headers: Headers = [("cookie", format!("{BASE}-tries={many}"))].into_iter().collect();
    let written = cookies.set_attempts(&[(of, 1)], &Jar::read(&headers), NOW);
    assert!(written.len() < 400, "{written}");
}

#[test]
fn only_a_login_that_an_upstream_begins_leaves_a_marker() {
    let cookies = cookies(|_| {});
    let id = Login::id(STATE).unwrap();
    let name = format!("{BASE}-login-{id}");
    let sign = cookies.login_behind(format!("{name}=sealed; Path=/; Secure").as_bytes()).unwrap();
    assert!(sign.starts_with(&format!("{name}=behind; ")) && sign.contains("; HttpOnly; "), "{sign}");
    // The cookies of another filter may begin as ours do, and are removed too.
    assert_eq!(cookies.login_behind(format!("{BASE}-two-login-{id}=sealed").as_bytes()), Some(sign.clone()));
    for field in [
        format!("{BASE}two-login-{id}=x"),
        format!("{BASE}-two-{id}=x"),
        format!("other-login-{id}=x"),
        format!("{name}=; Max-Age=0"),
        format!("{name}; Path=/"),
        format!("{BASE}=x"),
        format!("{BASE}-tries=x"),
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
fn the_cookie_of_another_filter_is_recognised_by_its_login() {
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
fn no_part_of_a_state_is_among_the_names_that_are_logged() {
    let id = Login::id(STATE).unwrap();
    let jar = format!("{BASE}=1; {BASE}-login-{id}=1; {BASE}-two-login-{id}=1; other-login-{id}=1");
    let headers: Headers = [("cookie", jar)].into_iter().collect();
    let names = cookies(|_| {}).names_in(&Jar::read(&headers));
    assert_eq!(names, [BASE, &format!("{BASE}-login-*"), &format!("{BASE}-two-login-*")]);
}

#[test]
fn at_most_16_names_of_cookies_are_logged() {
    for (sent, named) in [(15, 15), (16, 16), (17, 16)] {
        let jar = (0..sent).map(|number| format!("{BASE}-{number}=1")).collect::<Vec<_>>().join("; ");
        let headers: Headers = [("cookie", jar)].into_iter().collect();
        assert_eq!(cookies(|_| {}).names_in(&Jar::read(&headers)).len(), named, "{sent}");
    }
}
