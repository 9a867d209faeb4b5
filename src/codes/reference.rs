//! The tables of `docs/errors.md`. Not in the module, which does not call it.

use super::{Row, Section, event, login, provider, request, session, site, token};

/// Every code, in the order of the reference.
pub const SECTIONS: [Section; 13] = [
    event::DECISIONS,
    session::SESSIONS,
    session::STEP_UP,
    session::RIGHTS,
    request::REQUESTS,
    request::BEARER,
    token::TOKENS,
    token::LOGOUT_TOKENS,
    login::LOGINS,
    provider::METADATA,
    provider::ANSWERS,
    site::SITE,
    site::BUGS,
];

const HEAD: &str = "| Code | Meaning | What to do |\n|---|---|---|\n";

impl Section {
    /// As above the table, after the `#`.
    pub fn heading(&self) -> String {
        let Section { title, status, .. } = self;
        status.map_or_else(|| (*title).to_owned(), |status| format!("{title} ({status})"))
    }

    /// The table.
    pub fn table(&self) -> String {
        let rows = self.rows.iter().filter_map(|row| self.row(row));
        std::iter::once(HEAD.to_owned()).chain(rows).collect()
    }

    fn row(&self, Row { code, kind, words }: &Row) -> Option<String> {
        let (meaning, remedy) = words.as_ref()?;
        let status = kind.map(|kind| kind.status).filter(|status| Some(*status) != self.status);
        let status = status.map(|status| format!("{status}. ")).unwrap_or_default();
        Some(format!("| `{code}` | {status}{meaning} | {remedy} |\n"))
    }
}

/// A page with its tables replaced by the current ones; the text around them stays.
///
/// # Errors
/// The heading that the page lacks, or that no table follows.
pub fn with_tables(page: &str) -> Result<String, String> {
    let mut done = String::new();
    let mut rest = page;
    for section in &SECTIONS {
        let heading = format!("# {}\n", section.heading());
        let around = rest.split_once(&heading).and_then(|(before, text)| {
            let (introduction, table) = text.split_once(HEAD)?;
            Some((before, introduction, table))
        });
        let (before, introduction, table) = around.ok_or_else(|| section.heading())?;
        done.extend([before, &heading, introduction, &section.table()]);
        // A table ends with an empty line or with the page.
        rest = table.find("\n\n").and_then(|end| table.get(end.saturating_add(1)..)).unwrap_or_default();
    }
    done.push_str(rest);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn rows() -> impl Iterator<Item = &'static Row> {
        SECTIONS.iter().flat_map(|section| section.rows)
    }

    #[test]
    fn every_code_is_described_once() {
        let described: Vec<&str> = rows().filter(|row| row.words.is_some()).map(|row| row.code).collect();
        let once: BTreeSet<&str> = described.iter().copied().collect();
        assert_eq!(described.len(), once.len(), "a code is described twice");
        assert!(once.len() > 150);
        for row in rows() {
            assert!(once.contains(row.code), "{} is not described", row.code);
            let is_code = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(row.code.chars().all(is_code), "{}", row.code);
        }
    }

    #[test]
    fn advice_for_people_names_nothing_of_the_configuration() {
        let texts: BTreeSet<&str> =
            rows().filter_map(|row| row.kind).flat_map(|kind| [kind.title, kind.advice]).collect();
        assert!(texts.len() > 60, "{}", texts.len());
        for text in texts {
            let words = text.to_ascii_lowercase();
            for word in words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-') {
                let stem = word.strip_suffix('s').unwrap_or(word);
                let is_of_operators =
                    ["rule", "claim", "cluster", "issuer", "scope", "audience"].contains(&stem);
                assert!(!is_of_operators && !word.contains('_'), "{word}: {text}");
            }
            assert!(!text.contains("://") && !text.contains('`') && text.len() < 240, "{text}");
        }
    }

    #[test]
    fn generating_the_tables_changes_nothing_else_of_the_page() {
        let page: String = SECTIONS
            .iter()
            .map(|section| {
                format!("## {}\n\nBefore.\n\n{HEAD}| `gone` | old | row |\n\nAfter.\n", section.heading())
            })
            .collect();
        let done = with_tables(&page).unwrap();
        assert!(!done.contains("`gone`") && done.contains("| `not_logged_in` | The request"), "{done}");
        assert_eq!(done.matches("\n\nBefore.\n\n| Code").count(), SECTIONS.len());
        assert_eq!(done.matches(" |\n\nAfter.\n").count(), SECTIONS.len());
        assert_eq!(with_tables(&done).unwrap(), done);
        assert_eq!(with_tables("# Codes\n"), Err("Not an error".to_owned()));
    }
}
