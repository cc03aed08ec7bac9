//! Every name that the outside sees, in one place: the group, annotations, condition types and reasons. Code, tests and
//! documents use these and no literals.

/// The API group.
pub const GROUP: &str = "bluegreen.dev";
/// The API version that is served and stored.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of a site.
pub const API_VERSION: &str = "bluegreen.dev/v1alpha1";
/// `kind` of a site.
pub const KIND: &str = "BlueGreenSite";

/// Annotations that a person sets on a site. The first six are commands: `REVISION/ATTEMPT[@ID]`.
pub mod annotations {
    /// Let the candidate go live.
    pub const APPROVE: &str = "bluegreen.dev/approve";
    /// Give up the candidate.
    pub const ABORT: &str = "bluegreen.dev/abort";
    /// Forget the rejection and try again.
    pub const RETRY: &str = "bluegreen.dev/retry";
    /// Go back: `REVISION/ATTEMPT to REVISION[@ID]`.
    pub const ROLLBACK: &str = "bluegreen.dev/rollback";
    /// Hold the rollout.
    pub const PAUSE: &str = "bluegreen.dev/pause";
    /// Go on.
    pub const RESUME: &str = "bluegreen.dev/resume";
    /// A token; another one makes another incarnation of the same release, which is rolled out like any other revision.
    pub const RESTART: &str = "bluegreen.dev/restart";
    /// Shown by a host on a site that is not of its own folder: where it comes from, in words. Nobody reads it but people.
    pub const ORIGIN: &str = "bluegreen.dev/origin";
    /// All that a person sets.
    pub const ALL: [&str; 7] = [APPROVE, ABORT, RETRY, ROLLBACK, PAUSE, RESUME, RESTART];
}

/// Annotations of the operator's own, and of those who hand it a Service.
pub mod cluster {
    /// Label of every child: the site's name.
    pub const SITE: &str = "bluegreen.dev/site";
    /// Label of what belongs to one colour.
    pub const COLOUR: &str = "bluegreen.dev/colour";
    /// Label of pods and releases, annotation of Deployments: the revision.
    pub const REVISION: &str = "bluegreen.dev/revision";
    /// Label of every child.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// Its value.
    pub const MANAGER: &str = "bluegreen";
    /// Annotation of the front object (the live Service or the HTTPRoute): the ledger.
    pub const LEDGER: &str = "bluegreen.dev/ledger";
    /// Annotation of the front object: the ledger that an earlier site of the same name left, until this one has a ledger of its own.
    pub const LEFT: &str = "bluegreen.dev/left-ledger";
    /// Annotation of the front object: when traffic was last moved by us.
    pub const SWITCHED_AT: &str = "bluegreen.dev/switched-at";
    /// Annotation of a Deployment: the generation that our own last write made. Another one is drift.
    pub const GENERATION: &str = "bluegreen.dev/generation";
    /// Annotation of a Deployment: the size that the specification asked for when we gave it one last. Somebody else's size is obeyed until
    /// the specification asks for another one.
    pub const REPLICAS: &str = "bluegreen.dev/replicas";
    /// Annotation of a child that outlives its site: the site's uid.
    pub const OWNER: &str = "bluegreen.dev/owner";
    /// Annotation that a person sets on a Service: this site may take it over.
    pub const ADOPT: &str = "bluegreen.dev/adopt";
    /// Annotation of an adopted Service: what it selected before.
    pub const ADOPTED_SELECTOR: &str = "bluegreen.dev/adopted-selector";
    /// Annotation of a Deployment: when we started it last.
    pub const STARTED_AT: &str = "bluegreen.dev/started-at";
    /// Annotation of a Deployment: the ports of what it runs.
    pub const PORTS: &str = "bluegreen.dev/ports";
    /// Annotation of an HTTPRoute: stands for what was wanted of it. Label of a copied ConfigMap or Secret: stands for its content.
    pub const DIGEST: &str = "bluegreen.dev/digest";
    /// Label of a copied ConfigMap or Secret, and of a Secret that keys digests: what it is.
    pub const PART: &str = "bluegreen.dev/part";
    /// What our annotations and labels begin with.
    pub const PREFIX: &str = "bluegreen.dev/";
}

/// What belongs to a host on its hub.
pub mod hub {
    /// Label of a host's namespace and of everything of ours in it: the host's name.
    pub const HOST: &str = "bluegreen.dev/host";
    /// Finalizer of a site that a host has accepted: it goes when nothing of the site is left on the host.
    pub const FINALIZER: &str = "bluegreen.dev/host";
    /// The service account, Role and RoleBinding of a host, in its namespace.
    pub const ACCOUNT: &str = "bluegreen-host";
    /// The service account, Role, RoleBinding and Secret of whoever joins under its name. There is one at a time: a newer token replaces an older one.
    pub const JOIN: &str = "bluegreen-join";
    /// The type of that Secret.
    pub const JOIN_TYPE: &str = "bluegreen.dev/join";
    /// The Lease that shows whether the host is there, and which machine it is.
    pub const LEASE: &str = "bluegreen-host";
    /// Who tells the Events of a host's sites.
    pub const CONTROLLER: &str = "bluegreen.dev/host";
    /// What the name of a host's namespace begins with; the host's name follows.
    pub const NAMESPACE: &str = "bluegreen-host-";
}

/// Types of conditions. `Ready`, `Reconciling` and `Stalled` are kstatus's; a tool that knows those needs no other.
pub mod conditions {
    /// What was asked for is live, and nothing is under way.
    pub const READY: &str = "Ready";
    /// Something is under way. Present only while it is true.
    pub const RECONCILING: &str = "Reconciling";
    /// It goes on only when somebody does something. Present only while it is true.
    pub const STALLED: &str = "Stalled";
    /// The live colour can serve, whatever else is wrong.
    pub const AVAILABLE: &str = "Available";
    /// Somebody should know something, although it holds up nothing. Present only while there is something.
    pub const WARNING: &str = "Warning";
}

/// Reasons of conditions that are not the name of a phase or of a rejection ([`crate::rollout::Reason`]) and not a platform's
/// own ([`crate::api::fault::Fault::reason`]).
pub mod reasons {
    /// What was asked for is live.
    pub const LIVE: &str = "Live";
    /// Somebody paused the rollout.
    pub const PAUSED: &str = "Paused";
    /// Somebody rolled back, and the specification still says what was left.
    pub const ROLLED_BACK: &str = "RolledBack";
    /// The release can't be told yet: it is being looked at.
    pub const RELEASE_UNKNOWN: &str = "ReleaseUnknown";
    /// The world could not be looked at.
    pub const UNKNOWN: &str = "WorldUnknown";
    /// The logic can't tell what is true, and touches nothing.
    pub const AMBIGUOUS: &str = "Ambiguous";
    /// The manifest has errors; what ran before goes on.
    pub const INVALID: &str = "InvalidSpec";
    /// Another site has the same hostname or port, and had it first.
    pub const CONFLICT: &str = "ConflictsWithSite";
    /// The site comes from afar and asks for what this host does not allow (`allow:` of its agent's configuration).
    pub const NOT_ALLOWED: &str = "NotAllowed";
    /// The site comes from afar and names a port on which somebody else listens.
    pub const PORT_TAKEN: &str = "PortTaken";
    /// The manifest's file can't be trusted.
    pub const REFUSED: &str = "ManifestRefused";
    /// Every instance of the live colour is ready.
    pub const ALL_READY: &str = "AllInstancesReady";
    /// Some instances of the live colour are ready.
    pub const DEGRADED: &str = "SomeInstancesReady";
    /// No instance of the live colour is ready.
    pub const DOWN: &str = "NoInstanceReady";
    /// Nothing was live yet.
    pub const NEVER_LIVE: &str = "NothingLive";
    /// The API server refused what was to be written; the message is its own.
    pub const REFUSED_BY_API: &str = "RefusedByApiServer";
    /// The world changed under a step, which was not taken.
    pub const WORLD_CHANGED: &str = "WorldChanged";
    /// The API server does not answer, or not in time.
    pub const API_UNREACHABLE: &str = "ApiServerUnreachable";
    /// The operator lacks a permission; the message says which.
    pub const FORBIDDEN: &str = "MissingPermission";
    /// A quota stands in the way.
    pub const QUOTA: &str = "QuotaExceeded";
    /// The namespace is being deleted.
    pub const NAMESPACE_GOES: &str = "NamespaceTerminating";
    /// An object of a name that is needed belongs to somebody else.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// A ConfigMap or Secret that the template names isn't there.
    pub const CONFIGURATION_MISSING: &str = "ConfigurationMissing";
    /// The content of a release that is to run again is not there any more.
    pub const RELEASE_GONE: &str = "ReleaseGone";
    /// Pods that nobody owns any more stand in the way of a start.
    pub const PODS_LEFT: &str = "PodsLeft";
    /// The Gateway API is not installed.
    pub const NO_GATEWAY_API: &str = "GatewayApiMissing";
    /// A warning: the template will probably cost requests; the message says by what.
    pub const MAY_LOSE: &str = "RequestsMayBeLost";
    /// A warning: a guard of the settings was told to let them pass, or could not see all of them.
    pub const SETTINGS: &str = "GuardWarned";
    /// A warning: somebody else keeps setting the size of a colour's Deployment.
    pub const SIZE_CONTESTED: &str = "SizeContested";
    /// There are several warnings; the message says each with its reason.
    pub const SEVERAL: &str = "SeveralWarnings";
    /// The newest commit of the repository is not taken as a whole.
    pub const COMMIT_REFUSED: &str = "CommitRefused";
    /// The repository could not be read for a while.
    pub const GIT_NOT_FETCHED: &str = "GitNotFetched";
    /// The route waits to be seen.
    pub const ROUTE_UNSEEN: &str = "FrontDoorSilent";
}

/// Events in a site's history that are not news of the logic.
pub mod events {
    /// A commit of the repository that the site comes from changed its manifest.
    pub const COMMIT_TAKEN: &str = "CommitTaken";
    /// The history of that repository was rewritten.
    pub const HISTORY_REWRITTEN: &str = "HistoryRewritten";
}
