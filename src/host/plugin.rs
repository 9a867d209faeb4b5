//! The state that all contexts of one configuration share.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};

use super::abi::Failed;
use super::callouts::InFlight;
use super::kind::{self, Host};
use super::pending::Pending;
use crate::driver::{Driver, RequestId};
use crate::filter::Filter;
use crate::numbered::Numbered;

/// The state that all contexts of one configuration share.
#[derive(Default)]
pub struct Plugin {
    /// Absent while there is no valid configuration: then every request is refused.
    pub filter: OnceCell<Rc<Filter>>,
    /// Drives it.
    pub driver: OnceCell<RefCell<Driver>>,
    /// The contexts of waiting requests, by their number in the driver.
    pub waiting: RefCell<Numbered<Weak<Pending>>>,
    /// The callouts in flight of all configurations.
    pub in_flight: Rc<InFlight>,
    /// It has had a request.
    has_begun: Cell<bool>,
}

impl Plugin {
    /// One that waits for its configuration.
    pub fn new(in_flight: Rc<InFlight>) -> Self {
        Plugin { in_flight, ..Plugin::default() }
    }

    /// Calls the driver. None if there is none, or if the host calls within a call.
    pub fn drive<T>(&self, work: impl FnOnce(&mut Driver) -> T) -> Option<T> {
        let mut driver = self.driver.get()?.try_borrow_mut().ok()?;
        Some(work(&mut driver))
    }

    /// The state of a request that waits.
    pub fn pending(&self, id: RequestId) -> Option<Rc<Pending>> {
        self.waiting.borrow().get(id.number())?.upgrade()
    }

    /// Detects the host in a request; the first one prepares what depends on it.
    ///
    /// # Errors
    /// The host does not say. Nothing may depend on it then.
    pub fn find_host(&self) -> Result<Host, Failed> {
        let host = Host::find()?;
        if !self.has_begun.replace(true) {
            self.drive(|driver| driver.set_host(host.traits()));
            if self.filter.get().is_some_and(|filter| filter.shares_data()) {
                kind::use_shared_data();
            }
        }
        Ok(host)
    }
}
