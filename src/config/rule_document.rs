//! The objects of a rule in the document, as those of [`document`](super::document).

use serde_json::Value;

use super::choices::{AcceptanceChoice, ClaimFormat};
use super::claim_path::ClaimPath;
use super::document::{
    ACR_VALUES_LIMIT, Hosts, METHODS_LIMIT, Names, REQUIREMENTS_LIMIT, Requirements, Values,
};
use super::problem::Place;
#[cfg(not(target_arch = "wasm32"))]
use super::schema;
use super::shape::{Members, Reading, Shape, object};
use super::value::{Bound, List, Text, WholeSeconds};

object! {
    /// What a request must meet. A rule matches if its hosts, its path and its methods all match.
    RuleObject as "rules[]" {
        /// A name for logs, unique, at most 64 characters.
        name: Text [otherwise "the place of the rule, such as `rules[2]`"],
        /// Hosts, each with its port if that is not the default. No wildcards.
        hosts: Hosts [otherwise "every host"],
        /// Exactly this path.
        path: Text [otherwise "every path"],
        /// This path and all below it, by whole segments: `/public` is for `/public/a`, not for
        /// `/publicity`.
        path_prefix: Text [otherwise "every path"],
        /// A regular expression that must match the whole path.
        path_pattern: Text [otherwise "every path"],
        /// Methods in upper case. `GET` includes `HEAD`.
        methods: List<Text, 1, METHODS_LIMIT> [otherwise "every method"],
        /// Who is admitted: everybody (`public`), nobody (`deny`), a person with a session (`session`), a
        /// program with a bearer token (`bearer`), or a list of the last two.
        accept: AcceptanceChoice [otherwise "`session`, and `bearer` if a provider has `audiences`"],
        /// The provider that logs people in and whose sessions count. If it is given, only its bearer tokens
        /// are accepted.
        provider: Text [otherwise "`default_provider`; bearer tokens of every provider with `audiences`"],
        /// The resource identifier of what the rule protects (RFC 8707), an `https` address: the `aud` claim of
        /// a bearer token must have it, and `audiences` of the provider do not count. The filter serves its
        /// metadata (RFC 9728), and names their address when it refuses a token, so that clients find the
        /// provider. Several rules may have the same resource.
        resource: Text [otherwise "the `audiences` of the provider count"],
        /// Let requests without an identity through too: those without a session or token, and those whose session
        /// has ended. A token that is not acceptable is refused all the same, and so is who does not meet the
        /// requirements of the rule.
        optional: bool [default false],
        /// What a session or a bearer token must have.
        require: RequirementObject [otherwise "nothing further"],
        /// How, and how recently, the person must have authenticated. A person whose session does not satisfy
        /// this is sent to the provider once more (step-up).
        authentication: AuthenticationObject [otherwise "any login"],
        /// What a bearer token itself must be, whatever its identity has: how old, how long-lived, and whose.
        token: TokenObject [otherwise "any acceptable token"],
        /// Try `require`, `authentication` and `token` without refusing anybody: what they would have refused
        /// is logged and counted, and the request goes on. Authentication itself is required all the same.
        report_only: bool [default false],
        /// Let CORS preflights through without an identity. Browsers send no credentials with them, so
        /// scripts of other origins could not call otherwise.
        bypass_cors_preflight: bool [default true],
        /// Allow this rule to be `public` or `optional` for everything. The filter then protects only what the rules before
        /// this one name.
        insecure_public_everything: bool [default false],
    }
}

object! {
    /// What an identity must have. All parts that are given must hold.
    RequirementObject as "rules[].require" {
        /// All of these scopes.
        scopes: Names [default []],
        /// At least one of these values in the `aud` claim.
        audiences: Names [default []],
        /// All of these claims.
        claims: List<ClaimObject, 0, REQUIREMENTS_LIMIT> [default []],
        /// The `email` is at one of these domains, in any letter case, and `email_verified` is `true`. A domain
        /// stands for itself, not for those below it.
        email_domains: Names [default []],
        /// At least one of these requirements.
        any_of: Requirements [default []],
        /// All of these requirements. Requirements may be nested 4 deep.
        all_of: Requirements [default []],
        /// None of these requirements.
        none_of: Requirements [default []],
    }
}

object! {
    /// How a person must have authenticated. All parts that are given must hold.
    AuthenticationObject as "rules[].authentication" {
        /// The `acr` claim must be one of these. They are requested in this order (`acr_values`).
        acr_values: List<Text, 0, ACR_VALUES_LIMIT> [default []],
        /// The person authenticated (`auth_time`) at most this long ago; `leeway_seconds` is added.
        max_age_seconds: WholeSeconds<10, 2_592_000> [otherwise "any time"],
        /// Scopes that a login for this rule requests besides the `scopes` of the provider. A session whose
        /// login did not request them is sent to the provider once more. Whether they were granted, `require`
        /// decides. For sessions only.
        scopes: Names [default []],
    }
}

object! {
    /// What a bearer token itself must be. All parts that are given must hold. Sessions are not concerned.
    TokenObject as "rules[].token" {
        /// The client that the token was issued to is one of these: the claim `client_id`; without it `azp`,
        /// `appid` (Entra ID) or `cid` (Okta).
        clients: Names [default []],
        /// The token was issued (`iat`) at most this long ago; `leeway_seconds` is added.
        max_age_seconds: WholeSeconds<1, 2_592_000> [otherwise "any age"],
        /// The token was issued for at most this long: from `iat` to `exp`.
        max_lifetime_seconds: WholeSeconds<1, 2_592_000> [otherwise "any lifetime"],
    }
}

object! {
    /// What one claim must hold. All conditions that are given must hold; at least one must be given. Values
    /// are compared whole and exactly.
    ClaimObject as "rules[].require.claims[]" {
        /// Name of the claim, including dots; or the list of names that leads to a nested claim.
        claim: ClaimPath [required],
        /// What the claim holds. `list`: the members of a list, any other claim itself. `words`: the words of a
        /// text, separated by spaces. `names`: the names of the members of an object, except those that are
        /// `false` or `null`.
        format: ClaimFormat [default "list"],
        /// At least one of these values.
        any_of: Values [default []],
        /// All of these values.
        all_of: Values [default []],
        /// None of these values. An absent claim holds none; one whose values are of another type is refused.
        none_of: Values [default []],
        /// A text that begins with one of these.
        prefixes: Names [default []],
        /// A text that this regular expression matches as a whole.
        pattern: Text [otherwise "any text"],
        /// The claim is one number, and at least this. A text is no number, and neither is a list.
        min: Bound [otherwise "no minimum"],
        /// The claim is one number, and at most this.
        max: Bound [otherwise "no maximum"],
        /// Whether the claim is there: `true` if it must be, with any value but `null`, `false` if it must not.
        present: bool [otherwise "as the other conditions say"],
    }
}
