//! Where a site comes from. One name belongs to one origin: what a second one says under the same name is refused, and says where the first is.

use serde::{Deserialize, Serialize};

use crate::api::types::SiteName;

/// Where the manifest of a site comes from, as it stands in `accepted.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The folder of manifests on this host, or `bluegreen apply`, which writes there.
    #[default]
    Folder,
    /// An object of the API server that this host has joined.
    Hub {
        /// Which hub it is: the uid of this host's namespace there.
        hub: String,
        /// The object's uid: another one is another object of that name.
        uid: String,
        /// The object's generation.
        generation: i64,
    },
    /// A file of a Git repository.
    Git {
        /// The commit that it was read from.
        commit: String,
    },
}

impl Origin {
    /// Whether it is the local folder, which is root's own: nothing else needs to be asked of what comes from there.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        matches!(self, Origin::Folder)
    }

    /// Whether both are the same kind of place: a site stays where it comes from, and changes there.
    #[must_use]
    pub fn is_where(&self, other: &Origin) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// In words, as in "it comes from …".
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Origin::Folder => "the folder of manifests on this host".to_owned(),
            Origin::Hub { uid, .. } => format!("the hub that this host has joined (object {uid})"),
            Origin::Git { commit } => format!("the Git repository (commit {})", commit.get(..12).unwrap_or(commit)),
        }
    }

    /// Why a site of this origin is not changed from somewhere else, and where it is.
    #[must_use]
    pub fn elsewhere(&self, name: &SiteName) -> String {
        let how = match self {
            Origin::Folder => format!("change it on the host: `bluegreen apply`, or `bluegreen delete {name}`"),
            Origin::Hub { .. } => {
                format!(
                    "change it there (kubectl apply, or kubectl delete bluegreensite {name}, in this host's namespace)"
                )
            }
            Origin::Git { .. } => "change it there: commit and push, or remove its file".to_owned(),
        };
        format!("the site {name} of this host comes from {}: {how}", self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(uid: &str) -> Origin {
        let text = |text: &str| text.to_owned();
        Origin::Hub { hub: text("h"), uid: text(uid), generation: 3 }
    }

    #[test]
    fn two_objects_of_one_hub_are_one_place_and_a_hub_is_no_repository() {
        let git = Origin::Git { commit: "0123456789abcdef".to_owned() };
        assert!(hub("a").is_where(&hub("b")) && Origin::Folder.is_where(&Origin::default()));
        assert!(!hub("a").is_where(&git) && !git.is_where(&Origin::Folder));
        assert!(git.words().contains("0123456789ab)"), "{}", git.words());
    }

    #[test]
    fn what_says_where_a_site_is_changed_names_the_place_and_the_site() {
        let name: SiteName = "shop".parse().expect("a name");
        for (origin, says) in [
            (Origin::Folder, "bluegreen delete shop"),
            (hub("u-1"), "kubectl delete bluegreensite shop"),
            (Origin::Git { commit: String::new() }, "commit and push"),
        ] {
            assert!(origin.elsewhere(&name).contains(says), "{}", origin.elsewhere(&name));
        }
    }

    #[test]
    fn what_was_written_by_a_version_that_knew_only_the_folder_is_read() {
        assert_eq!(serde_json::from_str::<Origin>(r#""folder""#).ok(), Some(Origin::Folder));
        let text = serde_json::to_string(&hub("a")).expect("JSON");
        assert_eq!(text, r#"{"hub":{"hub":"h","uid":"a","generation":3}}"#);
        assert_eq!(serde_json::from_str::<Origin>(&text).ok(), Some(hub("a")));
    }
}
