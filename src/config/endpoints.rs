//! Paths of the filter's own endpoints, which must differ from each other.

use super::address::endpoint_path_fault;
use super::document::EndpointsObject;
use super::problem::{Place, Problem};
use super::shape::Reading;
use super::value::Text;

/// Paths of the filter's own endpoints. Matched exactly.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// Begins a login on request, `?return_to=`.
    pub login: String,
    /// Ends the session.
    pub logout: String,
    /// The page after a logout.
    pub logged_out: String,
    /// Who is logged in, for scripts.
    pub session: String,
    /// Restores a form that was preserved over a login.
    pub restore: String,
    /// Where providers post logout tokens (Back-Channel Logout 1.0 section 2.2).
    pub backchannel_logout: Option<String>,
    /// What providers load in a frame (Front-Channel Logout 1.0 section 2).
    pub frontchannel_logout: Option<String>,
}

impl Endpoints {
    /// Every endpoint, by the key that configures its path.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let optional = [
            ("backchannel_logout", &self.backchannel_logout),
            ("frontchannel_logout", &self.frontchannel_logout),
        ];
        let always = [
            ("login", &self.login),
            ("logout", &self.logout),
            ("logged_out", &self.logged_out),
            ("session", &self.session),
            ("restore", &self.restore),
        ];
        always
            .into_iter()
            .chain(optional.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?))))
            .map(|(key, path)| (key, path.as_str()))
    }
}

pub(super) fn check(endpoints: EndpointsObject, reading: &mut Reading) -> Option<Endpoints> {
    let mut path = |text: Option<Text>| {
        let text = text?;
        match endpoint_path_fault(&text.text) {
            None => Some(text.text),
            Some(fault) => reading.refuse(text.problem(fault)),
        }
    };
    let (login, logout, logged_out) =
        (path(endpoints.login), path(endpoints.logout), path(endpoints.logged_out));
    let (session, restore) = (path(endpoints.session), path(endpoints.restore));
    let (backchannel_logout, frontchannel_logout) =
        (path(endpoints.backchannel_logout), path(endpoints.frontchannel_logout));
    Some(Endpoints {
        login: login?,
        logout: logout?,
        logged_out: logged_out?,
        session: session?,
        restore: restore?,
        backchannel_logout,
        frontchannel_logout,
    })
}

/// An endpoint of the filter: where its path was configured, and the path.
pub(super) struct EndpointPath {
    pub(super) place: Place,
    pub(super) path: String,
    /// The authorization response of a provider arrives here.
    pub(super) redirect: bool,
}

/// Notes a problem for every endpoint whose path is used already.
pub(super) fn check_distinct(endpoints: &[EndpointPath], reading: &mut Reading) {
    for (index, endpoint) in endpoints.iter().enumerate() {
        let Some(taken) = endpoints.iter().take(index).find(|earlier| earlier.path == endpoint.path) else {
            continue;
        };
        let rule = format!("must be another path than {}", taken.place.as_str());
        let problem = Problem::at(&endpoint.place, rule);
        reading.problems.add(if endpoint.redirect && taken.redirect {
            // RFC 9700 section 4.4.2.2: mix-up defence by distinct redirect addresses.
            problem.advice("so that the response of one provider is never accepted for another")
        } else {
            problem
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::config::trial::{accepted, read, refused};

    #[test]
    fn endpoints_have_plain_and_distinct_paths() {
        refused([
            (json!({"endpoints": {"login": "login"}}), "endpoints.login: must begin with /, got \"login\""),
            (json!({"endpoints": {"login": "/"}}), "endpoints.login: must not be / alone"),
            (json!({"endpoints": {"login": "/login?x"}}), "endpoints.login: must not have a query"),
            (json!({"endpoints": {"login": "/%6Cogin"}}), "endpoints.login: must have only the characters"),
            (
                json!({"endpoints": {"login": "/oidc/logout"}}),
                "endpoints.logout: must be another path than endpoints.login",
            ),
            (
                json!({"endpoints": {"logged_out": "/oidc/callback"}}),
                "providers.main.redirect_uri: must be another path than endpoints.logged_out",
            ),
            (
                json!({"endpoints": {"backchannel_logout": "/oidc/logout"}}),
                "endpoints.backchannel_logout: must be another path than endpoints.logout",
            ),
            (
                json!({"endpoints": {"backchannel_logout": "/b", "frontchannel_logout": "/b"}}),
                "endpoints.frontchannel_logout: must be another path than endpoints.backchannel_logout",
            ),
            (
                json!({"endpoints": {"backchannel_logout": "https://app.example.com/b"}}),
                "endpoints.backchannel_logout: must begin with /",
            ),
        ]);
        accepted([json!({"endpoints": {"login": "/sign-in", "logout": "/sign-out"}})]);
        let endpoints = read(json!({})).unwrap().endpoints;
        assert_eq!(endpoints.logged_out, "/oidc/logged-out");
        assert_eq!((endpoints.backchannel_logout, endpoints.frontchannel_logout), (None, None));
    }

    #[test]
    fn front_channel_logout_without_same_site_none_gives_a_warning() {
        for (same_site, count) in [("Lax", 1), ("Strict", 1), ("None", 0)] {
            let change = json!({
                "endpoints": {"frontchannel_logout": "/oidc/frontchannel-logout"},
                "session": {"same_site": same_site},
            });
            let warnings = read(change).unwrap().warnings;
            assert_eq!(warnings.len(), count, "{same_site}");
            assert!(warnings.iter().all(|warning| warning.starts_with("endpoints.frontchannel_logout: ")));
        }
    }
}
