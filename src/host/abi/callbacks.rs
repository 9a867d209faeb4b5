//! What the host calls.

use super::types::Action;

/// What the host calls. The module has those of one type: `abi::export` gives them the names that the host knows.
///
/// A context is a number that the host chose. It may be one that it never told of.
pub trait Callbacks {
    /// The first call, before any other.
    fn start();

    /// Makes a context: of a request, or a root context if its own root is 0.
    fn create_context(context: u32, root: u32);

    /// Hands over the configuration, of so many bytes. False refuses it.
    fn configure(context: u32, size: usize) -> bool;

    /// The time of background work.
    fn tick(context: u32);

    /// The header fields of a request are there, so many.
    fn request_headers(context: u32, count: usize, is_end: bool) -> Action;

    /// So many bytes of the body of a request are there.
    fn request_body(context: u32, size: usize, is_end: bool) -> Action;

    /// The trailers of a request are there.
    fn request_trailers(context: u32) -> Action;

    /// The header fields of the response are there, so many: of the upstream's, or of ours.
    fn response_headers(context: u32, count: usize);

    /// The reply to the callout of this number is there, with so many header fields and bytes of a body, or
    /// there will be none.
    fn reply(token: u32, headers: usize, size: usize);

    /// A request is over, or a configuration is replaced. False: the host waits until it is told that the
    /// context may go.
    fn done(context: u32) -> bool;

    /// A context goes.
    fn delete(context: u32);
}
