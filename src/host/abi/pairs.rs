//! Header fields as the ABI encodes them: one list of pairs.

/// A field: its name and its value. Neither has to be text.
pub type Field = (Vec<u8>, Vec<u8>);

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

/// The list in these bytes, if well-formed.
pub fn read(list: &[u8]) -> Option<Vec<Field>> {
    if list.is_empty() {
        return Some(Vec::new());
    }
    let number = |number: &[u8; 4]| u32::from_le_bytes(*number) as usize;
    let (count, rest) = list.split_first_chunk::<4>()?;
    let (lengths, mut texts) = rest.split_at_checked(number(count).checked_mul(8)?)?;
    let mut text = |length: &[u8; 4]| {
        let (text, rest) = texts.split_at_checked(number(length))?;
        texts = rest.split_first()?.1;
        Some(text.to_vec())
    };
    let mut fields = Vec::new();
    let (lengths, _) = lengths.as_chunks::<4>();
    let (lengths, _) = lengths.as_chunks::<2>();
    for [name, value] in lengths {
        let name = text(name)?;
        fields.push((name, text(value)?));
    }
    Some(fields)
}
