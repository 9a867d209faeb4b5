//! Header fields as the ABI encodes them: one list of pairs.

use std::ops::Range;

use crate::http::Headers;

/// Where a field lies in a list: its name and its value. Neither has to be text.
pub type FieldRange = (Range<usize>, Range<usize>);

/// The fields of a list, in the memory that the host filled.
#[derive(Debug, Default)]
pub struct Fields {
    list: Vec<u8>,
    ranges: Vec<FieldRange>,
}

impl Fields {
    /// The fields of a list, if it is well-formed.
    pub fn read(list: Vec<u8>) -> Option<Fields> {
        let ranges = ranges(&list)?;
        Some(Fields { list, ranges })
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let part = |range: &Range<usize>| self.list.get(range.clone()).unwrap_or_default();
        self.ranges.iter().map(move |(name, value)| (part(name), part(value)))
    }

    /// Takes out the fields that this takes, by name and value.
    pub fn take_out(&mut self, mut takes: impl FnMut(&[u8], &[u8]) -> bool) {
        let Fields { list, ranges } = self;
        let part = |range: &Range<usize>| list.get(range.clone()).unwrap_or_default();
        ranges.retain(|(name, value)| !takes(part(name), part(value)));
    }

    /// As header fields. `None` if a name is no text.
    pub fn into_headers(self) -> Option<Headers> {
        Headers::in_list(self.list, &self.ranges)
    }
}

/// A list as it crosses the border: how many there are, the lengths of each, then each name and value with
/// a zero byte behind it.
pub fn written(fields: &[(&str, &str)]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let mut list = number(fields.len()).to_vec();
    for (name, value) in fields {
        list.extend(number(name.len()));
        list.extend(number(value.len()));
    }
    for (name, value) in fields {
        list.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    list
}

/// Where the fields lie in a list, if it is well-formed.
fn ranges(list: &[u8]) -> Option<Vec<FieldRange>> {
    if list.is_empty() {
        return Some(Vec::new());
    }
    let number = |number: &[u8; 4]| u32::from_le_bytes(*number) as usize;
    let (count, rest) = list.split_first_chunk::<4>()?;
    let (lengths, texts) = rest.split_at_checked(number(count).checked_mul(8)?)?;
    let mut at = list.len().checked_sub(texts.len())?;
    let mut text = |length: &[u8; 4]| {
        let begin = at;
        let end = begin.checked_add(number(length))?;
        // With the zero byte behind it.
        at = end.checked_add(1).filter(|behind| *behind <= list.len())?;
        Some(begin..end)
    };
    let (lengths, _) = lengths.as_chunks::<4>();
    let (lengths, _) = lengths.as_chunks::<2>();
    let mut ranges = Vec::with_capacity(lengths.len());
    for [name, value] in lengths {
        let name = text(name)?;
        ranges.push((name, text(value)?));
    }
    Some(ranges)
}
