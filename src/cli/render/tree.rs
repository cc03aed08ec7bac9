//! A rollout as it goes: on a terminal a tree of the site, its colours and their instances; elsewhere a line for each thing that changes.

use jiff::Timestamp;

use super::instances;
use crate::api::names::conditions;
use crate::api::status::phase_name;
use crate::cli::view::Site;
use crate::control::api::{InstanceView, Place, SlotHealth, SlotView};
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

/// When it is drawn, and for whom.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Now.
    pub now: Timestamp,
    /// Since when somebody waits for it, if somebody does.
    pub waited: Option<Timestamp>,
    /// What is to be said besides: that nobody looks at it.
    pub note: Option<String>,
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

/// Of so many instances of a colour there is always room for a line each.
const FEW: usize = 3;

/// The site as a tree, a string for each line.
#[must_use]
pub fn tree(site: &Site, moment: &Moment, style: Style) -> Vec<String> {
    let mut lines = vec![headline(site, moment, style)];
    if let Some(steps) = steps(site, style) {
        lines.push(steps);
    }
    for line in site.message().lines().chain(moment.note.iter().flat_map(|note| note.lines())) {
        lines.extend(wrap(line, style.columns.saturating_sub(2)).into_iter().map(|line| format!("  {line}")));
    }
    // A drawing that scrolls can't be drawn over.
    let most = style.rows.saturating_sub(1).max(1);
    let whole = branches(site, most.saturating_sub(lines.len()), true, style);
    if lines.len() + whole.len() <= most {
        lines.extend(whole);
    } else {
        lines.extend(branches(site, most.saturating_sub(lines.len()), false, style));
    }
    lines.truncate(most);
    lines
}

/// The colours and their instances. `rows`: so many lines are left for them. `whole`: what is awaited is never cut, but goes on in a line of
/// its own.
fn branches(site: &Site, rows: usize, whole: bool, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    let room = (rows / site.slots.len().max(1)).saturating_sub(1).max(FEW);
    for (number, slot) in site.slots.iter().enumerate() {
        let last = number + 1 == site.slots.len();
        let (branch, trunk) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        lines.push(fit(&format!("{branch}{}", colour_line(site, slot, style)), style.columns));
        let twigs = twigs(slot, room, style);
        for (number, Twig { text, awaited }) in twigs.iter().enumerate() {
            let last = number + 1 == twigs.len();
            let (fork, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let line = format!("{trunk}{fork}{text}  {awaited}");
            if !whole || awaited.is_empty() || width(&line) < style.columns {
                lines.push(fit(line.trim_end(), style.columns));
                continue;
            }
            lines.push(fit(&format!("{trunk}{fork}{text}"), style.columns));
            let indent = format!("{trunk}{below}    ");
            let room = style.columns.saturating_sub(width(&indent) + 1).max(FEW);
            lines.extend(wrap(awaited, room).iter().map(|part| fit(&format!("{indent}{part}"), style.columns)));
        }
    }
    lines
}

/// What is drawn of an instance.
struct Twig {
    text: String,
    awaited: String,
}

impl Twig {
    fn of(text: String) -> Twig {
        Twig { text, awaited: String::new() }
    }
}

/// One for each instance. Where there is no room for all, those that are awaited come first and the others are counted.
fn twigs(slot: &SlotView, room: usize, style: Style) -> Vec<Twig> {
    let mut shown: Vec<&InstanceView> = slot.instances.iter().collect();
    let mut hidden = 0;
    if shown.len() > room {
        shown.sort_by_key(|instance| instance.ready);
        hidden = shown.len() - (room - 1);
        shown.truncate(room - 1);
    }
    let names = shown.iter().map(|instance| match &instance.place {
        Place::Pod { pod, .. } => pod.chars().count(),
        Place::Process { .. } => 0,
    });
    let width = names.max().unwrap_or(0);
    let mut lines: Vec<Twig> = shown.iter().map(|instance| twig(instance, width, style)).collect();
    if hidden > 0 {
        let ready = slot.instances.iter().filter(|instance| instance.ready).count();
        let awaited = shown.iter().filter(|instance| instance.ready).count();
        lines.push(Twig::of(paint(&format!("  and {hidden} more, {} of them ready", ready - awaited), "2", style)));
    }
    // On a machine this only sums up what stands beside each instance.
    if slot.wanted.is_some() && !slot.detail.is_empty() {
        let detail = slot.detail.lines().next().unwrap_or_default();
        lines.push(Twig::of(format!("{} {detail}", paint("…", "33", style))));
    }
    lines
}

fn twig(instance: &InstanceView, width: usize, style: Style) -> Twig {
    let mark = if instance.ready { paint("✔", "32", style) } else { paint("…", "33", style) };
    let place = match &instance.place {
        Place::Process { port, pid } => {
            let pid = pid.map_or_else(|| "not running".to_owned(), |pid| format!("pid {pid}"));
            format!(":{port:<5}  {pid}")
        }
        Place::Pod { pod, node: Some(node) } => format!("{pod:<width$}  on {node}"),
        Place::Pod { pod, node: None } => format!("{pod:<width$}"),
    };
    let restarts = match instance.restarts {
        0 => String::new(),
        1 => ", started again once".to_owned(),
        several => format!(", started again {several} times"),
    };
    let detail = instance.detail.lines().next().filter(|_| !instance.ready);
    Twig { text: format!("{mark} {place}{restarts}"), awaited: detail.unwrap_or_default().to_owned() }
}

fn headline(site: &Site, moment: &Moment, style: Style) -> String {
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
        format!("  {} left", super::span(deadline.0.duration_since(moment.now).as_secs()))
    });
    let name = paint(&site.name, "1", style);
    let elapsed =
        moment.waited.map_or_else(String::new, |waited| format!("  ({} so far)", super::age(waited, moment.now)));
    fit(&format!("{mark} {name}  {phase}{left}{elapsed}"), style.columns)
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
    let serves = match slot.serves.as_slice() {
        [] => String::new(),
        all => format!("  ← {}", all.join(", ")),
    };
    if slot.revision.is_none() && slot.instances.is_empty() {
        // That an idle colour's preview leads nowhere is as it should be.
        let serves = if slot.live { serves } else { String::new() };
        return format!("{name}  {}{serves}", paint("empty", "2", style));
    }
    let candidate = site.status.candidate.as_ref().filter(|candidate| candidate.colour == slot.colour);
    let role = if slot.live {
        "live"
    } else if candidate.is_some_and(|candidate| Some(candidate.revision) == slot.revision) {
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
    let revision = slot.revision.map_or_else(|| super::NONE.to_owned(), |revision| revision.short());
    if slot.instances.is_empty() && slot.wanted.is_none() {
        let detail = slot.detail.lines().next().unwrap_or_default();
        return format!("{name}  {role}  {revision}  {}  {detail}{serves}", paint(word, code, style))
            .trim_end()
            .to_owned();
    }
    // What is awaited stands beside each instance.
    let count = paint(&format!("{} ready", instances(slot)), code, style);
    format!("{name}  {role}  {revision}  {count}{serves}")
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

/// How many characters of a terminal's line it takes. Colours take none.
fn width(line: &str) -> usize {
    let mut width = 0;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            letters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            width += 1;
        }
    }
    width
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

/// A text in lines of at most so many characters.
#[must_use]
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
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
