//! Apps on a Java virtual machine: the examples, built by Maven, run by the built agent behind a real nginx and a real Apache. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "java/cutovers.rs"]
mod cutovers;
#[path = "java/guards.rs"]
mod guards;
#[path = "java/https.rs"]
mod https;
#[path = "java/kit.rs"]
mod kit;
#[path = "java/memory.rs"]
mod memory;
#[path = "java/spring.rs"]
mod spring;
#[path = "java/tomcat.rs"]
mod tomcat;
