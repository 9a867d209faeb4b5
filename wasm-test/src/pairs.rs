//! Lists of pairs as the ABI has them: a count, the lengths, then each text with a zero byte.

/// A name and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Encodes a list.
pub fn encode(pairs: &[Pair]) -> Vec<u8> {
    let mut out = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs {
        out.extend((name.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        out.extend(name);
        out.push(0);
        out.extend(value);
        out.push(0);
    }
    out
}

/// Decodes a list, if the bytes are one.
pub fn decode(bytes: &[u8]) -> Option<Vec<Pair>> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let count = number(0)?;
    let mut at = 4 + 8 * count;
    let mut pairs = Vec::new();
    for index in 0..count {
        let mut text = |length: usize| {
            let text = bytes.get(at..at + length)?.to_vec();
            at += length + 1;
            Some(text)
        };
        let name = text(number(4 + 8 * index)?)?;
        pairs.push((name, text(number(8 + 8 * index)?)?));
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_round_trip() {
        let pairs = vec![(b"a".to_vec(), b"1\0".to_vec()), (Vec::new(), Vec::new())];
        assert_eq!(decode(&encode(&pairs)), Some(pairs));
        assert_eq!(decode(&[9, 0, 0, 0]), None);
    }
}
