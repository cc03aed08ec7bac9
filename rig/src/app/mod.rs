//! A small web app that says in every answer who it is, and misbehaves when told to. The binary `rig-app`; tests put it into releases.
//!
//! `options` is what it can be told, `server` accepts and shuts down, `pages` answers, `live` are the answers that take long.

mod live;
mod options;
mod pages;
mod server;

pub use options::Options;
pub use pages::now_ns;
pub use server::serve;
