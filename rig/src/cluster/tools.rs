//! Where the programs of a cluster are. They are built when they are first asked for, which takes minutes; ever after it takes none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

static KNOWN: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// The folder of a tool of `scripts/cluster-tools.sh`: `etcd`, `kube`, `kwok`, `helm`, `argocd`, `argocd-install`, `kstatus`,
/// `kustomize`, `registry`, `gateway-api`, `podmonitor`, `traefik`, `node`.
///
/// # Errors
/// When it can't be built; the script says on the error output why.
pub fn folder(tool: &str) -> Result<PathBuf> {
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(folder) = known.get(tool) {
        return Ok(folder.clone());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/cluster-tools.sh");
    let output = Command::new(&script)
        .arg(tool)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", script.display()))?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if !output.status.success() || !folder.is_absolute() {
        bail!("scripts/cluster-tools.sh {tool} ended with {}: what it said is above", output.status);
    }
    known.insert(tool.to_owned(), folder.clone());
    Ok(folder)
}

/// A program of a tool.
///
/// # Errors
/// As [`folder`].
pub fn program(tool: &str, name: &str) -> Result<PathBuf> {
    Ok(folder(tool)?.join(name))
}

/// The real kubectl.
///
/// # Errors
/// As [`folder`].
pub fn kubectl() -> Result<PathBuf> {
    program("kube", "kubectl")
}

/// The real Helm.
///
/// # Errors
/// As [`folder`].
pub fn helm() -> Result<PathBuf> {
    program("helm", "helm")
}

/// What the library that Flux and Helm judge with makes of an object: its verdict (`Current`, `InProgress`, `Failed`, `Terminating`) and why.
///
/// # Errors
/// As [`folder`], or it can't make anything of it.
pub fn kstatus(object: &serde_json::Value) -> Result<String> {
    let mut child = Command::new(program("kstatus", "kstatus")?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let stdin = child.stdin.take().context("its input is a pipe")?;
    serde_json::to_writer(stdin, object)?;
    let output = child.wait_with_output()?;
    anyhow::ensure!(output.status.success(), "kstatus ended with {}: what it said is above", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The real Argo CD: its command line, and every one of its servers.
///
/// # Errors
/// As [`folder`].
pub fn argocd() -> Result<PathBuf> {
    program("argocd", "argocd")
}
