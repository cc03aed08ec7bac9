//! What changed between two looks at all sites: the watch's memory.

use std::collections::BTreeMap;

use super::api::{Change, ChangeKind, SiteView};

/// What a watcher was told last.
#[derive(Debug, Default)]
pub struct Differ {
    told: BTreeMap<String, SiteView>,
}

impl Differ {
    /// What a watcher has to be told now.
    pub fn changes(&mut self, now: Vec<SiteView>) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut before = std::mem::take(&mut self.told);
        for site in now {
            let name = name(&site);
            let kind = match before.remove(&name) {
                Some(told) if told == site => None,
                Some(_) => Some(ChangeKind::Modified),
                None => Some(ChangeKind::Added),
            };
            if let Some(kind) = kind {
                changes.push(Change { kind, site: site.clone() });
            }
            self.told.insert(name, site);
        }
        changes.extend(before.into_values().map(|site| Change { kind: ChangeKind::Deleted, site }));
        changes
    }
}

fn name(site: &SiteView) -> String {
    site.object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::Attempts;

    fn site(name: &str, generation: i64) -> SiteView {
        SiteView {
            object: serde_json::json!({"metadata": {"name": name, "generation": generation}}),
            slots: Vec::new(),
            attempts: Attempts::default(),
            upload: None,
            looked: 0,
        }
    }

    #[test]
    fn each_site_is_told_once_and_then_only_what_changes() {
        let mut differ = Differ::default();
        let kinds = |changes: Vec<Change>| -> Vec<(ChangeKind, String)> {
            changes.iter().map(|c| (c.kind, name(&c.site))).collect()
        };
        assert_eq!(
            kinds(differ.changes(vec![site("a", 1), site("b", 1)])),
            [(ChangeKind::Added, "a".into()), (ChangeKind::Added, "b".into())]
        );
        assert!(differ.changes(vec![site("a", 1), site("b", 1)]).is_empty());
        assert_eq!(
            kinds(differ.changes(vec![site("b", 2)])),
            [(ChangeKind::Modified, "b".into()), (ChangeKind::Deleted, "a".into())]
        );
    }
}
