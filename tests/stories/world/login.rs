//! Logins, and the providers that the browser and the filter contact.

use url::Url;

use super::{Provider, Seen, SentCallout, World};

impl World {
    /// Begins a login. Returns the address of the provider to which the browser is sent.
    pub fn sent_to_provider(&mut self, path: &str) -> Url {
        let seen = self.get(path);
        seen.is(302, "login_begins");
        Url::parse(seen.location()).unwrap()
    }

    /// A whole login for a page, up to the redirect to that page.
    pub fn log_in(&mut self, path: &str) -> Seen {
        let address = self.sent_to_provider(path);
        let back = self.authorize(&address);
        self.come_back(&back)
    }

    pub fn authorize(&mut self, address: &Url) -> String {
        self.now = self.now + self.way;
        self.provider_for_login(address).authorize(address)
    }

    /// The provider that gets an authorization request. Two clients of one issuer are two here.
    fn provider_for_login(&mut self, address: &Url) -> &mut Provider {
        let client = address.query_pairs().find(|(name, _)| name == "client_id").map(|(_, value)| value);
        self.provider_of(address, |provider| client.as_deref() == Some(&provider.client_id))
    }

    /// The provider that gets a callout.
    pub(super) fn provider_for_callout(&mut self, callout: &SentCallout) -> &mut Provider {
        self.provider_of(&callout.url, |provider| provider.knows(callout))
    }

    /// The provider at this address for which `is_meant` holds, or the first one there.
    fn provider_of(&mut self, address: &Url, is_meant: impl Fn(&Provider) -> bool) -> &mut Provider {
        let is_there = |provider: &Provider| address.as_str().starts_with(&provider.issuer);
        let meant = self.providers.iter().position(|provider| is_there(provider) && is_meant(provider));
        let found = meant.or_else(|| self.providers.iter().position(is_there));
        match found {
            Some(found) => &mut self.providers[found],
            None => self
                .hidden_providers
                .iter_mut()
                .find(|p| is_there(p))
                .unwrap_or_else(|| panic!("no provider is at {address}")),
        }
    }

    /// A browser that is sent to a provider must bring a valid request, even if the story stops there.
    pub(super) fn assert_login_begins_well(&mut self, seen: &Seen) {
        if !["login_begins", "form_kept"].contains(&seen.code) {
            return;
        }
        let address = match seen.header("location") {
            Some(address) => address.to_owned(),
            // A page that preserves what a redirect would lose.
            None => {
                let page = seen.body.split("id=\"to\"").nth(1);
                let value = page.and_then(|rest| rest.split("value=\"").nth(1)?.split('"').next());
                value.unwrap_or_else(|| panic!("it leads nowhere: {}", seen.body)).replace("&amp;", "&")
            }
        };
        let address = Url::parse(&address).unwrap();
        self.provider_for_login(&address).assert_takes(&address);
    }
}
