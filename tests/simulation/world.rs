//! One world: its contents, its time, and what happens next.

use std::collections::BTreeMap;
use std::fmt;

use vestibule::http::{Headers, Request};

use crate::attacker::Attacker;
use crate::browser::Browser;
use crate::checks::Seen;
use crate::log;
use crate::model::Model;
use crate::program::Program;
use crate::provider::{FAULTS, Provider, Redemption};
use crate::proxy::{Flight, FlightId, TICK, Worker};
use crate::random::{Chance, seed_the_host};
use crate::secrets::Secrets;
use crate::shape::{CLIENT_SECRETS, HOST, KEYS, Mood, Shape};
use crate::shared;
use crate::story::{Statistics, Story};

pub type RequestId = u64;

/// A change of the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Fault,
    Recovery,
    /// Of the signing key.
    Rotation,
    Withdrawal,
    OtherKeysAddress,
    Skew,
    Clock,
    Restart,
    SessionKeys,
    EndOfSession,
    Forgetting,
    MixedNews,
    LostValue,
    Nothing,
}

const OF_FAIR_WEATHER: [(u64, Change); 6] = [
    (30, Change::Nothing),
    (1, Change::Rotation),
    (1, Change::Restart),
    (1, Change::SessionKeys),
    (3, Change::EndOfSession),
    (1, Change::Forgetting),
];

const OF_ROUGH_WEATHER: [(u64, Change); 9] = [
    (12, Change::Nothing),
    (4, Change::Fault),
    (8, Change::Recovery),
    (1, Change::Rotation),
    (1, Change::Restart),
    (1, Change::SessionKeys),
    (3, Change::EndOfSession),
    (1, Change::Forgetting),
    (1, Change::LostValue),
];

const OF_STORMS: [(u64, Change); 13] = [
    (8, Change::Fault),
    (8, Change::Recovery),
    (3, Change::Rotation),
    (3, Change::Withdrawal),
    (1, Change::OtherKeysAddress),
    (2, Change::Skew),
    (3, Change::Clock),
    (2, Change::Restart),
    (2, Change::SessionKeys),
    (6, Change::EndOfSession),
    (1, Change::Forgetting),
    (1, Change::MixedNews),
    (1, Change::LostValue),
];

/// The right time at the beginning of every world.
pub const BEGINNING: u64 = 1_700_000_000;

/// Faults occur for so long, and then no more. Milliseconds, as all times of a world.
const STORM: u64 = 1_500_000;

/// After so much more time, a browser that keeps trying must be let through: no document, back-off or attempt
/// count lasts longer.
const CALM: u64 = STORM + 700_000;

const END: u64 = CALM + 180_000;

/// A request must be answered within this time, however many callouts it takes.
const PATIENCE: u64 = 90_000;

/// The actor of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Tab(usize, usize),
    /// A script on a page of a browser.
    Script(usize),
    Program(usize),
    Attacker(usize),
    /// A provider that posts a logout token.
    Provider(usize),
}

pub enum Event {
    Wake(Actor),
    Arrive(RequestId),
    /// So much of the body of a request is there, and whether that is all.
    Body(RequestId, usize, bool),
    AtProvider(FlightId),
    Reply(FlightId),
    NoReply(FlightId),
    Answered(Actor, RequestId, Box<Seen>),
    /// The proxy answered by itself, because the worker was gone.
    Lost(Actor),
    Tick(usize),
    Weather,
    Calm,
    Exam,
}

/// A request that has no answer yet.
pub struct Open {
    pub actor: Actor,
    pub request: Request,
    sent: u64,
    pub worker: Option<usize>,
    /// By the proxy's clock.
    pub arrived: u64,
    pub body: Vec<u8>,
    /// Its number in the driver of its worker.
    pub number: Option<vestibule::driver::RequestId>,
    /// The response of the token endpoint in this request.
    pub redemption: Option<Redemption>,
    /// When that arrived, by the proxy's clock.
    pub redeemed_at: u64,
}

impl Open {
    /// At most one of the callouts of a request redeems a code.
    pub fn hear(&mut self, redemption: Option<Redemption>, now: u64) {
        if redemption.is_some() {
            self.redeemed_at = now;
        }
        self.redemption = redemption.or(self.redemption.take());
    }
}

pub struct World {
    pub shape: Shape,
    pub chance: Chance,
    pub time: u64,
    /// Seconds that the proxy's clock is ahead of the right time.
    clock: i64,
    /// How often that clock was set back.
    clock_went_back: u32,
    /// When a fault last affected each provider or the network to it. Milliseconds.
    unrest: Vec<Option<u64>>,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    pub workers: Vec<Worker>,
    pub workers_made: u64,
    /// The session keys of a worker that starts now.
    keys: Vec<usize>,
    pub flights: BTreeMap<FlightId, Flight>,
    pub flights_made: u64,
    pub providers: Vec<Provider>,
    pub browsers: Vec<Browser>,
    pub programs: Vec<Program>,
    pub attackers: Vec<Attacker>,
    pub open: BTreeMap<RequestId, Open>,
    requests_made: u64,
    pub model: Model,
    pub secrets: Secrets,
    /// Callback addresses that browsers were sent to.
    pub callbacks: Vec<String>,
    pub tokens_of_logins: Vec<String>,
    pub is_calm: bool,
    pub is_exam: bool,
    pub most_held: i64,
    pub story: Story,
    pub statistics: Statistics,
}

impl World {
    pub fn new(seed: u64) -> World {
        log::install();
        log::take();
        shared::clear();
        seed_the_host(seed);
        let mut chance = Chance::new(seed);
        let shape = Shape::by(&mut chance);
        let mut world = World {
            providers: (0..shape.providers).map(|index| Provider::new(index, &shape, &mut chance)).collect(),
            browsers: (0..shape.browsers).map(|index| Browser::new(index, &shape, &mut chance)).collect(),
            programs: (0..shape.programs).map(Program::new).collect(),
            attackers: (0..shape.attackers).map(|_| Attacker::default()).collect(),
            shape,
            chance,
            time: 0,
            clock: 0,
            clock_went_back: 0,
            unrest: vec![None; 2],
            queue: BTreeMap::new(),
            queued: 0,
            workers: Vec::new(),
            workers_made: 0,
            keys: vec![0],
            flights: BTreeMap::new(),
            flights_made: 0,
            open: BTreeMap::new(),
            requests_made: 0,
            model: Model::default(),
            secrets: Secrets::default(),
            callbacks: Vec::new(),
            tokens_of_logins: Vec::new(),
            is_calm: false,
            is_exam: false,
            most_held: 0,
            story: Story::default(),
            statistics: Statistics::default(),
        };
        if world.shape.has_one_issuer {
            let [first, second] = &mut world.providers[..] else { unreachable!("two clients") };
            second.has_the_keys_of(first);
        }
        shared::fail(world.shape.failing_writes, seed);
        KEYS.iter().chain(&CLIENT_SECRETS).for_each(|secret| world.secrets.add(secret));
        world.populate();
        world
    }

    fn populate(&mut self) {
        for index in 0..self.shape.workers {
            self.workers_made += 1;
            let worker = Worker::new(self, self.workers_made, self.keys.clone());
            self.workers.push(worker);
            let first = self.chance.within(0..=TICK);
            self.at(first, Event::Tick(index));
        }
        let browsers = (0..self.shape.browsers).map(|index| Actor::Tab(index, 0));
        let programs = (0..self.shape.programs).map(Actor::Program);
        let attackers = (0..self.shape.attackers).map(Actor::Attacker);
        for actor in browsers.chain(programs).chain(attackers).collect::<Vec<_>>() {
            self.wake(actor, 20_000);
        }
        self.at(10_000, Event::Weather);
        self.at(STORM, Event::Calm);
        self.at(CALM, Event::Exam);
    }

    /// Runs the world to its end.
    pub fn run(&mut self) {
        while let Some(((time, _), event)) = self.queue.pop_first() {
            if time > END && self.open.is_empty() {
                break;
            }
            self.time = time;
            self.model.latest = self.model.latest.max(self.proxy_time());
            self.step(event);
            self.notice_failed_writes();
            self.check_log();
        }
        assert!(self.open.is_empty(), "requests that were never answered: {:?}", self.open.keys());
        self.pass_exam();
        for worker in 0..self.workers.len() {
            self.restart(worker, vec![0]);
        }
        self.check_log();
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Wake(_) if self.time > END => {}
            Event::Wake(Actor::Tab(browser, tab)) => self.tab_wakes(browser, tab),
            Event::Wake(Actor::Program(index)) => self.program_wakes(index),
            Event::Wake(Actor::Attacker(index)) => self.attacker_wakes(index),
            Event::Wake(Actor::Script(_) | Actor::Provider(_)) => {}
            Event::Arrive(id) => self.arrive(id),
            Event::Body(id, size, is_end) => self.body(id, size, is_end),
            Event::AtProvider(id) => self.at_provider(id),
            Event::Reply(id) => self.replied(id, false),
            Event::NoReply(id) => self.replied(id, true),
            Event::Answered(actor, id, seen) => self.answered(actor, id, &seen),
            Event::Lost(actor) => self.lost(actor),
            Event::Tick(worker) => self.tick(worker),
            Event::Weather => self.weather(),
            Event::Calm => self.calm(),
            Event::Exam => self.begin_exam(),
        }
        let overdue = self.open.iter().find(|(_, open)| self.time > open.sent + PATIENCE);
        assert!(overdue.is_none(), "request {} has had no answer for too long", overdue.unwrap().0);
    }

    fn answered(&mut self, actor: Actor, id: RequestId, seen: &Seen) {
        match actor {
            Actor::Tab(browser, tab) => self.tab_sees(browser, tab, id, seen),
            Actor::Script(browser) => self.browsers[browser].takes_cookies(seen, self.time),
            Actor::Program(index) => self.program_sees(index, seen),
            Actor::Attacker(index) => self.attacker_sees(index, seen),
            Actor::Provider(_) => {}
        }
    }

    fn lost(&mut self, actor: Actor) {
        if let Actor::Tab(browser, tab) = actor {
            self.tab_lost(browser, tab);
        }
    }

    /// Counts the moments at which the filter lost stored entries, or at which their times became wrong.
    /// Entries of an earlier epoch may be lost.
    pub fn epoch(&self) -> u32 {
        self.clock_went_back + shared::losses()
    }

    /// From now on the model expects nothing of the sessions at this provider for a while.
    pub fn disturb(&mut self, provider: usize) {
        self.unrest[provider] = Some(self.time);
    }

    pub fn disturb_all(&mut self) {
        (0..self.providers.len()).for_each(|provider| self.disturb(provider));
    }

    /// Whether no fault has affected a provider for so many milliseconds.
    pub fn is_quiet_since(&self, provider: usize, milliseconds: u64) -> bool {
        let is_healthy = self.providers[provider].fault.is_none() && self.providers[provider].skew == 0;
        is_healthy && self.unrest[provider].is_none_or(|at| at + milliseconds < self.time)
    }

    /// A write that was given up is lost for every worker that needs it.
    fn notice_failed_writes(&mut self) {
        if shared::take_failures() > 0 {
            self.statistics.count("writes to the shared data failed");
            self.disturb_all();
            self.model
                .just_refreshed_may_end("its refresh was not written down", self.time.saturating_sub(60_000));
        }
    }

    /// The time that the proxy's clock shows, in seconds.
    pub fn proxy_time(&self) -> u64 {
        (BEGINNING + self.time / 1000).saturating_add_signed(self.clock)
    }

    /// The right time, in seconds.
    pub fn right_time(&self) -> u64 {
        BEGINNING + self.time / 1000
    }

    pub fn at(&mut self, time: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((time, self.queued), event);
    }

    /// Lets an actor act within so many milliseconds. This replaces the earlier plan of a tab.
    pub fn wake(&mut self, actor: Actor, within: u64) {
        let time = self.time + self.chance.within(1..=within);
        if let Actor::Tab(browser, tab) = actor {
            self.browsers[browser].set_alarm(tab, time);
        }
        self.at(time, Event::Wake(actor));
    }

    pub fn record(&mut self, what: fmt::Arguments<'_>) {
        self.story.record(self.time, what);
    }

    /// The delay of a message in milliseconds: mostly short, so that replies overtake each other.
    pub fn latency(&mut self) -> u64 {
        if self.shape.is_slow && self.chance.percent(50) {
            return self.chance.within(300..=1_500);
        }
        if self.chance.percent(5) { self.chance.within(200..=3_000) } else { self.chance.within(1..=60) }
    }

    /// Sends a request to the proxy.
    pub fn request(&mut self, actor: Actor, request: Request) -> RequestId {
        self.request_with_body(actor, request, Vec::new())
    }

    pub fn request_with_body(&mut self, actor: Actor, request: Request, body: Vec<u8>) -> RequestId {
        self.requests_made += 1;
        let id = self.requests_made;
        self.record(format_args!("request {id} by {actor:?}: {} {}", request.method, request.path));
        for (name, value) in request.headers.iter() {
            self.story.add(name.as_bytes());
            self.story.add(value);
        }
        self.statistics.count("requests");
        let open = Open {
            actor,
            request,
            sent: self.time,
            worker: None,
            arrived: 0,
            body,
            number: None,
            redemption: None,
            redeemed_at: 0,
        };
        self.open.insert(id, open);
        let delay = self.latency();
        self.at(self.time + delay, Event::Arrive(id));
        id
    }

    /// A `GET` with these header fields.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Request {
        Request {
            has_body: false,
            method: "GET".to_owned(),
            scheme: "https".to_owned(),
            authority: HOST.to_owned(),
            path: path.to_owned(),
            headers: headers.iter().copied().collect::<Headers>(),
            host: self.shape.host_traits(),
        }
    }

    pub fn proxy_answers(&mut self, actor: Actor) {
        self.statistics.count("answered by the proxy itself");
        let delay = self.latency();
        self.at(self.time + delay, Event::Lost(actor));
    }

    /// Something outside the filter changes.
    fn weather(&mut self) {
        if self.is_calm {
            return;
        }
        let index = self.chance.below(self.providers.len());
        let what = match self.shape.mood {
            Mood::Fair => self.chance.weighted(&OF_FAIR_WEATHER),
            Mood::Rough => self.chance.weighted(&OF_ROUGH_WEATHER),
            Mood::Storm => self.chance.weighted(&OF_STORMS),
        };
        match what {
            Change::Fault => self.providers[index].fault = Some(*self.chance.of(&FAULTS)),
            Change::Recovery => self.providers.iter_mut().for_each(|provider| provider.fault = None),
            Change::Rotation => {
                let how = self.providers[index].rotate(&mut self.chance);
                self.record(format_args!("provider {index} has a new key and {how}"));
            }
            Change::Withdrawal => self.providers[index].withdraws(),
            Change::OtherKeysAddress => self.providers[index].moves_its_keys(),
            Change::Skew => self.providers[index].skew = *self.chance.of(&[-90, -15, 0, 0, 15, 90]),
            Change::Clock => {
                let clock = *self.chance.of(&[0, 0, 1, -5, 30, -30, 700, -700, 7200, -7200, 200_000]);
                self.set_clock(clock);
            }
            Change::Restart => {
                let worker = self.chance.below(self.workers.len());
                self.restart(worker, self.keys.clone());
            }
            Change::SessionKeys => self.rotate_session_keys(),
            Change::EndOfSession => self.end_a_session(index),
            Change::Forgetting => self.providers[index].forgets_somebody(&mut self.chance),
            Change::MixedNews => self.mix_up_news(),
            Change::LostValue => self.lose_a_value(),
            Change::Nothing => {}
        }
        let is_trouble = !matches!(what, Change::EndOfSession | Change::Forgetting | Change::Nothing);
        if is_trouble || self.providers[index].fault.is_some() {
            self.disturb_all();
        }
        if self.shape.has_one_issuer {
            let [first, second] = &mut self.providers[..] else { unreachable!("two clients") };
            let (from, to) = if index == 0 { (first, second) } else { (second, first) };
            to.has_the_keys_of(from);
        }
        let fault = self.providers[index].fault;
        let clock = self.clock;
        self.record(format_args!("weather: provider {index} {fault:?}, the proxy's clock {clock:+} s"));
        if let Some(fault) = fault {
            self.statistics.count(format!("fault: {fault:?}"));
        }
        let next = self.time + self.chance.within(1_000..=60_000);
        self.at(next, Event::Weather);
    }

    /// The shared data loses a value.
    fn lose_a_value(&mut self) {
        if !self.shape.loses_values {
            return;
        }
        let Some(lost) = shared::lose(&mut self.chance) else { return };
        self.record(format_args!("the shared data loses {lost}"));
        self.statistics.count("values lost");
        self.model.all_may_end("something was forgotten");
    }

    fn set_clock(&mut self, clock: i64) {
        if clock != self.clock {
            self.model.all_may_end("the clock jumped");
        }
        self.clock_went_back += u32::from(clock < self.clock);
        self.clock = clock;
    }

    /// Adds a new session key in front, or removes an old one; the workers get the change one after another.
    fn rotate_session_keys(&mut self) {
        if self.keys.len() == 1 {
            self.keys.insert(0, (self.keys[0] + 1) % KEYS.len());
        } else {
            self.keys.truncate(1);
        }
        self.statistics.count("session keys rotated");
        let worker = self.chance.below(self.workers.len());
        self.restart(worker, self.keys.clone());
    }

    /// The shared data contains the documents of another provider, or a part of them.
    fn mix_up_news(&mut self) {
        let names = self.workers[0].news_names();
        let [from, to] = [(); 2].map(|()| self.chance.of(&names).clone());
        let Some((mut news, _)) = shared::get(&from).unwrap() else { return };
        if self.chance.percent(20) {
            news.truncate(news.len() / 2);
        }
        self.record(format_args!("the shared data of {to} becomes that of {from}"));
        self.statistics.count("news mixed up");
        shared::overwrite(&to, &news);
    }

    /// From here on no faults occur.
    fn calm(&mut self) {
        self.record(format_args!("the storm is over"));
        self.is_calm = true;
        self.disturb_all();
        shared::fail(0, 0);
        self.set_clock(0);
        for provider in &mut self.providers {
            (provider.fault, provider.skew) = (None, 0);
        }
        for worker in 0..self.workers.len() {
            if self.workers[worker].keys != self.keys {
                self.restart(worker, self.keys.clone());
            }
        }
    }
}
