//! The cookies of many people, without a login of each.

use std::ops::Range;

use serde_json::Value;
use vestibule::config::Config;
use vestibule::http::Headers;
use vestibule::session::{Cookies, Jar};

use crate::world::document;

/// The session of a cookie, changed into one of another person for each of these numbers: with names as long
/// as providers give them, and four identity headers.
pub fn sessions_like(cookie: &str, configuration: &Value, numbers: Range<usize>) -> Vec<String> {
    let config = Config::read(document(configuration).to_string().as_bytes(), &|_| None).unwrap();
    let cookies = Cookies::new(&config);
    let client = &cookies.clients()[0];
    let headers: Headers = [("cookie", cookie)].into_iter().collect();
    let text = client.session_text(&Jar::read(&headers)).next().unwrap().into_owned();
    let session = client.open_session(&text).unwrap();
    let of_person = |number: usize| {
        let mut session = session.clone();
        session.id = format!("wqh3Gm0aTzmLx9KE-{number:05}");
        session.subject = format!("8f14e45f-ceea-467f-9a2b-{number:012}");
        for (name, value) in [
            ("sub", session.subject.clone()),
            ("sid", format!("5c2f1c1e-6f3a-4b7e-9a55-{number:012}")),
            ("email", format!("person.number{number:05}@app.example.com")),
            ("name", format!("Person Number {number:05}")),
        ] {
            session.claims.insert(name.to_owned(), value.into());
        }
        let mut nonce = [7; 24];
        nonce[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let set = cookies.set_session(client, &session, &Jar::default(), nonce).unwrap();
        assert_eq!(set.len(), 1, "it has one part");
        set[0].split(';').next().unwrap().to_owned()
    };
    numbers.map(of_person).collect()
}
