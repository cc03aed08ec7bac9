//! nginx as the front door: a real one, in a prefix of its own for each test.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "nginx/changing.rs"]
mod changing;
#[path = "nginx/fixture.rs"]
mod fixture;
#[path = "nginx/rendering.rs"]
mod rendering;
#[path = "nginx/serving.rs"]
mod serving;
