//! One worker of a proxy: a VM with the module in it, and the requests that it handles.

use std::collections::BTreeMap;

use wasmtime::{WasmParams, WasmResults};

use crate::exchange::{CalloutReply, Incoming, Progress, Stage, Stream};
use crate::host::{Callback, Callout, Host, Setup};
use crate::module::Module;
use crate::vm::Vm;
use crate::{Fields, Profile, nginx};

/// "Continue", as callbacks say it. Anything else is "pause".
pub(crate) const CONTINUE: u32 = 0;

/// "Pause", and in Envoy: gather the body.
pub(crate) const PAUSE: u32 = 1;

/// For header fields, in Envoy: "pause", and let the body wait at the client.
pub(crate) const PAUSE_ALL: u32 = 4;

/// Contexts of requests are numbered from here.
const LAST_ROOT: u32 = 100;

/// A request of this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// The filter does not start: it refuses its configuration, or it trapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

/// One worker.
pub struct Worker {
    module: &'static Module,
    pub(crate) setup: Setup,
    pub(crate) vm: Vm,
    /// The last context. Numbers are not used again.
    last: u32,
    /// A trap ended the VM; the next request starts another.
    pub(crate) is_dead: bool,
    traps: usize,
    /// How many VMs were started.
    vms: usize,
}

impl Worker {
    /// Starts a worker.
    ///
    /// # Errors
    /// The filter does not start. Envoy refuses the configuration then; nginx's worker exits.
    pub fn start(module: &'static Module, setup: Setup) -> Result<Worker, Refused> {
        let vm = Vm::start(module, Host::new(setup.clone()))?;
        Ok(Worker { module, setup, vm, last: LAST_ROOT, is_dead: false, traps: 0, vms: 0 })
    }

    /// Sets the time. Nanoseconds since 1970.
    pub fn set_time(&mut self, now: u64) {
        self.vm.store.data_mut().now = now;
        self.setup.now = now;
    }

    /// From here on `random_get` fails, or no longer.
    pub fn randomness_fails(&mut self, fails: bool) {
        self.vm.store.data_mut().setup.has_randomness = !fails;
        self.setup.has_randomness = !fails;
    }

    /// A request arrives, and is handled as far as it gets without a reply.
    pub fn begin(&mut self, incoming: Incoming) -> StreamId {
        self.begin_in(0, incoming)
    }

    /// The same for the configuration of this number.
    pub fn begin_in(&mut self, configuration: u32, incoming: Incoming) -> StreamId {
        self.last += 1;
        let id = self.last;
        let root = self.setup.first_root + configuration;
        let is_isolated = self.setup.isolates_requests && self.setup.profile == Profile::NgxWasm;
        if (self.is_dead || is_isolated) && self.restart().is_err() {
            self.host().streams.insert(id, Stream::new(incoming, Fields::default()));
            self.fail(id);
            return StreamId(id);
        }
        let request = self.fields(&incoming);
        let count = request.count() + if self.setup.profile == Profile::Envoy { 4 } else { 0 };
        let ends = !incoming.has_body;
        let is_guarded = self.setup.is_guarded && self.setup.profile == Profile::NgxWasm;
        let scheme = self.setup.upstream_scheme.clone();
        let stream = Stream { is_guarded, scheme, root, vm: self.vms, ..Stream::new(incoming, request) };
        self.host().streams.insert(id, stream);
        // In nginx this says nothing about the body.
        let ends = if self.setup.profile == Profile::NgxWasm { id.is_multiple_of(2) } else { ends };
        let _ = self.call::<_, ()>(Callback::RequestHeaders, id, "proxy_on_context_create", (id, root));
        let arguments = (id, count as u32, u32::from(ends));
        let action = self.call::<_, u32>(Callback::RequestHeaders, id, "proxy_on_request_headers", arguments);
        match action {
            Some(action) => self.said(id, action),
            None => self.fail(id),
        }
        StreamId(id)
    }

    /// A piece of the body of a request arrives, perhaps the last one.
    pub fn body(&mut self, stream: StreamId, piece: &[u8], is_end: bool) {
        let Some(found) = self.host().streams.get_mut(&stream.0) else { return };
        if found.is_complete || found.out.status != 0 {
            return;
        }
        found.arrived.push_back(piece.to_vec());
        found.received += piece.len() as u64;
        found.is_complete = is_end;
        self.go_on(stream.0);
    }

    /// The trailers of a request arrive, and end it. nginx forwards none.
    pub fn trailers(&mut self, stream: StreamId, trailers: Fields) {
        let is_envoy = self.setup.profile == Profile::Envoy;
        let Some(found) = self.host().streams.get_mut(&stream.0) else { return };
        if found.is_complete || found.out.status != 0 {
            return;
        }
        if is_envoy {
            found.trailers = trailers;
        }
        found.is_complete = true;
        self.go_on(stream.0);
    }

    /// Whether a request waits for nothing but its own body.
    pub fn awaits_body(&self, stream: StreamId) -> bool {
        self.vm.store.data().streams.get(&stream.0).is_some_and(|stream| {
            stream.stage == Stage::Body && !stream.is_complete && !stream.is_paused && stream.out.status == 0
        })
    }

    /// The progress of a request. Its outcome is returned once.
    pub fn progress(&mut self, stream: StreamId) -> Progress {
        let host = self.host();
        let Some(found) = host.streams.get(&stream.0) else { return Progress::Returned };
        if found.hangs {
            return Progress::Hangs;
        }
        if found.out.status == 0 {
            return Progress::Waits;
        }
        let ended = host.streams.remove(&stream.0).expect("it is there");
        Progress::Ended(Box::new(ended.out))
    }

    /// The upstream responds to a request that it has, and that waits for this call.
    pub fn answer_from_upstream(&mut self, stream: StreamId) {
        self.upstream_answers(stream.0);
    }

    /// The trailers of a request that the upstream got.
    pub fn upstream_trailers(&self, stream: StreamId) -> Vec<(String, Vec<u8>)> {
        let found = self.vm.store.data().streams.get(&stream.0);
        found.map(|stream| stream.out.upstream_trailers.clone()).unwrap_or_default()
    }

    /// Whether anything of a request was forwarded.
    pub fn reached_upstream(&self, stream: StreamId) -> bool {
        self.vm.store.data().streams.get(&stream.0).is_some_and(|stream| stream.out.upstream.is_some())
    }

    /// The client of a request disconnects; its callouts are abandoned.
    pub fn leave(&mut self, stream: StreamId) {
        let was_there = self.host().streams.get(&stream.0).is_some_and(|stream| stream.out.status == 0);
        if was_there {
            self.end(stream.0);
        }
        let host = self.host();
        host.streams.remove(&stream.0);
        host.callouts.retain(|_, callout| callout.context != stream.0);
    }

    /// The callouts in flight, the oldest first.
    pub fn callouts(&self) -> Vec<(u32, Callout)> {
        self.vm.store.data().callouts.iter().map(|(token, callout)| (*token, callout.clone())).collect()
    }

    /// Answers a callout.
    pub fn answer(&mut self, token: u32, reply: CalloutReply) {
        if let Some(callout) = self.host().callouts.remove(&token) {
            let has_body = matches!(&reply, CalloutReply::Answer { body, .. } if !body.is_empty())
                || matches!(reply, CalloutReply::Broken { .. });
            self.host().loses_body = !callout.body.is_empty() && !has_body;
            self.deliver(callout.context, token, reply);
            self.host().loses_body = false;
        }
    }

    /// Delivers a reply to a context, in flight or not: what a faulty host would do.
    pub fn deliver(&mut self, context: u32, token: u32, reply: CalloutReply) {
        let is_nginx = self.setup.profile == Profile::NgxWasm;
        if self.is_dead && (!is_nginx || self.restart().is_err()) {
            return;
        }
        let root = self.introduce(context);
        let reply = self.as_shown(reply);
        let (count, size) = match &reply {
            CalloutReply::Answer { headers, body } => (headers.len() as u32, body.len() as u32),
            CalloutReply::Failed => (0, 0),
            CalloutReply::Broken { headers, size } => (headers.len() as u32, *size),
        };
        self.host().reply = Some(reply);
        // Both hosts name the root context, whoever sent the callout. In Envoy host functions act for it too,
        // until the filter selects another.
        let current = if is_nginx { context } else { root };
        let arguments = (root, token, count, size, 0);
        let done =
            self.call::<_, ()>(Callback::HttpCallResponse, current, "proxy_on_http_call_response", arguments);
        self.host().reply = None;
        match done {
            Some(()) => self.after_reply(context),
            None => self.after_trap(context),
        }
    }

    /// If the VM of a context has ended, nginx makes the context again in the new VM, without a request.
    /// Returns its root context.
    fn introduce(&mut self, context: u32) -> u32 {
        let vms = self.vms;
        let Some(stream) = self.host().streams.get_mut(&context) else { return context };
        let root = stream.root;
        if std::mem::replace(&mut stream.vm, vms) != vms {
            let _ = self.call::<_, ()>(
                Callback::HttpCallResponse,
                context,
                "proxy_on_context_create",
                (context, root),
            );
        }
        root
    }

    /// Fault of nginx: it loses that a request waits, and resumes it.
    pub fn forget(&mut self, stream: StreamId) {
        if let Some(found) = self.host().streams.get_mut(&stream.0) {
            found.is_paused = false;
            self.go_on(stream.0);
        }
    }

    /// Background work is due.
    pub fn tick(&mut self) {
        if self.setup.isolates_requests {
            return;
        }
        let roots: Vec<u32> = self.host().tick_periods.keys().copied().collect();
        for root in roots {
            match self.call::<_, ()>(Callback::Tick, root, "proxy_on_tick", root) {
                Some(()) => self.settle(),
                None => self.after_trap(root),
            }
        }
    }

    /// Replaces the configuration when no request uses it any more. Envoy keeps its root context until the
    /// filter says that it may be deleted; nginx does not.
    pub fn replace_configuration(&mut self) {
        let root = self.setup.first_root;
        let may_be_deleted = self.call::<_, u32>(Callback::End, root, "proxy_on_done", root) != Some(0);
        let host = self.host();
        host.ending.insert(root);
        if may_be_deleted || host.is_nginx() {
            host.may_be_deleted.insert(root);
        }
        self.delete_ended();
    }

    /// Whether the root context of a replaced configuration still exists.
    pub fn keeps_replaced_configuration(&self) -> bool {
        !self.vm.store.data().ending.is_empty()
    }

    /// Deletes the root contexts that the filter no longer needs, after the callback in which it said so.
    pub(crate) fn delete_ended(&mut self) {
        for root in std::mem::take(&mut self.host().may_be_deleted) {
            let _ = self.call::<_, ()>(Callback::End, root, "proxy_on_delete", root);
            let host = self.host();
            host.ending.remove(&root);
            host.tick_periods.remove(&root);
            host.callouts.retain(|_, callout| callout.context != root);
        }
    }

    /// Size of the VM's memory. Bytes.
    pub fn memory(&self) -> usize {
        let memory = self.vm.store.data().memory.expect("it was started");
        memory.data_size(&self.vm.store)
    }

    /// What this host would not have survived.
    pub fn crashes(&self) -> &[String] {
        &self.vm.store.data().crashes
    }

    /// The metrics that the filter defined.
    pub fn metrics(&self) -> &[(String, u64)] {
        &self.vm.store.data().metrics
    }

    /// How often the filter called a host function.
    pub fn calls(&self, function: &str) -> u64 {
        self.vm.store.data().calls.get(function).copied().unwrap_or(0)
    }

    /// How often the filter called each host function.
    pub fn all_calls(&self) -> &BTreeMap<&'static str, u64> {
        &self.vm.store.data().calls
    }

    /// Instructions that the module has run in this VM.
    pub fn instructions(&self) -> u64 {
        self.vm.instructions()
    }

    /// The contexts of requests that have not come to an end.
    pub fn open(&self) -> usize {
        self.vm.store.data().streams.len()
    }

    /// Changes the settings of the host.
    pub fn change(&mut self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.setup);
        self.host().setup = self.setup.clone();
    }

    pub(crate) fn host(&mut self) -> &mut Host {
        self.vm.store.data_mut()
    }

    /// How often the module trapped, which ended its VM.
    pub fn traps(&self) -> usize {
        self.traps
    }

    fn restart(&mut self) -> Result<(), Refused> {
        let last = self.host();
        let (random, crashes) = (last.random.clone(), std::mem::take(&mut last.crashes));
        // The generator belongs to the process: it continues.
        let mut host = Host { random, crashes, ..Host::new(self.setup.clone()) };
        if self.setup.profile == Profile::NgxWasm {
            // Requests and callouts belong to the host, which keeps them.
            let last = self.host();
            host.streams = std::mem::take(&mut last.streams);
            host.callouts = std::mem::take(&mut last.callouts);
            host.next_callout = last.next_callout;
            host.calls = std::mem::take(&mut last.calls);
        }
        self.vm = Vm::start(self.module, host)?;
        self.vms += 1;
        self.is_dead = false;
        Ok(())
    }

    fn fields(&self, incoming: &Incoming) -> Fields {
        let mut request = Fields::default();
        if self.setup.profile == Profile::NgxWasm && !incoming.authority.is_empty() {
            request.add("Host", incoming.authority.as_bytes());
        }
        for (name, value) in &incoming.headers {
            match self.setup.profile {
                Profile::Envoy => request.add(&name.to_ascii_lowercase(), value),
                Profile::NgxWasm => request.add(&nginx::as_written(name), value),
            }
        }
        request
    }

    /// How a host reports a failed callout: Envoy makes a response.
    fn as_shown(&self, reply: CalloutReply) -> CalloutReply {
        match reply {
            CalloutReply::Failed if self.setup.profile == Profile::Envoy => CalloutReply::Answer {
                headers: vec![
                    (":status".to_owned(), b"503".to_vec()),
                    ("content-length".to_owned(), b"91".to_vec()),
                    ("content-type".to_owned(), b"text/plain".to_vec()),
                ],
                body: b"upstream connect error or disconnect/reset before headers".to_vec(),
            },
            CalloutReply::Broken { .. } if self.setup.profile == Profile::Envoy => CalloutReply::Failed,
            other => other,
        }
    }

    /// Calls the module. None if it trapped, which is the end of the VM.
    pub(crate) fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        callback: Callback,
        context: u32,
        function: &str,
        arguments: P,
    ) -> Option<R> {
        if self.is_dead {
            return None;
        }
        let done = self.vm.call(callback, context, function, arguments);
        if let Err(trap) = &done {
            log::error!(target: "module::trap", "{function}: {trap}");
            self.is_dead = true;
            self.traps += 1;
        }
        done.ok()
    }
}
