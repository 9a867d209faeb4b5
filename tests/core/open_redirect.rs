//! The open-redirect payloads of oauth2-proxy: none of them may lead a browser off the site.
//!
//! The payloads are not part of this repository. The environment variable `VESTIBULE_VECTORS`
//! names the folder that holds `open-redirect/*.txt`, one payload per line.

use std::path::PathBuf;
use std::{env, fs};

use url::Url;
use vestibule::oidc::return_to::ReturnTo;

fn payloads() -> Option<Vec<String>> {
    let Some(folder) = env::var_os("VESTIBULE_VECTORS").map(PathBuf::from) else {
        println!("skipped: VESTIBULE_VECTORS is not set");
        return None;
    };
    let mut payloads = Vec::new();
    for entry in fs::read_dir(folder.join("open-redirect")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        payloads.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
    }
    Some(payloads)
}

/// What a browser of the site makes of a payload: as it is, and decoded once as a parameter is.
fn readings(payload: &str) -> [String; 2] {
    let decoded = url::form_urlencoded::parse(format!("x={}", payload.replace('&', "%26")).as_bytes())
        .map(|(_, value)| value.into_owned())
        .collect();
    [payload.to_owned(), decoded]
}

#[test]
fn no_return_address_leaves_the_origin_when_a_browser_resolves_it() {
    let Some(payloads) = payloads() else { return };
    assert!(payloads.len() >= 559, "only {} payloads", payloads.len());
    let site = Url::parse("https://app.example/oidc/callback?code=x").unwrap();
    for reading in payloads.iter().flat_map(|payload| readings(payload)) {
        let place = ReturnTo::parse(&reading, &[]);
        let landed = site.join(place.as_str()).unwrap();
        assert_eq!(landed.origin(), site.origin(), "{reading:?} became {:?}", place.as_str());
        assert!(!landed.path().starts_with("//"), "{reading:?} became {:?}", place.as_str());
        assert!(place.as_str() == "/" || reading.starts_with(place.as_str()), "{reading:?} was changed");
        assert!(place.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{reading:?}");
    }
}
