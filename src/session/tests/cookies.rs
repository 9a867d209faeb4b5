//! Properties of all our cookies.

use super::*;

#[test]
fn every_cookie_has_its_attributes() {
    let secure = cookies(|_| {});
    let jar = Jar::default();
    let end = |cookie: &String| cookie.split_once(';').unwrap().1.to_owned();
    let lax = " Path=/; Secure; HttpOnly; SameSite=Lax";
    assert_eq!(end(&secure.set_session(&secure.clients()[0], &session(), &jar, nonce()).unwrap()[0]), lax);
    assert_eq!(
        end(&secure.set_login(&secure.clients()[0], &login(STATE), &jar, NOW, nonce())[0]),
        format!("{lax}; Max-Age=600")
    );
    assert_eq!(end(&secure.set_attempts(&[(1, 1)], &Jar::default(), NOW)), format!("{lax}; Max-Age=120"));

    let strict = cookies(|config| config.session.same_site = SameSite::Strict);
    assert!(
        strict.set_session(&strict.clients()[0], &session(), &jar, nonce()).unwrap()[0]
            .ends_with("; SameSite=Strict")
    );
    assert!(
        strict.set_login(&strict.clients()[0], &login(STATE), &jar, NOW, nonce())[0]
            .contains("; SameSite=Lax;")
    );
    assert!(strict.set_attempts(&[(1, 1)], &Jar::default(), NOW).contains("; SameSite=Lax;"));

    let plain = cookies(|config| {
        config.session.insecure_allow_http = true;
        config.session.cookie_name = "vestibule".into();
    });
    let cookie = &plain.set_session(&plain.clients()[0], &session(), &jar, nonce()).unwrap()[0];
    assert!(cookie.starts_with("vestibule=1."));
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"));
}

#[test]
fn a_deleting_cookie_repeats_every_attribute() {
    let cookies = cookies(|config| config.session.same_site = SameSite::None);
    let gone = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    assert_eq!(
        cookies.delete_session(&cookies.clients()[0], &Jar::default()),
        [format!("{BASE}=; Path=/; Secure; HttpOnly; SameSite=None; {gone}")]
    );
    assert_eq!(
        cookies.delete_login(&cookies.clients()[0], STATE),
        [format!("{BASE}-login-0123456789abcdef=; Path=/; Secure; HttpOnly; SameSite=None; {gone}")]
    );
}

#[test]
fn every_cookie_of_ours_is_taken_out_before_the_upstream() {
    let cookies = cookies(|_| {});
    let mut browser = logged_in(&cookies, &session_of(20_000));
    browser.begins(&cookies, &login(STATE), NOW);
    browser.receives([cookies.set_attempts(&[(1, 1)], &Jar::default(), NOW)]);
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
fn an_upstream_sets_no_cookie_that_a_browser_could_confuse_with_ours() {
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
