//! Descriptions of configuration objects, and how they read a document.
//!
//! Each object is written down once, with [`object!`]: its keys, their types, defaults and
//! meaning. From that come the reader, the JSON Schema and the tables of `docs/configuration.md`
//! (see [`schema`](super::schema); that part is not in the Wasm module).

use serde_json::{Map, Value};

use super::problem::{Place, Problem, Problems, nearest, shown_value};
#[cfg(not(target_arch = "wasm32"))]
use super::schema::Kind;

/// Input and findings of reading, besides the values.
pub(super) struct Reading<'a> {
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    pub(super) problems: Problems,
    pub(super) warnings: Vec<String>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Reading { environment, problems: Problems::default(), warnings: Vec::new() }
    }

    /// Notes a problem. Returns nothing, so that a check can end with it.
    pub(super) fn refuse<T>(&mut self, problem: Problem) -> Option<T> {
        self.problems.add(problem);
        None
    }

    /// Notes a setting that is allowed but unwise.
    pub(super) fn warn(&mut self, place: &Place, warning: &str) {
        self.warnings.push(format!("{}: {warning}", place.as_str()));
    }
}

/// A type of value in the document.
pub(super) trait Shape: Sized {
    /// Whether a value of this type may be shown.
    const MAY_BE_SHOWN: bool = true;

    /// Reads the value. `None` if it does not have this shape; then a problem was noted.
    fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self>;

    /// The type for the schema and the reference.
    #[cfg(not(target_arch = "wasm32"))]
    fn kind() -> Kind;
}

/// The members of an object, removed one by one.
pub(super) struct Members<'a> {
    members: Map<String, Value>,
    place: &'a Place,
}

impl<'a> Members<'a> {
    /// Checks that the value is an object and has no other keys than `keys`.
    #[inline(never)]
    pub(super) fn of(value: Value, place: &'a Place, keys: &[&str], reading: &mut Reading) -> Option<Self> {
        let Value::Object(members) = value else {
            return reading.refuse(Problem::at(place, "must be an object").got(shown_value(&value)));
        };
        for name in members.keys().filter(|name| !keys.contains(&name.as_str())) {
            let advice = match nearest(name, keys) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known are: {}", keys.join(", ")),
            };
            reading.problems.add(Problem::at(&place.key(name), "is not a known key").advice(advice));
        }
        // Elsewhere an empty value means absent; here it would widen a rule.
        if place.is_in_a_rule() {
            for (name, _) in members.iter().filter(|(_, value)| value.is_null()) {
                let advice = "give it a value, or leave the key out";
                reading.problems.add(Problem::at(&place.key(name), "must not be empty").advice(advice));
            }
        }
        Some(Members { members, place })
    }

    /// The value of a key; `null` is as absent.
    #[inline(never)]
    fn value(&mut self, key: &str) -> Option<Value> {
        self.members.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn required<T: Shape>(&mut self, key: &str, reading: &mut Reading) -> Option<T> {
        match self.value(key) {
            Some(value) => T::read(value, &self.place.key(key), reading),
            None => reading.refuse(Problem::at(&self.place.key(key), "is required")),
        }
    }

    /// The default is JSON text, so that it is read like a given value.
    pub(super) fn or_default<T: Shape>(
        &mut self,
        key: &str,
        default: &str,
        reading: &mut Reading,
    ) -> Option<T> {
        let value = self.value(key).or_else(|| serde_json::from_str(default).ok())?;
        T::read(value, &self.place.key(key), reading)
    }

    pub(super) fn optional<T: Shape>(&mut self, key: &str, reading: &mut Reading) -> Option<T> {
        T::read(self.value(key)?, &self.place.key(key), reading)
    }
}

/// Describes an object of the document. After each key stand its type and, in brackets, one of
/// `required`, `default JSON`, or `otherwise "what happens without it"`.
macro_rules! object {
    (
        $(#[doc = $about:literal])+
        $name:ident as $title:literal {
            $( $(#[doc = $meaning:literal])+ $key:ident: $shape:ty [$($presence:tt)+], )+
        }
    ) => {
        $(#[doc = $about])+
        pub(super) struct $name {
            /// Where the object stands. Not every check needs it.
            #[allow(dead_code)]
            pub(super) place: Place,
            $( $(#[doc = $meaning])+ pub(super) $key: Option<$shape>, )+
        }

        impl Shape for $name {
            fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
                let mut members = Members::of(value, place, &[$(stringify!($key)),+], reading)?;
                Some($name {
                    place: place.clone(),
                    $( $key: object!(@read members, reading, stringify!($key), $($presence)+), )+
                })
            }

            #[cfg(not(target_arch = "wasm32"))]
            fn kind() -> schema::Kind {
                schema::Kind::Object(|| schema::Object {
                    name: stringify!($name),
                    title: $title,
                    about: schema::joined(concat!($($about),+)),
                    keys: vec![$( schema::Key {
                        name: stringify!($key),
                        meaning: schema::joined(concat!($($meaning),+)),
                        kind: <$shape as Shape>::kind(),
                        presence: object!(@describe $($presence)+),
                    } ),+],
                })
            }
        }
    };
    (@read $members:ident, $reading:ident, $key:expr, required) => {
        $members.required($key, $reading)
    };
    (@read $members:ident, $reading:ident, $key:expr, default $($json:tt)+) => {
        $members.or_default($key, stringify!($($json)+), $reading)
    };
    (@read $members:ident, $reading:ident, $key:expr, otherwise $text:literal) => {
        $members.optional($key, $reading)
    };
    (@describe required) => { schema::Presence::Required };
    (@describe default $($json:tt)+) => { schema::Presence::Default(stringify!($($json)+)) };
    (@describe otherwise $text:literal) => { schema::Presence::Otherwise($text) };
}
pub(super) use object;

/// A type that is one of a few words.
macro_rules! choice {
    ($name:ty { $($word:literal => $value:expr,)+ }) => {
        impl Shape for $name {
            fn read(value: Value, place: &Place, reading: &mut Reading) -> Option<Self> {
                let text = Text::read(value, place, reading)?;
                match text.text.as_str() {
                    $( $word => Some($value), )+
                    _ => text.not_one_of(&[$($word),+], reading),
                }
            }

            #[cfg(not(target_arch = "wasm32"))]
            fn kind() -> schema::Kind {
                schema::Kind::Choice(vec![$($word),+])
            }
        }
    };
}
pub(super) use choice;
