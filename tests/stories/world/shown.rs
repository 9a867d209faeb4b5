//! Secrets that a text shows.

use std::collections::HashMap;

/// Up to so many secrets are searched one by one. A story with a thousand logins has thousands, and megabytes
/// of log.
const FEW: usize = 40;

/// So many bytes at the end of a secret are its index: the first bytes are often the same.
const END: usize = 4;

/// The first of these secrets, each longer than [`END`], in a text.
pub fn shown<'a>(secrets: &'a [String], text: &str) -> Option<&'a String> {
    if secrets.len() <= FEW {
        return secrets.iter().find(|secret| text.contains(secret.as_str()));
    }
    let mut by_end: HashMap<&[u8], Vec<&String>> = HashMap::new();
    let mut slots = vec![false; 1 << 16];
    for secret in secrets {
        let end = &secret.as_bytes()[secret.len() - END..];
        slots[slot(end)] = true;
        by_end.entry(end).or_default().push(secret);
    }
    let text = text.as_bytes();
    let ends = text.windows(END).enumerate().filter(|(_, end)| slots[slot(end)]);
    let mut found = ends.filter_map(|(at, end)| {
        let before = &text[..at + END];
        by_end.get(end)?.iter().copied().find(|secret| before.ends_with(secret.as_bytes()))
    });
    found.next()
}

fn slot(end: &[u8]) -> usize {
    let number = end.iter().fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    (number.wrapping_mul(0x9E37_79B1) >> 16) as usize
}

#[test]
fn a_secret_is_found_anywhere_among_few_and_many() {
    for count in [FEW, FEW * 100] {
        let secrets: Vec<String> = (0..count).map(|number| format!("secret-{number:05}")).collect();
        let last = secrets.last().unwrap();
        for text in [last.clone(), format!("{last} it is"), format!("it is {last}"), format!("<{last}>")] {
            assert_eq!(shown(&secrets, &text), Some(last), "{text}");
        }
        for text in ["", "x", "secret-", "secret-0000", "secret-99999"] {
            assert_eq!(shown(&secrets, text), None, "{text}");
        }
    }
}
