//! Carries out the actions of the driver.

use std::rc::Rc;

use super::abi::{self, Action, Buffer};
use super::body;
use super::callouts::{self, SentCallout};
use super::clock::now;
use super::kind::Host;
use super::outcome::finish;
use super::pending::{Pending, Turn};
use super::plugin::Plugin;
use crate::driver::{Action as Do, Driver};

/// Carries out the driver's actions in the callback of this context: a request, or the root context. Returns
/// the result of the request's callback.
pub fn perform(plugin: &Rc<Plugin>, context_id: u32, own: Option<(&Rc<Pending>, Turn)>) -> Action {
    let mut said = Action::Pause;
    // The host acts for another context than that of the callback.
    let mut acts_for_another = false;
    while let Some(action) = plugin.drive(Driver::next).flatten() {
        let id = match &action {
            Do::Send { id, by, callout, .. } => {
                let sender = by.and_then(|by| plugin.pending(by));
                // A callout belongs to the context in which it was sent.
                if std::mem::take(&mut acts_for_another) {
                    let _ = abi::act_for(context_id);
                }
                match callouts::send(callout) {
                    Ok(token) => {
                        plugin.in_flight.insert(token, SentCallout::new(*id, context_id, callout));
                        if let Some(sender) = sender {
                            sender.token.set(Some(token));
                        }
                    }
                    Err(why) => _ = plugin.drive(|driver| driver.not_sent(*id, why, now())),
                }
                continue;
            }
            Do::Answer(id, _) | Do::AwaitBody(id) | Do::ReadBody(id, _) | Do::BodyIsLate { id, .. } => *id,
        };
        let Some(pending) = plugin.pending(id) else { continue };
        let turn = match own {
            Some((own, turn)) if Rc::ptr_eq(own, &pending) => turn,
            _ => Turn::OfAnother,
        };
        let is_ours = turn != Turn::OfAnother;
        let is_possible = match is_ours {
            true if std::mem::take(&mut acts_for_another) => abi::act_for(context_id).is_ok(),
            true => true,
            false => {
                acts_for_another = true;
                abi::act_for(pending.context_id).is_ok()
            }
        };
        match action {
            Do::Answer(_, answer) => {
                pending.id.set(None);
                plugin.waiting.borrow_mut().remove(id.number());
                if is_possible {
                    let action = finish(&pending, answer, turn);
                    said = if is_ours { action } else { said };
                }
            }
            // Only needed on one host, which hands over a body when the request goes on.
            Do::AwaitBody(_) if is_ours && Host::known() == Host::Nginx => {
                if turn != Turn::Own {
                    let _ = abi::continue_request();
                }
                said = Action::Continue;
            }
            Do::ReadBody(_, size) => {
                // One host says that there is a body and does not give it, when it lies in a file.
                let body = abi::buffer(Buffer::RequestBody, size).ok().filter(|_| is_possible);
                plugin.drive(|driver| driver.body_read(id, body, now()));
            }
            Do::BodyIsLate { has_begun, .. } if is_possible => {
                let why = body::why_late(&pending, has_begun);
                plugin.drive(|driver| driver.body_failed(id, why, now()));
            }
            Do::AwaitBody(_) | Do::BodyIsLate { .. } | Do::Send { .. } => {}
        }
    }
    said
}
