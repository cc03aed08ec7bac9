//! What the operator is told when it starts.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use crate::driver::log::LogFormat;

/// What the operator is told when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sites of this namespace only; `None`: of all.
    pub namespace: Option<String>,
    /// Where metrics are served.
    pub metrics: SocketAddr,
    /// Where health is served.
    pub health: SocketAddr,
    /// The lease that decides which replica leads.
    pub lease: LeaseSettings,
    /// How the log is written.
    pub log_format: LogFormat,
    /// So many sites are turned at once.
    pub concurrency: NonZeroU16,
}

/// The lease that decides which replica leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How long it lasts without being renewed.
    pub lasts: Duration,
}
