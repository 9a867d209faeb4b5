//! The stages of a request: from its headers over its body to the upstream or to a response.

use crate::exchange::{Outgoing, Stage, Stream};
use crate::fields::Fields;
use crate::host::Callback;
use crate::worker::{CONTINUE, PAUSE, PAUSE_ALL, Worker};
use crate::{Profile, maps};

impl Worker {
    /// Continues after a callback for the headers returned "continue" or "pause".
    pub(crate) fn said(&mut self, id: u32, action: u32) {
        let is_nginx = self.setup.profile == Profile::NgxWasm;
        let has_callout = self.has_callout(id);
        let host = self.host();
        let decided = host.decided.take();
        let Some(stream) = host.streams.get_mut(&id) else { return };
        stream.code = stream.code.take().or(decided);
        if stream.local.is_some() {
            return self.respond(id);
        }
        stream.is_paused = action != CONTINUE;
        stream.holds_body = action == PAUSE_ALL;
        if is_nginx && action > PAUSE {
            host.crash(format!("request {id} gets the action {action}, which this host does not know"));
            return;
        }
        if is_nginx && has_callout && !stream.is_paused {
            host.crash(format!("request {id} continues with a callout in flight"));
        }
        self.go_on(id);
    }

    /// Takes a request as far as it gets without being resumed.
    pub(crate) fn go_on(&mut self, id: u32) {
        while let Some(stream) = self.host().streams.get_mut(&id) {
            if stream.out.status != 0 {
                return;
            }
            if stream.local.is_some() {
                return self.respond(id);
            }
            let went_on = match stream.stage {
                Stage::Headers => self.after_headers(id),
                Stage::Body => self.with_body(id),
                Stage::Trailers if stream.is_paused => false,
                Stage::Trailers => {
                    stream.out.upstream_trailers = stream.trailers.sent();
                    stream.stage = Stage::Upstream;
                    if !self.setup.upstream_waits {
                        self.upstream_answers(id);
                    }
                    return;
                }
                Stage::Upstream | Stage::Response => false,
            };
            if !went_on {
                return;
            }
        }
    }

    fn after_headers(&mut self, id: u32) -> bool {
        let is_nginx = self.setup.profile == Profile::NgxWasm;
        let holds_body = is_nginx || !self.setup.sees_body_while_paused;
        let Some(stream) = self.host().streams.get_mut(&id) else { return false };
        let holds_body = holds_body || stream.holds_body;
        if stream.is_paused && (holds_body || stream.is_complete && stream.arrived.is_empty()) {
            return false;
        }
        // nginx reads the whole body before it forwards anything.
        let reads_body_first = is_nginx && stream.incoming.has_body;
        if !stream.is_paused && !reads_body_first {
            release_headers(stream);
        }
        stream.stage = Stage::Body;
        true
    }

    fn with_body(&mut self, id: u32) -> bool {
        let is_nginx = self.setup.profile == Profile::NgxWasm;
        let Some(stream) = self.host().streams.get_mut(&id) else { return false };
        let is_there = if is_nginx { stream.is_complete } else { true };
        if is_there && !stream.arrived.is_empty() {
            return self.next_piece(id);
        }
        if stream.is_paused || !stream.is_complete {
            return false;
        }
        release_all(stream);
        stream.stage = Stage::Trailers;
        let count = stream.trailers.count() as u32;
        if count > 0 {
            let action = self.call(Callback::RequestTrailers, id, "proxy_on_request_trailers", (id, count));
            self.acted(id, action);
        }
        true
    }

    /// The next piece of the body arrives: in nginx there is one piece, the whole body.
    fn next_piece(&mut self, id: u32) -> bool {
        let is_nginx = self.setup.profile == Profile::NgxWasm;
        let limit = self.setup.buffer_limit;
        let Some(stream) = self.host().streams.get_mut(&id) else { return false };
        let next = stream.arrived.front().map_or(0, Vec::len);
        if !is_nginx && !stream.buffered.is_empty() && stream.buffered.len() + next > limit {
            return self.refuse_too_large(id);
        }
        let count = if is_nginx { stream.arrived.len() } else { 1 };
        let pieces: Vec<Vec<u8>> = stream.arrived.drain(..count).collect();
        stream.buffered.extend(pieces.concat());
        let is_last = stream.is_complete && stream.arrived.is_empty();
        let is_end = is_nginx || (is_last && stream.trailers.count() == 0);
        let size = stream.buffered.len() as u32;
        if is_nginx && size == 0 {
            return true;
        }
        let arguments = (id, size, u32::from(is_end));
        let action = self.call(Callback::RequestBody, id, "proxy_on_request_body", arguments);
        self.acted(id, action);
        let Some(stream) = self.host().streams.get_mut(&id) else { return false };
        let is_open = stream.local.is_none() && stream.out.status == 0;
        if !stream.is_paused && is_open {
            release_all(stream);
        }
        if !is_nginx && is_open && stream.buffered.len() > limit {
            return self.refuse_too_large(id);
        }
        true
    }

    /// Envoy responds itself to a request whose body it cannot buffer.
    fn refuse_too_large(&mut self, id: u32) -> bool {
        if let Some(stream) = self.host().streams.get_mut(&id) {
            stream.out.status = 413;
        }
        self.end(id);
        false
    }

    /// A later callback of a request returned.
    fn acted(&mut self, id: u32, action: Option<u32>) {
        let Some(action) = action else { return self.fail(id) };
        let decided = self.host().decided.take();
        let has_callout = self.has_callout(id);
        let is_nginx = self.setup.profile == Profile::NgxWasm;
        let Some(stream) = self.host().streams.get_mut(&id) else { return };
        stream.code = stream.code.take().or(decided);
        stream.is_paused = action != CONTINUE;
        if is_nginx && has_callout && action == CONTINUE && stream.local.is_none() {
            self.host().crash(format!("request {id} continues with a callout in flight"));
        }
    }

    fn has_callout(&self, id: u32) -> bool {
        self.vm.store.data().callouts.values().any(|callout| callout.context == id)
    }

    /// Applies what the filter did in the callback of a reply.
    pub(crate) fn after_reply(&mut self, context: u32) {
        if self.setup.profile == Profile::Envoy {
            return self.settle();
        }
        let has_callout = self.has_callout(context);
        let Some(stream) = self.host().streams.get_mut(&context) else { return };
        if stream.local.is_some() {
            self.host().callouts.retain(|_, callout| callout.context != context);
            return self.respond(context);
        }
        // After the last callout nginx resumes the request, whatever the filter returned.
        if !has_callout && stream.stage != Stage::Response {
            stream.is_paused = false;
            self.go_on(context);
        }
    }

    /// Continues requests that another callback answered or resumed.
    pub(crate) fn settle(&mut self) {
        self.delete_ended();
        let ids: Vec<u32> = self.host().streams.keys().copied().collect();
        for id in ids {
            let Some(stream) = self.host().streams.get(&id) else { continue };
            if stream.out.status != 0 || stream.hangs {
                continue;
            }
            if stream.local.is_some() || !stream.is_paused {
                self.go_on(id);
            }
        }
    }

    /// The module trapped in a reply's callback.
    pub(crate) fn after_trap(&mut self, context: u32) {
        if self.setup.profile == Profile::NgxWasm {
            // nginx forwards it. Replies to the others come to the next VM.
            if let Some(stream) =
                self.host().streams.get_mut(&context).filter(|stream| stream.out.status == 0)
            {
                release_headers(stream);
                stream.out.status = if stream.has_upstream() { 200 } else { 500 };
            }
            return;
        }
        // It never gets a response, and neither do the others of this VM.
        for stream in self.host().streams.values_mut().filter(|stream| stream.out.status == 0) {
            stream.hangs = true;
        }
        self.host().callouts.retain(|_, callout| callout.context == context);
    }

    /// The module trapped in a callback of the request itself.
    pub(crate) fn fail(&mut self, id: u32) {
        let status = if self.setup.profile == Profile::Envoy { 503 } else { 500 };
        if let Some(stream) = self.host().streams.get_mut(&id) {
            stream.out.status = status;
        }
    }

    pub(crate) fn respond(&mut self, id: u32) {
        let profile = self.setup.profile;
        let Some(stream) = self.host().streams.get_mut(&id) else { return };
        let Some(local) = stream.local.clone() else { return };
        let mut body = local.body;
        if profile == Profile::NgxWasm && !body.is_empty() {
            body.push(b'\n');
        }
        let mut response = Fields::default();
        response.add(":status", local.status.to_string().as_bytes());
        for (name, value) in maps::of_local_response(profile, &local.headers).sent() {
            response.add(&name, &value);
        }
        self.response_phase(id, response, body);
    }

    /// The upstream responds to a request that it has.
    pub(crate) fn upstream_answers(&mut self, id: u32) {
        if self.host().streams.get(&id).is_none_or(|stream| stream.stage != Stage::Upstream) {
            return;
        }
        let has_upstream = self.host().streams.get(&id).is_some_and(Stream::has_upstream);
        let status = if has_upstream { "200" } else { "500" };
        let mut response = Fields::from_iter([(":status", status), ("content-type", "text/plain")]);
        for (name, value) in &self.setup.upstream_fields {
            response.add(name, value.as_bytes());
        }
        self.response_phase(id, response, b"from the upstream".to_vec());
    }

    fn response_phase(&mut self, id: u32, response: Fields, body: Vec<u8>) {
        let Some(stream) = self.host().streams.get_mut(&id) else { return };
        if stream.stage == Stage::Response {
            return;
        }
        stream.stage = Stage::Response;
        stream.response = response;
        let count = stream.response.count() as u32;
        let is_end = u32::from(body.is_empty());
        let headers = self.call::<_, u32>(
            Callback::ResponseHeaders,
            id,
            "proxy_on_response_headers",
            (id, count, is_end),
        );
        if headers.is_some() && !body.is_empty() {
            let arguments = (id, body.len() as u32, 1);
            let _ = self.call::<_, u32>(Callback::ResponseBody, id, "proxy_on_response_body", arguments);
        }
        let is_dead = self.is_dead;
        let Some(stream) = self.host().streams.get_mut(&id) else { return };
        let mut headers = stream.response.sent();
        let status = headers.iter().position(|(name, _)| name == ":status").map(|at| headers.remove(at).1);
        let status = status.and_then(|status| String::from_utf8(status).ok()?.parse().ok()).unwrap_or(500);
        let is_reason = |(name, _): &&(String, Vec<u8>)| name.ends_with("vestibule_reason");
        let reason = stream.properties.iter().rev().find(is_reason);
        let reason = reason.map(|(_, reason)| String::from_utf8_lossy(reason).into_owned());
        let code = reason.or_else(|| stream.code.take());
        let properties = std::mem::take(&mut stream.properties);
        let out = std::mem::take(&mut stream.out);
        stream.out = Outgoing { status, headers, body, code, properties, ..out };
        if !is_dead {
            self.end(id);
        }
    }

    /// Ends a request and its context.
    pub(crate) fn end(&mut self, id: u32) {
        let _ = self.call::<_, u32>(Callback::End, id, "proxy_on_done", id);
        let _ = self.call::<_, ()>(Callback::End, id, "proxy_on_log", id);
        let _ = self.call::<_, ()>(Callback::End, id, "proxy_on_delete", id);
        self.host().callouts.retain(|_, callout| callout.context != id);
    }
}

/// Forwards the headers, as they are now.
fn release_headers(stream: &mut Stream) {
    if stream.out.upstream.is_none() && stream.has_upstream() {
        let incoming = &stream.incoming;
        let pseudo = [
            (":method", incoming.method.as_bytes()),
            (":path", &incoming.path),
            (":authority", incoming.authority.as_bytes()),
        ];
        let pseudo = pseudo.into_iter().map(|(name, value)| (name.to_owned(), value.to_vec()));
        stream.out.upstream = Some(pseudo.chain(stream.request.sent()).collect());
    }
}

/// Forwards the headers and the released part of the body.
fn release_all(stream: &mut Stream) {
    release_headers(stream);
    let rest = std::mem::take(&mut stream.buffered);
    if stream.out.upstream.is_some() {
        stream.out.upstream_body.extend(rest);
    }
}
