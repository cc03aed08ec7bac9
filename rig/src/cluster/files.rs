//! What the parts of the control plane read: tokens, a key, kubeconfigs, the audit policy, a scheduler's configuration, a node.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::CONTEXT;
use super::bound::Folder;
use crate::process;

/// Somebody with a token of their own: a name, and whether everything is allowed to them.
pub struct User {
    pub name: &'static str,
    pub username: &'static str,
    groups: &'static str,
}

/// Everybody who comes with a token.
pub const USERS: [User; 4] = [
    User { name: "admin", username: "admin", groups: "system:masters" },
    User { name: "controllers", username: "system:kube-controller-manager", groups: "" },
    User { name: "scheduler", username: "system:kube-scheduler", groups: "" },
    User { name: "kwok", username: "kwok", groups: "system:masters" },
];

/// Where everything lies.
#[derive(Debug)]
pub struct Files {
    folder: Folder,
    secret: String,
}

impl Files {
    /// Makes the files that don't depend on a running API server.
    ///
    /// # Errors
    /// When one can't be written, or there is no `openssl`.
    pub fn new() -> Result<Files> {
        let folder = Folder::new("bluegreen-cluster.")?;
        let secret = hex::encode(random()?);
        let files = Files { folder, secret };
        let tokens = USERS.map(|user| {
            format!("{},{},{},\"{}\"\n", files.token(user.name), user.username, user.username, user.groups)
        });
        write_private(&files.path("tokens.csv"), &tokens.concat())?;
        fs::write(files.path("audit.yaml"), AUDIT)?;
        let mut openssl = Command::new("openssl");
        // In the form that the API server finds the public half in as well.
        openssl.args(["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out"]);
        process::run(openssl.arg(files.path("sa.key"))).context("a key for service accounts")?;
        Ok(files)
    }

    /// A file or folder of that name.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// All of them.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the API server knows a user by.
    #[must_use]
    pub fn token(&self, user: &str) -> String {
        format!("{user}-{}", self.secret)
    }

    /// The kubeconfig of a user.
    #[must_use]
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.path(&format!("{user}.kubeconfig"))
    }

    /// Writes everybody's kubeconfig, and what the scheduler reads.
    ///
    /// # Errors
    /// When one can't be written.
    pub fn write_kubeconfigs(&self, url: &str) -> Result<()> {
        for user in USERS {
            self.write_kubeconfig(url, user.name, &self.token(user.name))?;
        }
        let scheduler = json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
            "leaderElection": { "leaderElect": false },
            "clientConnection": { "kubeconfig": self.kubeconfig("scheduler"), "qps": 1000, "burst": 2000 },
        });
        fs::write(self.path("scheduler.yaml"), scheduler.to_string())?;
        Ok(())
    }

    /// Writes a kubeconfig for somebody with this token.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_kubeconfig(&self, url: &str, name: &str, token: &str) -> Result<PathBuf> {
        let path = self.kubeconfig(name);
        let cluster = json!({ "server": url, "certificate-authority": self.certificate() });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": CONTEXT,
            "clusters": [{ "name": CONTEXT, "cluster": cluster }],
            "users": [{ "name": name, "user": { "token": token } }],
            "contexts": [{ "name": CONTEXT, "context": { "cluster": CONTEXT, "user": name } }],
        });
        write_private(&path, &format!("{config:#}\n"))?;
        Ok(path)
    }

    /// What the API server's certificate is judged by. It makes both itself, at its first start.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.path("certificates/apiserver.crt")
    }
}

/// The node that kwok plays. It has room for a million pods.
#[must_use]
pub fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": { "kwok.x-k8s.io/node": "fake" },
            "labels": { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" },
        },
    })
}

/// Tokens are for whoever may read this folder.
fn write_private(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

fn random() -> Result<[u8; 16]> {
    use std::io::Read;
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The control plane's own requests are nobody's business here, and would be most of the log.
const AUDIT: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [
    { "level": "None", "users": ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "kwok"] },
    { "level": "None", "userGroups": ["system:serviceaccounts:kube-system"] },
    { "level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version", "/api", "/api/*", "/apis", "/apis/*", "/openapi/*"] },
    { "level": "Metadata" }
  ]
}
"#;
