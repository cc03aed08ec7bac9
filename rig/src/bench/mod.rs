//! What `make bench-cutover` measures, in one run and in turns: what everybody does (the *recipe*: an include file and `nginx -s reload`),
//! bluegreen, and a bare nginx with a static upstream.
//!
//! `recipe` is the first and the last of them, `product` the second; `cutovers` watches a cutover under load, `throughput` measures requests a
//! second, `footprint` what the agent takes while nothing happens; `report` shows it all.
//!
//! And what `make bench-operator` and `make bench-hub` do: `operator`, `hub`.

pub mod cutovers;
pub mod footprint;
pub mod hub;
pub mod operator;
pub mod product;
pub mod recipe;
pub mod report;
pub mod throughput;

/// Bytes as MiB.
#[expect(clippy::cast_precision_loss)]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
