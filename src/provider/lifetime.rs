//! How long metadata and keys may be used before they are asked for again (RFC 9111).

use crate::http::Headers;
use crate::time::{Seconds, Timestamp};

/// Never asked for more often than this, whatever the provider says.
pub const LIFETIME_MIN: Seconds = Seconds(60);

/// Never used longer than this, whatever the provider says: a withdrawn key ends with it.
pub const LIFETIME_MAX: Seconds = Seconds(24 * 60 * 60);

/// If the provider says nothing.
pub const LIFETIME_DEFAULT: Seconds = Seconds(60 * 60);

/// How long an answer with these headers that came at `now` may be used: between
/// [`LIFETIME_MIN`] and [`LIFETIME_MAX`].
///
/// `no-store`, `no-cache` and `max-age` of `Cache-Control` decide, less the `Age` that the answer
/// has already; without them `Expires` does (RFC 9111 sections 4.2.1, 5.1, 5.2.2 and 5.3).
pub fn lifetime(headers: &Headers, now: Timestamp) -> Seconds {
    let fresh = match cache_control(headers).or_else(|| expires(headers, now)) {
        Some(span) => Seconds(span.0.saturating_sub(age(headers).0)),
        None => LIFETIME_DEFAULT,
    };
    fresh.clamp(LIFETIME_MIN, LIFETIME_MAX)
}

/// What `Cache-Control` says. Of directives that contradict each other the shortest counts; one
/// that is not readable counts as stale.
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

/// What `Expires` says. A date that cannot be read is in the past (RFC 9111 section 5.3).
fn expires(headers: &Headers, now: Timestamp) -> Option<Seconds> {
    if !headers.has("expires") {
        return None;
    }
    let date = |name: &str| headers.one(name).and_then(http_date);
    Some(date("expires").unwrap_or_default().since(date("date").unwrap_or(now)))
}

/// `IMF-fixdate`, the one form that is sent: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section
/// 5.6.7). `None` for everything else, and before 1970.
fn http_date(text: &str) -> Option<Timestamp> {
    let (_, date) = text.trim().split_once(", ")?;
    let mut parts = date.split(' ');
    let day = number(parts.next()?, 1..=31)?;
    let month = parts.next()?;
    let year = number(parts.next()?, 1970..=9999)?;
    let mut time = parts.next()?.split(':');
    let hour = number(time.next()?, 0..=23)?;
    let minute = number(time.next()?, 0..=59)?;
    let second = number(time.next()?, 0..=60)?;
    if parts.next() != Some("GMT") || parts.next().is_some() || time.next().is_some() {
        return None;
    }
    let days = days_before_year(year)?.checked_add(days_before_month(month, year)?)?.checked_add(day)?;
    let hours = days.checked_sub(1)?.checked_mul(24)?.checked_add(hour)?;
    let minutes = hours.checked_mul(60)?.checked_add(minute)?;
    Some(Timestamp(minutes.checked_mul(60)?.checked_add(second)?))
}

fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && range.contains(number))
}

/// Days from 1970-01-01 to the first day of `year`.
fn days_before_year(year: u64) -> Option<u64> {
    /// Leap days before 1970 in the proleptic Gregorian calendar.
    const LEAP_DAYS_BEFORE_1970: u64 = 477;
    let past = year.checked_sub(1)?;
    let leap_days = (past / 4).checked_sub(past / 100)?.checked_add(past / 400)?;
    year.checked_sub(1970)?.checked_mul(365)?.checked_add(leap_days.checked_sub(LEAP_DAYS_BEFORE_1970)?)
}

fn days_before_month(month: &str, year: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let leap_day = u64::from(leap);
    Some(match month {
        "Jan" => 0,
        "Feb" => 31,
        "Mar" => leap_day.checked_add(59)?,
        "Apr" => leap_day.checked_add(90)?,
        "May" => leap_day.checked_add(120)?,
        "Jun" => leap_day.checked_add(151)?,
        "Jul" => leap_day.checked_add(181)?,
        "Aug" => leap_day.checked_add(212)?,
        "Sep" => leap_day.checked_add(243)?,
        "Oct" => leap_day.checked_add(273)?,
        "Nov" => leap_day.checked_add(304)?,
        "Dec" => leap_day.checked_add(334)?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(784_111_777);
    const NOW_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn of(fields: &[(&str, &str)]) -> u64 {
        lifetime(&fields.iter().copied().collect(), NOW).0
    }

    #[test]
    fn nothing_said_is_an_hour() {
        assert_eq!(of(&[]), 3600);
        for value in ["", "public", "public, must-revalidate", "max-stale=5", "xmax-age=5", "\u{e9}"] {
            assert_eq!(of(&[("cache-control", value)]), 3600, "{value}");
        }
        assert_eq!(of(&[("age", "100")]), 3600);
    }

    #[test]
    fn jwk_17_what_is_said_is_kept_within_the_bounds() {
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
    fn the_time_an_answer_spent_in_other_caches_is_gone() {
        let aged = |age| of(&[("cache-control", "max-age=7200"), ("age", age)]);
        assert_eq!(aged("200"), 7000);
        assert_eq!(aged("7200"), 60);
        assert_eq!(aged("99999999999999999999"), 60);
        assert_eq!(aged("-5"), 7200);
        assert_eq!(aged("soon"), 7200);
    }

    #[test]
    fn jwk_17_expires_alone_counts() {
        let later = "Sun, 06 Nov 1994 10:49:37 GMT";
        assert_eq!(of(&[("expires", later)]), 7200);
        assert_eq!(of(&[("expires", later), ("age", "200")]), 7000);
        assert_eq!(of(&[("expires", later), ("date", "Sun, 06 Nov 1994 10:39:37 GMT")]), 600);
        assert_eq!(of(&[("expires", later), ("cache-control", "max-age=300")]), 300);
        assert_eq!(of(&[("expires", NOW_TEXT)]), 60);
        assert_eq!(of(&[("expires", "Sun, 06 Nov 2994 10:49:37 GMT")]), 86400);
        for unreadable in ["0", "-1", "", "tomorrow", "Sunday, 06-Nov-94 10:49:37 GMT"] {
            assert_eq!(of(&[("expires", unreadable)]), 60, "{unreadable}");
        }
    }

    #[test]
    fn dates_are_read_exactly_or_not_at_all() {
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            (NOW_TEXT, Some(NOW.0)),
            ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400)),
            ("Wed, 01 Mar 2000 00:00:00 GMT", Some(951_868_800)),
            ("Tue, 19 Jan 2038 03:14:08 GMT", Some(2_147_483_648)),
            ("Mon, 01 Mar 2100 00:00:00 GMT", Some(4_107_542_400)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Wed, 31 Dec 1969 23:59:59 GMT", None),
            ("Thu, 00 Jan 1970 00:00:00 GMT", None),
            ("Thu, 01 jan 1970 00:00:00 GMT", None),
            ("Thu, 01 Jan 1970 24:00:00 GMT", None),
            ("Thu, 01 Jan 1970 00:00:00 CET", None),
            ("Thu, 01 Jan 1970 00:00:00:00 GMT", None),
            ("Thu, 01 Jan 1970 00:00 GMT", None),
            ("Thu, +1 Jan 1970 00:00:00 GMT", None),
            ("Thu, 01 Jan 1970 00:00:00 GMT x", None),
            ("01 Jan 1970 00:00:00 GMT", None),
        ] {
            assert_eq!(http_date(text), expected.map(Timestamp), "{text}");
        }
    }
}
