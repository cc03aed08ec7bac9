//! What the link costs behind Apache: requests a second of a site of ours, and of a VirtualHost that names the same app with `ProxyPass` and nothing
//! else, in one Apache, in turn. Prints both and their quotient. Needs root and wrk.
//!
//! ```text
//! bench-apache [RUNS [SECONDS]]
//! ```

use std::time::Duration;

use anyhow::{Context, Result};
use bluegreen_rig::agent::Agent;
use bluegreen_rig::apache::Apache;
use bluegreen_rig::bench::throughput::{median, wrk};
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual: u64| arguments.next().map_or(Ok(usual), |text| text.parse().context("a number is wanted"));
    let (runs, lasting) = (number(10)?, Duration::from_secs(number(5)?));

    let apache = Apache::start()?;
    let agent = Agent::start(&apache)?;
    let (user, ports, bare) = (User::ordinary()?, Port::take_many(2)?, Port::take()?);
    let ports: Vec<u16> = ports.iter().map(Port::number).collect();
    let bare = std::net::SocketAddr::from(([127, 0, 0, 1], bare.number()));
    apache.write(
        "bare.conf",
        &format!(
            "Listen {bare}\n<VirtualHost {bare}>\nServerName bare.test\nProxyPreserveHost On\n\
             ProxyPass / http://127.0.0.1:{}/\n</VirtualHost>\n",
            ports[0]
        ),
    )?;
    let site = Manifest::app("shop", apache.address(), user.name(), &ports[..1], &ports[1..]);
    // Brings the other VirtualHost into force too.
    agent.apply_and_wait(&site.release(&release(&agent.uploads(), "v1", "")?))?;

    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for run in 0..runs {
        // Each is first every other time.
        for which in 0..2 {
            if (run + which) % 2 == 0 {
                theirs.push(wrk(bare, "bare.test", lasting)?.0);
            } else {
                ours.push(wrk(apache.address(), "shop.test", lasting)?.0);
            }
        }
    }
    let (theirs, ours) = (median(&theirs), median(&ours));
    println!("static ProxyPass {theirs:.0} requests/s, bluegreen {ours:.0} requests/s: {:.3} of it", ours / theirs);
    Ok(())
}
