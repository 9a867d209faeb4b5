//! The coroutine under the flows: an `async fn` that is polled by hand.
//!
//! A flow is straight-line code whose only awaits are those of [`Callouts`]. There is no executor and no
//! waker that wakes: the host does what a [`Step`] requests and passes the result to [`Flow::resume`],
//! [`Flow::resume_with_body`] or [`Flow::wake`], which poll once more. Each of them, and the start of a flow,
//! sets the time: [`Callouts::now`] is the only clock of a flow.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::http::{Body, BodyFailed, Callout, CalloutFailed, HostTraits, Reply};
use crate::time::Timestamp;

/// The progress of a flow.
#[derive(Debug)]
pub enum Step<T> {
    /// It ended, with this result.
    Done(T),
    /// It needs this callout, and continues with its reply.
    Callout(Box<Callout>, Flow<T>),
    /// It needs the whole body of its request, if that has at most this many bytes.
    Body(usize, Flow<T>),
    /// It waits for another flow, and polls again each time it is woken.
    Wait(Flow<T>),
}

/// The result of a flow.
pub trait Outcome {
    /// The result of a flow that can never continue: a bug, which is refused.
    fn stuck() -> Self;
}

impl Outcome for () {
    fn stuck() {}
}

/// A flow that waits. It can be resumed only once for each step, so a second reply has nothing to resume.
pub struct Flow<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    exchange: Rc<Exchange>,
}

impl<T> fmt::Debug for Flow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flow")
    }
}

enum Need {
    Callout(Box<Callout>),
    Body(usize),
    Wait,
}

enum Delivery {
    Reply(Reply),
    Body(Body),
    Woken,
}

#[derive(Default)]
struct Exchange {
    need: RefCell<Option<Need>>,
    delivered: RefCell<Option<Delivery>>,
    /// When the flow began, or was last resumed.
    now: Cell<Timestamp>,
    /// Nothing would wake a flow that waits.
    is_never_woken: Cell<bool>,
    /// How much of the body the flow may need after a callout. Bytes.
    body_later: Cell<usize>,
}

/// The clock of a flow, for code that needs nothing from the host.
pub struct Clock(Rc<Exchange>);

impl Clock {
    /// The time now, as [`Callouts::now`].
    pub fn now(&self) -> Timestamp {
        self.0.now.get()
    }
}

/// The interface of a flow to the host: one request at a time.
pub struct Callouts(Rc<Exchange>);

impl Callouts {
    /// The time now: it changes at each await.
    pub fn now(&self) -> Timestamp {
        self.0.now.get()
    }

    /// The clock of this flow.
    pub fn clock(&self) -> Clock {
        Clock(Rc::clone(&self.0))
    }

    /// For the flow of a request in this host. A background flow is woken in every host.
    pub(crate) fn in_host(self, host: HostTraits) -> Self {
        self.0.is_never_woken.set(!host.wakes_requests);
        self
    }

    /// Whether a waiting flow is woken: otherwise it must not [wait](Callouts::wait).
    pub fn wakes(&self) -> bool {
        !self.0.is_never_woken.get()
    }

    /// Announces before a callout that the body may be needed after it, at most `limit` bytes: the host keeps
    /// that much, and leaves the rest with the client. Without this the whole body stays with the client.
    pub fn keep_body(&self, limit: usize) {
        self.0.body_later.set(limit);
    }

    /// Sends a callout and waits for its reply.
    pub fn send(&self, callout: Callout) -> impl Future<Output = Reply> + use<> {
        let delivery = self.need(Need::Callout(Box::new(callout)));
        async {
            match delivery.await {
                Delivery::Reply(reply) => reply,
                Delivery::Body(_) | Delivery::Woken => Err(CalloutFailed::NoAnswer),
            }
        }
    }

    /// Waits for the whole body of the request, at most `limit` bytes. After a callout only if
    /// [`keep_body`](Callouts::keep_body) was called before it.
    pub fn body(&self, limit: usize) -> impl Future<Output = Body> + use<> {
        let delivery = self.need(Need::Body(limit));
        async {
            match delivery.await {
                Delivery::Body(body) => body,
                Delivery::Reply(_) | Delivery::Woken => Err(BodyFailed::NotGiven),
            }
        }
    }

    /// Waits a fraction of a second for the progress of another flow. Only on a host that wakes requests
    /// ([`HostTraits::wakes_requests`](crate::http::HostTraits)), or in the background.
    pub fn wait(&self) -> impl Future<Output = ()> + use<> {
        let delivery = self.need(Need::Wait);
        async {
            delivery.await;
        }
    }

    fn need(&self, need: Need) -> impl Future<Output = Delivery> + use<> {
        *self.0.need.borrow_mut() = Some(need);
        let exchange = Rc::clone(&self.0);
        std::future::poll_fn(move |_| match exchange.delivered.borrow_mut().take() {
            Some(delivery) => Poll::Ready(delivery),
            None => Poll::Pending,
        })
    }
}

/// Runs a flow that requests nothing to its end, for tests.
#[cfg(test)]
pub(crate) fn at_once<T>(now: Timestamp, flow: impl AsyncFnOnce(&Callouts) -> T) -> T {
    let callouts = Callouts(Rc::new(Exchange { now: Cell::new(now), ..Exchange::default() }));
    let mut flow = std::pin::pin!(flow(&callouts));
    match flow.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits"),
    }
}

/// Where flows begin that mostly end at once, without a request to the host: one after another in the same
/// place in memory. One that waits takes the place with it, and the next gets a new one.
#[derive(Default)]
pub struct Lane(RefCell<Option<Box<dyn Any>>>);

/// Memory for flows of one kind.
struct Slot<F> {
    future: Pin<Box<Option<F>>>,
    exchange: Rc<Exchange>,
}

impl<F: Future> Future for Slot<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.get_mut().future.as_mut().as_pin_mut() {
            Some(future) => future.poll(context),
            None => Poll::Pending,
        }
    }
}

impl Lane {
    /// Begins a flow and runs it to its first request to the host, or to its end.
    pub fn begin<T: Outcome + 'static, F: Future<Output = T> + 'static>(
        &self,
        now: Timestamp,
        flow: impl FnOnce(Callouts) -> F,
    ) -> Step<T> {
        let place = self.0.take().and_then(|place| place.downcast::<Slot<F>>().ok());
        let mut place =
            place.unwrap_or_else(|| Box::new(Slot { future: Box::pin(None), exchange: Rc::default() }));
        place.exchange.now.set(now);
        place.future.set(Some(flow(Callouts(Rc::clone(&place.exchange)))));
        match Pin::new(&mut *place).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => {
                place.future.set(None);
                place.exchange.reset();
                self.0.replace(Some(place));
                Step::Done(outcome)
            }
            Poll::Pending => {
                let exchange = Rc::clone(&place.exchange);
                Flow { future: Pin::from(place as Box<dyn Future<Output = T>>), exchange }.next_step()
            }
        }
    }
}

impl Exchange {
    fn reset(&self) {
        self.need.take();
        self.delivered.take();
        self.is_never_woken.set(false);
        self.body_later.set(0);
    }
}

impl<T: Outcome> Flow<T> {
    /// Begins a flow and runs it to its first request to the host, or to its end.
    pub fn begin<F: Future<Output = T> + 'static>(
        now: Timestamp,
        flow: impl FnOnce(Callouts) -> F,
    ) -> Step<T> {
        let exchange = Rc::new(Exchange { now: Cell::new(now), ..Exchange::default() });
        let future = Box::pin(flow(Callouts(Rc::clone(&exchange))));
        Flow { future, exchange }.poll()
    }

    /// Continues with the reply to the callout.
    pub fn resume(self, reply: Reply, now: Timestamp) -> Step<T> {
        self.deliver(Delivery::Reply(reply), now)
    }

    /// Continues with the body.
    pub fn resume_with_body(self, body: Body, now: Timestamp) -> Step<T> {
        self.deliver(Delivery::Body(body), now)
    }

    /// How much of the body this flow may need later. Bytes; 0 for none.
    pub fn body_later(&self) -> usize {
        self.exchange.body_later.get()
    }

    /// Polls a waiting flow again.
    pub fn wake(self, now: Timestamp) -> Step<T> {
        self.deliver(Delivery::Woken, now)
    }

    fn deliver(self, delivery: Delivery, now: Timestamp) -> Step<T> {
        self.exchange.now.set(now);
        *self.exchange.delivered.borrow_mut() = Some(delivery);
        self.poll()
    }

    fn poll(mut self) -> Step<T> {
        match self.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Step::Done(outcome),
            Poll::Pending => self.next_step(),
        }
    }

    /// The step for what it waits for.
    fn next_step(self) -> Step<T> {
        let need = self.exchange.need.borrow_mut().take();
        match need {
            Some(Need::Callout(callout)) => Step::Callout(callout, self),
            Some(Need::Body(limit)) => Step::Body(limit, self),
            Some(Need::Wait) => Step::Wait(self),
            None => Step::Done(T::stuck()),
        }
    }
}
