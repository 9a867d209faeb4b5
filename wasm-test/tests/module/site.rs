//! A world of the stories around one worker that tests can inspect.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};
use wasm_test::{Incoming, Outgoing, Progress, Setup, SharedData, StreamId, Worker};

use crate::gateway::{Built, setup};
use crate::world::{BEGINNING, Proxy, SITE, World, document, merge};

/// Both hosts.
pub const BOTH: [Proxy; 2] = [Proxy::Envoy, Proxy::Nginx];

pub struct Site {
    pub world: World,
    pub worker: Rc<RefCell<Worker>>,
    /// The shared data of the workers, if they have some.
    pub shared: Option<SharedData>,
}

/// Public assets, an API for tokens, and pages for people.
pub fn configuration() -> Value {
    json!({
        "providers": {"main": {"audiences": ["https://api.example.com"]}},
        "rules": [
            {"name": "public", "path_prefix": "/public", "accept": "public"},
            {"name": "api", "path_prefix": "/api", "accept": "bearer"},
            {"name": "pages", "path_prefix": "/"},
        ],
    })
}

impl Site {
    pub fn on(proxy: Proxy) -> Site {
        Site::with(proxy, &json!({}), |_| {})
    }

    /// A site whose configuration or host is not the usual one.
    pub fn with(proxy: Proxy, change: &Value, host: impl FnOnce(&mut Setup)) -> Site {
        let mut changes = configuration();
        merge(&mut changes, change);
        let mut setup = setup(proxy, &document(&changes), BEGINNING);
        // Without the guard, everything that would reach the upstream is visible.
        setup.is_guarded = false;
        host(&mut setup);
        let shared = setup.shared_data.clone();
        let built = Built::start(setup);
        let worker = built.worker();
        let gateway = Rc::new(RefCell::new(Box::new(built) as _));
        Site { world: World::around(proxy, &changes, gateway), worker, shared }
    }

    /// A site with a session.
    pub fn logged_in(proxy: Proxy) -> Site {
        let mut site = Site::on(proxy);
        site.world.log_in("/orders").is(302, "login_completed");
        site.world.get("/orders").is(200, "session");
        site
    }

    /// The request that ends a login for a page: the browser's way back from the provider.
    pub fn callback(&mut self, page: &str) -> Incoming {
        let address = self.world.sent_to_provider(page);
        let back = self.world.authorize(&address);
        let cookies = self.world.browser.header(true, self.world.now).unwrap();
        get(back.strip_prefix(SITE).unwrap(), &[("sec-fetch-mode", "navigate"), ("cookie", &cookies)])
    }

    /// A request sent directly to the worker, its callouts answered by the providers.
    pub fn send(&mut self, incoming: Incoming) -> Outgoing {
        self.worker.borrow_mut().set_time(self.world.now.0 * 1_000_000_000);
        let stream = self.worker.borrow_mut().begin(incoming);
        self.end(stream)
    }

    /// Answers callouts until a request has ended.
    pub fn end(&mut self, stream: StreamId) -> Outgoing {
        for _ in 0..10 {
            self.world.tick();
            match self.worker.borrow_mut().progress(stream) {
                Progress::Ended(outgoing) => return *outgoing,
                Progress::Waits => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("never decided");
    }
}

/// A `GET` of this path by a program.
pub fn get(path: &str, headers: &[(&str, &str)]) -> Incoming {
    Incoming {
        method: "GET".to_owned(),
        scheme: "https".to_owned(),
        authority: "app.example.com".to_owned(),
        path: path.as_bytes().to_vec(),
        addressed_host: String::new(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect(),
        has_body: false,
    }
}

/// The same by a browser that navigates.
pub fn page(path: &str) -> Incoming {
    get(path, &[("sec-fetch-mode", "navigate")])
}

/// Every value of this name that the upstream got.
pub fn got<'a>(outgoing: &'a Outgoing, name: &str) -> Vec<&'a [u8]> {
    let fields = outgoing.upstream.iter().flatten();
    fields.filter(|(n, _)| n == name).map(|(_, value)| value.as_slice()).collect()
}

/// The `Set-Cookie` fields of an answer.
pub fn cookies(outgoing: &Outgoing) -> usize {
    outgoing.headers.iter().filter(|(name, _)| name == "set-cookie").count()
}

/// A header field of an answer.
pub fn field<'a>(outgoing: &'a Outgoing, name: &str) -> Option<&'a str> {
    let field = outgoing.headers.iter().find(|(n, _)| n == name);
    field.map(|(_, value)| std::str::from_utf8(value).unwrap())
}
