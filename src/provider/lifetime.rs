//! How long metadata and keys may be used before they are fetched again (RFC 9111).

use crate::http::Headers;
use crate::time::Seconds;

/// Never fetched more often than this, whatever the provider says.
pub const LIFETIME_MIN: Seconds = Seconds(60);

/// Never used longer than this, whatever the provider says: a withdrawn key ends with it.
pub const LIFETIME_MAX: Seconds = Seconds(24 * 60 * 60);

/// The lifetime if the provider states none.
pub const LIFETIME_DEFAULT: Seconds = Seconds(60 * 60);

/// How long a response with these headers may be used: between [`LIFETIME_MIN`] and [`LIFETIME_MAX`].
///
/// `no-store`, `no-cache` and `max-age` of `Cache-Control` decide, less the `Age` that the response has
/// already (RFC 9111 sections 4.2.1, 5.1 and 5.2.2). `Expires` is not read: for an unknown key the set is
/// fetched at once, whatever a date says.
pub fn lifetime(headers: &Headers) -> Seconds {
    let fresh = match cache_control(headers) {
        Some(span) => Seconds(span.0.saturating_sub(age(headers).0)),
        None => LIFETIME_DEFAULT,
    };
    fresh.clamp(LIFETIME_MIN, LIFETIME_MAX)
}

/// The lifetime that `Cache-Control` states. Of directives that contradict each other the shortest counts;
/// one that is not readable counts as stale.
fn cache_control(headers: &Headers) -> Option<Seconds> {
    let values = headers.all("cache-control").filter_map(|value| std::str::from_utf8(value).ok());
    values.flat_map(|value| value.split(',')).filter_map(directive).min()
}

fn directive(text: &str) -> Option<Seconds> {
    let (name, argument) = text.split_once('=').unwrap_or((text, ""));
    match name.trim().to_ascii_lowercase().as_str() {
        "no-store" | "no-cache" => Some(Seconds(0)),
        "max-age" => Some(delta_seconds(argument.trim().trim_matches('"')).unwrap_or(Seconds(0))),
        _ => None,
    }
}

fn age(headers: &Headers) -> Seconds {
    headers.one("age").and_then(|text| delta_seconds(text.trim())).unwrap_or_default()
}

/// `delta-seconds`: digits only; too many of them count as very long (RFC 9111 section 1.2.2).
fn delta_seconds(text: &str) -> Option<Seconds> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Seconds(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, &str)]) -> u64 {
        lifetime(&fields.iter().copied().collect()).0
    }

    #[test]
    fn the_default_lifetime_is_one_hour() {
        assert_eq!(of(&[]), 3600);
        for value in ["", "public", "public, must-revalidate", "max-stale=5", "xmax-age=5", "\u{e9}"] {
            assert_eq!(of(&[("cache-control", value)]), 3600, "{value}");
        }
        assert_eq!(of(&[("age", "100")]), 3600);
    }

    #[test]
    fn jwk_17_max_age_is_clamped_to_the_bounds() {
        for (value, expected) in [
            ("max-age=300", 300),
            ("public, MAX-AGE=300 , must-revalidate", 300),
            ("max-age=\"300\"", 300),
            ("max-age=0", 60),
            ("max-age=59", 60),
            ("max-age=86401", 86400),
            ("max-age=1000000000000", 86400),
            ("max-age=99999999999999999999999999", 86400),
            ("max-age=-1", 60),
            ("max-age=1e12", 60),
            ("max-age=", 60),
            ("max-age", 60),
            ("no-store", 60),
            ("no-cache", 60),
            ("no-cache=\"set-cookie\"", 60),
            ("max-age=7200, no-store", 60),
            ("max-age=7200, max-age=300", 300),
        ] {
            assert_eq!(of(&[("cache-control", value)]), expected, "{value}");
        }
        assert_eq!(of(&[("cache-control", "max-age=7200"), ("cache-control", "max-age=300")]), 300);
    }

    #[test]
    fn the_age_of_a_response_shortens_its_lifetime() {
        let aged = |age| of(&[("cache-control", "max-age=7200"), ("age", age)]);
        assert_eq!(aged("200"), 7000);
        assert_eq!(aged("7200"), 60);
        assert_eq!(aged("99999999999999999999"), 60);
        assert_eq!(aged("-5"), 7200);
        assert_eq!(aged("soon"), 7200);
    }

    #[test]
    fn jwk_17_expires_alone_is_ignored() {
        for date in ["Sun, 06 Nov 1994 10:49:37 GMT", "Sun, 06 Nov 2994 10:49:37 GMT", "0", "tomorrow"] {
            assert_eq!(of(&[("expires", date)]), 3600, "{date}");
            assert_eq!(of(&[("expires", date), ("cache-control", "max-age=300")]), 300, "{date}");
        }
    }
}
