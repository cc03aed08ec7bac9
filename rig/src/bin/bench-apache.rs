//! `make bench-apache`: what the link costs behind Apache. Requests a second of a site of ours, and of a VirtualHost that names the same app with
//! `ProxyPass` and tells it the same of the client, in one Apache, in turn. Needs root and wrk.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use bluegreen_rig::agent::Agent;
use bluegreen_rig::apache::Apache;
use bluegreen_rig::bench::throughput::{median, wrk};
use bluegreen_rig::interrupt;
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use clap::Parser;

/// Measures requests a second behind Apache, beside a static ProxyPass.
#[derive(Debug, Parser)]
struct Options {
    /// Runs of each.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Seconds that a run takes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    run_seconds: u64,
    /// What part of the static ProxyPass's requests a second must be reached.
    #[arg(long, default_value_t = 0.9)]
    at_least: f64,
}

/// What a site of ours tells its app of the client, and keeps clients from telling it: anybody has to who wants its redirects and logs right.
const TOLD: &str = "\
RequestHeader set X-Real-IP expr=%{REMOTE_ADDR}
RequestHeader set X-Forwarded-For expr=%{REMOTE_ADDR}
RequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}
RequestHeader set X-Forwarded-Host expr=%{HTTP_HOST}
RequestHeader set X-Forwarded-Port 80
RequestHeader unset Forwarded
RequestHeader unset X-Forwarded-Prefix
RequestHeader unset X-Forwarded-Scheme
RequestHeader unset X-Forwarded-Ssl
RequestHeader unset Client-IP
RequestHeader unset Proxy
";

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    interrupt::heed()?;
    let lasting = Duration::from_secs(options.run_seconds);

    let apache = Apache::start()?;
    let agent = Agent::start(&apache)?;
    let (user, taken, bare) = (User::ordinary()?, Port::take_many(2)?, Port::take()?);
    let ports: Vec<u16> = taken.iter().map(Port::number).collect();
    let bare = std::net::SocketAddr::from(([127, 0, 0, 1], bare.number()));
    apache.write(
        "bare.conf",
        &format!(
            "Listen {bare}\n<VirtualHost {bare}>\nServerName bare.test\nProxyPreserveHost On\nProxyAddHeaders Off\n{TOLD}\
             ProxyPass / http://127.0.0.1:{}/\n</VirtualHost>\n",
            ports[0]
        ),
    )?;
    let site = Manifest::app("shop", apache.address(), user.name(), &ports[..1], &ports[1..]);
    // Brings the other VirtualHost into force too.
    agent.apply_and_wait(&site.release(&release(&agent.uploads(), "v1", "")?))?;

    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for run in 0..options.runs {
        // Each is first every other time.
        for which in 0..2 {
            ensure!(!interrupt::pending(), "interrupted");
            if (run + which) % 2 == 0 {
                theirs.push(wrk(bare, "bare.test", lasting)?.0);
            } else {
                ours.push(wrk(apache.address(), "shop.test", lasting)?.0);
            }
        }
    }
    let (theirs, ours) = (median(&theirs), median(&ours));
    let part = ours / theirs;
    println!("static ProxyPass {theirs:.0} requests/s, bluegreen {ours:.0} requests/s: {part:.3} of it");
    if part < options.at_least {
        eprintln!("bench-apache: at least {} was wanted; was the machine busy with something else?", options.at_least);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
