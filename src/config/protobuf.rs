//! The document as Envoy passes it if it is written as YAML.
//!
//! A `google.protobuf.Struct` reaches the filter in Protobuf's own encoding (Envoy's documentation says JSON;
//! Envoy 1.36 to 1.40 send Protobuf). It means the same as a JSON document.

use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value as StructValue};
use serde_json::{Map, Number, Value};

/// Reads a Protobuf `Struct`; `None` if it is malformed. Nesting is bounded by the decoder (100 levels).
pub(super) fn parse(document: &[u8]) -> Option<Value> {
    object(Struct::decode(document).ok()?)
}

fn object(members: Struct) -> Option<Value> {
    let members = members.fields.into_iter().map(|(name, member)| Some((name, value(member)?)));
    members.collect::<Option<Map<_, _>>>().map(Value::Object)
}

fn value(value_of: StructValue) -> Option<Value> {
    Some(match value_of.kind? {
        Kind::NullValue(_) => Value::Null,
        Kind::NumberValue(number) => Value::Number(Number::from_f64(number)?),
        Kind::StringValue(text) => Value::String(text),
        Kind::BoolValue(truth) => Value::Bool(truth),
        Kind::StructValue(members) => object(members)?,
        Kind::ListValue(list) => {
            Value::Array(list.values.into_iter().map(value).collect::<Option<Vec<_>>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_protobuf_struct_reads_as_the_same_json() {
        // {"n": 300, "s": "x", "b": true, "z": null, "l": [{"k": 1.5}]}, encoded by hand.
        let inner = [&b"\x0a\x0e\x0a\x01k\x12\x09\x11"[..], &1.5_f64.to_le_bytes()].concat();
        let item = [&[0x0a, 18, 0x2a, 16][..], &inner].concat();
        let members = [
            [&b"\x0a\x0e\x0a\x01n\x12\x09\x11"[..], &300.0_f64.to_le_bytes()].concat(),
            b"\x0a\x08\x0a\x01s\x12\x03\x1a\x01x".to_vec(),
            b"\x0a\x07\x0a\x01b\x12\x02\x20\x01".to_vec(),
            b"\x0a\x07\x0a\x01z\x12\x02\x08\x00".to_vec(),
            [&[0x0a, 27, 0x0a, 1, b'l', 0x12, 22, 0x32, 20][..], &item].concat(),
        ];
        let read = parse(&members.concat());
        assert_eq!(read, Some(json!({"n": 300.0, "s": "x", "b": true, "z": null, "l": [{"k": 1.5}]})));
    }

    #[test]
    fn malformed_protobuf_is_refused() {
        assert_eq!(parse(b"{\"a\": 1}"), None);
        assert_eq!(parse(b"\x0a\xff\xff\xff\xff\x0f"), None);
        assert_eq!(parse(b"\x0a\x05\x0a\x01n\x12\x00"), None, "a value of no kind");
        let mut deep = Struct::default();
        for _ in 0..200 {
            let inner = StructValue { kind: Some(Kind::StructValue(std::mem::take(&mut deep))) };
            deep.fields.insert("d".to_owned(), inner);
        }
        let deep = deep.encode_to_vec();
        assert_eq!(parse(&deep), None);
    }
}
