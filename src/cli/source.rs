//! Where the sites are: behind an agent's control socket, or on a cluster. Both answer the same questions with the same views, so every
//! command is written once; `source()` of the command line chooses.

use crate::control::api::{Applied, Change, CommandAnswer, CommandRequest, Failure, History, SiteView};
use crate::control::client::{self, Client, ClientError};

use super::output::complain;

use super::cluster::{self, Cluster, ClusterError};
use super::view::{NotASite, Site};

/// Where the sites are.
#[derive(Clone, Debug)]
pub enum Source {
    /// On this machine.
    Host(Client),
    /// On a cluster.
    Cluster(Cluster),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The agent's.
    #[error(transparent)]
    Host(#[from] ClientError),
    /// The cluster's.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// What was answered is no site as this program knows them.
    #[error(transparent)]
    NotASite(#[from] NotASite),
}

impl SourceError {
    /// There is no such site.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match self {
            SourceError::Host(ClientError::Refused(Failure { code, .. })) => *code == 404,
            SourceError::Cluster(error) => matches!(error, ClusterError::NotFound { .. }),
            _ => false,
        }
    }

    /// Whoever answers is away for a while, perhaps: the same question may be answered later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            SourceError::Host(error) => matches!(error, ClientError::NoAgent { .. } | ClientError::Broken(_)),
            SourceError::Cluster(error) => matches!(error, ClusterError::Away { .. }),
            SourceError::NotASite(_) => false,
        }
    }
}

/// How a manifest is handed in.
#[derive(Clone, Copy, Debug)]
pub struct Handing {
    /// It is judged, and nothing is kept.
    pub dry_run: bool,
    /// Fields that another manager of the object holds are taken over. On a cluster only: a host has no other managers.
    pub force_conflicts: bool,
}

/// Changes of sites as they happen.
#[derive(Debug)]
pub enum Watch {
    /// An agent's.
    Host(client::Watch),
    /// A cluster's.
    Cluster(Box<cluster::Watch>),
}

impl Watch {
    /// The next change. `None`: the agent has ended.
    ///
    /// # Errors
    /// The connection broke, or what was said is not understood.
    pub async fn next(&mut self) -> Result<Option<Change>, SourceError> {
        match self {
            Watch::Host(watch) => Ok(watch.next().await?),
            Watch::Cluster(watch) => Ok(Some(watch.next().await?)),
        }
    }
}

impl Source {
    /// All sites, by name.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn list(&self) -> Result<Vec<SiteView>, SourceError> {
        match self {
            Source::Host(client) => {
                let list = client.list().await?;
                for note in &list.notes {
                    complain(&format!("Note: {note}"));
                }
                Ok(list.items)
            }
            Source::Cluster(cluster) => Ok(cluster.list().await?),
        }
    }

    /// One site, with all that can be told of it.
    ///
    /// # Errors
    /// There is none of this name, or no answer.
    pub async fn site(&self, name: &str) -> Result<SiteView, SourceError> {
        match self {
            Source::Host(client) => Ok(client.site(name).await?),
            Source::Cluster(cluster) => Ok(cluster.site(name).await?),
        }
    }

    /// Whether a site is still there: the very one that was seen before.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn exists(&self, name: &str, uid: Option<&str>) -> Result<bool, SourceError> {
        let found = match self {
            Source::Host(client) => client.site(name).await.map(|_| true).map_err(SourceError::from),
            Source::Cluster(cluster) => cluster.exists(name, uid).await.map_err(SourceError::from),
        };
        match found {
            Err(error) if error.is_not_found() => Ok(false),
            found => found,
        }
    }

    /// All sites, or one: first what is there, then what changes.
    ///
    /// # Errors
    /// There is none of this name, or no answer.
    pub async fn watch(&self, name: Option<&str>) -> Result<Watch, SourceError> {
        match self {
            Source::Host(client) => Ok(Watch::Host(client.watch(name).await?)),
            Source::Cluster(cluster) => Ok(Watch::Cluster(Box::new(cluster.watch(name).await?))),
        }
    }

    /// What happened to a site.
    ///
    /// # Errors
    /// There is none of this name, or no answer.
    pub async fn history(&self, name: &str) -> Result<History, SourceError> {
        match self {
            Source::Host(client) => Ok(client.history(name).await?),
            Source::Cluster(cluster) => Ok(cluster.history(name).await?),
        }
    }

    /// Hands in a manifest that was judged already.
    ///
    /// # Errors
    /// It was refused, or there is no answer.
    pub async fn apply(&self, manifest: &str, how: Handing) -> Result<Applied, SourceError> {
        match self {
            Source::Host(client) => Ok(client.apply(manifest, how.dry_run).await?),
            Source::Cluster(cluster) => Ok(cluster.apply(manifest, how).await?),
        }
    }

    /// Begins to make a site go away. Returns what tells it from a later one of the same name.
    ///
    /// # Errors
    /// There is none of this name, or no answer.
    pub async fn delete(&self, name: &str) -> Result<Option<String>, SourceError> {
        match self {
            Source::Host(client) => client.delete(name).await.map(|_| None).map_err(SourceError::from),
            Source::Cluster(cluster) => Ok(cluster.delete(name).await?),
        }
    }

    /// Gives a command and waits a little for what becomes of it.
    ///
    /// # Errors
    /// It was refused, or there is no answer.
    pub async fn command(&self, site: &Site, request: &CommandRequest) -> Result<CommandAnswer, SourceError> {
        match self {
            Source::Host(client) => Ok(client.command(&site.name, request).await?),
            Source::Cluster(cluster) => Ok(cluster.command(site, request).await?),
        }
    }

    /// How this program is called for these words and the same place, for advice.
    #[must_use]
    pub fn hint(&self, words: &str) -> String {
        match self {
            Source::Host(_) => format!("bluegreen {words}"),
            Source::Cluster(cluster) => format!("{} {words}", cluster.called()),
        }
    }

    /// Where a site is looked for, to stand behind "there are no sites".
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Source::Host(_) => "here".to_owned(),
            Source::Cluster(cluster) => cluster.place(),
        }
    }

    /// What is said when whoever answers has gone away, or nothing more is to be followed.
    #[must_use]
    pub fn away(&self) -> &'static str {
        match self {
            Source::Host(_) => "the agent is away, waiting for it",
            Source::Cluster(_) => "the API server is away, waiting for it",
        }
    }

    /// What is said of a site that has been waited for in vain to be looked at; `None`: that is seen otherwise.
    #[must_use]
    pub fn nobody(&self, site: &Site) -> Option<String> {
        match self {
            Source::Host(_) => None,
            Source::Cluster(cluster) => Some(cluster.nobody(site)),
        }
    }

    /// The same place, and there the namespace that a manifest names.
    ///
    /// # Errors
    /// The command line names another one.
    pub fn within(&self, namespace: Option<&str>) -> Result<Source, SourceError> {
        match (self, namespace) {
            (Source::Cluster(cluster), Some(namespace)) => Ok(Source::Cluster(cluster.within(namespace)?)),
            _ => Ok(self.clone()),
        }
    }
}
