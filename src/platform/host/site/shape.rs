//! What the web server has to know of a site. It depends on the releases that the slots hold and on where the site listens; a rollout
//! between releases with the same ports and static paths changes nothing of it, and needs no reload.

use std::net::{Ipv4Addr, SocketAddr};

use crate::api::site::{Front, HostTarget, Run};
use crate::api::types::SiteName;
use crate::platform::host::layout::SiteDir;
use crate::platform::host::web::{Mode, Shape, Side, StaticPath, Tls};
use crate::rollout::Colour;

/// The shape, if a slot holds a release. The side of an empty slot is what the release in the other one would need there, so
/// that the next one of the same kind finds it in force.
pub(super) fn shape(
    site: &SiteName,
    dir: &SiteDir,
    target: &HostTarget,
    tls: Option<Tls>,
    blue: Option<&Run>,
    green: Option<&Run>,
) -> Option<Shape> {
    let mode = match &target.front {
        Front::Own { hostnames, previews, listen, .. } => {
            Mode::Own { hostnames: hostnames.clone(), previews: previews.clone(), listen: listen.clone(), tls }
        }
        Front::Include => Mode::Include,
    };
    Some(Shape {
        site: site.clone(),
        dir: dir.clone(),
        mode,
        requests: target.requests,
        blue: side(blue.or(green)?, Colour::Blue),
        green: side(green.or(blue)?, Colour::Green),
    })
}

fn side(run: &Run, colour: Colour) -> Side {
    Side {
        instances: run.ports.of(colour).iter().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).collect(),
        protocol: run.runtime.protocol(),
        statics: run
            .statics
            .iter()
            .map(|one| StaticPath {
                path: one.path.clone(),
                root: one.root.clone(),
                keep: one.keep > 0,
                fallback: one.fallback.clone(),
                cache: one.cache_control.clone(),
                precompressed: one.precompressed,
            })
            .collect(),
    }
}
