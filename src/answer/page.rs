//! Pages for people: a refusal, the end of a session, the confirmation of a logout.
//!
//! Each is one document that loads nothing. Only the scripts of `scripted` run, pages cannot be framed, and
//! the one style is allowed by its hash.

use super::Refusal;
use crate::http::Response;

/// The style of every page. Changing it changes [`STYLE_HASH`].
const STYLE: &str = include_str!("page.css");

/// `base64(SHA-256(STYLE))`, as Content-Security-Policy Level 3 wants it. A test keeps it true.
const STYLE_HASH: &str = "SuN6IbkMG+eec8EP68OWrB0H9zSMqYoLgapbMz9IJDY=";

/// An arch with its door ajar.
const MARK: &str = concat!(
    r#"<svg viewBox="0 0 48 52" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="2.5" "#,
    r#"stroke-linecap="round"><path d="M2 50h44M7 50V22a17 17 0 0 1 34 0v28"/>"#,
    r#"<path d="M14 50V22a10 10 0 0 1 14-9.2V46z" fill="currentColor" stroke="none"/></svg>"#
);

/// Advice for a form that could not be preserved over a login: reloading the page sends it again.
pub(super) const NOT_LOST_YET: [&str; 2] = [
    "What you sent is not lost yet: this page still has it.",
    "Open the login in a new window and log in. Then come back to this page and reload it: the browser asks whether to send it again.",
];

/// What a person can do on a page.
pub(super) enum Action<'a> {
    Link {
        address: &'a str,
        text: &'a str,
    },
    NewWindow {
        address: &'a str,
        text: &'a str,
    },
    /// For a page in a frame: opens in the whole window.
    WholeWindow {
        address: &'a str,
        text: &'a str,
    },
    Post {
        address: &'a str,
        text: &'a str,
    },
}

/// The page of a refusal. It has no `detail`: people who use a site know nothing of its configuration.
pub(super) fn refused(refusal: &Refusal) -> Response {
    let login = refusal.login.map(|address| Action::Link { address, text: "Log in" });
    let popup = refusal.popup.map(|address| Action::NewWindow { address, text: "Open the login" });
    let login = popup.or(login);
    let retry = refusal.retry.map(|address| Action::Link { address, text: "Try again" });
    let text = "Log out and use another account";
    let logout = refusal.logout.map(|address| Action::Link { address, text });
    let front = refusal.front_page.map(|address| Action::Link { address, text: "Front page" });
    let actions: Vec<Action> = [login, retry, logout, front].into_iter().flatten().collect();
    let mut foot = format!("Code <code>{}</code>", escaped(refusal.code));
    if !refusal.reference.is_empty() {
        foot.push_str(&format!("<br>Reference <code>{}</code>", escaped(refusal.reference)));
    }
    let paragraphs = match refusal.popup {
        Some(_) => NOT_LOST_YET,
        None => [refusal.advice, ""],
    };
    let body = document(refusal.title, &paragraphs, &actions, &foot, "");
    page(refusal.status, body, "'none'", "no-referrer")
}

/// The page after a logout. `login` is the address of a new login; `is_confirmed`: as far as is known, the
/// provider ended its session too.
pub fn logged_out(login: &str, is_confirmed: bool) -> Response {
    let shared = "On a shared computer, close the browser too.";
    let text = if is_confirmed {
        ["Your session on this site has ended.", shared]
    } else {
        ["Your session on this site has ended. You may still be logged in at the login service.", shared]
    };
    let action = Action::Link { address: login, text: "Log in again" };
    page(200, document("You are logged out", &text, &[action], "", ""), "'none'", "no-referrer")
        .header("x-content-type-options", "nosniff")
}

/// Continues to a page of this site by a navigation that begins here: that carries cookies that are
/// `SameSite=Strict`, while a redirect after another site's request does not.
pub fn moved(address: &str) -> Response {
    let action = Action::Link { address, text: "Continue" };
    page(200, document("You are logged in", &[], &[action], "", ""), "'none'", "no-referrer")
        .header("refresh", format!("0; url={address}"))
        .header("x-content-type-options", "nosniff")
}

/// The content of a frame instead of a login: providers refuse to be framed, and a person must see who gets
/// the password. Any page may frame this one: it has only a link to `login`, which leaves the frame.
pub fn log_in_outside(login: &str, code: &str) -> Response {
    let text = ["This page is part of another one. The login needs a window of its own."];
    let action = Action::WholeWindow { address: login, text: "Log in" };
    let foot = format!("Code <code>{}</code>", escaped(code));
    let body = document("You are not logged in", &text, &[action], &foot, "");
    Response::new(401)
        .header("content-type", "text/html; charset=utf-8")
        .header("content-security-policy", without_frame_ancestors("'none'"))
        .header("x-content-type-options", "nosniff")
        .header("x-vestibule-code", code)
        .body(body)
}

/// Asks for confirmation before a session is ended. `action` is the logout endpoint, which accepts the form
/// by `POST`.
pub fn confirm_logout(action: &str) -> Response {
    let text = ["Your session on this site will end. What you have not saved may be lost."];
    let actions =
        [Action::Post { address: action, text: "Log out" }, Action::Link { address: "/", text: "Stay" }];
    // The response to the form may redirect to the provider and from there anywhere, and browsers check every
    // redirect against `form-action`. The form itself is a constant of ours.
    //
    // With no referrer at all the form would be sent with `Origin: null`.
    page(200, document("Log out?", &text, &actions, "", ""), "http: https:", "same-origin")
        .header("x-content-type-options", "nosniff")
}

/// The content of a provider's frame after a logout: nothing visible. `frames` are the origins of the pages
/// that may frame it; they come from the configuration and the provider's metadata.
pub fn ended_in_frame(frames: &[String]) -> Response {
    let body = "<!doctype html><html lang=\"en\"><title>Logged out</title></html>";
    Response::new(200)
        .header("content-type", "text/html; charset=utf-8")
        .header(
            "content-security-policy",
            format!(
                "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors {}",
                frames.join(" ")
            ),
        )
        .header("x-content-type-options", "nosniff")
        .body(body)
}

fn page(status: u16, body: String, form_action: &str, referrer: &str) -> Response {
    html(status, body, &policy(form_action), referrer)
}

/// The policy of a page without a script.
pub(super) fn policy(form_action: &str) -> String {
    format!("{}; frame-ancestors 'none'", without_frame_ancestors(form_action))
}

fn without_frame_ancestors(form_action: &str) -> String {
    format!("default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action {form_action}")
}

pub(super) fn html(status: u16, body: String, policy: &str, referrer: &str) -> Response {
    Response::new(status)
        .header("content-type", "text/html; charset=utf-8")
        .header("content-security-policy", policy)
        .header("x-frame-options", "DENY")
        .replacing("referrer-policy", referrer)
        .body(body)
}

/// The document. `foot` and `markup` are markup; everything else is text. A page with further markup
/// continues automatically, so its text is hidden at first.
pub(super) fn document(
    title: &str,
    paragraphs: &[&str],
    actions: &[Action],
    foot: &str,
    markup: &str,
) -> String {
    let title = escaped(title);
    let main = if markup.is_empty() { "<main>" } else { "<main class=\"later\">" };
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body>{main}{MARK}<h1>{title}</h1>"
    );
    for text in paragraphs.iter().filter(|text| !text.is_empty()) {
        html.push_str(&format!("<p>{}</p>", escaped(text)));
    }
    let actions: String = actions.iter().map(Action::markup).collect();
    if !actions.is_empty() {
        html.push_str(&format!("<div>{actions}</div>"));
    }
    if !foot.is_empty() {
        html.push_str(&format!("<footer>{foot}</footer>"));
    }
    html.push_str(markup);
    html.push_str("</main></body></html>");
    html
}

impl Action<'_> {
    fn markup(&self) -> String {
        let (Action::Link { address, text }
        | Action::NewWindow { address, text }
        | Action::WholeWindow { address, text }
        | Action::Post { address, text }) = self;
        if !is_web_address(address) {
            return String::new();
        }
        let address = escaped(address);
        match self {
            Action::Link { .. } => format!("<a rel=\"noreferrer\" href=\"{address}\">{text}</a>"),
            Action::WholeWindow { .. } => {
                format!("<a target=\"_top\" rel=\"noreferrer\" href=\"{address}\">{text}</a>")
            }
            Action::NewWindow { .. } => {
                format!("<a target=\"_blank\" rel=\"noopener\" href=\"{address}\">{text}</a>")
            }
            Action::Post { .. } => {
                format!("<form method=\"post\" action=\"{address}\"><button>{text}</button></form>")
            }
        }
    }
}

/// A path on this host, or an http or https address; no `javascript:`, and nothing that a browser reads as
/// the address of another host. Browsers drop control characters, and so does [`escaped`]: what is left of
/// `/\t/host` is another address.
fn is_web_address(address: &str) -> bool {
    if address.contains(char::is_control) {
        return false;
    }
    let here = address.starts_with('/') && !address.starts_with("//") && !address.contains('\\');
    here || address.starts_with("https://") || address.starts_with("http://")
}

/// Text for an element or a quoted attribute. Control characters are dropped.
pub(super) fn escaped(text: &str) -> String {
    let is_plain =
        |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'');
    if text.bytes().all(is_plain) {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len());
    for character in text.chars().filter(|c| !c.is_control()) {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};

    use super::super::tests::{field, refusal};
    use super::*;

    fn text(response: &Response) -> &str {
        std::str::from_utf8(&response.body).unwrap()
    }

    fn every_page() -> [Response; 4] {
        [
            refused(&refusal()),
            logged_out("/oidc/login", true),
            confirm_logout("/oidc/logout"),
            moved("/orders"),
        ]
    }

    #[test]
    fn the_policy_allows_the_style_and_nothing_else() {
        assert_eq!(STYLE_HASH, STANDARD.encode(Sha256::digest(STYLE)));
        for page in every_page() {
            assert_eq!(text(&page).matches("<style>").count(), 1);
            assert!(text(&page).contains(&format!("<style>{STYLE}</style>")));
            assert!(!text(&page).contains(" style=") && !text(&page).contains("<script"));
            let [policy] = field(&page, "content-security-policy")[..] else { panic!("one policy") };
            for part in [
                "default-src 'none'; ",
                &format!("style-src 'sha256-{STYLE_HASH}'; "),
                "base-uri 'none'; ",
                "frame-ancestors 'none'",
            ] {
                assert!(policy.contains(part), "{part} in {policy}");
            }
            assert_eq!(field(&page, "x-frame-options"), ["DENY"]);
            assert_eq!(field(&page, "cache-control"), ["no-store"]);
        }
    }

    #[test]
    fn only_the_page_with_a_form_may_send_one() {
        let [refused, out, confirm, moved] = every_page();
        for page in [&refused, &out, &moved] {
            assert!(field(page, "content-security-policy")[0].contains("form-action 'none'"));
            assert_eq!(field(page, "referrer-policy"), ["no-referrer"]);
        }
        assert!(field(&confirm, "content-security-policy")[0].contains("form-action http: https:;"));
        assert_eq!(field(&confirm, "referrer-policy"), ["same-origin"]);
        assert!(
            text(&confirm).contains("<form method=\"post\" action=\"/oidc/logout\"><button>Log out</button>")
        );
    }

    #[test]
    fn a_refusal_page_says_what_happened_what_to_do_and_its_reference() {
        let mut refusal = refusal();
        refusal.retry = Some("/orders?a=1&b=2");
        let page = refused(&refusal);
        assert_eq!(page.status, 401);
        for part in [
            "<title>You are not logged in</title>",
            "<h1>You are not logged in</h1>",
            "<p>Log in and try again.</p>",
            "<a rel=\"noreferrer\" href=\"/oidc/login?return_to=%2Forders\">Log in</a>",
            "<a rel=\"noreferrer\" href=\"/orders?a=1&amp;b=2\">Try again</a>",
            "<code>session_missing</code>",
            "<code>K7Q2-9FTX</code>",
            "lang=\"en\"",
            "name=\"viewport\"",
        ] {
            assert!(text(&page).contains(part), "{part}");
        }
        assert!(!text(&page).contains(refusal.detail), "that is for programs");
        refusal.logout = Some("/oidc/logout");
        refusal.front_page = Some("/");
        for part in [
            "<a rel=\"noreferrer\" href=\"/oidc/logout\">Log out and use another account</a>",
            "<a rel=\"noreferrer\" href=\"/\">Front page</a>",
        ] {
            assert!(text(&refused(&refusal)).contains(part), "{part}");
        }
        let bare = Refusal {
            advice: "",
            reference: "",
            login: None,
            retry: None,
            logout: None,
            front_page: None,
            ..refusal
        };
        let bare = refused(&bare);
        for part in ["<p></p>", "Reference", "<a ", "<div>"] {
            assert!(!text(&bare).contains(part), "{part}");
        }
    }

    #[test]
    fn text_on_a_page_is_escaped_everywhere() {
        assert_eq!(escaped("<a href=\"x\" b='y'>&\0\n"), "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;");
    }

    #[test]
    fn links_are_http_or_https_only() {
        for address in ["/", "/a?b#c", "https://op.example/x", "http://localhost/"] {
            assert!(is_web_address(address), "{address}");
        }
        for address in [
            "",
            "javascript:alert(1)",
            "JavaScript:x",
            "data:text/html,x",
            "//evil",
            "/\\evil",
            "/\t/evil",
            "x",
            " /",
        ] {
            assert!(!is_web_address(address), "{address}");
            assert!(!text(&logged_out(address, false)).contains("<a "), "{address}");
        }
    }

    /// WCAG 2.2, 1.4.3 and 1.4.11: text needs 4.5:1, borders and marks that mean something 3:1.
    #[test]
    fn light_and_dark_colours_have_enough_contrast() {
        let (day, night) = STYLE.split_once("prefers-color-scheme:dark").unwrap();
        for scheme in [day, night] {
            let color = |name: &str| {
                let value = scheme.split(&format!("--{name}:#")).nth(1).unwrap();
                let hex: String = value.chars().take_while(char::is_ascii_hexdigit).collect();
                let twice = |c: char| if hex.len() == 3 { vec![c, c] } else { vec![c] };
                let hex: String = hex.chars().flat_map(twice).collect();
                let part = |at: usize| {
                    f64::from(u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap()) / 255.0
                };
                let linear = |c: f64| if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
                0.2126 * linear(part(0)) + 0.7152 * linear(part(2)) + 0.0722 * linear(part(4))
            };
            let contrast = |one: f64, other: f64| (one.max(other) + 0.05) / (one.min(other) + 0.05);
            for (one, other, least) in [
                ("ink", "paper", 4.5),
                ("soft", "paper", 4.5),
                ("door", "paper", 4.5),
                ("on", "door", 4.5),
                ("line", "paper", 3.0),
            ] {
                let found = contrast(color(one), color(other));
                assert!(found >= least, "{one} on {other}: {found:.2}");
            }
        }
    }

    #[test]
    fn pages_stay_within_their_size_limit() {
        assert!(every_page().iter().all(|page| page.body.len() < 4096));
    }
}
