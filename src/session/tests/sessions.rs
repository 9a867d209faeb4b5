//! Sessions, in one cookie or several.

use super::*;

#[test]
fn a_session_round_trips() {
    let cookies = cookies(|_| {});
    for session in [session(), Session { access_token: None, access_token_expires_at: None, ..session() }] {
        assert_eq!(logged_in(&cookies, &session).session(&cookies), Some(session));
    }
    assert_eq!(Browser::default().session(&cookies), None);
}

fn with_party(config: &mut Config, change: fn(&mut RelyingParty)) {
    let mut party = RelyingParty::clone(config.providers[0].relying_party.as_ref().unwrap());
    change(&mut party);
    config.providers[0] = roles(party);
}

fn with_provider(config: &mut Config, change: fn(&mut Provider)) {
    let mut party = RelyingParty::clone(config.providers[0].relying_party.as_ref().unwrap());
    change(Rc::make_mut(&mut party.provider));
    config.providers[0] = roles(party);
}

#[test]
fn each_provider_has_a_session_of_its_own() {
    let cookies = cookies(|config| config.providers.push(roles_of("other")));
    let jar = Jar::default();
    let mut browser = Browser::default();
    browser.receives(cookies.set_session(&cookies.clients()[0], &session(), &jar, nonce()).unwrap());
    let other = Session { subject: "bob".into(), ..session() };
    browser.receives(cookies.set_session(&cookies.clients()[1], &other, &jar, nonce()).unwrap());
    assert_eq!(browser.names(), [format!("{BASE}-main"), format!("{BASE}-other")]);

    let headers = browser.headers();
    let jar = Jar::read(&headers);
    for (provider, subject) in [(0, "alice"), (1, "bob")] {
        let text = cookies.clients()[provider].session_text(&jar).next().unwrap();
        assert_eq!(cookies.clients()[provider].open_session(&text).unwrap().subject, subject);
        assert_eq!(cookies.clients()[1 - provider].open_session(&text), None, "not at the other provider");
    }
}

#[test]
fn a_session_of_any_size_is_written_whole_or_not_at_all() {
    let cookies = cookies(|_| {});
    let (mut seen, mut too_large) = ([false; PARTS_LIMIT], 0);
    for bytes in (0..32_800).step_by(139).chain(3500..3700).chain(31_500..31_800) {
        let session = session_of(bytes);
        match cookies.set_session(&cookies.clients()[0], &session, &Jar::default(), nonce()) {
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
fn a_cookie_name_that_leaves_no_room_is_an_error() {
    let cookies = cookies(|config| config.session.cookie_name = "x".repeat(5000));
    let error = cookies.set_session(&cookies.clients()[0], &session(), &Jar::default(), nonce()).unwrap_err();
    assert_eq!(error.limit, 0);
    assert_eq!(error.code(), "session_too_large");
}

#[test]
fn parts_of_a_session_are_accepted_only_complete_and_in_order() {
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
fn a_session_is_found_among_foreign_cookies_of_its_name() {
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
fn surplus_parts_are_deleted() {
    let cookies = cookies(|_| {});
    for (before, after) in [(8000, 0), (8000, 4000), (0, 8000), (4000, 8000), (8000, 8000)] {
        let mut browser = logged_in(&cookies, &session_of(before));
        browser.logs_in(&cookies, &session_of(after));
        assert_eq!(browser.session(&cookies), Some(session_of(after)));
        assert_eq!(browser.0.len(), logged_in(&cookies, &session_of(after)).0.len());
    }
}

#[test]
fn deleting_a_session_deletes_every_part() {
    let cookies = cookies(|_| {});
    let mut browser = logged_in(&cookies, &session_of(20_000));
    browser.0.insert("theirs".into(), "x".into());
    let headers = browser.headers();
    browser.receives(cookies.delete_session(&cookies.clients()[0], &Jar::read(&headers)));
    assert_eq!(browser.names(), ["theirs"]);
}

#[test]
fn of_too_many_cookies_all_of_ours_are_deleted() {
    let cookies = cookies(|_| {});
    let headers = header(&format!("{BASE}=1.x; {}", "a=b; ".repeat(1000)));
    let jar = Jar::read(&headers);
    assert_eq!(cookies.clients()[0].session_text(&jar).count(), 0);
    assert_eq!(cookies.delete_session(&cookies.clients()[0], &jar).len(), PARTS_LIMIT);
    assert_eq!(
        cookies.set_session(&cookies.clients()[0], &session(), &jar, nonce()).unwrap().len(),
        PARTS_LIMIT
    );
}

#[test]
fn a_login_replaces_any_session() {
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
    assert!(cookies.clients()[0].open_session(&text).is_some());
    for place in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        assert_eq!(cookies.clients()[0].open_session(&String::from_utf8(changed).unwrap()), None, "{place}");
    }
}

#[test]
fn a_sealed_text_that_is_no_session_is_refused() {
    let cookies = cookies(|_| {});
    let valid = pack::pack(&session()).unwrap();
    let json = serde_json::to_vec(&session()).unwrap();
    let tenant = seal::Tenant::new(&["main", "https://main.example", "client"]);
    let sealer = seal::Sealer::new(&configuration().session.keys, &tenant);
    let sealed = |plaintext: &[u8]| {
        let text = sealer.seal(seal::Purpose::Session, &[1], nonce(), plaintext);
        cookies.clients()[0].open_session(&format!("1.{text}"))
    };
    assert_eq!(sealed(&valid), Some(session()));
    for plaintext in [
        Vec::new(),
        b"{}".to_vec(),
        b"null".to_vec(),
        json,
        [&valid[..], &valid].concat(),
        [&valid[..], b"x"].concat(),
        [b"x", &valid[..]].concat(),
        valid[1..].to_vec(),
        vec![b'['; 20_000],
        vec![0xff; 20_000],
        [&valid[..1], &[0xff; 20_000]].concat(),
    ] {
        assert_eq!(sealed(&plaintext), None, "{plaintext:?}");
    }
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
    browser.0.insert(format!("{BASE}-tries"), login);
    assert_eq!(cookies.attempts(cookies.clients()[0].lost(), &Jar::read(&browser.headers()), NOW).0, 0);
}

#[test]
fn sessions_of_an_old_key_are_sealed_again() {
    let old = configuration().session.keys.remove(0);
    let new = Secret::from("a secret of 32 characters or more, second");
    let before = cookies(|_| {});
    let both = cookies(|config| config.session.keys = vec![new.clone(), old]);
    let after = cookies(|config| config.session.keys = vec![new]);

    let mut browser = logged_in(&before, &session());
    assert_eq!(browser.session(&both), Some(session()));
    assert_eq!(browser.session(&after), None);
    assert!(both.clients()[0].needs_reseal(&browser.0[BASE]));
    browser.logs_in(&both, &session());
    assert!(!both.clients()[0].needs_reseal(&browser.0[BASE]));
    assert_eq!(browser.session(&after), Some(session()));
    assert!(both.clients()[0].needs_reseal("nonsense"));
}

#[test]
fn another_configuration_with_the_same_keys_and_names_opens_nothing() {
    let here = cookies(|_| {});
    let mut browser = logged_in(&here, &session());
    browser.begins(&here, &login(STATE), NOW);
    for there in [
        cookies(|config| with_party(config, |party| party.client.id = "another".into())),
        cookies(|config| {
            with_provider(config, |provider| provider.issuer = "https://another.example".into())
        }),
        cookies(|config| with_provider(config, |provider| provider.name = "another".into())),
    ] {
        assert_eq!(browser.session(&there), None);
        assert_eq!(browser.finishes(&there, STATE, NOW), Err(LoginMissing::NotOpened));
    }
}
