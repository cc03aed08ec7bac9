//! A real node: kubelet, containerd and kube-proxy with a control plane of their own, in one private namespace (`rig/node`). Root only.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::bound::{Folder, Janitor};
use super::kubectl::said;
use super::tools;
use crate::{process, wait};

/// A running node. Dropped, it is gone; so it is when this process ends.
#[derive(Debug)]
pub struct Node {
    // In the order in which they go: the node's processes, then its folder, then the next one may come.
    _janitor: Janitor,
    folder: Folder,
    _only: UnixListener,
}

impl Node {
    /// Starts it and waits until it is ready. There is one at a time, since they share the machine's control groups: this waits for its turn.
    ///
    /// # Errors
    /// When it doesn't come up; what it said is in the error.
    pub fn up() -> Result<Node> {
        let name = SocketAddr::from_abstract_name("bluegreen-rig-node")?;
        let only = wait::until("no other node was there", wait::PATIENCE, || UnixListener::bind_addr(&name).ok())?;
        // Asked for first, so that a build of half an hour shows what it does.
        for tool in ["etcd", "kube", "node"] {
            tools::folder(tool)?;
        }
        let folder = Folder::new("bluegreen-node.")?;
        let down = "NODE_DIR=\"$2\" \"$1\" --purge";
        let janitor = Janitor::new(down, &[&script("down.sh"), folder.path()])?;
        let node = Node { _janitor: janitor, folder, _only: only };
        process::run(&mut node.script("up.sh"))?;
        Ok(node)
    }

    /// Makes an image of one program that needs nothing else, to be run by this user, and gives it to the node.
    ///
    /// # Errors
    /// When it can't be packed or taken in.
    pub fn import(&self, image: &str, program: &Path, user: u32) -> Result<()> {
        let archive = self.folder.join("image.tar");
        let mut pack = self.script("image.sh");
        process::run(pack.arg(&archive).arg(image).arg(program).arg(user.to_string()))?;
        process::run(self.script("node").arg("import").arg(&archive))?;
        Ok(())
    }

    /// A command on the node: there the addresses of Services and pods mean something.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.script("node");
        command.arg(program);
        command
    }

    /// Runs kubectl as the one who may do everything, and returns what it printed.
    ///
    /// # Errors
    /// When it fails: what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        said(self.command("kubectl").args(arguments), None)
    }

    /// `kubectl apply --filename -` of a manifest, YAML or JSON.
    ///
    /// # Errors
    /// When the API server refuses it: what it said.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        said(self.command("kubectl").args(["apply", "--filename", "-"]), Some(manifest))
    }

    /// What kubectl prints with `--output=json`.
    ///
    /// # Errors
    /// When it fails, or prints something else.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.kubectl(&[arguments, &["--output=json"]].concat())?;
        serde_json::from_str(&said).with_context(|| format!("kubectl {arguments:?} printed no JSON: {said}"))
    }

    /// Kills a server of the node (`kube-proxy`, `kubelet`, …) and starts it again.
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn restart(&self, server: &str) -> Result<()> {
        process::run(self.script("node").args(["restart", server]))?;
        Ok(())
    }

    /// Makes load on the node, with these further arguments of `rig-load`, until it is stopped.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn load(&self, address: &str, arguments: &[&str]) -> Result<NodeLoad> {
        let mut command = self.command(crate::binaries::rig_load()?);
        command.args([address, "--json", "--until-eof"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(NodeLoad { child: Some(command.spawn().context("cannot start the load")?) })
    }

    /// Everything that it keeps, its logs among it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn script(&self, name: &str) -> Command {
        let mut command = Command::new(script(name));
        command.env("NODE_DIR", self.folder.path());
        command
    }
}

/// Load that is being made on a node. Dropped, it stops.
#[derive(Debug)]
pub struct NodeLoad {
    child: Option<Child>,
}

impl NodeLoad {
    /// Lets every client finish its request, and says what was counted: [`Totals`](crate::load::Totals), as JSON.
    ///
    /// # Errors
    /// When it broke off before.
    pub fn stop(mut self) -> Result<Value> {
        let Some(mut child) = self.child.take() else { bail!("the load was stopped before") };
        drop(child.stdin.take());
        let output = child.wait_with_output()?;
        // That something was lost makes it end with 1: the caller sees it in the count.
        serde_json::from_slice(&output.stdout).with_context(|| format!("the load ended with {}", output.status))
    }
}

impl Drop for NodeLoad {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node").join(name)
}
