//! A rollout as it goes: on a terminal a tree of the site, its colours and their instances; elsewhere a line for each thing that changes.

use jiff::Timestamp;

use super::instances;
use crate::api::names::conditions;
use crate::api::status::phase_name;
use crate::cli::view::Site;
use crate::control::api::{SlotHealth, SlotView};
use crate::rollout::{Colour, Phase};

/// What the drawing may use.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Characters a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
    /// Whether colours are welcome.
    pub colours: bool,
}

/// The path of a rollout, for the line of steps.
const STEPS: [Phase; 8] = [
    Phase::Preparing,
    Phase::Starting,
    Phase::Verifying,
    Phase::AwaitingApproval,
    Phase::CuttingOver,
    Phase::Draining,
    Phase::Baking,
    Phase::Idle,
];

/// The site as a tree, a string for each line. `waited`: since when somebody waits for it.
#[must_use]
pub fn tree(site: &Site, waited: Timestamp, now: Timestamp, style: Style) -> Vec<String> {
    let mut lines = vec![headline(site, waited, now, style)];
    if let Some(steps) = steps(site, style) {
        lines.push(steps);
    }
    for line in site.message().lines() {
        lines.extend(wrap(line, style.columns.saturating_sub(2)).into_iter().map(|line| format!("  {line}")));
    }
    let slots: Vec<&SlotView> = site.slots.iter().collect();
    for (number, slot) in slots.iter().enumerate() {
        let last = number + 1 == slots.len();
        let (branch, trunk) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        lines.push(fit(&format!("{branch}{}", colour_line(site, slot, style)), style.columns));
        for (number, instance) in slot.instances.iter().enumerate() {
            let twig = if number + 1 == slot.instances.len() { "└─ " } else { "├─ " };
            let mark = if instance.ready { paint("✔", "32", style) } else { paint("…", "33", style) };
            let pid = instance.pid.map_or_else(|| "not running".to_owned(), |pid| format!("pid {pid}"));
            let restarts = match instance.restarts {
                0 => String::new(),
                1 => ", started again once".to_owned(),
                several => format!(", started again {several} times"),
            };
            let detail = match instance.detail.lines().next() {
                Some(detail) if !detail.is_empty() && !instance.ready => format!("  {detail}"),
                _ => String::new(),
            };
            let line = format!("{trunk}{twig}{mark} :{:<5}  {pid}{restarts}{detail}", instance.port);
            lines.push(fit(&line, style.columns));
        }
    }
    // A drawing that scrolls can't be drawn over.
    lines.truncate(style.rows.saturating_sub(1).max(1));
    lines
}

fn headline(site: &Site, waited: Timestamp, now: Timestamp, style: Style) -> String {
    let stalled = site.condition(conditions::STALLED).filter(|_| site.is(conditions::STALLED));
    let phase = match stalled {
        Some(stalled) => stalled.reason.as_str(),
        None if site.is(conditions::READY) => "live",
        None => site.status.phase.map_or("new", phase_name),
    };
    let mark = if site.is(conditions::STALLED) {
        paint("✘", "31", style)
    } else if site.is(conditions::READY) {
        paint("✔", "32", style)
    } else {
        paint("●", "33", style)
    };
    let left = site.status.candidate.as_ref().and_then(|candidate| candidate.deadline.as_ref());
    let left = left.map_or_else(String::new, |deadline| {
        format!("  {} left", super::span(deadline.0.duration_since(now).as_secs()))
    });
    let name = paint(&site.name, "1", style);
    let elapsed = super::age(waited, now);
    fit(&format!("{mark} {name}  {phase}{left}  ({elapsed} so far)"), style.columns)
}

/// The steps of a rollout, the one that is under way marked. `None` when there is no rollout to show, or no room.
fn steps(site: &Site, style: Style) -> Option<String> {
    let phase = site.status.phase?;
    let at = STEPS.iter().position(|step| *step == phase).filter(|_| phase != Phase::Idle)?;
    let manual = phase == Phase::AwaitingApproval
        || site.spec.as_ref().is_some_and(|spec| spec.strategy.promotion == crate::api::spec::PromotionSpec::Manual);
    let words: Vec<String> = STEPS
        .iter()
        .enumerate()
        .filter(|(_, step)| manual || **step != Phase::AwaitingApproval)
        .map(|(number, step)| {
            let name = match step {
                Phase::Idle => "done",
                Phase::Preparing => "prepare",
                Phase::Starting => "start",
                Phase::Verifying => "verify",
                Phase::AwaitingApproval => "approve",
                Phase::CuttingOver => "cut over",
                Phase::Draining => "drain",
                _ => "watch",
            };
            match number.cmp(&at) {
                std::cmp::Ordering::Less => paint(&format!("✔ {name}"), "32", style),
                std::cmp::Ordering::Equal => paint(&format!("▶ {name}"), "1;33", style),
                std::cmp::Ordering::Greater => paint(&format!("· {name}"), "2", style),
            }
        })
        .collect();
    Some(fit(&format!("  {}", words.join("  ")), style.columns))
}

fn colour_line(site: &Site, slot: &SlotView, style: Style) -> String {
    let code = match slot.colour {
        Colour::Blue => "34",
        Colour::Green => "32",
    };
    let name = paint(&format!("{:<5}", slot.colour), code, style);
    let Some(revision) = slot.revision else {
        return format!("{name}  {}", paint("empty", "2", style));
    };
    let candidate = site.status.candidate.as_ref();
    let role = if slot.live {
        "live"
    } else if candidate.is_some_and(|candidate| candidate.colour == slot.colour && candidate.revision == revision) {
        "candidate"
    } else if slot.draining {
        "draining"
    } else if site.status.standby.as_ref().is_some_and(|standby| standby.colour == slot.colour) {
        "standby"
    } else {
        "idle"
    };
    let role = format!("{role:<9}");
    let role = if slot.live { paint(&role, "1", style) } else { role };
    let (code, word) = match slot.health {
        SlotHealth::Empty => ("2", "empty"),
        SlotHealth::Ready => ("32", "ready"),
        SlotHealth::Degraded => ("33", "partly ready"),
        SlotHealth::Down => ("33", "not ready"),
    };
    if slot.instances.is_empty() {
        let detail = slot.detail.lines().next().unwrap_or_default();
        return format!("{name}  {role}  {}  {}  {detail}", revision.short(), paint(word, code, style))
            .trim_end()
            .to_owned();
    }
    // What is awaited stands beside each instance.
    let count = paint(&format!("{} ready", instances(slot)), code, style);
    format!("{name}  {role}  {}  {count}", revision.short())
}

/// What is said of a site where no tree can be drawn; a new line is due when it is another text than before.
#[must_use]
pub fn plain(site: &Site) -> String {
    let phase = site.status.phase.map_or("new", phase_name);
    format!("{}: {phase}: {}", site.name, site.message().replace('\n', "; "))
}

fn paint(text: &str, code: &str, style: Style) -> String {
    if style.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Cuts a line to the terminal's width. Colours take no room.
fn fit(line: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut width = 0;
    let mut letters = line.chars();
    let mut painted = false;
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            out.push(letter);
            for letter in letters.by_ref() {
                out.push(letter);
                if letter.is_ascii_alphabetic() {
                    break;
                }
            }
            painted = true;
            continue;
        }
        if width + 1 >= columns {
            out.push('…');
            if painted {
                out.push_str("\x1b[0m");
            }
            return out;
        }
        out.push(letter);
        width += 1;
    }
    out
}

fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fit(word, columns.max(2))),
        }
    }
    lines
}
