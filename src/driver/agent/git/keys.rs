//! What the configuration names and Git has to read: keys, tokens, who is believed. Each is looked at with suspicion and copied to where only root
//! can write and only Git can read.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use base64::Engine;
use rustix::fs::{Mode, OFlags, open};

use super::config::GitConfig;
use super::error::{GitError, io};
use super::names::Transport;
use super::program::Git;
use crate::platform::host::store;

/// No file of these is larger: a bundle of certificates is the most of it.
const LIMIT: u64 = 1 << 20;
/// The user that is named with a token where the address names none: every server that we know takes any.
const ANYBODY: &str = "x-access-token";

/// What a call needs that speaks to the server.
#[derive(Debug, Default)]
pub struct Shown {
    /// Configuration.
    pub config: Vec<(String, String)>,
    /// Environment.
    pub env: Vec<(&'static str, String)>,
}

/// Lays out what a call needs that speaks to the server.
pub fn lay_out(git: &Git, config: &GitConfig) -> Result<Shown, GitError> {
    let private = git.private();
    git.make(&private, 0o750, false)?;
    let mut shown = Shown::default();
    let mut set = |key: &str, value: String| shown.config.push((key.to_owned(), value));
    set("remote.origin.url", config.url.to_string());
    set("remote.origin.promisor", "true".to_owned());
    set("remote.origin.partialclonefilter", "blob:none".to_owned());
    // A server that says nothing for so long is given up. One that packs two gigabytes has nothing to say for a while.
    set("http.lowSpeedLimit", "100".to_owned());
    set("http.lowSpeedTime", "120".to_owned());
    match config.url.transport() {
        Transport::Https => {
            if let Some(file) = &config.ca_file {
                let copy = copy(git, "caFile", file, "ca.pem", false)?;
                set("http.sslCAInfo", copy);
            }
            if let Some(file) = &config.token_file {
                let token = secret("tokenFile", file)?;
                let user = config.url.user().unwrap_or(ANYBODY);
                let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{token}"));
                set("http.extraHeader", format!("Authorization: Basic {both}"));
            }
        }
        Transport::Ssh => {
            let (Some(key), Some(hosts)) = (&config.ssh_key_file, &config.known_hosts_file) else {
                return Ok(shown);
            };
            let key = copy(git, "sshKeyFile", key, "key", true)?;
            let hosts = copy(git, "knownHostsFile", hosts, "known_hosts", false)?;
            let file = private.join("ssh_config");
            keep(git, &file, ssh_config(&key, &hosts).as_bytes())?;
            // A shell reads this; there is nothing of anybody's in it.
            shown.env.push(("GIT_SSH_COMMAND", "ssh -F \"$BLUEGREEN_SSH_CONFIG\"".to_owned()));
            shown.env.push(("GIT_SSH_VARIANT", "ssh".to_owned()));
            shown.env.push(("BLUEGREEN_SSH_CONFIG", file.display().to_string()));
        }
    }
    Ok(shown)
}

/// Lays out who may have signed a commit; where that is.
pub fn signers(git: &Git, file: &Path) -> Result<String, GitError> {
    git.make(&git.private(), 0o750, false)?;
    copy(git, "requireSignature.allowedSigners", file, "allowed_signers", false)
}

/// Takes away what a call needed.
pub fn take_away(git: &Git) -> Result<(), GitError> {
    let private = git.private();
    match std::fs::remove_dir_all(&private) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", &private)(error)),
        _ => Ok(()),
    }
}

/// A secret of one line.
pub fn secret(key: &'static str, file: &Path) -> Result<String, GitError> {
    let text = String::from_utf8(read(key, file, true)?).unwrap_or_default();
    let text = text.trim();
    let wrong = |why: &str| GitError::File { key, path: file.to_owned(), why: why.to_owned() };
    if text.is_empty() || text.len() > 4096 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong("holds no secret: one line of letters, digits and signs, without blanks, is wanted"));
    }
    Ok(text.to_owned())
}

fn ssh_config(key: &str, hosts: &str) -> String {
    format!(
        "Host *\n  BatchMode yes\n  IdentityFile {key}\n  IdentitiesOnly yes\n  IdentityAgent none\n  PreferredAuthentications publickey\n  \
         UserKnownHostsFile {hosts}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  UpdateHostKeys no\n  ForwardAgent no\n  \
         ForwardX11 no\n  ClearAllForwardings yes\n  PermitLocalCommand no\n  ControlPath none\n  ConnectTimeout 15\n  ServerAliveInterval 15\n  \
         ServerAliveCountMax 3\n  LogLevel ERROR\n"
    )
}

fn copy(git: &Git, key: &'static str, file: &Path, name: &str, is_secret: bool) -> Result<String, GitError> {
    let bytes = read(key, file, is_secret)?;
    let to = git.private().join(name);
    keep(git, &to, &bytes)?;
    Ok(to.display().to_string())
}

/// Writes a file that root owns and Git may read.
fn keep(git: &Git, file: &Path, bytes: &[u8]) -> Result<(), GitError> {
    store::write_bytes(file, bytes, 0o600)?;
    if let Some(account) = git.account {
        std::os::unix::fs::lchown(file, None, Some(account.gid)).map_err(io("give away", file))?;
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o640))
            .map_err(io("change the mode of", file))?;
    }
    Ok(())
}

fn read(key: &'static str, file: &Path, is_secret: bool) -> Result<Vec<u8>, GitError> {
    let wrong = |why: String| GitError::File { key, path: file.to_owned(), why };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = open(file, flags, Mode::empty()).map_err(|error| wrong(format!("can't be read: {error}")))?;
    let opened = File::from(fd);
    let meta = opened.metadata().map_err(|error| wrong(format!("can't be read: {error}")))?;
    if !meta.is_file() {
        return Err(wrong("is no regular file".to_owned()));
    }
    if meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
        return Err(wrong(format!(
            "may be written by others than root: `chown root: {0} && chmod go-w {0}`",
            file.display()
        )));
    }
    if is_secret && meta.mode() & 0o077 != 0 {
        return Err(wrong(format!("may be read by others than root: `chmod 600 {}`", file.display())));
    }
    let mut bytes = Vec::new();
    opened.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| wrong(format!("can't be read: {error}")))?;
    if bytes.len() as u64 > LIMIT {
        return Err(wrong("is larger than 1 MiB".to_owned()));
    }
    Ok(bytes)
}
