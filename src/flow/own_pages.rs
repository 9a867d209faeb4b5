//! The filter's own pages.

use std::rc::Rc;

use super::{frontchannel, login, logout, session_info, third_party};
use crate::error::Error;
use crate::filter::{Filter, Next, Visit};

impl Filter {
    /// What an own page does. They win over every rule, and only their exact path is theirs.
    ///
    /// # Errors
    /// As each page says.
    pub(crate) fn own_page(self: &Rc<Self>, visit: &Visit) -> Result<Option<Next>, Error> {
        let path = visit.request.path_only();
        let endpoints = &self.config.endpoints;
        if let Some(provider) =
            self.config.providers.iter().position(|provider| provider.redirect_uri.path() == path)
        {
            return Ok(Some(Next::Callback(provider)));
        }
        if path == endpoints.logout {
            return logout::end(self, visit).map(Next::Answer).map(Some);
        }
        if path == endpoints.logged_out {
            return Ok(Some(Next::Answer(logout::logged_out(self, visit))));
        }
        if endpoints.backchannel_logout.as_deref() == Some(path) {
            return Ok(Some(Next::LogoutToken));
        }
        if endpoints.frontchannel_logout.as_deref() == Some(path) {
            return frontchannel::end(self, visit).map(Next::Answer).map(Some);
        }
        if path == endpoints.session {
            return session_info::look(self, visit).map(Some);
        }
        if path == endpoints.restore {
            return Ok(Some(Next::KeptForm));
        }
        if path == endpoints.login && third_party::is_posted(&visit.request) {
            return Ok(Some(Next::PostedLogin));
        }
        if path == endpoints.login {
            let (provider, begin) = login::on_request(self, visit)?;
            return Ok(Some(Next::Login(provider, begin)));
        }
        Ok(None)
    }
}
