//! `bluegreen apply`: hands in a manifest, and with `--wait` stays until it is live or rejected.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, timeout_at};

use super::follow::Follower;
use super::output::{complain, print};
use super::render::tree::plain;
use super::source::{Handing, Source};
use super::{Quiet, full};
use crate::api::{parse, span};
use crate::control::api::{Applied, ApplyOutcome};

/// Hand in manifests: each makes or changes a site.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The manifest, one site a file; '-' reads it from the standard input.
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Stay until the site is live as asked, or is rejected; draws the rollout as it goes.
    #[arg(long)]
    wait: bool,

    /// With --wait: how long to stay at most, as in 90s or 1h30m. 0s: as long as it takes.
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = super::apply::span)]
    timeout: Duration,

    /// Let the agent or the API server judge the manifest, and keep nothing.
    #[arg(long)]
    dry_run: bool,

    /// Take over fields that somebody else manages on the cluster.
    #[arg(long)]
    force_conflicts: bool,
}

/// A span of time, for clap.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    span::parse(text).map_err(|error| error.to_string())
}

pub(super) async fn run(source: Source, args: Args) -> anyhow::Result<()> {
    let mut manifests = Vec::new();
    for file in &args.files {
        manifests.push((file, read(file)?));
    }
    // Nothing is handed in before all of it was judged.
    let mut wrong = false;
    let mut places = Vec::new();
    for (file, text) in &manifests {
        match parse::manifest(text) {
            Ok((object, _)) => places.push(source.within(object.metadata.namespace.as_deref())?),
            Err(problems) => {
                wrong = true;
                for problem in problems.all() {
                    complain(&format!("error: {}: {problem}", shown(file)));
                }
            }
        }
    }
    if wrong {
        complain("nothing was applied");
        return Err(Quiet.into());
    }
    let how = Handing { dry_run: args.dry_run, force_conflicts: args.force_conflicts };
    let mut applied = Vec::new();
    for ((file, text), source) in manifests.iter().zip(&places) {
        let one = source.apply(text, how).await.with_context(|| format!("{} was not applied", shown(file)))?;
        for warning in &one.warnings {
            complain(&format!("Warning: {warning}"));
        }
        let outcome = match one.outcome {
            ApplyOutcome::Created => "created",
            ApplyOutcome::Configured => "configured",
            ApplyOutcome::Unchanged => "unchanged",
        };
        let dry = if args.dry_run { " (dry run)" } else { "" };
        print(&format!("{} {outcome}{dry}", full(&one.name)))?;
        applied.push((source, one));
    }
    if args.wait && !args.dry_run {
        let deadline = (!args.timeout.is_zero()).then(|| Instant::now() + args.timeout);
        for (source, one) in &applied {
            wait(source, one, args.timeout, deadline).await?;
        }
    }
    Ok(())
}

/// A manifest's text.
pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    let limit = crate::control::api::MANIFEST_LIMIT as u64 + 1;
    let mut text = String::new();
    let done = if file == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(limit).read_to_string(&mut text))
    };
    done.with_context(|| format!("{} can't be read", shown(file)))?;
    Ok(text)
}

/// A file's name, for messages.
pub(crate) fn shown(file: &Path) -> String {
    if file == Path::new("-") { "the standard input".to_owned() } else { file.display().to_string() }
}

async fn wait(source: &Source, applied: &Applied, limit: Duration, deadline: Option<Instant>) -> anyhow::Result<()> {
    let mut follower = Follower::until_live(applied);
    let far = Instant::now() + Duration::from_secs(100 * 365 * 86_400);
    match timeout_at(deadline.unwrap_or(far), follower.follow(source)).await {
        Ok(done) => done,
        Err(_) => {
            let last = follower.last().map(|site| format!(": {}", plain(site))).unwrap_or_default();
            anyhow::bail!(
                "{} is not live after {}{last}; the rollout goes on without this wait: {}",
                applied.name,
                span::format(limit),
                source.hint(&format!("get {} -w", applied.name))
            )
        }
    }
}
