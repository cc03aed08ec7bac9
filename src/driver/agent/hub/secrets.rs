//! Secrets of this host's namespace on its hub, each by its name, for what its sites fetch. Nothing of one is kept or printed: it is asked for when it is
//! needed, and a hub that is away is said to be so.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::runtime::Handle;

use super::connection::{Trouble, within};
use super::membership::Membership;
use crate::api::remote::SecretName;
use crate::platform::host::afar::{Sealed, Secrets, Unread};

/// Where Secrets are read, while a hub is reached.
#[derive(Default)]
pub struct Vault(Mutex<Option<Way>>);

/// The way to the hub of a session.
#[derive(Clone)]
struct Way {
    hub: String,
    namespace: String,
    client: Client,
    runtime: Handle,
}

/// A vault that is open, until this is dropped.
pub struct Opened(Arc<Vault>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.is(None);
    }
}

impl Vault {
    /// The hub that was joined is reached. To be called within a tokio runtime, on which the hub is asked.
    #[must_use]
    pub fn open(self: &Arc<Vault>, joined: &Membership, client: Client) -> Opened {
        self.is(Some(Way {
            hub: joined.hub.clone(),
            namespace: joined.namespace.clone(),
            client,
            runtime: Handle::current(),
        }));
        Opened(self.clone())
    }

    /// The Secrets of this hub, whether or not it is reached.
    #[must_use]
    pub fn of(self: &Arc<Vault>, hub: &str) -> Arc<dyn Secrets> {
        Arc::new(OfHub { vault: self.clone(), hub: hub.to_owned() })
    }

    fn is(&self, way: Option<Way>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = way;
    }

    fn way(&self) -> Option<Way> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct OfHub {
    vault: Arc<Vault>,
    hub: String,
}

impl fmt::Debug for OfHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the Secrets of the hub {}", self.hub)
    }
}

impl Secrets for OfHub {
    fn read(&self, name: SecretName) -> Pin<Box<dyn Future<Output = Result<Sealed, Unread>> + Send>> {
        let way = self.vault.way();
        let hub = self.hub.clone();
        Box::pin(async move {
            let way = way.ok_or_else(|| Unread::Away("the hub is not reached".to_owned()))?;
            if way.hub != hub {
                return Err(Unread::Refused(format!(
                    "the Secret {name} would be one of the hub that the site came from, which this host has left"
                )));
            }
            let (client, namespace, asked) = (way.client, way.namespace.clone(), name.to_string());
            // The client's connections live on the runtime of the session, and who asks has another one.
            let answer = way.runtime.spawn(async move {
                let api: Api<Secret> = Api::namespaced(client, &namespace);
                within(api.get(&asked)).await
            });
            let secret = match answer.await {
                Ok(answer) => answer.map_err(|trouble| unread(&name, &way.namespace, &trouble))?,
                Err(_) => return Err(Unread::Away("the agent was interrupted".to_owned())),
            };
            Ok(Sealed(secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()))
        })
    }
}

fn unread(name: &SecretName, namespace: &str, trouble: &Trouble) -> Unread {
    match trouble {
        Trouble::Forbidden(_) => Unread::Refused(format!(
            "the hub does not let this host read the Secret {name}: an admin grants it with `kubectl -n {namespace} create role {name} --verb=get \
             --resource=secrets --resource-name={name}` and `kubectl -n {namespace} create rolebinding {name} --role={name} \
             --serviceaccount={namespace}:bluegreen-host`; then `bluegreen retry`"
        )),
        Trouble::NotFound => Unread::Refused(format!(
            "there is no Secret {name} in the namespace {namespace} of the hub: make it there, then `bluegreen retry`"
        )),
        Trouble::Refused(why) => Unread::Refused(format!("the hub does not show the Secret {name}: {why}")),
        trouble => Unread::Away(trouble.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_to_grant_is_told_apart_from_what_passes() {
        let name: SecretName = "registry".parse().expect("a name");
        let of = |trouble: Trouble| unread(&name, "bluegreen-host-vps-1", &trouble);
        let Unread::Refused(why) = of(Trouble::Forbidden("no".to_owned())) else { panic!("it has to be granted") };
        assert!(why.contains("--resource-name=registry") && why.contains("-n bluegreen-host-vps-1"), "{why}");
        assert!(matches!(of(Trouble::NotFound), Unread::Refused(_)));
        for passes in [Trouble::Away("x".to_owned()), Trouble::Unknown, Trouble::Unusable("x".to_owned())] {
            assert!(matches!(of(passes), Unread::Away(_)));
        }
    }

    #[tokio::test]
    async fn while_no_hub_is_reached_a_secret_is_waited_for() {
        let vault = Arc::new(Vault::default());
        let answer = vault.of("hub").read("registry".parse().expect("a name")).await;
        assert!(matches!(answer, Err(Unread::Away(_))));
    }
}
