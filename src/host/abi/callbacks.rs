//! Callbacks from the host.

use super::types::Action;

/// Callbacks from the host. The module has those of one type, which `abi::export` exports.
///
/// A context is a number that the host chose. It may be one that it never created.
pub trait Callbacks {
    /// The first callback, before any other.
    fn start();

    /// Creates a context: of a request, or a root context if its own root is 0.
    fn create_context(context: u32, root: u32);

    /// Hands over the configuration, with its length in bytes. False refuses it.
    fn configure(context: u32, size: usize) -> bool;

    /// The time of background work.
    fn tick(context: u32);

    /// The header fields of a request have arrived; their number.
    fn request_headers(context: u32, count: usize, is_end: bool) -> Action;

    /// This much of the body of a request is there. Bytes.
    fn request_body(context: u32, size: usize, is_end: bool) -> Action;

    /// The trailers of a request have arrived.
    fn request_trailers(context: u32) -> Action;

    /// The header fields of the response have arrived; their number: of the upstream's, or of ours.
    fn response_headers(context: u32, count: usize);

    /// The reply to the callout with this number has arrived, with the number of its header fields and the
    /// length of its body in bytes, or there will be none.
    fn reply(token: u32, headers: usize, size: usize);

    /// A request is over, or a configuration is replaced. False postpones the deletion of the context.
    fn done(context: u32) -> bool;

    /// A context is deleted.
    fn delete(context: u32);
}
