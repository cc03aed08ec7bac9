//! Runs `nft`: one transaction, or one look.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::table::TABLE;

/// It talks to the kernel and to nobody else.
const WITHIN: Duration = Duration::from_secs(20);

/// Why `nft` did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NftError {
    /// It isn't installed.
    #[error("there is no program nft: install it (`apt install nftables`, `dnf install nftables`)")]
    Missing,
    /// It said no, in its own words.
    #[error("nft says: {0}")]
    Refused(String),
    /// It could not be run, or did not end.
    #[error("nft could not be run: {0}")]
    Failed(String),
}

/// Where the program is, by `PATH`.
pub(crate) fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let runs =
        |file: &PathBuf| fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join("nft")).find(runs)
}

/// Puts a transaction into force, all of it or nothing.
pub(super) async fn apply(transaction: &str) -> Result<(), NftError> {
    let output = run(&["-f", "-"], transaction.as_bytes()).await?;
    if output.status.success() { Ok(()) } else { Err(NftError::Refused(said(&output))) }
}

/// The table as it is, in nft's JSON; `None`: there is none.
pub(super) async fn list() -> Result<Option<String>, NftError> {
    let output = run(&["--json", "list", "table", TABLE[0], TABLE[1]], b"").await?;
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let said = said(&output);
    if said.contains("No such file or directory") { Ok(None) } else { Err(NftError::Refused(said)) }
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect::<Vec<_>>().join("; ")
}

async fn run(arguments: &[&str], input: &[u8]) -> Result<Output, NftError> {
    let failed = |error: io::Error| NftError::Failed(error.to_string());
    let program = program().ok_or(NftError::Missing)?;
    let mut child = Command::new(program)
        .args(arguments)
        // Its messages are read.
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends before it has read says why.
            let _ = stdin.write_all(input).await;
        }
        child.wait_with_output().await
    };
    match tokio::time::timeout(WITHIN, talk).await {
        Ok(done) => done.map_err(failed),
        Err(_) => Err(NftError::Failed(format!("it did not end within {} s", WITHIN.as_secs()))),
    }
}
