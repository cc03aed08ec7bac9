//! What our files shall be once some changes are made: text from shapes, from what is in place, and from what else is read. Touches nothing.

use super::apply::Change;
use super::files::{self, Name, Set};
use super::kind::{Dump, Kind};
use super::no::{No, everyone, unrendered};
use super::{fault, reason};
use crate::api::types::SiteName;
use crate::platform::Class;

/// Drafts sets of files for one web server.
pub struct Drafter<'a, K: Kind> {
    /// Which one.
    pub kind: &'a K,
}

impl<K: Kind> Drafter<'_, K> {
    /// Our files with the changes made, but for the common one.
    pub fn draft(&self, live: &Set, changes: &[&Change]) -> Result<Set, No> {
        let mut drafted = live.clone();
        for change in changes {
            let site = change.site();
            let rendered = match change {
                Change::Put(shape) => Some(self.kind.site(shape).map_err(|error| unrendered(site, &error))?),
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
                drafted.insert(name, self.stub(site)?);
            }
        }
        Ok(drafted)
    }

    /// Adds the common file, and drops the emptied snippets that nobody includes.
    pub fn complete(&self, mut wanted: Set, dump: Option<&K::Dump>, changes: &[&Change]) -> Result<Set, No> {
        let folders = self.kind.places().folders;
        let snippets: Vec<SiteName> = wanted
            .keys()
            .filter(|name| matches!(name, Name::Snippet(_)))
            .filter_map(|name| name.site().cloned())
            .collect();
        for site in snippets {
            let name = Name::Snippet(site.clone());
            let included = dump.is_none_or(|dump| dump.reads(&name.path(folders)));
            if !included && wanted.get(&name) == Some(&self.stub(&site)?) {
                wanted.remove(&name);
            }
        }
        let common = self.kind.common(&wanted, dump, changes)?;
        let draft = self.common(&common, "")?;
        let others = wanted.iter().filter(|(name, _)| **name != Name::Common);
        let parts = others.map(|(name, text)| (name, text.as_slice()));
        let generation = files::generation(parts.chain([(&Name::Common, draft.as_bytes())]));
        let text = self.common(&common, &generation)?.into_bytes();
        wanted.insert(Name::Common, text);
        Ok(wanted)
    }

    /// The common file's text.
    pub fn common(&self, common: &K::Common, generation: &str) -> Result<String, No> {
        self.kind
            .common_text(common, generation)
            .map_err(|error| everyone(fault(Class::User, reason::CONFIGURATION_REFUSED, error.to_string())))
    }

    /// What the common file of a set says; empty where there is none.
    pub fn generation(&self, set: &Set) -> String {
        let text = set.get(&Name::Common).map(|text| String::from_utf8_lossy(text)).unwrap_or_default();
        self.kind.generation(&text)
    }

    /// An emptied snippet.
    pub fn stub(&self, site: &SiteName) -> Result<Vec<u8>, No> {
        self.kind.stub(site).map(String::into_bytes).map_err(|error| unrendered(site, &error))
    }
}
