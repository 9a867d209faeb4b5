//! Header fields as each host keeps them.

use crate::Profile;
use crate::pairs::Pair;

/// Header fields of one message.
#[derive(Debug, Clone, Default)]
pub struct Fields(Vec<Field>);

#[derive(Debug, Clone)]
struct Field {
    name: String,
    value: Vec<u8>,
    /// Removed from nginx's index: filters no longer see it, but the upstream still gets it.
    is_hidden: bool,
}

/// nginx keeps a pointer to each of these; setting one changes the field that the pointer points at, and no
/// other.
const INDEXED: [&str; 8] = [
    "host",
    "connection",
    "authorization",
    "user-agent",
    "referer",
    "content-type",
    "content-length",
    "upgrade",
];

impl Fields {
    /// Appends a field.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        self.0.push(Field { name: name.to_owned(), value: value.to_vec(), is_hidden: false });
    }

    /// The value of the first field of this name that filters see.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.visible().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value.as_slice())
    }

    /// Whether there are several fields of this name.
    pub(crate) fn occurs_again(&self, name: &str) -> bool {
        self.visible().filter(|field| field.name.eq_ignore_ascii_case(name)).nth(1).is_some()
    }

    /// The fields that filters see, in the host's spelling.
    pub fn seen_by_filter(&self) -> Vec<Pair> {
        self.visible().map(|field| (field.name.clone().into_bytes(), field.value.clone())).collect()
    }

    /// The fields that are sent. Names in lower case.
    pub fn sent(&self) -> Vec<(String, Vec<u8>)> {
        self.0.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.clone())).collect()
    }

    /// The number of fields, including hidden ones.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Sets a request header. Envoy replaces every field of the name. nginx changes the first; it hides the
    /// others from filters, or leaves them alone where it keeps a pointer to the first.
    pub fn replace(&mut self, profile: Profile, name: &str, value: &[u8]) {
        let is_this = |field: &Field| !field.is_hidden && field.name.eq_ignore_ascii_case(name);
        let Some(first) = self.0.iter().position(is_this) else {
            return self.add(name, value);
        };
        let hides = !INDEXED.contains(&name.to_ascii_lowercase().as_str());
        for (at, field) in self.0.iter_mut().enumerate() {
            if at == first {
                field.value = value.to_vec();
            } else if profile == Profile::NgxWasm && hides && is_this(field) {
                field.is_hidden = true;
            }
        }
        if profile == Profile::Envoy {
            let mut at = 0..;
            self.0.retain(|field| at.next() == Some(first) || !is_this(field));
        }
    }

    /// Removes a request header. nginx only hides it from filters.
    pub fn remove(&mut self, profile: Profile, name: &str) {
        match profile {
            Profile::Envoy => self.0.retain(|field| !field.name.eq_ignore_ascii_case(name)),
            Profile::NgxWasm => {
                for field in self.0.iter_mut().filter(|field| field.name.eq_ignore_ascii_case(name)) {
                    field.is_hidden = true;
                }
            }
        }
    }

    fn visible(&self) -> impl Iterator<Item = &Field> {
        self.0.iter().filter(|field| !field.is_hidden)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name.as_ref(), value.as_ref());
        }
        fields
    }
}
