//! Logins that a browser has in flight.

use super::*;

#[test]
fn a_login_is_completed_once() {
    let cookies = cookies(|_| {});
    let mut browser = Browser::default();
    browser.begins(&cookies, &login(STATE), NOW);
    assert_eq!(browser.names(), [format!("{BASE}-login-0123456789abcdef")]);
    assert_eq!(browser.finishes(&cookies, STATE, NOW), Ok(login(STATE)));
    browser.receives(cookies.delete_login(&cookies.clients()[0], STATE));
    assert_eq!(browser.finishes(&cookies, STATE, NOW), Err(LoginMissing::NoCookie));
}

#[test]
fn a_late_login_is_expired() {
    let cookies = cookies(|_| {});
    let mut browser = Browser::default();
    browser.begins(&cookies, &login(STATE), NOW);
    assert!(browser.finishes(&cookies, STATE, Timestamp(NOW.0 + 599)).is_ok());
    assert!(browser.finishes(&cookies, STATE, Timestamp(0)).is_ok(), "the clock went back");
    assert_eq!(
        browser.finishes(&cookies, STATE, Timestamp(NOW.0 + 600)),
        Err(LoginMissing::Expired { age: Seconds(600), limit: Seconds(600) })
    );
}

#[test]
fn the_whole_state_is_compared() {
    let cookies = cookies(|_| {});
    let mut browser = Browser::default();
    browser.begins(&cookies, &login(STATE), NOW);
    let cut = |length: usize| STATE.chars().take(length).collect::<String>();
    for (state, expected) in [
        (STATE.replace("0123456789", "1123456789"), LoginMissing::NoCookie),
        (STATE.to_uppercase(), LoginMissing::NoCookie),
        (cut(16), LoginMissing::OtherState),
        (cut(41), LoginMissing::OtherState),
        (format!("{STATE}x"), LoginMissing::OtherState),
        (String::new(), LoginMissing::NoCookie),
        (cut(15), LoginMissing::NoCookie),
        (format!("{STATE};"), LoginMissing::NoCookie),
        ("\u{e4}".repeat(30), LoginMissing::NoCookie),
    ] {
        assert_eq!(browser.finishes(&cookies, &state, NOW), Err(expected), "{state}");
    }
}

#[test]
fn a_malformed_state_reaches_no_cookie_name() {
    let cookies = cookies(|_| {});
    for state in
        ["", "short", "0123456789abcde;0123", "0123456789abcdef\r\nset-cookie: x=y", "0123456789 bcdef"]
    {
        assert!(cookies.delete_login(&cookies.clients()[0], state).is_empty(), "{state:?}");
        assert!(
            cookies.set_login(&cookies.clients()[0], &login(state), &Jar::default(), NOW, nonce()).is_empty()
        );
    }
}

/// States that name different cookies.
fn tab(number: u64) -> String {
    format!("tab-{number:012}-and-more-of-the-state")
}

#[test]
fn five_tabs_complete_their_logins_in_any_order() {
    let cookies = cookies(|_| {});
    let mut browser = Browser::default();
    for number in 0..5 {
        browser.begins(&cookies, &login(&tab(number)), NOW);
    }
    for number in [3, 0, 4, 1, 2] {
        assert_eq!(browser.finishes(&cookies, &tab(number), NOW), Ok(login(&tab(number))));
        browser.receives(cookies.delete_login(&cookies.clients()[0], &tab(number)));
    }
    assert!(browser.0.is_empty());
}

#[test]
fn a_sixth_login_evicts_the_oldest() {
    let cookies = cookies(|_| {});
    let mut browser = Browser::default();
    // The oldest is neither the first nor the last in the header.
    for (number, age) in [(0, 10), (1, 20), (2, 50), (3, 30), (4, 40)] {
        let started_at = Timestamp(NOW.0 - age);
        browser.begins(&cookies, &Login { started_at, ..login(&tab(number)) }, started_at);
    }
    browser.begins(&cookies, &login(&tab(5)), NOW);
    for number in 0..6 {
        let found = browser.finishes(&cookies, &tab(number), NOW).map(|login| login.state);
        let expected =
            if number == 2 { Err(LoginMissing::NoCookie) } else { Ok(tab(number).as_str().into()) };
        assert_eq!(found, expected);
    }
}

#[test]
fn expired_and_foreign_logins_are_evicted_first() {
    let cookies = cookies(|_| {});
    let mut browser = Browser::default();
    browser.begins(&cookies, &login(&tab(0)), NOW);
    let later = Timestamp(NOW.0 + 600);
    browser.0.insert(format!("{BASE}-login-junk-junk-junk-1"), "junk".into());
    for number in 1..=5 {
        browser.begins(&cookies, &Login { started_at: later, ..login(&tab(number)) }, later);
    }
    assert_eq!(browser.0.len(), 5);
    assert!((1..=5).all(|number| browser.finishes(&cookies, &tab(number), later).is_ok()));
}

#[test]
fn expired_logins_are_deleted_even_below_the_limit() {
    let cookies = cookies(|_| {});
    let mut browser = Browser::default();
    browser.begins(&cookies, &login(&tab(0)), NOW);
    let later = Timestamp(NOW.0 + 600);
    browser.begins(&cookies, &Login { started_at: later, ..login(&tab(1)) }, later);
    assert_eq!(browser.names(), [format!("{BASE}-login-tab-000000000001")]);
}

#[test]
fn logins_of_all_providers_count_towards_the_limit() {
    let cookies = cookies(|config| config.providers.push(roles_of("other")));
    let jar = Jar::default();
    let mut browser = Browser::default();
    browser.receives(cookies.set_login(&cookies.clients()[1], &login(&tab(1)), &jar, NOW, nonce()));
    browser.begins(&cookies, &login(&tab(0)), NOW);
    let headers = browser.headers();
    let jar = Jar::read(&headers);
    assert!(cookies.open_login(&cookies.clients()[1], &tab(1), &jar, NOW).is_ok());
    assert_eq!(cookies.open_login(&cookies.clients()[0], &tab(1), &jar, NOW), Err(LoginMissing::NotOpened));
}

#[test]
fn a_flood_of_logins_leaves_a_bounded_number_of_cookies() {
    let cookies = cookies(|_| {});
    let mut browser = Browser::default();
    for number in 0..1000 {
        browser.begins(&cookies, &login(&tab(number)), Timestamp(NOW.0 + number % 7));
        assert!(browser.0.len() <= 5);
    }
    let junk: Vec<_> = (0..199).map(|n| format!("{BASE}-login-junk-{n:011}=x")).collect();
    let headers = header(&junk.join("; "));
    let set_cookies =
        cookies.set_login(&cookies.clients()[0], &login(STATE), &Jar::read(&headers), NOW, nonce());
    assert_eq!(set_cookies.len(), 17);
}

#[test]
fn a_login_always_fits_its_cookie() {
    let cookies = cookies(|_| {});
    for (return_to, kept) in [
        ("x".repeat(RETURN_TO_LIMIT), true),
        ("x".repeat(RETURN_TO_LIMIT + 1), false),
        ("\"".repeat(RETURN_TO_LIMIT), false),
    ] {
        let mut browser = Browser::default();
        browser.begins(&cookies, &Login { return_to: return_to.clone(), ..login(STATE) }, NOW);
        let login = browser.finishes(&cookies, STATE, NOW).unwrap();
        assert_eq!(login.return_to, if kept { return_to } else { "/".to_owned() });
    }
}
