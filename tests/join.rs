//! Joining a hub, against a real API server: a token that is good for once, what the host may then do and what it may not, renewal, and leaving.
//!
//! | part | what it shows |
//! |---|---|
//! | `joining` | a token is good for one machine, once; another hub, another name, another machine |
//! | `renewal` | the host's own token is renewed, and what is said when it can't be |
//! | `escapes` | what a host, and whoever joins, may do, and some fifty things that each is refused |
//! | `running` | tokens that are renewed or end under a running agent, and hosts whose clocks are wrong |
//! | `leaving` | a host leaves, and an admin ends one that is no more |
//! | `whole` | a running agent joins, serves a site of the hub, and leaves, under load |

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "join/escapes.rs"]
mod escapes;
#[path = "join/joining.rs"]
mod joining;
#[path = "join/kit.rs"]
mod kit;
#[path = "join/leaving.rs"]
mod leaving;
#[path = "join/renewal.rs"]
mod renewal;
#[path = "join/running.rs"]
mod running;
#[path = "join/whole.rs"]
mod whole;
