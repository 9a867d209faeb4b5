//! How nginx changes a request line before a filter sees it.

/// The path that `:path` has there: decoded, slashes merged, dot segments resolved; the query unchanged.
pub fn decoded_path(raw: &[u8]) -> Vec<u8> {
    let question = raw.iter().position(|byte| *byte == b'?');
    let (path, query) = question.map_or((raw, None), |at| (&raw[..at], Some(&raw[at + 1..])));
    let mut segments: Vec<Vec<u8>> = Vec::new();
    let decoded = percent_decoded(path);
    let last_is_folder = decoded.ends_with(b"/") || decoded.ends_with(b"/.") || decoded.ends_with(b"/..");
    for segment in decoded.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            segment => segments.push(segment.to_vec()),
        }
    }
    let mut out = Vec::new();
    for segment in &segments {
        out.push(b'/');
        out.extend(segment);
    }
    if out.is_empty() || last_is_folder {
        out.push(b'/');
    }
    if let Some(query) = query {
        out.push(b'?');
        out.extend(query);
    }
    out
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let escaped = text
            .get(at + 1..at + 3)
            .filter(|_| text[at] == b'%')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        out.push(escaped.unwrap_or(text[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    out
}

/// Whether nginx accepts the target of a callout; any other target is a trap.
pub fn reads_target(target: &str) -> bool {
    let name_end = match target.find(']') {
        Some(end) if target.starts_with('[') => end + 1,
        _ => target.find(':').unwrap_or(target.len()),
    };
    let (name, port) = target.split_at(name_end);
    let is_odd = |letter: char| !letter.is_ascii_alphanumeric() && !"-_.[]:".contains(letter);
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    !name.is_empty() && !name.contains(is_odd) && port.strip_prefix(':').is_none_or(is_port)
}

/// A header name as clients of HTTP/1.1 usually write it; nginx keeps the spelling.
pub fn as_written(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut begins = true;
    for letter in name.chars() {
        out.push(if begins { letter.to_ascii_uppercase() } else { letter });
        begins = letter == '-';
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_and_normalised() {
        for (raw, decoded) in [
            ("/a%2Fb/../c?x=%31", "/a/c?x=%31"),
            ("/public/..%2fadmin", "/admin"),
            ("/a//b/./", "/a/b/"),
            ("/a%0d%0ab", "/a\r\nb"),
            ("/", "/"),
        ] {
            assert_eq!(decoded_path(raw.as_bytes()), decoded.as_bytes(), "{raw}");
        }
    }
}
