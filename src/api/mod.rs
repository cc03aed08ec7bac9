//! What a user writes and reads: the `BlueGreenSite` resource, its narrow types, and the one place that judges it.

pub mod site;
pub mod types;
