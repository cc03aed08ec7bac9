//! The log of the agent and the operator: lines on standard error, for people or for machines. To the journal a line tells its level as the journal understands it,
//! so that `journalctl --priority=warning` finds it, and leaves out the time, which stands there already.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::platform::Fault;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// What the libraries below say of each request that failed is said by us, once, with what it means.
const DEFAULT: &str = "info,kube_client=off,kube_runtime=error,tower_http=off";

/// Begins to log. Called once, at the start.
pub(super) fn to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_env("BLUEGREEN_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    // A second subscriber in one process is a test's: the first one stays.
    let _ = match format {
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        LogFormat::Text if is_the_journal() => log.with_ansi(false).event_format(ForJournal::default()).try_init(),
        LogFormat::Text => log.with_ansi(false).try_init(),
    };
}

/// The faults of one site that were told since all was well, and when each was seen last: each is told once, also where two of them take turns, and once
/// more when it comes back.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<String, Instant>);

impl Told {
    /// Some texts count or name a moment: nobody needs all of them to be remembered.
    const MOST: usize = 32;
    /// Not seen for so long, it is over.
    const OVER: Duration = Duration::from_secs(600);

    /// Whether this one was not told yet. It is from now on.
    pub(super) fn is_new(&mut self, fault: &Fault) -> bool {
        if self.0.len() >= Told::MOST {
            self.0.clear();
        }
        let before = self.0.insert(format!("{}: {fault}", fault.reason), Instant::now());
        before.is_none_or(|seen| seen.elapsed() > Told::OVER)
    }

    /// All is well.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// Whether standard error is what systemd connected to the journal, and not something else by now.
fn is_the_journal() -> bool {
    let told = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|it| told == format!("{}:{}", it.dev(), it.ino()))
}

struct ForJournal(Format<Full, ()>);

impl Default for ForJournal {
    fn default() -> Self {
        ForJournal(Format::default().without_time().with_level(false).with_target(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>{} ", event.metadata().level())?;
        self.0.format_event(context, writer, event)
    }
}
