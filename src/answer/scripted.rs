//! Pages with a script, for what a redirect cannot carry.
//!
//! Each has one constant script, allowed by its hash, and values in attributes. A script stores texts in the
//! storage of its own window and navigates to an address in the page; it makes no markup and evaluates
//! nothing. Without scripts the page has a link or a button, and says what will be lost.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::page::{Action, NOT_LOST_YET, document, escaped, html, policy};
use crate::http::Response;

const KEEP: &str = include_str!("keep.js");
const FRAGMENT: &str = include_str!("fragment.js");
const FETCH: &str = include_str!("fetch.js");
const SEND: &str = include_str!("send.js");
const POPUP: &str = include_str!("popup.js");

/// A page with a script.
struct ScriptPage<'a> {
    title: &'a str,
    text: &'a [&'a str],
    actions: &'a [Action<'a>],
    markup: String,
    script: &'a str,
    /// Allowed targets of its form, as in `form-action`.
    form_action: &'a str,
    referrer: &'a str,
}

impl ScriptPage<'_> {
    const BLANK: ScriptPage<'static> = ScriptPage {
        title: "",
        text: &[],
        actions: &[],
        markup: String::new(),
        script: "",
        form_action: "'none'",
        referrer: "no-referrer",
    };

    fn response(&self, status: u16) -> Response {
        let ScriptPage { title, text, actions, markup, script, form_action, referrer } = self;
        let hash = STANDARD.encode(Sha256::digest(script));
        let markup = format!("{markup}<script>{script}</script>");
        let policy = format!("{}; script-src 'sha256-{hash}'", policy(form_action));
        html(status, document(title, text, actions, "", &markup), &policy, referrer)
            .header("x-content-type-options", "nosniff")
    }
}

/// Sends a browser to the provider, and stores the fragment of the requested page. `login` names the login.
pub fn leave_with_fragment(provider: &str, login: &str) -> Response {
    let markup = format!(
        "{}<noscript><meta http-equiv=\"refresh\" content=\"0;url={}\"></noscript>",
        target(provider, login),
        escaped(provider)
    );
    let page = ScriptPage {
        title: "One moment",
        text: &["You are sent to the login."],
        actions: &[Action::Link { address: provider, text: "Continue" }],
        markup,
        script: KEEP,
        ..ScriptPage::BLANK
    };
    page.response(200)
}

/// Sends a browser to the provider, and stores a submitted form: `sealed`. If it cannot be stored, the page
/// stays. `popup` begins a login in another window.
pub fn leave_with_form(provider: &str, login: &str, sealed: &str, popup: &str, code: &str) -> Response {
    let markup = format!(
        "{}<input type=\"hidden\" id=\"form\" value=\"{sealed}\"><footer>Code <code>{}</code></footer>",
        target(provider, login),
        escaped(code)
    );
    let page = ScriptPage {
        title: "You are not logged in",
        text: &NOT_LOST_YET,
        actions: &[Action::NewWindow { address: popup, text: "Open the login" }],
        markup,
        script: KEEP,
        ..ScriptPage::BLANK
    };
    page.response(401).header("x-vestibule-code", code)
}

/// Returns to the requested page, with the fragment that this window stored.
pub fn return_with_fragment(return_to: &str, login: &str) -> Response {
    let page = ScriptPage {
        title: "You are logged in",
        actions: &[Action::Link { address: return_to, text: "Continue" }],
        markup: target(return_to, login),
        script: FRAGMENT,
        ..ScriptPage::BLANK
    };
    page.response(200)
}

/// Posts the form that this window stored to `restore`, the endpoint that opens it, with the `note` that its
/// login was completed.
pub fn return_with_form(return_to: &str, login: &str, note: &str, restore: &str) -> Response {
    let markup = format!(
        "<form method=\"post\" action=\"{}\"><input type=\"hidden\" id=\"kept\" name=\"kept\" data-login=\"{}\">\
         <input type=\"hidden\" name=\"login\" value=\"{note}\"></form>",
        escaped(restore),
        escaped(login)
    );
    let page = ScriptPage {
        title: "You are logged in",
        text: &[
            "What you sent before the login is not in this window: it was sent already, or it is in another one.",
            "If you still have the page on which you filled it in, look first whether it has arrived, then send \
             it once more from there.",
        ],
        actions: &[Action::Link { address: return_to, text: "Continue" }],
        markup,
        script: FETCH,
        form_action: "'self'",
        // With no referrer at all the form would be sent with `Origin: null`.
        referrer: "same-origin",
    };
    page.response(200)
}

/// Sends a form again, as it was before the login.
pub fn send_form(path: &str, fields: &[(String, String)]) -> Response {
    let hidden = |(name, value): &(String, String)| {
        format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", exactly(name), exactly(value))
    };
    let fields: String = fields.iter().map(hidden).collect();
    let markup = format!(
        "<div><form method=\"post\" action=\"{}\" accept-charset=\"utf-8\">{fields}<button>Send</button></form></div>",
        escaped(path)
    );
    let page = ScriptPage {
        title: "You are logged in",
        text: &["What you sent before the login is sent now."],
        markup,
        script: SEND,
        // The application may answer with a redirect to anywhere, and browsers check every redirect against
        // `form-action`. The address of the form itself is a path of this site.
        form_action: "http: https:",
        referrer: "same-origin",
        ..ScriptPage::BLANK
    };
    page.response(200)
}

/// Notifies the window that opened this one, if it has the same origin, and closes this one.
pub fn return_to_opener() -> Response {
    let page = ScriptPage {
        title: "You are logged in",
        text: &["You can close this window and go on in the other one."],
        script: POPUP,
        ..ScriptPage::BLANK
    };
    page.response(200)
}

/// The target of a script, and the name of the login under which it stores things.
fn target(address: &str, login: &str) -> String {
    format!(
        "<input type=\"hidden\" id=\"to\" data-login=\"{}\" value=\"{}\">",
        escaped(login),
        escaped(address)
    )
}

/// Text for a quoted attribute, preserved exactly, line ends included.
fn exactly(text: &str) -> String {
    let lines = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    lines.replace('\r', "&#13;").replace('\n', "&#10;")
}
