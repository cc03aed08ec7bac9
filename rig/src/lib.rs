//! What the tests, the demo and the benchmarks of bluegreen share. Everything in here is real: a real web app, a client that writes
//! HTTP to a socket and never repeats a request, a real nginx or Apache in a prefix of its own, the built agent as a process of its own.
//!
//! | part | what it is |
//! |---|---|
//! | `booted` | a Debian that boots, with systemd, for what needs one |
//! | `binaries` | where the built programs are |
//! | `app` | a small web app that says who it is in every answer, and can be told to misbehave (binary `rig-app`) |
//! | `certificate` | a certificate of a test's own |
//! | `load` | keep-alive clients that count every lost request (binary `rig-load`) |
//! | `nginx`, `apache`, `web` | a web server of one's own, gone when it is dropped |
//! | `agent` | `bluegreen host run` with folders of its own, gone when it is dropped |
//! | `cutovers` | how many cutovers the tests of runtimes make, and what they say of them |
//! | `cluster` | a real Kubernetes control plane of one's own, gone when it is dropped |
//! | `disk` | a small disk that can be filled up |
//! | `manifest` | a site's manifest, and releases made of the app |
//! | `examples` | the repository's examples as releases |
//! | `maven` | the Java examples, built by Maven and kept |
//! | `users` | a user for apps to run as |
//! | `wheels` | packages of Python's, fetched once |
//! | `cell` | a network of a host's own, from which one way leads out |
//! | `clock` | a wrong date for one process |
//! | `network` | a network of a test's own, and a neighbour that scans it |
//! | `ports` | ports that nobody else takes meanwhile |
//! | `demo`, `bench` | what `make demo` plays and `make bench-cutover` measures |
//! | `interrupt` | Ctrl-C, for programs that start others |
//! | `wait` | wait for a condition, never for a time |

pub mod agent;
pub mod apache;
pub mod app;
pub mod bench;
pub mod binaries;
pub mod booted;
pub mod cell;
pub mod certificate;
pub mod clock;
pub mod cluster;
pub mod cutovers;
pub mod demo;
pub mod disk;
pub mod examples;
pub mod interrupt;
pub mod load;
pub mod manifest;
pub mod maven;
pub mod network;
pub mod nginx;
pub mod ports;
pub mod process;
pub mod told;
pub mod users;
pub mod wait;
pub mod web;
pub mod wheels;
