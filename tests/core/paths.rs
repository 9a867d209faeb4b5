//! Random paths compared with the `url` crate: its reading is among the readings that the filter makes, and
//! no rule lets a path through unless it is also the rule of that reading.
//!
//! `PATHS_SEED` repeats a run, `PATHS_CASES` makes it longer.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::fuzz::paths::{Verdict, agrees_with_url, rules};

/// What paths are made of: names in rules, what programs read in several ways, and other text.
const PARTS: [&str; 73] = [
    "public",
    "closed",
    "admin",
    "health",
    "images",
    "caf",
    "%C3%A9",
    "%c3%a9",
    "\u{e9}",
    "x",
    "a.b",
    "/",
    "/",
    "/",
    "/",
    "//",
    "..",
    ".",
    "...",
    "%2e",
    "%2E",
    "%2e%2e",
    ".%2e",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    "%252e",
    "%252f",
    "%25",
    ";",
    ";v=1",
    "%3b",
    "?",
    "%3f",
    "#",
    "%23",
    "%00",
    "%09",
    "%0a",
    "%20",
    "%7f",
    "%",
    "%zz",
    "%c0%ae",
    "%c0%af",
    "%e0%80%ae",
    "%u002e",
    "%u002f",
    "\u{ff0e}",
    "\u{ff0f}",
    "%ef%bc%8e",
    "%ef%bc%8f",
    "\u{2024}",
    ":",
    "@",
    "&",
    "=",
    "+",
    "~",
    "'",
    "\"",
    "{}|^[]`",
    "<>",
    "u|",
    "C:",
    ":$",
    "::$DATA",
    "(S(x))",
    "(A(",
    "\u{fe30}",
    "%c2%a5",
    "\u{2100}",
];

const BEGINNINGS: [&str; 12] = [
    "/public/",
    "/public/closed",
    "/health",
    "/admin/",
    "/caf%C3%A9/",
    "/x/images/",
    "/",
    "//",
    "/.",
    "/%2e",
    "/u|/",
    "/public/c:/",
];

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn path(&mut self) -> String {
        let mut path = BEGINNINGS[self.below(BEGINNINGS.len())].to_owned();
        for _ in 0..self.below(9) {
            path += PARTS[self.below(PARTS.len())];
        }
        // Sometimes one character is replaced.
        if self.below(3) == 0 {
            let mut characters: Vec<char> = path.chars().collect();
            let at = self.below(characters.len());
            let any = char::from_u32(u32::try_from(self.below(0x180)).unwrap());
            characters[at] = any.unwrap_or('x');
            path = characters.into_iter().collect();
        }
        path
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Found by a fuzzer: the `url` crate takes `u|` for a drive of Windows whatever the scheme.
#[test]
fn dot_segments_do_not_climb_above_a_windows_drive() {
    let rules = rules();
    for (path, verdict) in [
        ("/u|/..", Verdict::Chosen),
        ("/u|/../public", Verdict::Refused),
        ("/public/c:/../x", Verdict::Chosen),
        ("/public/c:/../../health", Verdict::Refused),
        ("/public/C|/%2e%2e/..", Verdict::Refused),
        ("/c:/..\\public", Verdict::Refused),
    ] {
        assert_eq!(agrees_with_url(&rules, path), verdict, "{path}");
    }
}

#[test]
fn the_reading_of_the_url_crate_is_among_ours_with_the_same_rule() {
    // A test may read the clock.
    #[allow(clippy::disallowed_methods)]
    let by_clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = number("PATHS_SEED").unwrap_or_else(by_clock);
    eprintln!("PATHS_SEED={seed}");
    let mut random = Random(seed);
    let rules = rules();
    let (mut chosen, mut refused) = (0, 0);
    let cases = number("PATHS_CASES").unwrap_or(10_000);
    for _ in 0..cases {
        match agrees_with_url(&rules, &random.path()) {
            Verdict::Chosen => chosen += 1,
            Verdict::Refused => refused += 1,
            Verdict::NoPath => {}
        }
    }
    assert!(chosen > cases / 10 && refused > cases / 20, "{chosen} chosen, {refused} refused of {cases}");
}
