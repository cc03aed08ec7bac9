//! The real kubectl against a control plane, and namespaces that end with their test.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::plane::ControlPlane;
use super::tools;
use crate::wait;

impl ControlPlane {
    /// kubectl as the one who may do everything, for whoever wants to say more than [`kubectl`](ControlPlane::kubectl) can.
    ///
    /// # Errors
    /// When kubectl can't be built.
    pub fn kubectl_command(&self) -> Result<Command> {
        self.kubectl_as(&self.kubeconfig())
    }

    /// kubectl with another kubeconfig.
    ///
    /// # Errors
    /// When kubectl can't be built.
    pub fn kubectl_as(&self, kubeconfig: &Path) -> Result<Command> {
        let mut command = Command::new(tools::kubectl()?);
        command.env("KUBECONFIG", kubeconfig);
        // What it remembers of an API server goes by its address, and the next one may have the same.
        command.env("KUBECACHEDIR", self.folder().join("kubectl-cache"));
        for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            command.env_remove(proxy);
        }
        Ok(command)
    }

    /// Runs kubectl and returns what it printed.
    ///
    /// # Errors
    /// When it fails: what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.kubectl_command()?;
        said(command.args(arguments), None)
    }

    /// `kubectl apply --filename -` of a manifest, YAML or JSON.
    ///
    /// # Errors
    /// When the API server refuses it: what it said.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        let mut command = self.kubectl_command()?;
        said(command.args(["apply", "--filename", "-"]), Some(manifest))
    }

    /// What kubectl prints with `--output=json`.
    ///
    /// # Errors
    /// When it fails, or prints something else.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.kubectl(&[arguments, &["--output=json"]].concat())?;
        serde_json::from_str(&said).with_context(|| format!("kubectl {arguments:?} printed no JSON: {said}"))
    }

    /// Waits until the API server knows of a resource that was defined a moment ago. `kubectl wait --for=condition=Established` gives up on a
    /// definition that has no conditions yet.
    ///
    /// # Errors
    /// When it doesn't within [`wait::PATIENCE`].
    pub fn wait_for_resource(&self, resource: &str) -> Result<()> {
        let known = || self.kubectl(&["get", resource]).is_ok().then_some(());
        wait::until(&format!("the API server knew of {resource}"), wait::PATIENCE, known)?;
        Ok(())
    }

    /// A token for a service account.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        let token = self.kubectl(&["create", "token", name, "--namespace", namespace, "--duration=24h"])?;
        Ok(token.trim().to_owned())
    }

    /// A namespace of that name and a number, for one test.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn namespace(&self, name: &str) -> Result<Namespace<'_>> {
        let name = format!("{name}-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        self.kubectl(&["create", "namespace", &name])?;
        Ok(Namespace { plane: self, name })
    }
}

/// A namespace. It is deleted when this is dropped; what is in it goes after that, and nobody waits for it.
#[derive(Debug)]
pub struct Namespace<'plane> {
    plane: &'plane ControlPlane,
    name: String,
}

impl Namespace<'_> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// kubectl in it.
    ///
    /// # Errors
    /// When it fails: what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.plane.kubectl(&[&["--namespace", &self.name], arguments].concat())
    }

    /// Applies a manifest in it.
    ///
    /// # Errors
    /// When the API server refuses it: what it said.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        let mut command = self.plane.kubectl_command()?;
        said(command.args(["--namespace", &self.name, "apply", "--filename", "-"]), Some(manifest))
    }

    /// What kubectl prints with `--output=json`, in it.
    ///
    /// # Errors
    /// When it fails, or prints something else.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.plane.json(&[&["--namespace", &self.name], arguments].concat())
    }

    /// Makes a pod ready, or ready no more: kwok leaves a pod alone that it has started.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn set_ready(&self, pod: &str, ready: bool) -> Result<()> {
        let status = if ready { "True" } else { "False" };
        let patch = format!(
            "{{\"status\":{{\"conditions\":[{{\"type\":\"Ready\",\"status\":\"{status}\"}},\
             {{\"type\":\"ContainersReady\",\"status\":\"{status}\"}}]}}}}"
        );
        self.kubectl(&["patch", "pod", pod, "--subresource=status", "--patch", &patch])?;
        Ok(())
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // With the API server gone there is nothing to clean up, and a test that failed says why itself.
        let _ = self.plane.kubectl(&[
            "delete",
            "namespace",
            &self.name,
            "--wait=false",
            "--ignore-not-found",
            "--request-timeout=5s",
        ]);
    }
}

/// Runs a command, gives it something to read, and returns what it printed.
pub(super) fn said(command: &mut Command, input: Option<&str>) -> Result<String> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if let (Some(mut pipe), Some(text)) = (child.stdin.take(), input) {
        // It may have failed before it read everything; then it says why.
        let _ = pipe.write_all(text.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let arguments: Vec<_> = command.get_args().collect();
        let program = command.get_program().to_string_lossy();
        let name = program.rsplit('/').next().unwrap_or_default();
        bail!("{name} {arguments:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
