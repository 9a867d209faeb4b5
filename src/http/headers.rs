//! Header fields.

use std::fmt;
use std::ops::Range;

/// Header fields in the order in which they came. Names are in lower case.
///
/// All names lie in one text and all values in one buffer, because every request brings a dozen of them.
#[derive(Clone, Default)]
pub struct Headers {
    names: String,
    values: Vec<u8>,
    fields: Vec<FieldRange>,
}

/// Where a field lies.
#[derive(Clone)]
struct FieldRange {
    name: Range<usize>,
    value: Range<usize>,
}

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Headers::default()
    }

    /// The fields whose names and values lie at these places of a list. `None` if a name is no text: it could
    /// not be compared with the protected ones.
    pub fn in_list(list: Vec<u8>, fields: &[(Range<usize>, Range<usize>)]) -> Option<Headers> {
        // Names are short: mostly this is enough.
        let mut names = Vec::with_capacity(fields.len().saturating_mul(16).min(list.len()));
        let mut ranges = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let begin = names.len();
            names.extend_from_slice(list.get(name.clone())?);
            list.get(value.clone())?;
            ranges.push(FieldRange { name: begin..names.len(), value: value.clone() });
        }
        let mut names = String::from_utf8(names).ok()?;
        names.make_ascii_lowercase();
        let headers = Headers { names, values: list, fields: ranges };
        // Two that are no text could be one together.
        headers.fields.iter().all(|field| headers.names.get(field.name.clone()).is_some()).then_some(headers)
    }

    /// Appends a field; the name is put in lower case (RFC 9110 section 5.1).
    pub fn push(&mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) {
        let (name_begin, value_begin) = (self.names.len(), self.values.len());
        self.names.extend(name.as_ref().chars().map(|character| character.to_ascii_lowercase()));
        self.values.extend_from_slice(value.as_ref());
        let (name, value) = (name_begin..self.names.len(), value_begin..self.values.len());
        self.fields.push(FieldRange { name, value });
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| (field.name(&self.names), field.value(&self.values)))
    }

    /// Every value of the field `name` (in lower case).
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let named = self.fields.iter().filter(move |field| field.is_named(&self.names, name));
        named.map(|field| field.value(&self.values))
    }

    /// Whether the field is present.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The value of a field that may occur once. `None` if it is absent, repeated or not UTF-8: access
    /// decisions do not choose between two candidates.
    pub fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (Some(value), None) => std::str::from_utf8(value).ok(),
            _ => None,
        }
    }
}

impl FieldRange {
    fn name<'a>(&self, names: &'a str) -> &'a str {
        names.get(self.name.clone()).unwrap_or_default()
    }

    fn value<'a>(&self, values: &'a [u8]) -> &'a [u8] {
        values.get(self.value.clone()).unwrap_or_default()
    }

    /// The length decides for most.
    fn is_named(&self, names: &str, name: &str) -> bool {
        self.name.len() == name.len() && self.name(names) == name
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.push(name, value);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_list_says() {
        let list = b"..X-A1 2..cookiea=1b=2".to_vec();
        let fields = [(2..5, 5..8), (10..16, 16..19), (10..16, 19..22), (0..0, 22..22)];
        let headers = Headers::in_list(list.clone(), &fields).unwrap();
        let expected: Headers =
            [("x-a", &b"1 2"[..]), ("cookie", b"a=1"), ("cookie", b"b=2"), ("", b"")].into_iter().collect();
        assert_eq!(headers, expected);
        assert_eq!(headers.all("cookie").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
        assert_eq!((headers.one("x-a"), headers.one("cookie")), (Some("1 2"), None));
        for outside in [(2..5, 5..23), (20..23, 0..0), (usize::MAX - 1..usize::MAX, 0..0)] {
            assert!(Headers::in_list(list.clone(), &[outside]).is_none());
        }
    }

    #[test]
    fn a_name_that_is_no_text_is_none_beside_another_that_completes_it() {
        let list = "\u{e9}".as_bytes().to_vec();
        assert!(Headers::in_list(list.clone(), &[(0..2, 0..0)]).is_some());
        assert!(Headers::in_list(list.clone(), &[(0..1, 0..0)]).is_none());
        assert!(Headers::in_list(list, &[(0..1, 0..0), (1..2, 0..0)]).is_none());
    }
}
