//! `bluegreen apply`: hands in a manifest, and with `--wait` stays until it is live or rejected.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::time::{Instant, interval, sleep, timeout_at};

use super::output::{Canvas, Terminal, complain, print};
use super::render::tree::{Style, plain, tree};
use super::view::Site;
use super::{Quiet, full};
use crate::api::names::{conditions, reasons};
use crate::api::{parse, span};
use crate::control::api::{Applied, ApplyOutcome, ChangeKind};
use crate::control::client::{Client, ClientError};

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

    /// Let the agent judge the manifest, and keep nothing.
    #[arg(long)]
    dry_run: bool,
}

/// A span of time, for clap.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    span::parse(text).map_err(|error| error.to_string())
}

/// A stall that is no verdict may pass by itself: after this long it is one to whoever waits.
const STALL_GRACE: Duration = Duration::from_secs(10);
/// From one try to reach an agent that went away to the next.
const RECONNECT: Duration = Duration::from_millis(500);
/// From one look for a new site to the next.
const SHOWN: Duration = Duration::from_millis(20);
/// How often the remaining time is drawn again.
const REDRAW: Duration = Duration::from_millis(200);

pub(super) async fn run(client: Client, args: Args) -> anyhow::Result<()> {
    let mut manifests = Vec::new();
    for file in &args.files {
        manifests.push((file, read(file)?));
    }
    // Nothing is handed in before all of it was judged.
    let mut wrong = false;
    for (file, text) in &manifests {
        if let Err(problems) = parse::manifest(text) {
            wrong = true;
            for problem in problems.all() {
                complain(&format!("error: {}: {problem}", shown(file)));
            }
        }
    }
    if wrong {
        complain("nothing was applied");
        return Err(Quiet.into());
    }
    let mut applied = Vec::new();
    for (file, text) in &manifests {
        let one = client.apply(text, args.dry_run).await.with_context(|| format!("{} was not applied", shown(file)))?;
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
        applied.push(one);
    }
    if args.wait && !args.dry_run {
        let deadline = (!args.timeout.is_zero()).then(|| Instant::now() + args.timeout);
        for one in &applied {
            wait(&client, one, args.timeout, deadline).await?;
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

/// Where a wait stands.
enum Standing {
    /// Live as asked.
    Done,
    /// It won't be: why.
    Failed(String),
    /// Not yet, and it does not go on: since it was first seen so, it may be given up.
    Stuck(String),
    /// Not yet.
    Underway,
}

fn standing(site: &Site, generation: i64) -> Standing {
    if site.status.observed_generation.is_none_or(|observed| observed < generation) {
        return Standing::Underway;
    }
    if site.is(conditions::READY) {
        return Standing::Done;
    }
    let Some(stalled) = site.condition(conditions::STALLED).filter(|stalled| stalled.status == "True") else {
        return Standing::Underway;
    };
    // A terminal shows the message already, above.
    let said = match Terminal::now() {
        Some(_) => stalled.reason.clone(),
        None => format!("{}: {}", stalled.reason, stalled.message),
    };
    let wanted = site.attempts.wanted.map(|wanted| wanted.revision);
    let rejected = site.status.rejected.as_ref().is_some_and(|rejected| Some(rejected.revision) == wanted);
    let verdict = rejected || [reasons::INVALID, reasons::CONFLICT].contains(&stalled.reason.as_str());
    if verdict { Standing::Failed(said) } else { Standing::Stuck(said) }
}

async fn wait(client: &Client, applied: &Applied, limit: Duration, deadline: Option<Instant>) -> anyhow::Result<()> {
    let mut watcher = Watcher {
        name: &applied.name,
        generation: applied.generation,
        begun: Timestamp::now(),
        canvas: Canvas::default(),
        said: String::new(),
        last: None,
        stuck: None,
    };
    let far = Instant::now() + Duration::from_secs(100 * 365 * 86_400);
    match timeout_at(deadline.unwrap_or(far), watcher.follow(client)).await {
        Ok(done) => done,
        Err(_) => {
            let last = watcher.last.as_ref().map(|site| format!(": {}", plain(site))).unwrap_or_default();
            anyhow::bail!(
                "{} is not live after {}{last}; the rollout goes on without this wait: bluegreen get {} -w",
                applied.name,
                span::format(limit),
                applied.name
            )
        }
    }
}

/// Follows one site until it is live as asked, or won't be.
struct Watcher<'a> {
    name: &'a str,
    generation: i64,
    begun: Timestamp,
    canvas: Canvas,
    said: String,
    last: Option<Site>,
    stuck: Option<Instant>,
}

impl Watcher<'_> {
    async fn follow(&mut self, client: &Client) -> anyhow::Result<()> {
        loop {
            match self.watch(client).await {
                Ok(done) => return done,
                Err(error @ (ClientError::NoAgent { .. } | ClientError::Broken(_))) => {
                    self.say(&format!("the agent is away, waiting for it: {error}"))?;
                    sleep(RECONNECT).await;
                }
                // A site that was just taken in is shown once it was looked at.
                Err(ClientError::Refused(failure)) if failure.code == 404 && self.is_new() => sleep(SHOWN).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn is_new(&self) -> bool {
        let waited = Timestamp::now().duration_since(self.begun);
        self.last.is_none() && waited.unsigned_abs() < STALL_GRACE
    }

    /// Until it is decided, or the connection ends.
    async fn watch(&mut self, client: &Client) -> Result<anyhow::Result<()>, ClientError> {
        let mut changes = client.watch(Some(self.name)).await?;
        let mut redraw = interval(REDRAW);
        loop {
            tokio::select! {
                change = changes.next() => {
                    let Some(change) = change? else {
                        return Err(ClientError::Broken("the agent ended".to_owned()));
                    };
                    if change.kind == ChangeKind::Deleted {
                        return Ok(Err(anyhow::anyhow!("the site {} was deleted while it was waited for", self.name)));
                    }
                    self.last = Some(Site::try_from(change.site)?);
                }
                _ = redraw.tick() => {}
            }
            match self.look() {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    fn look(&mut self) -> anyhow::Result<Option<anyhow::Result<()>>> {
        let Some(site) = &self.last else { return Ok(None) };
        let standing = standing(site, self.generation);
        match Terminal::now() {
            Some(terminal) => {
                let style = Style { columns: terminal.columns, rows: terminal.rows, colours: terminal.colours };
                self.canvas.draw(&tree(site, self.begun, Timestamp::now(), style))?;
            }
            None => {
                let text = plain(site);
                self.say(&text)?;
            }
        }
        Ok(match standing {
            Standing::Done => Some(Ok(())),
            Standing::Failed(why) => Some(Err(anyhow::anyhow!("{} did not go live: {why}", self.name))),
            Standing::Underway => {
                self.stuck = None;
                None
            }
            Standing::Stuck(why) => {
                let since = *self.stuck.get_or_insert_with(Instant::now);
                let given_up = since.elapsed() >= STALL_GRACE;
                given_up.then(|| Err(anyhow::anyhow!("{} does not go on: {why}", self.name)))
            }
        })
    }

    /// A line, unless it was the last one already.
    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        if self.said != text {
            text.clone_into(&mut self.said);
            let elapsed = Timestamp::now().duration_since(self.begun).as_secs_f64();
            if Terminal::now().is_some() {
                self.canvas.draw(&[text.to_owned()])?;
            } else {
                print(&format!("{elapsed:>7.1}s  {text}"))?;
            }
        }
        Ok(())
    }
}
