//! A real Kubernetes control plane for tests: etcd, an API server with RBAC, and where pods are wanted the controller manager, the
//! scheduler, and kwok, which plays the kubelet. Loopback only, ports and a folder of its own, gone with the process that started it,
//! also when that is killed. Nothing is downloaded but Go modules: `scripts/cluster-tools.sh` builds the programs, once.
//!
//! | part | what it is |
//! |---|---|
//! | `plane` | [`ControlPlane`]: start it, take parts away and bring them back |
//! | `servers` | the command line of each part |
//! | `files` | what the parts read: tokens, kubeconfigs, the audit policy, nodes |
//! | `kubectl` | the real kubectl against it; namespaces that end with their test |
//! | `audit` | who asked the API server for what, counted by itself |
//! | `node` | [`Node`]: a real node, with kubelet, containerd and kube-proxy, where an answer's way through a Service counts |
//! | `argocd` | [`ArgoCd`]: its controller, its repository server, its API, on such a control plane |
//! | `bound` | processes and folders that never outlive this process |
//! | `tools` | where the programs are |
//!
//! How pods behave is said by annotations of their template: [`POD`], [`AFTER`].

pub mod argocd;
mod audit;
mod bound;
mod files;
mod kubectl;
mod node;
mod plane;
mod servers;
pub mod tools;

pub use argocd::ArgoCd;
pub use audit::{Mark, Request, Watch, counted, most_at_once};
pub use kubectl::Namespace;
pub use node::{Node, NodeLoad};
pub use plane::{ControlPlane, Options};
pub use servers::Part;

/// The annotation of a pod that says how it is to behave: `ready` (as without it), `unready` (it runs and is never ready), `crashing`,
/// `unpullable`.
pub const POD: &str = "rig.bluegreen.dev/pod";

/// The annotation of a pod that says how long after it was scheduled that happens: `3s`.
pub const AFTER: &str = "rig.bluegreen.dev/after";

/// The context in the kubeconfig.
pub const CONTEXT: &str = "rig";
