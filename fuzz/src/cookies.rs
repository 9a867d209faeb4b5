//! Cookies, and the sealed texts in ours.

use serde_json::json;
use vestibule::http::Headers;
use vestibule::secret::Secret;
use vestibule::session::seal::{Purpose, Sealer, Tenant};
use vestibule::session::{CookieEdit, Cookies, Jar, Login, Session, without_ours};

use super::bytes::{Bytes, assert_one_line};
use super::messages::{NOW, sample};

const BASE: &str = "__Host-vestibule";
const STATE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const PROVIDERS: [usize; 2] = [0, 1];
const PURPOSES: [Purpose; 6] = [
    Purpose::Session,
    Purpose::Login,
    Purpose::Logout,
    Purpose::LoginOrigin,
    Purpose::Form,
    Purpose::CompletedLogin,
];
/// More than any response may set: a login and the ones that it evicts, or the parts of a session.
const COOKIES_LIMIT: usize = 20;

thread_local! {
    static COOKIES: Cookies = Cookies::new(&sample());
}

pub fn session() -> Session {
    let session = json!({
        "i": "id", "u": "alice", "c": {"sub": "alice"}, "s": [], "b": NOW.0, "l": NOW.0, "x": NOW.0 + 60,
        "n": "fingerprint",
    });
    serde_json::from_value(session).unwrap()
}

fn login() -> Login {
    let login = json!({
        "s": STATE, "n": "nonce", "v": "verifier", "r": "/orders",
        "u": "https://app.example.com/oidc/callback", "b": NOW.0, "c": 0,
    });
    serde_json::from_value(login).unwrap()
}

/// `Cookie`, one field a line. Only what was sealed here opens, and no cookie of ours is forwarded.
pub fn cookies(bytes: &[u8]) {
    let headers: Headers = bytes.split(|byte| *byte == b'\n').map(|value| ("cookie", value)).collect();
    let jar = Jar::read(&headers);
    assert!(jar.iter().all(|(name, _)| !name.is_empty()));
    COOKIES.with(|cookies| {
        goes_on_without_ours(&headers, cookies);
        let mut set = Vec::new();
        for provider in PROVIDERS {
            let client = &cookies.clients()[provider];
            for text in client.session_text(&jar) {
                if let Some(opened) = client.open_session(&text) {
                    assert!(provider == 0 && opened == session(), "this was never sealed");
                }
                let _ = client.needs_reseal(&text);
            }
            if let Ok(opened) = cookies.open_login(client, STATE, &jar, NOW) {
                assert!(provider == 0 && opened == login(), "this was never sealed");
            }
            let of = client.needless("/orders");
            let (attempts, _) = cookies.attempts(of, &jar, NOW);
            set.push(vec![cookies.set_attempts(&[(of, attempts)], &jar, NOW)]);
            set.push(cookies.clear_attempts(&jar, NOW).into_iter().collect());
            set.push(cookies.set_session(client, &session(), &jar, [1; 24]).unwrap());
            set.push(cookies.set_login(client, &login(), &jar, NOW, [2; 24]));
            set.push(cookies.delete_session(client, &jar));
        }
        for list in set {
            assert!(list.len() <= COOKIES_LIMIT, "{} cookies", list.len());
            for cookie in list {
                assert_one_line(&cookie);
                assert!(cookie.is_ascii() && cookie.starts_with(BASE), "{cookie}");
            }
        }
    });
}

fn goes_on_without_ours(headers: &Headers, cookies: &Cookies) {
    let is_ours = |name: &[u8]| cookies.is_ours(name);
    let blank = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
    let others = |value: &[u8]| -> Vec<Vec<u8>> {
        let pieces = value.split(|byte| *byte == b';');
        let bare = pieces.map(|piece| piece.trim_ascii().to_vec());
        bare.filter(|piece| {
            let name = piece.split(|byte| *byte == b'=').next().unwrap_or_default();
            let name: Vec<u8> = name.iter().copied().skip_while(blank).collect();
            !piece.iter().all(blank) && !name.starts_with(BASE.as_bytes())
        })
        .collect()
    };
    let sent: Vec<Vec<u8>> = headers.all("cookie").flat_map(others).collect();
    match without_ours(headers, is_ours) {
        CookieEdit::Unchanged => {}
        CookieEdit::Remove => assert_eq!(sent, Vec::<Vec<u8>>::new()),
        CookieEdit::Replace(value) => {
            let left: Headers = [("cookie", value.clone())].into_iter().collect();
            assert_eq!(without_ours(&left, is_ours), CookieEdit::Unchanged);
            let kept = others(&value);
            assert!(sent.iter().all(|piece| kept.contains(piece)), "a cookie of somebody else was lost");
        }
    }
}

/// A purpose, a tenant, a context, and a sealed text.
pub fn sealed(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let keys = ["kJ8v2Qw0Zr5tYx7BnM3cLp9HsD4fGa6E", "0pLm7xRt2VbQ9sJd4KhYw6NzGc8FaUe3"].map(Secret::new);
    let tenants = [Tenant::new(&["main", "a"]), Tenant::new(&["maina", ""])];
    let sealers = tenants.map(|tenant| Sealer::new(&keys, &tenant));
    let purpose = bytes.pick(&PURPOSES);
    let tenant = usize::from(bytes.byte() % 2);
    let context = bytes.some();
    let Ok(text) = std::str::from_utf8(bytes.rest()) else { return };
    let ours = sealers[0].seal(Purpose::Session, b"1", [3; 24], b"a plaintext");
    if let Some(opened) = sealers[tenant].open(purpose, context, text) {
        assert_eq!((purpose, tenant, context), (Purpose::Session, 0, &b"1"[..]));
        assert_eq!((text, opened.as_slice()), (ours.as_str(), &b"a plaintext"[..]));
    }
    let _ = sealers[tenant].is_by_first_key(text);
}
