//! Codes of decisions that are no refusals.

use super::Section;

codes! {
    DECISIONS = "Not an error", None;

    "public",
        "The rule admits everybody."
        => "Nothing.";

    "anonymous",
        "The rule is `optional`, and the request has no identity."
        => "Nothing.";

    "cors_preflight",
        "A browser sent a CORS preflight. It was forwarded to the upstream without an identity."
        => "Nothing, or `bypass_cors_preflight: false` on the rule.";

    "session",
        "A person with a session was admitted."
        => "Nothing.";

    "token",
        "A bearer token was accepted."
        => "Nothing.";

    "login_begins",
        "The browser is sent to the provider."
        => "Nothing.";

    "login_completed",
        "The browser returned from the provider and has a session now."
        => "Nothing.";

    "login_done_before",
        "A late or replayed authorization response, opened by a browser with a session. The browser was \
         sent to the page of that login."
        => "Nothing.";

    "login_in_frame",
        "A page in a frame needs a login, and providers refuse to be framed. The frame shows a link that \
         opens the login in the whole window."
        => "Nothing. With [`partitioned`](configuration.md#in-frames-of-other-sites) the login begins in the \
            frame.";

    "form_kept",
        "A form was submitted without a session. The answer, with status 401, is a page that [preserves \
         it](configuration.md#nothing-is-lost-over-a-login) in the browser and continues to the login."
        => "Nothing.";

    "form_restored",
        "After that login the preserved form is sent unchanged."
        => "Nothing.";

    "session_info",
        "A script of the site fetched [who is logged in](configuration.md#single-page-applications)."
        => "Nothing.";

    "resource_metadata",
        "A client fetched the metadata of a [protected resource](configuration.md#protected-resources)."
        => "Nothing.";

    "logged_out",
        "The session has ended."
        => "Nothing.";

    "logout_next_provider",
        "A person with sessions of several providers returned from the logout of one, and is sent to the \
         logout of the next."
        => "Nothing.";

    "logged_out_page",
        "The page after a logout was shown."
        => "Nothing.";

    "logged_out_by_provider",
        "A logout token was accepted and the sessions that it names have ended: back-channel logout. There \
         may be no such session here."
        => "Nothing.";

    "frontchannel_logged_out",
        "The provider's frame ended the session of this browser."
        => "Nothing.";

    "frontchannel_no_session",
        "The provider's frame brought no session cookie with this issuer and `sid`."
        => "Nothing, if the person was logged out before. Otherwise the log names the difference. Is \
            `session.same_site` `None`, and does the browser allow third-party cookies? Does the provider \
            write `sid` into its ID tokens? LemonLDAP::NG sends one in the logout and none at the login.";

    "logout_state",
        "The browser returned from the provider's logout with another `state` than the filter had sent. \
         The person is logged out here in any case; the page says that the provider may not have logged \
         them out."
        => "If it happens often: does the provider return `state`?";

    "logout_state_missing",
        "As above, without a `state`."
        => "As above.";

    "logout_to_confirm",
        "A logout request came from another site, or was not a navigation (an image, a prefetch). The \
         person must confirm first."
        => "Link to the logout from a page of the site itself.";
}
