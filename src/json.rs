//! JSON from outside, read strictly: one value, no duplicate members, bounded depth.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Deeper nesting than this is refused.
pub const DEPTH_LIMIT: usize = 64;

/// Why a text is not acceptable JSON. The message names the place, never the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError(pub String);

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads one JSON value and nothing after it.
///
/// Stricter than `serde_json`: a member that occurs twice in an object is an error, at any depth
/// (RFC 7515 section 4, RFC 7519 section 4), and so is nesting beyond [`DEPTH_LIMIT`].
///
/// # Errors
/// Anything that is not UTF-8 JSON, duplicate members, too deep nesting, numbers out of range.
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: DEPTH_LIMIT }.deserialize(&mut deserializer).map_err(shown)?;
    deserializer.end().map_err(shown)?;
    Ok(value)
}

/// About how much memory the members of an object take on a 32-bit machine. Bytes.
pub fn memory_of(object: &Map<String, Value>) -> usize {
    object.iter().fold(0, |sum, (name, value)| {
        // With the node of the tree, a part of which stays empty, and the headers of the two allocations.
        sum.saturating_add(64).saturating_add(name.len()).saturating_add(memory_of_value(value))
    })
}

fn memory_of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(members) => members
            .iter()
            .fold(0, |sum, member| sum.saturating_add(32).saturating_add(memory_of_value(member))),
        Value::Object(object) => memory_of(object),
    }
}

/// Compares two numbers exactly, whole ones of 64 bits with doubles too.
pub fn compare(a: &Number, b: &Number) -> Ordering {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => compare_with_double(a, b),
        (None, Some(b)) => compare_with_double(b, a).reverse(),
        // No number of JSON is NaN.
        (None, None) => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
    }
}

fn whole(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

fn compare_with_double(whole: i128, double: &Number) -> Ordering {
    let double = double.as_f64().unwrap_or_default();
    // This conversion cuts off the fraction and saturates, far outside the range of 64 bits.
    #[allow(clippy::cast_possible_truncation)]
    let cut = double.trunc() as i128;
    whole.cmp(&cut).then_with(|| 0.0.partial_cmp(&double.fract()).unwrap_or(Ordering::Equal))
}

/// As [`parse`], for what must be an object.
///
/// # Errors
/// As [`parse`], and any value that is not an object.
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, JsonError> {
    match parse(text)? {
        Value::Object(members) => Ok(members),
        _ => Err(JsonError("not a JSON object".into())),
    }
}

fn shown(error: serde_json::Error) -> JsonError {
    let rule = match error.classify() {
        serde_json::error::Category::Eof => "ends too early".to_owned(),
        serde_json::error::Category::Data => error.to_string(),
        _ => "is not JSON".to_owned(),
    };
    match error.classify() {
        serde_json::error::Category::Data => JsonError(rule),
        _ => JsonError(format!("{rule} at line {} column {}", error.line(), error.column())),
    }
}

struct Strict {
    depth: usize,
}

impl Strict {
    fn inner<E: de::Error>(&self) -> Result<Strict, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Strict { depth }),
            None => Err(E::custom(format_args!("nested deeper than {DEPTH_LIMIT} levels"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner()?)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self.inner()?)?;
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom("an object has the same member twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_occurs_twice_is_refused_at_any_depth_and_in_any_spelling() {
        for text in
            [r#"{"alg":"none","alg":"RS256"}"#, r#"{"alg":1,"\u0061lg":2}"#, r#"[{"a":{"x":1,"x":1}}]"#]
        {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.0.starts_with("an object has the same member twice"), "{text}: {error}");
        }
    }

    #[test]
    fn nesting_ends_at_the_limit_and_does_not_exhaust_the_stack() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(nested(DEPTH_LIMIT).as_bytes()).is_ok());
        assert!(parse(nested(DEPTH_LIMIT + 1).as_bytes()).is_err());
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
        assert!(parse(r#"{"a":"#.repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn only_one_value_and_only_utf8() {
        for text in [
            &b"{}x"[..],
            b"{}{}",
            b"{}\0",
            b"\xff",
            b"\xef\xbb\xbf{}",
            b"\"\xc0\xae\"",
            br#""\ud800""#,
            b"",
            b"1e999",
            b"NaN",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(parse(b" {\"a\": [1, null]} \n"), Ok(serde_json::json!({"a": [1, null]})));
    }
}
