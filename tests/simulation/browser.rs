//! Browsers, each with a person, several tabs and cookies. The persons are impatient.

use url::Url;
use vestibule::http::Request;

use crate::checks::Seen;
use crate::jar::{From, Jar};
use crate::random::Chance;
use crate::shape::{Mood, SESSION_ENDPOINT, SITE, Shape};
use crate::world::{Actor, RequestId, World};

/// A browser follows no more redirects in a row.
pub const REDIRECTS: u32 = 20;

const TABS: usize = 3;

pub struct Browser {
    person: String,
    pub jar: Jar,
    /// The person acts again within so many milliseconds.
    pace: u64,
    /// Cookies are not blocked.
    pub keeps_cookies: bool,
    tabs: Vec<Tab>,
    /// Addresses that it visited, including callbacks.
    history: Vec<String>,
    /// In the exam: how many requests it has made, and whether it was let through.
    pub exam: (u32, bool),
    /// Its last response, for debugging a failure.
    pub last: &'static str,
}

#[derive(Default)]
struct Tab {
    waits: Option<RequestId>,
    /// The page of a provider that it shows: a login or a logout.
    at_provider: Option<String>,
    redirects: u32,
    /// When the next action in this tab is due.
    alarm: u64,
    /// Where the current navigation came from.
    from: Option<From>,
}

/// What a person does next.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Open,
    Back,
    CallbackAgain,
    Script,
    /// A script fetches session information, or extends the session.
    AskForSession,
    Prefetch,
    Form,
    LogOut,
    LogOutByAForm,
    LogOutFromElsewhere,
    LogIn,
    AnotherTab,
    DropCookies,
    DropOneCookie,
    CopyTab,
}

impl Wish {
    fn ends_something(self) -> bool {
        matches!(
            self,
            Wish::LogOut
                | Wish::LogOutByAForm
                | Wish::LogOutFromElsewhere
                | Wish::LogIn
                | Wish::DropCookies
                | Wish::DropOneCookie
        )
    }
}

const WISHES: [(u64, Wish); 15] = [
    (6, Wish::AskForSession),
    (40, Wish::Open),
    (6, Wish::Back),
    (4, Wish::CallbackAgain),
    (20, Wish::Script),
    (3, Wish::Prefetch),
    (4, Wish::Form),
    (3, Wish::LogOut),
    (1, Wish::LogOutByAForm),
    (2, Wish::LogOutFromElsewhere),
    (4, Wish::LogIn),
    (6, Wish::AnotherTab),
    (1, Wish::DropCookies),
    (1, Wish::DropOneCookie),
    (4, Wish::CopyTab),
];

const PAGES: [&str; 14] = [
    "/strong",
    "/open/shop",
    "/",
    "/scoped/orders",
    "/orders",
    "/orders?page=2&sort=name",
    "/orders/17",
    "/admin",
    "/admin/people",
    "/partner",
    "/partner/offers",
    "/public/a",
    "/closed",
    "/api/orders",
];

impl Browser {
    pub fn new(index: usize, shape: &Shape, chance: &mut Chance) -> Browser {
        Browser {
            // The last jar belongs to a person who has another browser too.
            person: format!("person-{}", index % (shape.browsers - 1)),
            pace: *chance.of(&[8_000, 15_000, 60_000, 200_000]),
            jar: Jar::default(),
            keeps_cookies: index == 0 || !chance.percent(8),
            tabs: (0..TABS).map(|_| Tab::default()).collect(),
            history: Vec::new(),
            exam: (0, false),
            last: "",
        }
    }

    pub fn set_alarm(&mut self, tab: usize, time: u64) {
        self.tabs[tab].alarm = time;
    }

    pub fn takes_cookies(&mut self, seen: &Seen, now: u64) {
        if self.keeps_cookies {
            seen.set_cookies().for_each(|cookie| self.jar.take(cookie, now));
        }
    }
}

impl World {
    /// A request of a browser: a navigation, or that of a script.
    fn of_browser(&self, browser: usize, method: &str, path: &str, from: From, mode: &str) -> Request {
        let mut request = self.get(path, &[("sec-fetch-mode", mode), ("sec-fetch-site", from.as_str())]);
        request.method = method.to_owned();
        let is_safe = mode == "navigate" && method == "GET";
        if let Some(cookies) = self.browsers[browser].jar.header(from, is_safe, self.time) {
            request.headers.push("cookie", cookies);
        }
        request
    }

    fn navigate(&mut self, browser: usize, tab: usize, path: &str, from: From) {
        let request = self.of_browser(browser, "GET", path, from, "navigate");
        self.load(browser, tab, from, request);
    }

    fn load(&mut self, browser: usize, tab: usize, from: From, request: Request) {
        self.load_with_body(browser, tab, from, request, Vec::new());
    }

    fn load_with_body(&mut self, browser: usize, tab: usize, from: From, request: Request, body: Vec<u8>) {
        let history = &mut self.browsers[browser].history;
        history.push(request.path.clone());
        if history.len() > 12 {
            history.remove(0);
        }
        let id = self.request_with_body(Actor::Tab(browser, tab), request, body);
        let before = std::mem::replace(
            &mut self.browsers[browser].tabs[tab],
            Tab { waits: Some(id), from: Some(from), ..Tab::default() },
        );
        let state = &mut self.browsers[browser].tabs[tab];
        (state.redirects, state.alarm) = (before.redirects, before.alarm);
        self.browsers[browser].exam.0 += 1;
        // A tab that navigates elsewhere does not wait for the request before.
        if let Some(before) = before.waits {
            self.leave(before);
        }
    }

    pub fn tab_wakes(&mut self, browser: usize, tab: usize) {
        if self.is_exam && tab != 0 {
            return;
        }
        let state = &self.browsers[browser].tabs[tab];
        if state.alarm != self.time {
            return;
        }
        if let Some(address) = state.at_provider.clone() {
            return self.act_at_provider(browser, tab, &address);
        }
        if let Some(id) = state.waits {
            if !self.is_exam && self.chance.percent(60) {
                self.browsers[browser].tabs[tab].waits = None;
                self.leave(id);
            }
            return self.wake(Actor::Tab(browser, tab), 5_000);
        }
        self.browsers[browser].tabs[tab].redirects = 0;
        if self.is_exam {
            return self.sit_exam(browser);
        }
        let mut wish = self.chance.weighted(&WISHES);
        // In a fair world sessions live long.
        if self.shape.mood == Mood::Fair && wish.ends_something() && self.chance.percent(80) {
            wish = Wish::Open;
        }
        self.fulfil(browser, tab, wish);
        // Some persons go on before there is an answer.
        let within = if self.chance.percent(10) { 60 } else { self.browsers[browser].pace };
        self.wake(Actor::Tab(browser, tab), within);
    }

    fn fulfil(&mut self, browser: usize, tab: usize, wish: Wish) {
        let page = *self.chance.of(&PAGES);
        self.statistics.count(format!("browser: {wish:?}"));
        match wish {
            Wish::Open => {
                let from =
                    self.chance.weighted(&[(6, From::SameOrigin), (3, From::Nowhere), (1, From::CrossSite)]);
                self.navigate(browser, tab, page, from);
            }
            Wish::Back => self.visit_again(browser, tab, |_| true),
            Wish::CallbackAgain => self.visit_again(browser, tab, |path| path.contains("state=")),
            Wish::Script => {
                let method = *self.chance.of(&["GET", "GET", "POST", "DELETE"]);
                let request = self.of_browser(browser, method, page, From::SameOrigin, "cors");
                self.request(Actor::Script(browser), request);
            }
            Wish::AskForSession => {
                let method = *self.chance.of(&["GET", "POST"]);
                let mut request =
                    self.of_browser(browser, method, SESSION_ENDPOINT, From::SameOrigin, "cors");
                request.headers.push("origin", SITE);
                self.request(Actor::Script(browser), request);
            }
            Wish::Prefetch => {
                let mut request = self.of_browser(browser, "GET", page, From::SameOrigin, "navigate");
                request.headers.push("sec-purpose", "prefetch");
                self.request(Actor::Script(browser), request);
            }
            Wish::Form => {
                let request = self.of_browser(browser, "POST", page, From::SameOrigin, "navigate");
                self.load(browser, tab, From::SameOrigin, request);
            }
            Wish::LogOut => self.navigate(browser, tab, "/oidc/logout", From::SameOrigin),
            Wish::LogOutByAForm => {
                let mut request =
                    self.of_browser(browser, "POST", "/oidc/logout", From::SameOrigin, "navigate");
                request.headers.push("origin", SITE);
                self.load(browser, tab, From::SameOrigin, request);
            }
            Wish::LogOutFromElsewhere => self.navigate(browser, tab, "/oidc/logout", From::CrossSite),
            Wish::LogIn => {
                let back =
                    *self.chance.of(&["/orders", "//evil.example/", "https://evil.example/", "/partner", ""]);
                let path = format!("/oidc/login?return_to={back}");
                self.navigate(browser, tab, &path, From::SameOrigin);
            }
            Wish::AnotherTab => {
                let other = self.chance.below(TABS);
                self.wake(Actor::Tab(browser, other), 3_000);
            }
            Wish::DropCookies => self.browsers[browser].jar.clear(),
            Wish::DropOneCookie => {
                let at = self.chance.below(6);
                self.browsers[browser].jar.remove(at);
            }
            Wish::CopyTab => self.copy_tab(browser, tab),
        }
    }

    /// Another tab shows the same page: two logins from one page, or one login in two tabs.
    fn copy_tab(&mut self, browser: usize, tab: usize) {
        let other = (tab + 1) % TABS;
        let tabs = &mut self.browsers[browser].tabs;
        let Some(address) = tabs.iter().find_map(|tab| tab.at_provider.clone()) else { return };
        if let Some(id) = tabs[other].waits.take() {
            self.leave(id);
        }
        self.browsers[browser].tabs[other] = Tab { at_provider: Some(address), ..Tab::default() };
        self.wake(Actor::Tab(browser, other), 4_000);
    }

    fn visit_again(&mut self, browser: usize, tab: usize, is_wanted: impl Fn(&str) -> bool) {
        let history = &self.browsers[browser].history;
        let paths: Vec<String> = history.iter().filter(|path| is_wanted(path)).cloned().collect();
        if !paths.is_empty() {
            let path = self.chance.of(&paths).clone();
            self.navigate(browser, tab, &path, From::Nowhere);
        }
    }

    pub fn tab_sees(&mut self, browser: usize, tab: usize, id: RequestId, seen: &Seen) {
        let now = self.time;
        let of = &mut self.browsers[browser];
        of.takes_cookies(seen, now);
        // The tab may have navigated elsewhere by now.
        if of.tabs[tab].waits != Some(id) {
            return;
        }
        of.tabs[tab].waits = None;
        of.last = seen.code;
        let from = of.tabs[tab].from.unwrap_or(From::Nowhere);
        if let Some(next) = seen.header("refresh").and_then(|refresh| refresh.strip_prefix("0; url=")) {
            return self.redirected(browser, tab, next, From::SameOrigin);
        }
        if let Some(next) = seen.header("location") {
            return self.redirected(browser, tab, next, from);
        }
        if self.is_exam && matches!(seen.code, "session") {
            self.browsers[browser].exam.1 = true;
        }
        // The answer to the confirmation page.
        if seen.code == "logout_to_confirm" && self.chance.percent(50) {
            self.fulfil(browser, tab, Wish::LogOutByAForm);
        }
        self.browsers[browser].tabs[tab].redirects = 0;
        self.wake(Actor::Tab(browser, tab), if self.is_exam { 6_000 } else { self.browsers[browser].pace });
    }

    fn redirected(&mut self, browser: usize, tab: usize, next: &str, from: From) {
        let state = &mut self.browsers[browser].tabs[tab];
        state.redirects += 1;
        if state.redirects > REDIRECTS {
            state.redirects = 0;
            self.statistics.count("browser: too many redirects");
            assert!(!self.is_exam, "a login without end");
            return self.wake(Actor::Tab(browser, tab), 5_000);
        }
        let url = Url::parse(SITE).unwrap().join(next).unwrap();
        if let Some(path) = url.as_str().strip_prefix(SITE) {
            return self.navigate(browser, tab, path, from);
        }
        self.browsers[browser].tabs[tab].at_provider = Some(url.into());
        // The provider returns a person who is logged in there at once; others type, and some take minutes.
        let within = match self.chance.weighted(&[(5, 0), (4, 1), (1, 2)]) {
            _ if self.is_exam => 500,
            0 => 100,
            1 => 20_000,
            _ => 200_000,
        };
        self.wake(Actor::Tab(browser, tab), within);
    }

    fn act_at_provider(&mut self, browser: usize, tab: usize, address: &str) {
        let url = Url::parse(address).unwrap();
        let index = self.shape.provider_of(&url).expect("an address of no provider");
        self.browsers[browser].tabs[tab].at_provider = None;
        if url.path().ends_with("/logout") {
            let sent: Vec<_> = url.query_pairs().into_owned().collect();
            let value = |name: &str| sent.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
            let back = value("post_logout_redirect_uri").unwrap().strip_prefix(SITE).unwrap().to_owned();
            let state = value("state").map(|state| format!("?state={state}")).unwrap_or_default();
            return self.navigate(browser, tab, &format!("{back}{state}"), From::CrossSite);
        }
        // Sometimes another person uses this browser.
        let of = &mut self.browsers[browser];
        if !self.is_exam && self.chance.percent(5) {
            of.person = if of.person.starts_with("other") {
                format!("person-{browser}")
            } else {
                format!("other-{browser}")
            };
        }
        let person = of.person.clone();
        let now = self.right_time();
        let (back, code) = self.providers[index].authorize(&url, &person, now, &mut self.chance);
        code.iter().for_each(|code| self.secrets.add(code));
        self.callbacks.push(back.clone());
        self.come_back(browser, tab, back.strip_prefix(SITE).unwrap());
        // An impatient person repeats the callback in a second tab.
        let often = if self.providers[index].behaviour().is("answers", "twice") { 30 } else { 5 };
        if !self.is_exam && self.chance.percent(often) {
            let other = (tab + 1) % TABS;
            self.come_back(browser, other, back.strip_prefix(SITE).unwrap());
        }
    }

    /// A browser brings the authorization response of a provider.
    fn come_back(&mut self, browser: usize, tab: usize, back: &str) {
        if !self.shape.form_post {
            return self.navigate(browser, tab, back, From::CrossSite);
        }
        let (path, answer) = back.split_once('?').unwrap();
        let mut request = self.of_browser(browser, "POST", path, From::CrossSite, "navigate");
        request.has_body = true;
        request.headers.push("content-type", "application/x-www-form-urlencoded");
        request.headers.push("content-length", answer.len().to_string());
        self.load_with_body(browser, tab, From::CrossSite, request, answer.as_bytes().to_vec());
    }

    /// The proxy answered without the filter.
    pub fn tab_lost(&mut self, browser: usize, tab: usize) {
        self.browsers[browser].tabs[tab].waits = None;
        self.wake(Actor::Tab(browser, tab), 5_000);
    }

    /// From here on every browser starts again with the cookies that it has, and only tries to log in.
    pub fn begin_exam(&mut self) {
        self.record(format_args!("a browser that keeps trying must be let through now"));
        self.is_exam = true;
        for browser in 0..self.browsers.len() {
            for tab in 0..TABS {
                if let Some(id) = self.browsers[browser].tabs[tab].waits.take() {
                    self.leave(id);
                }
                self.browsers[browser].tabs[tab] = Tab::default();
            }
            self.browsers[browser].exam = (0, false);
            self.wake(Actor::Tab(browser, 0), 5_000);
        }
    }

    fn sit_exam(&mut self, browser: usize) {
        if !self.browsers[browser].exam.1 {
            self.navigate(browser, 0, "/orders/exam", From::Nowhere);
        }
    }

    /// Every browser with cookies and a valid token was let through, and none was in a loop.
    pub fn pass_exam(&mut self) {
        for browser in &self.browsers {
            let (requests, passed) = browser.exam;
            let person = &browser.person;
            // A session that ends before it is used is reported as a loop, and nothing else is.
            let is_short = self.shape.has_sessions_of_a_second();
            let expected = browser.keeps_cookies && !(is_short && browser.last == "login_loop");
            assert_eq!(passed, expected, "{person} got in or not, after: {}", browser.last);
            // A provider that sometimes refuses makes two or three logins necessary.
            assert!(!passed || is_short || requests <= 24, "{person} needed {requests} requests");
        }
        assert!(self.programs.iter().all(|program| program.passed), "a good token was never accepted");
    }
}
