//! The parts of the control plane, and the command line of each.

use std::path::PathBuf;

use anyhow::Result;

use super::files::Files;
use super::tools;

/// A process of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The store.
    Etcd,
    /// The API server.
    Api,
    /// The controller manager: Deployments, ReplicaSets, EndpointSlices, garbage collection, namespaces.
    Controllers,
    /// The scheduler.
    Scheduler,
    /// kwok: it says that pods run.
    Kwok,
}

/// The ports on loopback.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub api: u16,
    pub etcd: u16,
    pub etcd_peer: u16,
}

impl Part {
    /// Its program's name; its log is called so too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Etcd => "etcd",
            Part::Api => "kube-apiserver",
            Part::Controllers => "kube-controller-manager",
            Part::Scheduler => "kube-scheduler",
            Part::Kwok => "kwok",
        }
    }

    pub(super) fn program(self) -> Result<PathBuf> {
        let tool = match self {
            Part::Etcd => "etcd",
            Part::Kwok => "kwok",
            Part::Api | Part::Controllers | Part::Scheduler => "kube",
        };
        tools::program(tool, self.name())
    }

    /// What it is told. `brisk` controllers aren't held to 20 requests a second each, as they are by default.
    pub(super) fn arguments(self, files: &Files, ports: Ports, brisk: bool) -> Result<Vec<String>> {
        let path = |name: &str| files.path(name).display().to_string();
        let kubeconfig = |user: &str| files.kubeconfig(user).display().to_string();
        let (client, peer) = (url("http", ports.etcd), url("http", ports.etcd_peer));
        let mut arguments = match self {
            Part::Etcd => vec![
                format!("--data-dir={}", path("etcd")),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
                // What a power cut would cost is nothing to a test.
                "--unsafe-no-fsync".to_owned(),
                "--quota-backend-bytes=8589934592".to_owned(),
                "--log-level=warn".to_owned(),
            ],
            Part::Api => vec![
                format!("--etcd-servers={client}"),
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=127.0.0.1".to_owned(),
                // No pod is there to find it by the Service `kubernetes`, and loopback is no address for one.
                "--endpoint-reconciler-type=none".to_owned(),
                format!("--secure-port={}", ports.api),
                format!("--cert-dir={}", path("certificates")),
                format!("--token-auth-file={}", path("tokens.csv")),
                "--authorization-mode=RBAC".to_owned(),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!("--service-account-key-file={}", path("sa.key")),
                format!("--service-account-signing-key-file={}", path("sa.key")),
                "--service-cluster-ip-range=10.96.0.0/12".to_owned(),
                format!("--audit-policy-file={}", path("audit.yaml")),
                format!("--audit-log-path={}", path("audit.log")),
                "--audit-log-maxsize=100000".to_owned(),
                "--profiling=false".to_owned(),
            ],
            Part::Controllers => vec![
                format!("--kubeconfig={}", kubeconfig("controllers")),
                "--use-service-account-credentials=true".to_owned(),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
                format!("--service-account-private-key-file={}", path("sa.key")),
                format!("--root-ca-file={}", files.certificate().display()),
            ],
            Part::Scheduler => vec![format!("--config={}", path("scheduler.yaml")), "--secure-port=0".to_owned()],
            Part::Kwok => vec![
                format!("--kubeconfig={}", kubeconfig("kwok")),
                format!("--config={}", path("stages.yaml")),
                "--manage-all-nodes=true".to_owned(),
                "--cidr=10.32.0.1/12".to_owned(),
                "--node-ip=10.31.0.1".to_owned(),
                "--node-lease-duration-seconds=40".to_owned(),
            ],
        };
        if self == Part::Controllers && brisk {
            arguments.extend(["--kube-api-qps=2000", "--kube-api-burst=4000"].map(str::to_owned));
        }
        Ok(arguments)
    }
}

/// A URL on loopback.
pub fn url(scheme: &str, port: u16) -> String {
    format!("{scheme}://127.0.0.1:{port}")
}
