//! What is decided and no refusal.

use super::Section;

codes! {
    DECISIONS = "Not an error", None;

    "public",
        "The rule lets everybody in."
        => "Nothing.";

    "cors_preflight",
        "A browser asks whether it may call; the upstream answers that, without an identity."
        => "Nothing, or `bypass_cors_preflight: false` on the rule.";

    "session",
        "A person with a session was let in."
        => "Nothing.";

    "token",
        "A bearer token was accepted."
        => "Nothing.";

    "login_begins",
        "The browser is sent to the provider."
        => "Nothing.";

    "login_completed",
        "The browser came back, and has a session now."
        => "Nothing.";

    "login_done_before",
        "The callback was opened a second time, late or from a bookmark, by somebody with a session; led to \
         where that login began."
        => "Nothing.";

    "login_in_frame",
        "A page in a frame needs a login with a page of the provider, which providers do not let be framed. \
         The frame has a link that opens the login in the whole window."
        => "Nothing. With [`partitioned`](configuration.md#in-frames-of-other-sites) the login begins in the \
            frame.";

    "form_kept",
        "A form was sent without a session. The answer, with status 401, is a page that [keeps \
         it](configuration.md#nothing-is-lost-over-a-login) in the browser and goes on to the login."
        => "Nothing.";

    "form_restored",
        "After that login the form is sent as it was."
        => "Nothing.";

    "session_told",
        "A script of the site was told [who is logged in](configuration.md#single-page-applications)."
        => "Nothing.";

    "logged_out",
        "The session has ended."
        => "Nothing.";

    "logout_next_provider",
        "Somebody with sessions of several providers is back from the logout of one, and is sent to that of \
         the next."
        => "Nothing.";

    "logged_out_page",
        "The page after a logout was shown."
        => "Nothing.";

    "logged_out_by_provider",
        "A logout token was accepted, and what it names has ended: back-channel logout. It may concern \
         nobody who is logged in here."
        => "Nothing.";

    "frontchannel_logged_out",
        "The provider's frame ended the session of this browser."
        => "Nothing.";

    "frontchannel_no_session",
        "The provider's frame brought no session cookie with this issuer and `sid`."
        => "Nothing, if the person was logged out before. Otherwise the log says what is different. Is \
            `session.same_site` `None`, and does the browser let frames of other sites have cookies? Does \
            the provider write `sid` into its ID tokens? LemonLDAP::NG sends one in the logout and none at \
            the login.";

    "logout_state",
        "The browser came back from the provider's logout with another `state` than it was sent with. The \
         person is logged out here in any case; the page says that the provider may not have done the same."
        => "If it happens often: does the provider return `state`?";

    "logout_state_missing",
        "As above, without a `state`."
        => "As above.";

    "logout_to_confirm",
        "A logout was asked for from another site, or not by going to the page (a picture, a prefetch); the \
         person is asked first."
        => "Link to the logout from a page of the site itself.";
}
