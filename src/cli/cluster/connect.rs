//! From a kubeconfig to a client: the files and the context that kubectl would take.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::error::words;
use super::{Cluster, ClusterError};
use crate::api::shell;
use crate::cli::output::complain;
use crate::driver::expiry;

/// To reach the API server.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Which cluster is meant, and where in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Another context than the current one.
    pub context: Option<String>,
    /// Another namespace than the context's.
    pub namespace: Option<String>,
    /// Another file than `$KUBECONFIG` or `~/.kube/config` name.
    pub kubeconfig: Option<PathBuf>,
    /// Every namespace, where that makes sense.
    pub all: bool,
    /// How this program was called: `bluegreen` or `kubectl bluegreen`.
    pub program: &'static str,
}

impl Wish {
    /// How this program is called for the same place, for advice. `current`: the kubeconfig's own context; under its own name this program asks a
    /// cluster only if something says so.
    fn called(&self, current: Option<&str>) -> String {
        let mut words = vec![self.program.to_owned()];
        if let Some(file) = &self.kubeconfig {
            words.push(format!("--kubeconfig {}", shell::word(&file.to_string_lossy())));
        }
        let silent = self.context.is_none() && self.kubeconfig.is_none() && self.namespace.is_none();
        let needed = if silent && self.program == "bluegreen" { current } else { None };
        if let Some(context) = self.context.as_deref().or(needed) {
            words.push(format!("--context {}", shell::word(context)));
        }
        if let Some(namespace) = &self.namespace {
            words.push(format!("-n {}", shell::word(namespace)));
        }
        words.join(" ")
    }
}

/// A client of the cluster that is meant. Nothing is asked of it yet.
///
/// # Errors
/// It can't be told which cluster that is, or the credentials can't be used.
pub async fn connect(wish: &Wish) -> Result<Cluster, ClusterError> {
    let (mut config, current) = config(wish).await?;
    config.connect_timeout = Some(CONNECT_WITHIN);
    // A person waits: whoever is away is said at once, not tried again for five minutes.
    config.default_retry = false;
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // It fails only if another thread was faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let namespace = wish.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config)
        .map_err(|error| ClusterError::NoCluster(format!("the kubeconfig can't be used for {server}: {error}")))?;
    Ok(Cluster {
        client,
        server,
        namespace,
        explicit: wish.namespace.is_some(),
        all: wish.all,
        called: wish.called(current.as_deref()),
        said: Default::default(),
    })
}

/// How the cluster that is meant is reached: its address, how its certificate is judged, and who we are. Nothing is asked of it yet.
///
/// # Errors
/// As [`connect`].
pub async fn way(wish: &Wish) -> Result<Config, ClusterError> {
    Ok(config(wish).await?.0)
}

/// The contexts of the kubeconfig that is meant, and the current one.
///
/// # Errors
/// There is no kubeconfig, or it can't be read.
pub fn contexts(wish: &Wish) -> Result<(Vec<String>, Option<String>), ClusterError> {
    let kubeconfig = read(wish).map_err(|error| unreadable(&error))?;
    let known = kubeconfig.contexts.into_iter().map(|context| context.name).collect();
    Ok((known, kubeconfig.current_context.filter(|name| !name.is_empty())))
}

fn read(wish: &Wish) -> Result<Kubeconfig, KubeconfigError> {
    match &wish.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    }
}

/// The configuration, and the name of the kubeconfig's current context.
async fn config(wish: &Wish) -> Result<(Config, Option<String>), ClusterError> {
    let kubeconfig = match read(wish) {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => return Ok((nowhere(wish, &error)?, None)),
    };
    let known: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    check(wish.context.as_deref().or(kubeconfig.current_context.as_deref()), &known)?;
    let options = KubeConfigOptions { context: wish.context.clone(), ..KubeConfigOptions::default() };
    let current = kubeconfig.current_context.clone();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| ClusterError::NoCluster(format!("the kubeconfig can't be used: {}", words(&error))))?;
    warn(&config);
    Ok((config, current))
}

/// Tells what is about to end, once.
fn warn(config: &Config) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    for words in expiry::of_kubeconfig(config, jiff::Timestamp::now()) {
        if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(words.clone()) {
            complain(&format!("warning: {words}"));
        }
    }
}

/// Without a file: in a pod the pod's own account, elsewhere nothing.
fn nowhere(wish: &Wish, error: &KubeconfigError) -> Result<Config, ClusterError> {
    let named = wish.kubeconfig.is_some() || std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    let missing = match error {
        KubeconfigError::ReadConfig(error, _) => error.kind() == std::io::ErrorKind::NotFound,
        KubeconfigError::FindPath => true,
        _ => false,
    };
    if missing && !named && wish.context.is_none() {
        if let Ok(config) = Config::incluster() {
            return Ok(config);
        }
        return Err(ClusterError::NoCluster(
            "no cluster is known: there is no ~/.kube/config, and neither --kubeconfig nor the variable KUBECONFIG names another file; get one \
             from whoever runs the cluster, or ask this machine's agent with: bluegreen get"
                .to_owned(),
        ));
    }
    Err(unreadable(error))
}

fn unreadable(error: &KubeconfigError) -> ClusterError {
    ClusterError::NoCluster(match error {
        KubeconfigError::ReadConfig(error, path) => {
            format!("the kubeconfig {} can't be read: {error}; name another with --kubeconfig", path.display())
        }
        error => format!("the kubeconfig can't be read: {}; name another with --kubeconfig", words(error)),
    })
}

/// A context that the kubeconfig has.
fn check(context: Option<&str>, known: &[String]) -> Result<(), ClusterError> {
    let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let Some(context) = context.filter(|context| !context.is_empty()) else {
        return Err(ClusterError::NoCluster(format!(
            "the kubeconfig has no current context: name one with --context, or choose one with kubectl config use-context NAME; it has {list}"
        )));
    };
    if known.iter().any(|name| name == context) {
        return Ok(());
    }
    let distance = |name: &&String| strsim::damerau_levenshtein(name, context);
    let close = known.iter().min_by_key(distance).filter(|name| distance(name) <= 3);
    let advice = match close {
        Some(close) => format!("did you mean {close}?"),
        None => format!("it has {list}"),
    };
    Err(ClusterError::NoCluster(format!("the kubeconfig has no context {context:?}; {advice}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_leads_to_the_same_place() {
        let plugin = Wish { program: "kubectl bluegreen", ..Wish::default() };
        assert_eq!(plugin.called(Some("dev")), "kubectl bluegreen");
        let itself = Wish { program: "bluegreen", all: true, ..Wish::default() };
        assert_eq!(itself.called(Some("dev")), "bluegreen --context dev", "without a flag it would ask this machine");
        let named = Wish { context: Some("a b".into()), namespace: Some("prod".into()), ..itself };
        assert_eq!(named.called(Some("dev")), "bluegreen --context 'a b' -n prod");
    }

    #[test]
    fn a_context_that_is_not_there_is_said_with_those_that_are() {
        let known = ["kind-dev".to_owned(), "gke-prod".to_owned()];
        assert_eq!(check(Some("gke-prod"), &known), Ok(()));
        let said = |context| check(context, &known).expect_err("it is not there").to_string();
        assert_eq!(said(Some("gke-pord")), "the kubeconfig has no context \"gke-pord\"; did you mean gke-prod?");
        assert_eq!(said(Some("elsewhere")), "the kubeconfig has no context \"elsewhere\"; it has kind-dev, gke-prod");
        assert!(said(None).starts_with("the kubeconfig has no current context: name one with --context"));
        assert!(check(Some("x"), &[]).expect_err("none").to_string().ends_with("it has none"));
    }
}
