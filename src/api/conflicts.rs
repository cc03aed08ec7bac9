//! What no site can say alone: two sites that want the same host name or the same port. Pure, over the sites of one machine.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::problem::Problem;
use super::site::{Front, SiteOnHost};
use super::types::{Hostname, SiteName};

/// The sites that can't have what they want because another one has it: the one that comes first in the order given keeps it. An agent
/// gives them in the order in which it accepted them, so that a newcomer never takes anything from a site that runs.
#[must_use]
pub fn conflicts<'a>(sites: &'a [SiteOnHost]) -> Vec<(SiteName, Problem)> {
    let mut found = Vec::new();
    let mut ports: BTreeMap<u16, &SiteName> = BTreeMap::new();
    let mut doors: BTreeMap<(SocketAddr, &str), &SiteName> = BTreeMap::new();
    for site in sites {
        let mut said: Vec<&str> = Vec::new();
        if let front @ Front::Own { hostnames, previews, .. } = &site.target.front {
            let numbered = |field: &'static str, names: &'a [Hostname]| {
                names.iter().enumerate().map(move |(index, name)| (format!("{field}[{index}]"), name))
            };
            let names = numbered("hostnames", hostnames).chain(numbered("previewHostnames", previews));
            for (place, hostname) in names {
                for address in front.doors() {
                    let owner = *doors.entry((address, hostname.as_str())).or_insert(&site.name);
                    if *owner != site.name && !said.contains(&hostname.as_str()) {
                        said.push(hostname.as_str());
                        found.push((
                            site.name.clone(),
                            Problem::new(
                                format!("spec.target.host.{place}"),
                                format!(
                                    "the site {owner} answers to {hostname} already: take it out of one of the two"
                                ),
                            ),
                        ));
                    }
                }
            }
        }
        let pair = &site.target.run.ports;
        for (colour, list) in [("blue", &pair.blue), ("green", &pair.green)] {
            for (index, port) in list.iter().enumerate() {
                let owner = *ports.entry(*port).or_insert(&site.name);
                if *owner != site.name {
                    found.push((
                        site.name.clone(),
                        Problem::new(
                            format!("spec.target.host.ports.{colour}[{index}]"),
                            format!("the site {owner} has port {port} already: take another one"),
                        ),
                    ));
                }
            }
        }
    }
    found
}
