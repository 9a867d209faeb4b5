//! Every cookie of ours, by its purpose.

use std::fmt;
use std::rc::Rc;

use zeroize::Zeroizing;

use crate::config::{Config, RelyingParty};
use crate::text::shown;
use crate::time::{Seconds, Timestamp};

use super::attempt_counts::ATTEMPTS_LIFETIME;
use super::changes::{Fingerprint, pack_changes};
use super::client_cookies::ClientCookies;
use super::contents::Session;
use super::jar::{Jar, is_blank, name_and_value, trim_blanks};
use super::login::{COOKIE_INFIX, LOGINS_LIMIT, Login, LoginMissing, RETURN_TO_LIMIT};
use super::pack::{PART_LIMIT, pack};
use super::parts::{CANDIDATES_LIMIT, COOKIE_LIMIT, Names, SessionTooLarge};
use super::seal::{KeyName, Purpose, Sealer};
use super::set_cookie::Attributes;

/// Login cookies that are examined when a login begins. We never set so many; a browser that has more loses
/// them over several logins, so that the number of headers in a response is bounded.
const LOGINS_EXAMINED: usize = 16;

/// Limit for all cookies of a site together, including those of the application, after a login. Proxies
/// refuse a request with larger header fields before any filter sees it, and then no response could delete
/// cookies: Envoy above 60 KiB, of which other fields and logins in flight need a part. Bytes.
const COOKIES_ROOM: usize = 44 * 1024;

/// The same while logins are in flight: older ones are evicted. Bytes.
const COOKIES_ROOM_IN_FLIGHT: usize = 52 * 1024;

/// The value of a cookie for a login that a filter behind this one began.
const BEHIND: &str = "behind";

/// Reads and writes our cookies. Made once per configuration, which derives the keys.
///
/// The results are values of `Set-Cookie`, each for a header of its own.
pub struct Cookies {
    base: String,
    pub(super) login_prefix: String,
    pub(super) attempts_name: String,
    pub(super) logout_name: String,
    /// Those of the clients at all providers.
    pub(super) clients: Vec<Rc<ClientCookies>>,
    session_attributes: Attributes,
    /// For everything that is not a session and waits for a navigation.
    pub(super) other_attributes: Attributes,
    pub(super) login_lifetime: Seconds,
    /// The limit for one session.
    max_cookies: u8,
}

impl Cookies {
    /// The cookies of a configuration.
    ///
    /// Two configurations for the same host need two cookie names, of which neither is the other one
    /// followed by `-` or `.`. Their sealed texts are separate in any case, by provider, issuer and client.
    pub fn new(config: &Config) -> Cookies {
        let base = config.session.cookie_name.clone();
        let parties: Vec<&RelyingParty> =
            config.providers.iter().filter_map(|roles| roles.relying_party.as_deref()).collect();
        let client = |party: &&RelyingParty| {
            let name = match parties.len() {
                1 => base.clone(),
                _ => format!("{base}-{}", party.name),
            };
            Rc::new(ClientCookies::new(&name, config, party))
        };
        Cookies {
            login_prefix: format!("{base}{COOKIE_INFIX}"),
            attempts_name: format!("{base}-tries"),
            logout_name: format!("{base}-logout"),
            clients: parties.iter().map(client).collect(),
            session_attributes: Attributes::configured(&config.session),
            other_attributes: Attributes::of_login(&config.session),
            login_lifetime: config.session.login_lifetime,
            max_cookies: config.session.max_cookies,
            base,
        }
    }

    /// The cookies of each client, in the order of the relying parties of the configuration.
    pub fn clients(&self) -> &[Rc<ClientCookies>] {
        &self.clients
    }

    /// Whether a cookie of this name is ours and must not reach the upstream: the configured name, or that
    /// name followed by `-` or `.`. So cookies of a provider that is no longer configured are still ours.
    pub fn is_ours(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.base.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b'-' | b'.', ..]))
    }

    /// Whether a `Set-Cookie` field may set a cookie of ours, however a browser reads it: with blanks
    /// around the name (RFC 6265bis section 5.6), without a name and with ours in the value, in another
    /// letter case (browsers compare prefixes this way), or behind a comma of joined fields.
    pub fn are_set_by(&self, field: &[u8]) -> bool {
        let base = self.base.as_bytes();
        field.split(|byte| *byte == b',').any(|cookie| {
            let is_skipped = |byte: &u8| is_blank(byte) || *byte == b'=';
            let begin = cookie.iter().position(|byte| !is_skipped(byte)).unwrap_or(cookie.len());
            let name = cookie.get(begin..).unwrap_or_default();
            let name = name.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default();
            name.split_at_checked(base.len()).is_some_and(|(begin, rest)| {
                begin.eq_ignore_ascii_case(base) && matches!(trim_blanks(rest), [] | [b'-' | b'.', ..])
            })
        })
    }

    /// The names of the keys: the first seals, all open.
    pub fn key_names(&self) -> impl Iterator<Item = KeyName> {
        self.clients.first().into_iter().flat_map(|client| client.sealer.key_names())
    }

    /// Writes a session and deletes the parts of the previous one that it does not overwrite.
    ///
    /// The cookies have no `Max-Age`: they end with the browser, and the sealed text has the end of the
    /// session.
    ///
    /// # Errors
    /// [`SessionTooLarge`] if it does not fit; then nothing is written.
    pub fn set_session(
        &self,
        client: &ClientCookies,
        session: &Session,
        jar: &Jar<'_>,
        nonce: [u8; 24],
    ) -> Result<Vec<String>, SessionTooLarge> {
        let names = &client.names;
        let room = COOKIES_ROOM.saturating_sub(jar.bytes(|name| !self.is_ours(name)));
        let parts = u8::try_from(room.checked_div(COOKIE_LIMIT).unwrap_or_default()).unwrap_or(u8::MAX);
        // One always fits within the limit of what is read.
        let parts = parts.max(1);
        let (plaintext, count) = self.packed(names, session, self.max_cookies.min(parts))?;
        let sealed = client.sealer.seal(Purpose::Session, &[count], nonce, &plaintext);
        let mut cookies = names.set(&self.session_attributes, count, &sealed);
        let stale = names.iter().skip(usize::from(count)).filter(|name| may_have(jar, name));
        cookies.extend(stale.map(|name| self.session_attributes.delete(name)));
        Ok(cookies)
    }

    /// The changes of a session by a refresh, for requests with the previous cookie.
    ///
    /// # Errors
    /// [`SessionTooLarge`] if the current session would not fit into cookies.
    pub fn seal_refreshed(
        &self,
        client: &ClientCookies,
        before: &Session,
        session: &Session,
        nonce: [u8; 24],
    ) -> Result<String, SessionTooLarge> {
        self.packed(&client.names, session, self.max_cookies)?;
        let changes = pack_changes(before, session).unwrap_or_default();
        let of = Fingerprint::of(before);
        Ok(client.sealer.seal(Purpose::Refreshed, of.bytes(), nonce, &changes))
    }

    /// The plaintext of a session, and how many parts it needs.
    fn packed(
        &self,
        names: &Names,
        session: &Session,
        most: u8,
    ) -> Result<(Zeroizing<Vec<u8>>, u8), SessionTooLarge> {
        let packed = pack(session);
        let bytes = packed.as_ref().map_or(PART_LIMIT, |packed| packed.len());
        let count = names.count(&self.session_attributes, bytes, most)?;
        Ok((packed.unwrap_or_default(), count))
    }

    /// Deletes a session: every part that the browser sent, and the first in any case.
    pub fn delete_session(&self, client: &ClientCookies, jar: &Jar<'_>) -> Vec<String> {
        let names = &client.names;
        let first = names.iter().take(1);
        let later = names.iter().skip(1).filter(|name| may_have(jar, name));
        first.chain(later).map(|name| self.session_attributes.delete(name)).collect()
    }

    /// Writes the cookie of a login that begins, and deletes others: those that do not open or have
    /// expired, and the oldest, so that at most five are in flight and all cookies fit into a request.
    pub fn set_login(
        &self,
        client: &ClientCookies,
        login: &Login,
        jar: &Jar<'_>,
        now: Timestamp,
        nonce: [u8; 24],
    ) -> Vec<String> {
        let Some(id) = Login::id(login.state.expose()) else { return Vec::new() };
        let name = format!("{}{id}", self.login_prefix);
        let room = COOKIE_LIMIT.saturating_sub(self.login_cookie(client, &name, "").len());
        let mut plaintext = json(login);
        if login.return_to.len() > RETURN_TO_LIMIT || Sealer::sealed_len(plaintext.len()) > room {
            plaintext = json(&Login { return_to: "/".to_owned(), ..login.clone() });
        }
        let sealed = client.sealer.seal(Purpose::Login, b"", nonce, &plaintext);
        let mut cookies = vec![self.login_cookie(client, &name, &sealed)];

        let mut in_flight = Vec::new();
        let others = self.login_cookies(jar).filter(|(other, _)| *other != name);
        for (other, value) in others.take(LOGINS_EXAMINED) {
            match self.any_login(value).filter(|login| login.age(now) < self.login_lifetime) {
                Some(login) => {
                    in_flight.push((login.started_at, other, other.len().saturating_add(value.len())))
                }
                None => cookies.push(client.login_attributes.delete(other)),
            }
        }
        in_flight.sort_unstable_by_key(|(started_at, ..)| *started_at);
        let mut left = in_flight.len();
        let mut bytes = jar.bytes(|_| true).saturating_add(name.len()).saturating_add(sealed.len());
        for (_, other, size) in in_flight {
            if left < LOGINS_LIMIT && bytes <= COOKIES_ROOM_IN_FLIGHT {
                break;
            }
            cookies.push(client.login_attributes.delete(other));
            left = left.saturating_sub(1);
            bytes = bytes.saturating_sub(size);
        }
        cookies
    }

    /// The login of an authorization response with this `state`. Delete it afterwards, whatever the result
    /// ([`Cookies::delete_login`]): it is used once.
    ///
    /// # Errors
    /// Why there is none. `state` is compared whole and in constant time.
    pub fn open_login(
        &self,
        client: &ClientCookies,
        state: &str,
        jar: &Jar<'_>,
        now: Timestamp,
    ) -> Result<Login, LoginMissing> {
        let id = Login::id(state).ok_or(LoginMissing::NoCookie)?;
        let name = format!("{}{id}", self.login_prefix);
        let mut missing = LoginMissing::NoCookie;
        for value in jar.all(&name).take(CANDIDATES_LIMIT) {
            let limit = self.login_lifetime;
            missing = match client.login(value) {
                None if value == BEHIND.as_bytes() => LoginMissing::Behind,
                None => LoginMissing::NotOpened,
                Some(login) if login.state != state.into() => LoginMissing::OtherState,
                Some(login) if login.age(now) >= limit => {
                    LoginMissing::Expired { age: login.age(now), limit }
                }
                Some(login) => return Ok(login),
            };
        }
        Err(missing)
    }

    /// What replaces the cookie of a login that an upstream begins with this `Set-Cookie` field: the
    /// authorization response comes to this filter, and must not look like that of a browser without
    /// cookies. The name of the other filter's cookies may begin as ours do, such as `vestibule-two`.
    pub fn login_behind(&self, field: &[u8]) -> Option<String> {
        let (name, value) = name_and_value(field)?;
        let (_, id) = Login::of_cookie(std::str::from_utf8(name).ok()?)?;
        let begins = self.is_ours(name) && value.first().is_some_and(|first| *first != b';');
        let name = format!("{}{id}", self.login_prefix);
        let attributes = self.clients.first().map_or(&self.other_attributes, |it| &it.login_attributes);
        begins.then(|| attributes.set_for(&name, BEHIND, ATTEMPTS_LIFETIME))
    }

    /// The login cookie of another filter for this `state`, if the browser sent one.
    pub fn of_another_filter(&self, state: &str, jar: &Jar<'_>) -> Option<String> {
        let id = Login::id(state)?;
        let mut names = jar.iter().filter_map(|(name, _)| Login::of_cookie(std::str::from_utf8(name).ok()?));
        let (found, _) = names.find(|(base, named)| *named == id && *base != self.base)?;
        Some(shown(found))
    }

    /// Whether the browser has as many logins in flight as allowed, so that others were evicted.
    pub fn has_most_logins(&self, jar: &Jar<'_>, now: Timestamp) -> bool {
        let logins = self.login_cookies(jar).take(LOGINS_EXAMINED);
        let logins = logins.filter_map(|(_, value)| self.any_login(value));
        logins.filter(|login| login.age(now) < self.login_lifetime).count() >= LOGINS_LIMIT
    }

    /// Deletes the cookie of a login. Empty if `state` cannot be ours.
    pub fn delete_login(&self, client: &ClientCookies, state: &str) -> Vec<String> {
        let name = Login::id(state).map(|id| format!("{}{id}", self.login_prefix));
        name.iter().map(|name| client.login_attributes.delete(name)).collect()
    }

    fn login_cookie(&self, client: &ClientCookies, name: &str, sealed: &str) -> String {
        client.login_attributes.set_for(name, sealed, self.login_lifetime)
    }

    /// Login cookies in the jar with a name that we could have set: the name is repeated in a header.
    fn login_cookies<'a>(&self, jar: &Jar<'a>) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        jar.iter().filter_map(|(name, value)| {
            let name = std::str::from_utf8(name).ok()?;
            let id = name.strip_prefix(&self.login_prefix)?;
            (Login::id(id) == Some(id)).then_some((name, value))
        })
    }

    /// The name of a login cookie does not say which provider it belongs to.
    fn any_login(&self, value: &[u8]) -> Option<Login> {
        self.clients.iter().find_map(|client| client.login(value))
    }
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookies {}", self.base)
    }
}

/// A jar that was too large to read may contain any cookie.
fn may_have(jar: &Jar<'_>, name: &str) -> bool {
    jar.is_too_large() || jar.has(name)
}

/// Writing plain values to memory does not fail. If it did, the empty text would not open.
pub(super) fn json(value: &impl serde::Serialize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(serde_json::to_vec(value).unwrap_or_default())
}
