//! A small web app that says in every answer who it is, and misbehaves when told to. The binary `rig-app`; tests put it into releases.
//!
//! `options` is what it can be told, `server` accepts and shuts down, `pages` answers, `live` are the answers that take long,
//! `child` runs it as a process of its own.

mod child;
mod live;
mod options;
mod pages;
mod server;

pub use child::Child;
pub use options::Options;
pub use pages::now_ns;
pub use server::serve;
