//! The hub: an API server whose namespace `bluegreen-host-NAME` holds sites of this host, beside those of the local folder. What a kubelet is to it for pods,
//! this is for sites: it watches what is meant for this host, and reports back. All is level-triggered; nothing is queued but a few events.
//!
//! | part | what it does |
//! |---|---|
//! | `membership` | which hub this host has joined, as it stands in its state folder |
//! | `bearer` | a token, and what it says of itself |
//! | `asking` | its clock and its tokens, and the way there |
//! | `credentials` | this host's token: read, renewed, written; when it has ended, what to do |
//! | `changes` | hears when that changes |
//! | `machine` | which machine this is |
//! | `connection` | the way there, and why something was not answered |
//! | `lease` | presence, and the judge between two machines of one name |
//! | `watch` | what the hub has: one watch |
//! | `known` | what is to be done about each site: pure |
//! | `desk` | does it |
//! | `session` | from the moment that the hub is reached until it isn't |
//! | `write` | status and finalizer |
//! | `events` | what happened, for people there |
//! | `secrets` | Secrets there that releases are fetched with |
//! | `standing` | whether the hub is reached, for people here |
//!
//! The rollout's memory stays on the host: when the hub is away, everything goes on as it was last accepted, and a rollout under way is finished.

pub mod asking;
pub mod bearer;
mod changes;
pub mod connection;
pub mod credentials;
mod desk;
pub mod events;
mod known;
mod lease;
pub mod machine;
pub mod membership;
pub(super) mod secrets;
mod session;
pub mod standing;
mod watch;
mod write;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, broadcast};

use self::changes::Changes;
use self::connection::Trouble;
use self::credentials::Credentials;
use self::events::{Happened, Happening};
use self::machine::Identity;
use self::membership::Membership;
use self::session::Session;
use super::Agent;
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;

/// A hub that is away is asked again after so long, then twice as long, and so on.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// What somebody has to mend is asked again after so long; a new token is heard of at once.
const SOMEBODY: Duration = Duration::from_secs(30);
/// A session that lasted so long had only a short hiccup.
const CALM: Duration = Duration::from_secs(15);

impl<W: WebServer + 'static, S: Supervisor + 'static> Agent<W, S> {
    /// Follows the hub that this host has joined, whenever it has joined one. Never ends.
    pub(super) async fn follow_hub(self: Arc<Self>, happened: broadcast::Receiver<Happened>) {
        let happening = Mutex::new(Happening::new(happened));
        let state = self.config.state_dir.clone();
        let mut changes = Changes::start(Membership::folder(&state));
        let identity = Arc::new(Identity::default());
        let mut pause = FIRST;
        loop {
            let joined = match Membership::load(&state) {
                Ok(Some(joined)) => joined,
                Ok(None) => {
                    self.standing.none();
                    changes.next().await;
                    continue;
                }
                Err(error) => {
                    tracing::error!(%error, "which hub this host has joined can't be told; its sites go on as they are");
                    let _ = tokio::time::timeout(SOMEBODY, changes.next()).await;
                    continue;
                }
            };
            let began = Instant::now();
            let trouble = tokio::select! {
                trouble = session(&self, &joined, &identity, &happening) => trouble,
                () = changes.next() => {
                    pause = FIRST;
                    continue;
                }
            };
            self.standing.away(&joined, &trouble.to_string());
            if began.elapsed() > CALM {
                pause = FIRST;
            }
            let wait = if matches!(trouble, Trouble::Away(_)) { pause } else { SOMEBODY };
            pause = (pause * 2).min(LONGEST);
            // Sooner, if somebody changed something.
            let _ = tokio::time::timeout(spread(wait), changes.next()).await;
        }
    }
}

async fn session<W: WebServer + 'static, S: Supervisor + 'static>(
    agent: &Arc<Agent<W, S>>,
    joined: &Membership,
    identity: &Arc<Identity>,
    happening: &Mutex<Happening>,
) -> Trouble {
    let state = &agent.config.state_dir;
    let mut credentials = match Credentials::open(state, joined) {
        Ok(credentials) => credentials,
        Err(error) => return Trouble::Unusable(error.to_string()),
    };
    let client = match connection::connect(joined, &Membership::token_file(state)) {
        Ok(client) => client,
        Err(trouble) => return trouble,
    };
    let session = match Session::new(agent.clone(), joined.clone(), client.clone(), identity.clone()) {
        Ok(session) => session,
        Err(trouble) => return trouble,
    };
    let trouble = tokio::select! {
        trouble = session.run(happening) => trouble,
        // A new token is heard of as a change of its file, and begins another session with it.
        ended = credentials.keep(&client) => Trouble::Unusable(ended.to_string()),
    };
    match trouble {
        Trouble::Unknown => Trouble::Unusable(credentials.unknown(&client).await.to_string()),
        trouble => trouble,
    }
}

/// Between half as long and as long: a hub that is back must not meet all of its hosts in one moment.
fn spread(wait: Duration) -> Duration {
    let chance = u32::try_from(RandomState::new().hash_one(()) % 1024).unwrap_or(0);
    wait / 2 + wait * chance / 2048
}
