//! WSGI, ASGI and CGI apps as they are deployed: the examples, behind a real nginx and a real Apache, by the built agent, under load. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "python/cgi.rs"]
mod cgi;
#[path = "python/configuration.rs"]
mod configuration;
#[path = "python/cutovers.rs"]
mod cutovers;
#[path = "python/https.rs"]
mod https;
#[path = "python/kit.rs"]
mod kit;
#[path = "python/refusals.rs"]
mod refusals;
#[path = "python/requirements.rs"]
mod requirements;
