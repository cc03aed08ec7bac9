//! One site, drawn as it goes: until it is live as asked, or for as long as somebody looks. On a terminal a tree in place; elsewhere a line for
//! each thing that changes.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, interval, sleep};

use super::output::{Canvas, Terminal, print};
use super::render::tree::{Moment, Style, plain, tree};
use super::source::{Source, SourceError};
use super::view::Site;
use crate::api::names::{conditions, reasons};
use crate::control::api::{Applied, ChangeKind};
use crate::control::client::ClientError;

/// A stall that is no verdict may pass by itself: after this long it is one to whoever waits. As long may a site go unseen before that is said.
const STALL_GRACE: Duration = Duration::from_secs(10);
/// So long it may take until what was uploaded is noticed and read.
const ARRIVES: Duration = Duration::from_secs(120);
/// From one try to reach whoever went away to the next.
const RECONNECT: Duration = Duration::from_millis(500);
/// From one look for a new site to the next.
const SHOWN: Duration = Duration::from_millis(20);
/// How often the remaining time is drawn again.
const REDRAW: Duration = Duration::from_millis(200);

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

/// What is waited for.
enum Goal {
    /// What was handed in, with the release and the configuration as they were found by then.
    Applied { generation: i64, look: u64 },
    /// The release with this checksum, which arrived in the folder of uploads.
    Upload(String),
}

impl Goal {
    /// Whether what is said of the site is about it.
    fn is_told(&self, site: &Site) -> bool {
        match self {
            Goal::Applied { generation, look } => {
                site.status.observed_generation.is_some_and(|told| told >= *generation) && site.looked >= *look
            }
            Goal::Upload(sum) => site.upload.as_ref().is_some_and(|upload| {
                let wanted = site.attempts.wanted.map(|wanted| wanted.revision);
                upload.sha256 == *sum && wanted == Some(upload.revision)
            }),
        }
    }
}

fn standing(site: &Site, goal: &Goal) -> Standing {
    if !goal.is_told(site) {
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

/// Follows one site.
pub(super) struct Follower<'a> {
    name: &'a str,
    /// It ends when this is live, or won't be. `None`: it never ends by itself.
    goal: Option<Goal>,
    begun: Timestamp,
    canvas: Canvas,
    said: String,
    last: Option<Site>,
    stuck: Option<Instant>,
    /// Since when nobody has looked at what is wanted.
    unseen: Option<Instant>,
}

impl<'a> Follower<'a> {
    /// Until what was handed in is live, or won't be.
    pub(super) fn until_live(applied: &'a Applied) -> Follower<'a> {
        let goal = Goal::Applied { generation: applied.generation, look: applied.look };
        Follower { goal: Some(goal), ..Follower::for_ever(&applied.name) }
    }

    /// Until the release with this checksum, which was put into the folder of uploads, is live, or won't be.
    pub(super) fn until_uploaded(name: &'a str, sum: &str) -> Follower<'a> {
        Follower { goal: Some(Goal::Upload(sum.to_owned())), ..Follower::for_ever(name) }
    }

    /// For as long as somebody looks.
    pub(super) fn for_ever(name: &'a str) -> Follower<'a> {
        Follower {
            name,
            goal: None,
            begun: Timestamp::now(),
            canvas: Canvas::default(),
            said: String::new(),
            last: None,
            stuck: None,
            unseen: None,
        }
    }

    /// The site as it was last seen.
    pub(super) fn last(&self) -> Option<&Site> {
        self.last.as_ref()
    }

    /// Draws it until the end.
    pub(super) async fn follow(&mut self, source: &Source) -> anyhow::Result<()> {
        loop {
            match self.watch(source).await {
                Ok(done) => return done,
                Err(error) if error.may_pass() => {
                    self.say(&format!("{}: {error}", source.away()))?;
                    // Another agent counts anew.
                    if let Some(Goal::Applied { look, .. }) = &mut self.goal {
                        *look = 0;
                    }
                    sleep(RECONNECT).await;
                }
                // A site that was just taken in is shown once it was looked at.
                Err(error) if error.is_not_found() && self.is_new() => sleep(SHOWN).await,
                Err(error) => return Err(super::explain(source, self.name, error).await),
            }
        }
    }

    fn is_new(&self) -> bool {
        let waited = Timestamp::now().duration_since(self.begun);
        self.goal.is_some() && self.last.is_none() && waited.unsigned_abs() < STALL_GRACE
    }

    /// Until it is decided, or the connection ends.
    async fn watch(&mut self, source: &Source) -> Result<anyhow::Result<()>, SourceError> {
        let mut changes = source.watch(Some(self.name)).await?;
        let mut redraw = interval(REDRAW);
        loop {
            tokio::select! {
                change = changes.next() => {
                    let Some(change) = change? else {
                        return Err(ClientError::Broken("the agent ended".to_owned()).into());
                    };
                    if change.kind == ChangeKind::Deleted {
                        return Ok(self.deleted());
                    }
                    self.last = Some(Site::try_from(change.site)?);
                }
                _ = redraw.tick() => {}
            }
            match self.look(source) {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    fn deleted(&self) -> anyhow::Result<()> {
        if self.goal.is_none() {
            print(&format!("{} deleted", super::full(self.name)))?;
            return Ok(());
        }
        anyhow::bail!("the site {} was deleted while it was waited for", self.name)
    }

    fn look(&mut self, source: &Source) -> anyhow::Result<Option<anyhow::Result<()>>> {
        let unseen = self.unseen(source);
        let Some(site) = &self.last else { return Ok(None) };
        match Terminal::now() {
            Some(terminal) => {
                let style = Style { columns: terminal.columns, rows: terminal.rows, colours: terminal.colours };
                let waited = self.goal.as_ref().map(|_| self.begun);
                let moment = Moment { now: Timestamp::now(), waited, note: unseen };
                self.canvas.draw(&tree(site, &moment, style))?;
            }
            None => {
                let text = unseen.unwrap_or_else(|| plain(site));
                self.say(&text)?;
            }
        }
        let Some(site) = &self.last else { return Ok(None) };
        let Some(goal) = &self.goal else { return Ok(None) };
        if let Goal::Upload(_) = goal
            && !goal.is_told(site)
            && Timestamp::now().duration_since(self.begun).unsigned_abs() > ARRIVES
        {
            let why = format!(
                "the agent has not taken notice of the upload to {}, or another one arrived after it: {}",
                self.name,
                plain(site)
            );
            return Ok(Some(Err(anyhow::anyhow!(why))));
        }
        Ok(match standing(site, goal) {
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

    /// What is to be said if nobody looks at the site: it may be for ever, so it is said and not waited out in silence.
    fn unseen(&mut self, source: &Source) -> Option<String> {
        let site = self.last.as_ref()?;
        if site.status.observed_generation.is_some_and(|observed| observed >= site.generation) {
            self.unseen = None;
            return None;
        }
        let since = *self.unseen.get_or_insert_with(Instant::now);
        if since.elapsed() < STALL_GRACE { None } else { source.nobody(site) }
    }

    /// A line, unless it was the last one already.
    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        if self.said != text {
            text.clone_into(&mut self.said);
            let elapsed = Timestamp::now().duration_since(self.begun).as_secs_f64();
            if let Some(terminal) = Terminal::now() {
                self.canvas.draw(&super::render::tree::wrap(text, terminal.columns))?;
            } else {
                print(&format!("{elapsed:>7.1}s  {text}"))?;
            }
        }
        Ok(())
    }
}
