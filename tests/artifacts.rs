//! Releases that lie elsewhere, for real: an nginx that serves files over TLS, a registry, servers that break off or answer nonsense; the built
//! agent, and load on the site. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "artifacts/bad.rs"]
mod bad;
#[path = "artifacts/garbage.rs"]
mod garbage;
#[path = "artifacts/kit.rs"]
mod kit;
#[path = "agent/kit.rs"]
#[allow(dead_code, reason = "shared with the tests of the agent")]
mod machine;
#[path = "artifacts/oci.rs"]
mod oci;
#[path = "artifacts/registry.rs"]
mod registry;
#[path = "artifacts/resume.rs"]
mod resume;
#[path = "faults/kit.rs"]
#[allow(dead_code, reason = "shared with the tests of faults")]
mod served;
#[path = "artifacts/url.rs"]
mod url;
