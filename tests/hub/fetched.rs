//! What the tests of releases from afar have: a certificate authority, and a registry.

#[path = "../artifacts/kit.rs"]
#[allow(dead_code, reason = "shared with the tests of artifacts")]
pub mod kit;
#[path = "../artifacts/registry.rs"]
#[allow(dead_code, reason = "shared with the tests of artifacts")]
pub mod registry;
