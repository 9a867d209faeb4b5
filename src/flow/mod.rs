//! The machine under the flows: an `async fn` that is polled by hand.
//!
//! A flow is straight-line code whose only await is [`Callouts::send`]. There is no executor and no
//! waker that wakes: the host does the callout that a [`Step`] asks for and hands the reply to
//! [`Flow::resume`], which polls once more.

pub(crate) mod bearer;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod refusal;
pub(crate) mod session;
mod site;

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::http::{Callout, Reply};
use crate::time::Timestamp;

/// How far a flow has come.
#[derive(Debug)]
pub enum Step<T> {
    /// It ended, with this.
    Done(T),
    /// It needs this callout, and goes on with its reply.
    Callout(Box<Callout>, Flow<T>),
}

/// What a flow yields in the end.
pub trait Outcome {
    /// The outcome of a flow that can never go on: a bug, answered closed.
    fn stuck() -> Self;
}

impl Outcome for () {
    fn stuck() {}
}

/// A flow that waits for a reply. It can only be resumed once per callout, so a second reply has
/// nothing to arrive at.
pub struct Flow<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    exchange: Rc<Exchange>,
}

impl<T> fmt::Debug for Flow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flow")
    }
}

/// The reply of a callout and the time at which it came: whoever waited must look at the clock again.
pub struct Answered {
    /// What came back.
    pub reply: Reply,
    /// The time now.
    pub now: Timestamp,
}

#[derive(Default)]
struct Exchange {
    asked: RefCell<Option<Callout>>,
    answered: RefCell<Option<Answered>>,
}

/// The way out of a flow: asks the host for callouts, one at a time.
pub struct Callouts(Rc<Exchange>);

impl Callouts {
    /// Asks for a callout and waits for its reply.
    pub fn send(&self, callout: Callout) -> impl Future<Output = Answered> + use<> {
        *self.0.asked.borrow_mut() = Some(callout);
        let exchange = Rc::clone(&self.0);
        std::future::poll_fn(move |_| match exchange.answered.borrow_mut().take() {
            Some(answered) => Poll::Ready(answered),
            None => Poll::Pending,
        })
    }
}

impl<T: Outcome> Flow<T> {
    /// Begins a flow and runs it to its first callout or to its end.
    pub fn begin<F: Future<Output = T> + 'static>(flow: impl FnOnce(Callouts) -> F) -> Step<T> {
        let exchange = Rc::new(Exchange::default());
        let future = Box::pin(flow(Callouts(Rc::clone(&exchange))));
        Flow { future, exchange }.poll()
    }

    /// Goes on with the reply to the callout that was asked for.
    pub fn resume(self, reply: Reply, now: Timestamp) -> Step<T> {
        *self.exchange.answered.borrow_mut() = Some(Answered { reply, now });
        self.poll()
    }

    fn poll(mut self) -> Step<T> {
        match self.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Step::Done(outcome),
            Poll::Pending => {
                let asked = self.exchange.asked.borrow_mut().take();
                match asked {
                    Some(callout) => Step::Callout(Box::new(callout), self),
                    None => Step::Done(T::stuck()),
                }
            }
        }
    }
}
