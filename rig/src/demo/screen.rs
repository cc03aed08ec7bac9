//! Shows the demo while it happens: on a terminal a few lines that are drawn again and again, elsewhere a line for each phase.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use crate::load::Running;

const BAR: usize = 40;
/// Rates are over this long: less flickers.
const WINDOW: Duration = Duration::from_millis(500);

/// Where the demo is shown.
#[derive(Debug)]
pub struct Screen {
    terminal: bool,
    drawn: usize,
    phases: Vec<String>,
    window: Vec<(Instant, BTreeMap<String, u64>)>,
    most: f64,
}

impl Screen {
    /// The standard output.
    #[must_use]
    pub fn new() -> Screen {
        Screen { terminal: stdout().is_terminal(), drawn: 0, phases: Vec::new(), window: Vec::new(), most: 1.0 }
    }

    /// A line that stays.
    pub fn say(&mut self, text: &str) {
        self.draw(Vec::new());
        println!("{}", self.dim(text));
    }

    /// Something begins.
    pub fn act(&mut self, title: &str) {
        self.draw(Vec::new());
        self.phases.clear();
        println!("\n{}", if self.terminal { format!("\x1b[1m▶ {title}\x1b[0m") } else { format!("> {title}") });
    }

    /// How it stands.
    pub fn show(&mut self, phase: &str, load: Option<&Running>) {
        let entered = self.phases.last().is_none_or(|last| last != phase);
        if entered {
            self.phases.push(phase.to_owned());
        }
        let totals = load.map(Running::totals);
        if !self.terminal {
            if entered {
                let counts = totals.map(|totals| format!("  requests={} failed={}", totals.requests, totals.failed));
                println!("  {phase}{}", counts.unwrap_or_default());
            }
            return;
        }
        let mut lines = vec![format!("  {}", self.phases.join(" \x1b[2m→\x1b[0m "))];
        if let Some(totals) = totals {
            let counts = totals.versions.iter().map(|(version, counted)| (version.clone(), counted.answered));
            let rates = self.rates(counts.collect());
            for (version, rate) in rates {
                lines.push(self.bar(&version, rate));
            }
            let colour = if totals.failed == 0 { "\x1b[32m" } else { "\x1b[31;1m" };
            lines.push(format!("  requests {}   {colour}failed {}\x1b[0m", totals.requests, totals.failed));
        }
        self.draw(lines);
    }

    /// How it ended.
    pub fn outcome(&mut self, text: &str, took: Duration) {
        if !self.terminal {
            println!("  {text}, after {:.1} s", took.as_secs_f64());
            return;
        }
        let path = format!("  \x1b[2m{}\x1b[0m", self.phases.join(" → "));
        self.draw(Vec::new());
        println!("{path}\n  \x1b[32m✔\x1b[0m {text} \x1b[2m({:.1} s)\x1b[0m", took.as_secs_f64());
    }

    /// Nothing more is drawn.
    pub fn end(&mut self) {
        self.draw(Vec::new());
    }

    fn rates(&mut self, counts: BTreeMap<String, u64>) -> BTreeMap<String, f64> {
        let now = Instant::now();
        self.window.push((now, counts));
        self.window.retain(|(at, _)| now.duration_since(*at) <= WINDOW * 2);
        let begun = self.window.iter().position(|(at, _)| now.duration_since(*at) <= WINDOW).unwrap_or(0);
        let (from, before) = &self.window[begun];
        let Some((_, after)) = self.window.last() else {
            return BTreeMap::new();
        };
        let seconds = now.duration_since(*from).as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss)]
        let rate = |(version, count): (&String, &u64)| {
            let more = count.saturating_sub(before.get(version).copied().unwrap_or(0));
            (version.clone(), more as f64 / seconds)
        };
        let rates: BTreeMap<String, f64> = after.iter().map(rate).collect();
        self.most = rates.values().fold(self.most, |most, rate| most.max(*rate));
        rates
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn bar(&self, version: &str, rate: f64) -> String {
        let length = (rate / self.most * BAR as f64).round() as usize;
        let colour = if version == "v2" { "\x1b[32m" } else { "\x1b[34m" };
        format!("  {version:<4}{colour}{:<BAR$}\x1b[0m {rate:>6.0} requests/s", "█".repeat(length.min(BAR)))
    }

    /// Replaces what was drawn last.
    fn draw(&mut self, lines: Vec<String>) {
        if !self.terminal {
            return;
        }
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\x1b[J", self.drawn));
        }
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = lines.len();
        let mut out = stdout().lock();
        // A terminal that went away takes nothing from the demo.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn dim(&self, text: &str) -> String {
        if self.terminal { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Default for Screen {
    fn default() -> Screen {
        Screen::new()
    }
}
