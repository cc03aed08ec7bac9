//! What our files shall be once some changes are made: text from shapes, from what is in place, and from what else nginx reads. Touches nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::apply::Change;
use super::files::{self, Name, Set};
use super::no::{No, Whose, everyone, unrendered};
use super::syntax::{self, Dump};
use super::theirs::{self, Serving};
use super::{NginxSettings, fault, reason, render};
use crate::api::types::SiteName;
use crate::platform::Class;

/// Drafts sets of files for one nginx.
pub struct Drafter<'a> {
    /// Which one.
    pub settings: &'a NginxSettings,
}

impl Drafter<'_> {
    /// Our files with the changes made, but for the common one.
    pub fn draft(&self, live: &Set, changes: &[&Change]) -> Result<Set, No> {
        let mut drafted = live.clone();
        for change in changes {
            let site = change.site();
            let rendered = match change {
                Change::Put(shape) => {
                    Some(render::site(shape, self.settings.door).map_err(|error| unrendered(site, &error))?)
                }
                Change::Remove(_) => None,
            };
            let (file, snippet) = match rendered {
                Some(rendered) => (Some(rendered.site), rendered.snippet),
                None => (None, None),
            };
            match file {
                Some(text) => drafted.insert(Name::Site(site.clone()), text.into_bytes()),
                None => drafted.remove(&Name::Site(site.clone())),
            };
            // One that is not wanted any more may still be included: it is emptied now, and goes when it isn't.
            let name = Name::Snippet(site.clone());
            if let Some(text) = snippet {
                drafted.insert(name, text.into_bytes());
            } else if live.contains_key(&name) {
                drafted.insert(name, stub(site)?);
            }
        }
        Ok(drafted)
    }

    /// Adds the common file, and drops the emptied snippets that nobody includes.
    pub fn complete(&self, mut wanted: Set, dump: Option<&Dump>, changes: &[&Change]) -> Result<Set, No> {
        let folders = &self.settings.folders;
        let snippets: Vec<SiteName> = wanted
            .keys()
            .filter(|name| matches!(name, Name::Snippet(_)))
            .filter_map(|name| name.site().cloned())
            .collect();
        for site in snippets {
            let name = Name::Snippet(site.clone());
            let included = dump.is_none_or(|dump| dump.reads(&name.path(folders)));
            if !included && wanted.get(&name) == Some(&stub(&site)?) {
                wanted.remove(&name);
            }
        }
        let serving = dump.map(Serving::of).unwrap_or_default();
        let theirs = |server: &theirs::Server| Name::of(&server.file, folders).is_none();
        let mut common = render::Common::default();
        let others = serving.addresses(theirs);
        for (name, text) in &wanted {
            let Name::Site(site) = name else { continue };
            let (names, listen) = self.served_by(name, text);
            common.catch.extend(listen.difference(&others));
            let needed = render::hash_bucket(names.iter().map(String::as_str));
            let set = serving.hash_bucket.as_ref().filter(|(_, file, _)| Name::of(file, folders).is_none());
            match set {
                Some((size, file, line)) if *size < needed && changes.iter().any(|c| c.site() == site) => {
                    return Err(No {
                        whose: Whose::Site(site.clone()),
                        fault: fault(
                            Class::User,
                            reason::CONFIGURATION_REFUSED,
                            format!(
                                "the host names of {site} need server_names_hash_bucket_size {needed}, and {}:{line} sets it to {size}; raise it there",
                                file.display()
                            ),
                        ),
                    });
                }
                // nginx's own default, and the least that any machine has.
                None if needed > 64 => common.hash_bucket = common.hash_bucket.max(Some(needed)),
                _ => {}
            }
        }
        let draft = self.common(&common, "")?;
        let others = wanted.iter().filter(|(name, _)| **name != Name::Common);
        let parts = others.map(|(name, text)| (name, text.as_slice()));
        let generation = files::generation(parts.chain([(&Name::Common, draft.as_bytes())]));
        let text = self.common(&common, &generation)?.into_bytes();
        wanted.insert(Name::Common, text);
        Ok(wanted)
    }

    /// The common file's text.
    pub fn common(&self, common: &render::Common, generation: &str) -> Result<String, No> {
        render::common(common, self.settings.door, generation)
            .map_err(|error| everyone(fault(Class::User, reason::CONFIGURATION_REFUSED, error.to_string())))
    }

    /// The names and addresses in a file of ours, the door's left out.
    pub fn served_by(&self, name: &Name, text: &[u8]) -> (Vec<String>, BTreeSet<SocketAddr>) {
        let (mut names, mut listen) = (Vec::new(), BTreeSet::new());
        for directive in syntax::parse(&name.path(&self.settings.folders), &String::from_utf8_lossy(text)) {
            if directive.name() == "server" {
                let server = theirs::server(&directive);
                if !server.listen.contains(&self.settings.door) {
                    names.extend(server.names);
                    listen.extend(server.listen);
                }
            }
        }
        (names, listen)
    }
}

/// What the common file of a set says; empty where there is none.
#[must_use]
pub fn generation_of(set: &Set) -> String {
    let text = set.get(&Name::Common).map(|text| String::from_utf8_lossy(text)).unwrap_or_default();
    let after = text.split_once("$bluegreen_generation {").map_or("", |(_, rest)| rest);
    after.split('"').nth(1).unwrap_or_default().to_owned()
}

/// An emptied snippet.
pub fn stub(site: &SiteName) -> Result<Vec<u8>, No> {
    render::stub(site).map(String::into_bytes).map_err(|error| unrendered(site, &error))
}
