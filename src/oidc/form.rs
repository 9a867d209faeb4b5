//! `application/x-www-form-urlencoded`, read strictly (RFC 6749 appendix B).

use std::fmt;

use url::form_urlencoded;

use crate::codes::{self, Code};
use crate::http::Headers;
use crate::text::shown;

/// Longer forms are refused. Bytes. No known authorization code is longer than some 2 KiB.
pub const FORM_LIMIT: usize = 16 * 1024;

/// More parameters are refused.
pub const PARAMETER_LIMIT: usize = 64;

/// The parameters of a query or a form body; each name occurs once. It has no `Debug`: values
/// are codes and tokens.
pub struct Form(Vec<(String, String)>);

/// Why a text is not an acceptable form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormError {
    /// Longer than [`FORM_LIMIT`]; its length in bytes, if all of it arrived.
    TooLong(Option<usize>),
    /// More than [`PARAMETER_LIMIT`] parameters.
    TooMany,
    /// Malformed percent-encoding, decoded bytes that are not UTF-8, or text that is not ASCII.
    Encoding,
    /// A parameter occurs twice (RFC 6749 section 3.1). Its name, safe to print.
    Repeated(String),
}

impl FormError {
    /// The stable code of this rule.
    pub fn code(&self) -> &'static Code {
        match self {
            FormError::TooLong(_) => &codes::FORM_TOO_LONG,
            FormError::TooMany => &codes::FORM_TOO_MANY_PARAMETERS,
            FormError::Encoding => &codes::FORM_ENCODING,
            FormError::Repeated(_) => &codes::FORM_PARAMETER_REPEATED,
        }
    }
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormError::TooLong(Some(found)) => {
                write!(f, "the parameters have at most {FORM_LIMIT} bytes, but here {found}")
            }
            FormError::TooLong(None) => {
                write!(f, "the parameters have at most {FORM_LIMIT} bytes, but here more")
            }
            FormError::TooMany => write!(f, "there are more than {PARAMETER_LIMIT} parameters"),
            FormError::Encoding => f.write_str("the parameters are not form-encoded UTF-8"),
            FormError::Repeated(name) => {
                write!(f, "a parameter occurs once, but \"{name}\" occurs several times")
            }
        }
    }
}

impl Form {
    /// Reads a query (without `?`) or a form body.
    ///
    /// # Errors
    /// Input that two readers could understand differently: a duplicate name, malformed percent-encoding,
    /// bytes that are not UTF-8; and input beyond the limits.
    pub fn read(text: &str) -> Result<Form, FormError> {
        if text.len() > FORM_LIMIT {
            return Err(FormError::TooLong(Some(text.len())));
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for segment in text.split('&').filter(|segment| !segment.is_empty()) {
            if parameters.len() >= PARAMETER_LIMIT {
                return Err(FormError::TooMany);
            }
            let (name, value) = segment.split_once('=').unwrap_or((segment, ""));
            let name = decode(name).ok_or(FormError::Encoding)?;
            let value = decode(value).ok_or(FormError::Encoding)?;
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(FormError::Repeated(shown(&name)));
            }
            parameters.push((name, value));
        }
        Ok(Form(parameters))
    }

    /// The value of a parameter, empty if it was sent without one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Whether the header fields announce a form, with any character set.
pub fn is_announced(headers: &Headers) -> bool {
    let content_type = headers.one("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Every field of an application's form, in order; names may repeat. `None` if there are more than `limit`,
/// or if the text is not form-encoded UTF-8 without null characters: then it could not be submitted again
/// unchanged.
pub fn fields(text: &str, limit: usize) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    for segment in text.split('&').filter(|segment| !segment.is_empty()) {
        if fields.len() >= limit {
            return None;
        }
        let (name, value) = segment.split_once('=').unwrap_or((segment, ""));
        let decoded = |text| decode(text).filter(|decoded| !decoded.contains('\0'));
        fields.push((decoded(name)?, decoded(value)?));
    }
    Some(fields)
}

/// Adds a parameter to a form body.
pub(super) fn append(body: &mut Vec<u8>, name: &str, value: &str) {
    if !body.is_empty() {
        body.push(b'&');
    }
    body.extend(encode(name).bytes());
    body.push(b'=');
    body.extend(encode(value).bytes());
}

/// A text in form encoding (RFC 6749 appendix B).
pub(super) fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => (hex_digit(bytes.next()?)? << 4) | hex_digit(bytes.next()?)?,
            _ if byte.is_ascii_graphic() => byte,
            _ => return None,
        });
    }
    String::from_utf8(decoded).ok()
}

/// The value of a hexadecimal digit.
pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> FormError {
        Form::read(text).err().unwrap_or_else(|| panic!("{text:?} was accepted"))
    }

    #[test]
    fn names_and_values_are_decoded_once() {
        let form = Form::read("a=1+2%2B&b=%25%32%35&&%63=%c3%a9=x&d&e=").unwrap();
        for (name, value) in [("a", "1 2+"), ("b", "%25"), ("c", "é=x"), ("d", ""), ("e", "")] {
            assert_eq!(form.get(name), Some(value), "{name}");
        }
        assert_eq!(form.get("f"), None);
        assert_eq!(Form::read("").unwrap().get(""), None);
    }

    #[test]
    fn a_parameter_that_occurs_twice_is_refused_in_any_spelling() {
        for text in ["a=1&a=1", "a=1&%61=2", "a&b=1&a", "=&="] {
            assert!(matches!(error(text), FormError::Repeated(_)), "{text}");
        }
        assert!(Form::read("a=1&A=2&a[]=3").is_ok());
    }

    #[test]
    fn malformed_encodings_are_refused() {
        for text in
            ["a=%", "a=%4", "a=%zz", "a=%+1", "a=%u0041", "%=1", "a=%ff", "a=%c0%ae", "a=%ed%a0%80", "a=é"]
        {
            assert_eq!(error(text), FormError::Encoding, "{text}");
        }
        assert_eq!(error("a=b c"), FormError::Encoding);
        assert_eq!(error("a=b\0"), FormError::Encoding);
    }

    #[test]
    fn forms_are_bounded_in_length_and_number_of_parameters() {
        let numbered = |n: usize| (0..n).map(|i| format!("p{i}=1")).collect::<Vec<_>>().join("&");
        assert!(Form::read(&numbered(PARAMETER_LIMIT)).is_ok());
        assert_eq!(error(&numbered(PARAMETER_LIMIT + 1)), FormError::TooMany);
        assert!(Form::read(&format!("a={}", "x".repeat(FORM_LIMIT - 2))).is_ok());
        assert_eq!(
            error(&format!("a={}", "x".repeat(FORM_LIMIT - 1))),
            FormError::TooLong(Some(FORM_LIMIT + 1))
        );
    }

    #[test]
    fn application_forms_may_repeat_fields_but_must_be_well_formed() {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            fields("b=1&a=x%0D%0Ay&b=2&=&c", 9),
            Some(vec![field("b", "1"), field("a", "x\r\ny"), field("b", "2"), field("", ""), field("c", "")])
        );
        assert_eq!(fields("", 0), Some(Vec::new()));
        assert_eq!(fields("a&b", 1), None);
        for text in ["a=%", "a=%ff", "a=%00", "%00", "a=\u{e4}", "a=b c"] {
            assert_eq!(fields(text, 9), None, "{text:?}");
        }
    }

    #[test]
    fn appended_parameters_can_be_read_back() {
        let mut body = Vec::new();
        append(&mut body, "a", "x&y=z%+ é\r\n");
        append(&mut body, "b", "");
        let form = Form::read(std::str::from_utf8(&body).unwrap()).unwrap();
        assert_eq!(form.get("a"), Some("x&y=z%+ é\r\n"));
        assert_eq!(form.get("b"), Some(""));
    }
}
