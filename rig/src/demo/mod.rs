//! `make demo`: a small real site behind a real nginx goes from v1 to v2 under load, back again, and refuses a broken v3. It ends with a
//! report, and leaves nothing behind.
//!
//! `story` is what happens, `screen` shows it while it does, `report` says afterwards what it came to.

mod report;
mod screen;
mod story;

pub use report::Report;
pub use story::run;
