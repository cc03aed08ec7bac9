//! What a CGI program is told of its place in a release: in one place, for the templates of both web servers and for the prober. `fcgiwrap` runs
//! what `SCRIPT_FILENAME` names; without one it looks for the program along `SCRIPT_NAME` below `DOCUMENT_ROOT`, and leaves the rest in
//! `PATH_INFO`.

use serde::Serialize;

use super::Shape;
use crate::api::site::{Programs, Protocol};
use crate::rollout::Colour;

/// A colour with which FastCGI is spoken, for the templates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FastCgi {
    pub colour: &'static str,
    /// The one program; none: a folder's programs answer at their own paths.
    pub script: Option<String>,
}

/// The colours with which FastCGI is spoken, and whether HTTP is with another.
pub(super) fn sides(shape: &Shape) -> (Vec<FastCgi>, bool) {
    let with_app = || Colour::BOTH.into_iter().filter(|colour| !shape.side(*colour).instances.is_empty());
    let fastcgi = with_app().filter_map(|colour| match &shape.side(colour).protocol {
        Protocol::Http => None,
        Protocol::FastCgi(Programs::Script(path)) => {
            Some(FastCgi { colour: colour.name(), script: Some(path.to_string()) })
        }
        Protocol::FastCgi(Programs::Folder(_)) => Some(FastCgi { colour: colour.name(), script: None }),
    });
    (fastcgi.collect(), with_app().any(|colour| shape.side(colour).protocol == Protocol::Http))
}
