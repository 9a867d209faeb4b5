//! JWS-..: the text of a token, and its JSON.

use super::forge::{base64url, compact, honest, p256};
use super::jws::{es256, good, of_header, row};
use super::refused::{Forged, Make, access_claims, assert_all_refused, publishing};
use crate::world::World;
use serde_json::{Value, json};

/// The token of an honest provider, changed as text.
fn of_text(
    id: &'static str,
    what: &str,
    code: &'static str,
    change: impl Fn([&str; 3]) -> String + 'static,
) -> Forged {
    let make: Make = Box::new(move |claims| {
        let good = good()(claims);
        let parts: Vec<&str> = good.split('.').collect();
        change([parts[0], parts[1], parts[2]])
    });
    Forged(id, what.to_owned(), code, make)
}

#[test]
fn a_token_is_three_parts_of_strict_base64url() {
    let (count, encrypted) = ("jws_part_count", "jws_encrypted");
    let characters = "bearer_characters|token_member|jws_base64url";
    let mut rows = Vec::new();
    let empty = "jws_base64url|jws_header_json|bearer_characters";
    for (what, code, text) in [
        ("one part", count, "a"),
        ("two parts", count, "a.b"),
        ("four parts", count, "a.b.c.d"),
        ("six parts", count, "a.b.c.d.e.f"),
        ("nothing but dots", empty, ".."),
        ("no payload", empty, "a..b"),
    ] {
        rows.push(of_text("JWS-44", what, code, move |_| text.to_owned()));
    }
    rows.push(of_text("JWS-44", "no part", "bearer_characters|token_member_missing", |_| String::new()));
    rows.push(of_text("JWS-44", "dots", "bearer_too_long|jws_too_long", |_| ".".repeat(100_000)));
    rows.push(of_text("JWS-44", "16 000 dots", count, |_| ".".repeat(16_000)));
    rows.push(of_text("JWS-44", "four dots", encrypted, |_| "....".to_owned()));
    rows.push(of_text("JWS-44", "a dot at the end", count, |[h, p, s]| format!("{h}.{p}.{s}.")));
    rows.push(of_text("JWS-44", "a dot in front", count, |[h, p, s]| format!(".{h}.{p}.{s}")));
    for header in
        [json!({"alg": "dir", "enc": "A128GCM"}), json!({"alg": "RSA-OAEP", "enc": "A256GCM"}), es256()]
    {
        let header = base64url(header.to_string());
        rows.push(of_text("JWS-42", "JWE", encrypted, move |[_, p, s]| format!("{header}.{s}.{s}.{p}.{s}")));
    }
    rows.push(of_text("JWS-42", "JWE with empty parts", encrypted, |[h, ..]| format!("{h}....")));
    rows.push(of_text("JWS-42", "JWE of alg dir without key", encrypted, |[_, p, s]| {
        format!("eyJhbGciOiJkaXIifQ..{s}.{p}.{s}")
    }));
    rows.push(of_text("JWS-42", "three parts of a JWE", "jws_algorithm_unknown", |[_, p, s]| {
        format!("eyJhbGciOiJkaXIifQ.{p}.{s}")
    }));
    let json_form = "bearer_characters|jws_part_count|jws_base64url";
    rows.push(of_text("JWS-43", "flattened", json_form, |[h, p, s]| {
        json!({"protected": h, "payload": p, "signature": s}).to_string()
    }));
    rows.push(of_text("JWS-43", "general", json_form, |[h, p, s]| {
        json!({"payload": p, "signatures": [{"protected": h, "signature": s}]}).to_string()
    }));
    rows.push(of_text("JWS-43", "dotted", json_form, |[h, p, s]| format!("{{\"a\":\"{h}.{p}.{s}\"}}")));
    for spoil in ["=", "==", "+", "/", " ", "\t", "\n", "\r\n", "?", "%3D", "\u{e4}", "\0", "A", "~"] {
        for at in 0..3 {
            rows.push(of_text(
                "JWS-45",
                &format!("{spoil:?} at the end of part {at}"),
                if spoil == "A" { LOOSE } else { characters },
                move |parts| {
                    let mut parts = parts.map(str::to_owned);
                    parts[at].push_str(spoil);
                    parts.join(".")
                },
            ));
            if spoil != "A" {
                rows.push(of_text(
                    "JWS-45",
                    &format!("{spoil:?} inside part {at}"),
                    characters,
                    move |parts| {
                        let mut parts = parts.map(str::to_owned);
                        parts[at].insert_str(4, spoil);
                        parts.join(".")
                    },
                ));
            }
        }
    }
    // The last character of 64 bytes has four unused bits: they must be zero.
    rows.push(of_text("JWS-45", "bits beyond the last byte", "jws_base64url", |[h, p, s]| {
        let (rest, last) = s.split_at(s.len() - 1);
        format!("{h}.{p}.{rest}{}", char::from(last.as_bytes()[0] + 1))
    }));
    assert_all_refused(&[], &rows, &good());
}

/// One more character makes another text, or an invalid one.
const LOOSE: &str = "jws_base64url|jws_signature|jws_header_json|jws_claims_json";

/// With this header and this payload, and a valid signature.
fn of_payload(id: &'static str, code: &'static str, payload: impl Fn(&str) -> Vec<u8> + 'static) -> Forged {
    let shown = String::from_utf8_lossy(&payload("{..}")).chars().take(80).collect();
    let make: Make =
        Box::new(move |claims| compact(es256().to_string(), payload(&claims.to_string()), &honest()));
    Forged(id, shown, code, make)
}

#[test]
fn header_and_payload_are_one_strict_json_object_each() {
    let (header, claims) = ("jws_header_json", "jws_claims_json");
    let mut rows = Vec::new();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for text in [
        b"\xef\xbb\xbf{\"alg\":\"ES256\",\"kid\":\"k1\"}".to_vec(),
        b"{\"alg\":\"ES256\",\"kid\":\"k1\",\"x\":\"\xc0\xae\"}".to_vec(),
        b"{\"alg\":\"ES256\",\"kid\":\"k1\",\"x\":\"\xff\"}".to_vec(),
        br#"{"alg":"ES256","kid":"k1","x":"\ud800"}"#.to_vec(),
        br#"{"alg":"ES256","kid":"k1","x":"\udc00\ud800"}"#.to_vec(),
        utf16(r#"{"alg":"ES256","kid":"k1"}"#),
    ] {
        rows.push(of_header("JWS-46", header, text));
    }
    rows.push(of_payload("JWS-46", claims, |good| format!("\u{feff}{good}").into_bytes()));
    rows.push(of_payload("JWS-46", claims, move |good| utf16(good)));
    for member in
        [&b"\"x\":\"\xc0\xaf\","[..], b"\"x\":\"\xed\xa0\x80\",", b"\"x\":\"\\ud83d\",", b"\"\xff\":1,"]
    {
        rows.push(of_payload("JWS-46", claims, move |good| [b"{", member, &good.as_bytes()[1..]].concat()));
    }
    for text in [
        r#"{"alg":"none","alg":"ES256","kid":"k1"}"#,
        r#"{"alg":"ES256","alg":"none","kid":"k1"}"#,
        r#"{"alg":"ES256","\u0061lg":"none","kid":"k1"}"#,
        r#"{"\u0061lg":"none","alg":"ES256","kid":"k1"}"#,
        r#"{"alg":"ES256","kid":"k1","kid":"k1"}"#,
        r#"{"alg":"ES256","kid":"k1","x":{"y":1,"y":2}}"#,
    ] {
        rows.push(of_header("JWS-47", header, text));
    }
    for member in [
        r#""sub":"admin","#,
        r#""aud":"other","#,
        r#""exp":99999999999,"#,
        r#""\u0073ub":"admin","#,
        r#""iss":"https://evil.example","#,
        r#""x":{"a":1,"a":1},"#,
    ] {
        rows.push(of_payload("JWS-48", claims, move |good| format!("{{{member}{}", &good[1..]).into_bytes()));
        if !member.contains("\"x\"") {
            let last = member.trim_end_matches(',').to_owned();
            rows.push(of_payload("JWS-48", claims, move |good| {
                format!("{},{last}}}", good.strip_suffix('}').unwrap_or_default()).into_bytes()
            }));
        }
    }
    for rest in ["x", "{}", "\0", "]", ",", "//", "\u{a0}"] {
        rows.push(of_payload("JWS-49", claims, move |good| format!("{good}{rest}").into_bytes()));
        rows.push(of_header("JWS-49", header, format!("{}{rest}", es256())));
    }
    rows.push(of_payload("JWS-49", claims, |good| format!("{good}{good}").into_bytes()));
    for payload in ["null", "[]", "\"x\"", "1", "", "true", "[{\"iss\":\"https://idp.example.com\"}]", " "] {
        rows.push(of_payload("JWS-50", claims, move |_| payload.as_bytes().to_vec()));
    }
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [64, 1_000, 2_000] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let member = format!("\"x\":{nested},");
            rows.push(of_payload("JWS-51", claims, move |good| {
                format!("{{{member}{}", &good[1..]).into_bytes()
            }));
        }
        let nested = format!("{}1{}", open.repeat(70), close.repeat(70));
        rows.push(of_header("JWS-51", header, format!(r#"{{"alg":"ES256","kid":"k1","x":{nested}}}"#)));
        let endless = open.repeat(100_000);
        rows.push(of_payload("JWS-51", "bearer_too_long|provider_unreachable", move |_| {
            endless.clone().into_bytes()
        }));
    }
    assert_all_refused(&[], &rows, &good());
}

#[test]
fn a_signature_covers_exactly_the_received_bytes() {
    let wrong = "jws_signature";
    let mut rows = Vec::new();
    let resigned = |change: fn(&Value) -> String| -> Make {
        Box::new(move |claims| {
            let good = good()(claims);
            let parts: Vec<&str> = good.split('.').collect();
            format!("{}.{}.{}", parts[0], base64url(change(claims)), parts[2])
        })
    };
    type Change = fn(&Value) -> String;
    let changes: [(&str, Change); 4] = [
        ("other order", |claims| {
            let members: Vec<String> =
                claims.as_object().unwrap().iter().rev().map(|(k, v)| format!("{:?}:{v}", k)).collect();
            format!("{{{}}}", members.join(","))
        }),
        ("a space more", |claims| claims.to_string().replacen(',', ", ", 1)),
        ("an escape more", |claims| claims.to_string().replacen("mallory", "m\\u0061llory", 1)),
        ("somebody else", |claims| claims.to_string().replacen("mallory", "alice", 1)),
    ];
    for (what, change) in changes {
        rows.push(Forged("JWS-53", what.to_owned(), wrong, resigned(change)));
    }
    rows.push(of_text("JWS-53", "another header", wrong, |[_, p, s]| {
        format!("{}.{p}.{s}", base64url(json!({"kid": "k1", "alg": "ES256"}).to_string().replace(',', ", ")))
    }));
    rows.push(row("JWS-54", wrong, es256(), p256(99)));
    assert_all_refused(&[], &rows, &good());

    // Flips one bit of each character, in every part.
    let mut world = publishing(&[], false);
    let token = good()(&access_claims(world.now.0));
    world.with_token("/api", &token).is(200, "token");
    for at in (0..token.len()).step_by(3) {
        let mut flipped = token.clone().into_bytes();
        flipped[at] ^= 1;
        let seen = world.with_token("/api", &String::from_utf8(flipped).unwrap());
        assert!(seen.upstream.is_none() && matches!(seen.status, 400 | 401), "JWS-54 {at}: {seen:?}");
    }
}

/// So deep that a recursive reader would overflow the stack.
#[test]
fn deeply_nested_provider_documents_are_refused() {
    for endpoint in ["metadata", "keys", "token"] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{{\"keys\":{}1{}}}", open.repeat(10_000), close.repeat(10_000));
            let mut world = World::new();
            world.idp().instead.insert(endpoint, crate::world::answer(200, deep));
            let seen = if endpoint == "token" { world.log_in("/orders") } else { world.get("/orders") };
            assert!(seen.status >= 500 && seen.upstream.is_none(), "JWS-51 DOS-08 {endpoint}: {seen:?}");
        }
    }
}
