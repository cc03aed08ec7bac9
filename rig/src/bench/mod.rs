//! What `make bench-cutover` measures, in one run and in turns: what everybody does (the *recipe*: an include file and `nginx -s reload`),
//! bluegreen, and a bare nginx with a static upstream.
//!
//! `recipe` is the first and the last of them, `product` the second; `cutovers` watches a cutover under load, `throughput` measures requests a
//! second, `footprint` what the agent takes while nothing happens; `report` shows it all.
//!
//! And what `make bench-operator` does: `operator`.

pub mod cutovers;
pub mod footprint;
pub mod operator;
pub mod product;
pub mod recipe;
pub mod report;
pub mod throughput;
