//! Takes real uploads over into real releases, on a real disk, with the real unpacker. Needs root, as the agent does: files change hands.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

#[path = "release/archives.rs"]
mod archives;
#[path = "release/assets.rs"]
mod assets;
#[path = "release/disk.rs"]
mod disk;
#[path = "release/jail.rs"]
mod jail;
#[path = "release/jars.rs"]
mod jars;
#[path = "release/killed.rs"]
mod killed;
#[path = "release/kit.rs"]
mod kit;
#[path = "release/outside.rs"]
mod outside;
#[path = "release/taking.rs"]
mod taking;
