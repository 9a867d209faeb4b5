//! A [`Timestamp`] or a span inside a sealed text: a plain number.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.0)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    u64::deserialize(deserializer).map(Timestamp)
}

/// The same for an optional time.
pub(super) mod optional {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp};

    pub(in crate::session) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| time.0).serialize(serializer)
    }

    pub(in crate::session) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Timestamp))
    }
}

/// An optional span.
pub(super) mod span {
    use super::{Deserialize, Deserializer, Serialize, Serializer};
    use crate::time::Seconds;

    pub(in crate::session) fn serialize<S: Serializer>(
        span: &Option<Seconds>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        span.map(|span| span.0).serialize(serializer)
    }

    pub(in crate::session) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Seconds>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Seconds))
    }
}
