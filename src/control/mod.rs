//! How people's tools speak with the host agent: HTTP/1.1 and JSON over a Unix socket.
//!
//! | part | what it does |
//! |---|---|
//! | `api` | what is said: paths, questions and answers |
//! | `client` | the asking side, used by the command line |
//! | `peer` | who asks, by SO_PEERCRED, and what that caller may |
//! | `server` | the answering side, used by the agent |
//! | `watching` | what changed between two looks |
//!
//! The caller's identity comes from the kernel, so there are no passwords and no tokens. The agent answers only what it knows; it never
//! guesses what a command was about: the caller names the attempt that it saw.

pub mod api;
pub mod client;
pub mod peer;
pub mod server;
mod watching;
