//! Values that are one of a few words, or that have more than one form.

use serde_json::Value;

use super::claim_path::ClaimPath;
use super::document::{
    ALLOWED_VALUES_LIMIT, AllowedObject, CLAIM_DEPTH_LIMIT, CalloutObject, PARAMETER_VALUES_LIMIT,
};
use super::problem::{Place, Problem};
#[cfg(not(target_arch = "wasm32"))]
use super::schema;
use super::shape::{Reading, Shape, choice};
use super::value::{List, Text};
use crate::jose::Algorithm;

/// `callout`: one target for everything, or an object.
pub(super) enum CalloutChoice {
    /// Everything goes here.
    All(Text),
    /// One target for each purpose.
    Each(Box<CalloutObject>),
}

impl Shape for CalloutChoice {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        match value {
            Value::String(_) => Text::read(value, place, reading).map(CalloutChoice::All),
            Value::Object(_) => {
                CalloutObject::read(value, place, reading).map(Box::new).map(CalloutChoice::Each)
            }
            _ => reading.refuse(Problem::of_type(place, "a string or an object", &value)),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> schema::Kind {
        schema::Kind::Either(vec![Text::kind(), CalloutObject::kind()])
    }
}

/// `authorization_parameters`: one value, or several.
pub(super) enum ParameterChoice {
    /// The parameter is sent once.
    One(Text),
    /// It is sent once for each.
    Each(Vec<Text>),
}

impl Shape for ParameterChoice {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        match value {
            Value::String(_) => Text::read(value, place, reading).map(ParameterChoice::One),
            Value::Array(_) => {
                let List(values) = List::<Text, 1, PARAMETER_VALUES_LIMIT>::read(value, place, reading)?;
                Some(ParameterChoice::Each(values))
            }
            _ => reading.refuse(Problem::of_type(place, "a string or a list", &value)),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> schema::Kind {
        schema::Kind::Either(vec![Text::kind(), List::<Text, 1, PARAMETER_VALUES_LIMIT>::kind()])
    }
}

/// `parameters_from_request`: the values, or what they look like.
pub(super) enum AllowedChoice {
    /// One of these.
    Values(Vec<Text>),
    /// Every value that the expression matches.
    Pattern(Box<AllowedObject>),
}

impl Shape for AllowedChoice {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        match value {
            Value::Array(_) => {
                let List(values) = List::<Text, 1, ALLOWED_VALUES_LIMIT>::read(value, place, reading)?;
                Some(AllowedChoice::Values(values))
            }
            Value::Object(_) => {
                AllowedObject::read(value, place, reading).map(Box::new).map(AllowedChoice::Pattern)
            }
            _ => reading.refuse(Problem::of_type(place, "a list or an object", &value)),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> schema::Kind {
        schema::Kind::Either(vec![List::<Text, 1, ALLOWED_VALUES_LIMIT>::kind(), AllowedObject::kind()])
    }
}

/// `token_endpoint_auth_method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthMethod {
    Basic,
    Post,
    PrivateKeyJwt,
    None,
}

choice! { AuthMethod {
    "client_secret_basic" => AuthMethod::Basic,
    "client_secret_post" => AuthMethod::Post,
    "private_key_jwt" => AuthMethod::PrivateKeyJwt,
    "none" => AuthMethod::None,
} }

/// The `SameSite` attribute (RFC 6265bis section 5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// `Strict`
    Strict,
    /// `Lax`
    Lax,
    /// `None`
    None,
}

choice! { SameSite {
    "Strict" => SameSite::Strict,
    "Lax" => SameSite::Lax,
    "None" => SameSite::None,
} }

/// How the browser delivers the authorization response (OAuth 2.0 Multiple Response Types section 2.1,
/// OAuth 2.0 Form Post Response Mode). A response in the other mode is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseMode {
    /// In the query of a `GET`.
    Query,
    /// In the body of a `POST`.
    FormPost,
}

choice! { ResponseMode {
    "query" => ResponseMode::Query,
    "form_post" => ResponseMode::FormPost,
} }

/// When claims are fetched from the userinfo endpoint at a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserinfoUse {
    /// When a needed claim is missing in the ID token.
    IfNeeded,
    /// At every login; a provider without the endpoint is unusable.
    Always,
    /// Not at all.
    Never,
}

choice! { UserinfoUse {
    "if_needed" => UserinfoUse::IfNeeded,
    "always" => UserinfoUse::Always,
    "never" => UserinfoUse::Never,
} }

/// What a claim holds, for its comparison with required values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimFormat {
    /// The members of a list; any other claim holds itself.
    List,
    /// The words of a text, separated by spaces.
    Words,
    /// The names of the members of an object.
    Names,
}

choice! { ClaimFormat {
    "list" => ClaimFormat::List,
    "words" => ClaimFormat::Words,
    "names" => ClaimFormat::Names,
} }

/// `accept`: one word, or a list of the ways in which an identity is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acceptance {
    Public,
    Deny,
    Identity { session: bool, bearer: bool },
}

choice! { Acceptance {
    "public" => Acceptance::Public,
    "deny" => Acceptance::Deny,
    "session" => Acceptance::Identity { session: true, bearer: false },
    "bearer" => Acceptance::Identity { session: false, bearer: true },
} }

/// `accept` in either form.
pub(super) struct AcceptanceChoice(pub(super) Acceptance);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Session,
    Bearer,
}

choice! { Proof {
    "session" => Proof::Session,
    "bearer" => Proof::Bearer,
} }

impl Shape for AcceptanceChoice {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        match value {
            Value::String(_) => Acceptance::read(value, place, reading).map(AcceptanceChoice),
            Value::Array(_) => {
                let List(proofs) = List::<Proof, 1, 2>::read(value, place, reading)?;
                Some(AcceptanceChoice(Acceptance::Identity {
                    session: proofs.contains(&Proof::Session),
                    bearer: proofs.contains(&Proof::Bearer),
                }))
            }
            _ => reading.refuse(Problem::of_type(place, "a string or a list", &value)),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> schema::Kind {
        schema::Kind::Either(vec![Acceptance::kind(), List::<Proof, 1, 2>::kind()])
    }
}

impl Shape for ClaimPath {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        match value {
            Value::String(_) => {
                let name = Text::read(value, place, reading)?;
                if !name.from_environment && is_like_a_path(&name.text) {
                    let names: Vec<String> = name.text.split('.').map(|part| format!("\"{part}\"")).collect();
                    let list = names.join(", ");
                    reading.warn(
                        place,
                        &format!("is one name, dots and all; if the claim is nested, write it as [{list}]"),
                    );
                }
                Some(ClaimPath(vec![name.text]))
            }
            Value::Array(_) => {
                let List(names) = List::<Text, 1, CLAIM_DEPTH_LIMIT>::read(value, place, reading)?;
                Some(ClaimPath(names.into_iter().map(|name| name.text).collect()))
            }
            _ => reading.refuse(Problem::of_type(place, "a string or a list of strings", &value)),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> schema::Kind {
        schema::Kind::Either(vec![Text::kind(), List::<Text, 1, CLAIM_DEPTH_LIMIT>::kind()])
    }
}

impl Shape for Algorithm {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        algorithm(value, &Algorithm::ALL.map(|algorithm| algorithm.name()), place, reading)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> schema::Kind {
        schema::Kind::Choice(Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect())
    }
}

/// Whether a name may have been meant as the path to a nested claim. Names that are addresses have dots of
/// their own.
fn is_like_a_path(name: &str) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    name.contains('.') && name.split('.').all(is_plain)
}

/// An algorithm with which the filter itself can sign: all but `ES512`.
pub(super) struct SigningAlgorithm(pub(super) Algorithm);

const SIGNING_ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

impl Shape for SigningAlgorithm {
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
        algorithm(value, &SIGNING_ALGORITHMS, place, reading).map(SigningAlgorithm)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> schema::Kind {
        schema::Kind::Choice(SIGNING_ALGORITHMS.to_vec())
    }
}

fn algorithm(value: Value, names: &[&str], place: &Place, reading: &mut Reading) -> Option<Algorithm> {
    let text = Text::read(value, place, reading)?;
    if let Some(algorithm) = Algorithm::parse(&text.text).filter(|found| names.contains(&found.name())) {
        return Some(algorithm);
    }
    let advice = if text.text.eq_ignore_ascii_case("none") {
        "an unsigned token proves nothing"
    } else if text.text.to_ascii_uppercase().starts_with("HS") {
        "with HS algorithms the key that verifies a token can also sign one; let the provider sign with \
         RS256 or ES256"
    } else {
        return text.not_one_of(names, reading);
    };
    reading.refuse(text.problem("must be an asymmetric signature algorithm").advice(advice))
}
