//! What `make bench-cutover` measures, in one run and in turns: what everybody does (the *recipe*: an include file and `nginx -s reload`),
//! bluegreen, and a bare nginx with a static upstream.
//!
//! `recipe` is the first and the last of them, `cutovers` watches a cutover under load, `throughput` measures requests a second.

pub mod cutovers;
pub mod recipe;
