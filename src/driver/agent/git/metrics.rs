//! What is counted of the repository.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFetch {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCommit {
    commit: String,
    applied: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAnswer {
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRepository {
    url: String,
}

/// What is counted of the repository. None of it is there where none is followed.
#[derive(Debug, Default)]
pub struct GitMetrics {
    fetches: Family<OfFetch, Counter>,
    last: Family<OfRepository, Gauge>,
    commit: Family<OfCommit, Gauge>,
    refused: Family<OfRepository, Gauge>,
    webhook: Family<OfAnswer, Counter>,
}

impl GitMetrics {
    /// Makes them known.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "git_fetches",
            "How often the repository was asked, by what came of it",
            self.fetches.clone(),
        );
        registry.register("git_last_fetch_timestamp_seconds", "When the repository last answered", self.last.clone());
        registry.register(
            "git_commit",
            "The commit that was read last, and whether it is applied",
            self.commit.clone(),
        );
        registry.register("git_refused", "1 while the commit that was read last is not applied", self.refused.clone());
        registry.register("git_webhook_requests", "Requests at the webhook, by their answer", self.webhook.clone());
    }

    /// The repository answered, or why not.
    pub fn fetched(&self, url: &str, result: &'static str, at: Option<i64>) {
        self.fetches.get_or_create(&OfFetch { result }).inc();
        if let Some(at) = at {
            self.last.get_or_create(&OfRepository { url: url.to_owned() }).set(at);
        }
    }

    /// This commit was read; whether it is applied.
    pub fn commit(&self, url: &str, commit: &str, applied: bool) {
        self.commit.clear();
        let labels = OfCommit { commit: commit.to_owned(), applied: if applied { "true" } else { "false" } };
        self.commit.get_or_create(&labels).set(1);
        self.refused.get_or_create(&OfRepository { url: url.to_owned() }).set(i64::from(!applied));
    }

    /// The webhook answered.
    pub fn answered(&self, code: u16) {
        self.webhook.get_or_create(&OfAnswer { code }).inc();
    }
}
