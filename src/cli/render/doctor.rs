//! What `doctor` found, as text: what is wrong comes last, where the eye is when it has scrolled by.

use super::NONE;
use super::table::table;
use crate::platform::host::audit::{Finding, Listener, Protocol, Report, Severity, Verdict};

/// What a line may take where no terminal says otherwise.
const COLUMNS: usize = 100;

/// The whole report; `quiet`: only what is wrong.
#[must_use]
pub fn text(report: &Report, columns: Option<usize>, quiet: bool) -> String {
    let columns = columns.unwrap_or(COLUMNS).clamp(50, 140);
    let mut text = String::new();
    if !quiet {
        let rows: Vec<Vec<String>> = report.listeners.iter().map(listener).collect();
        text += &table(&["PROTO", "ADDRESS", "PORT", "PROGRAM", "USER", "BELONGS TO", "VERDICT", "WHY"], &rows);
        let rows: Vec<Vec<String>> =
            report.firewalls.iter().map(|wall| vec![wall.name.to_owned(), wall.state.clone()]).collect();
        text += "\n";
        text += &table(&["FIREWALL", "STATE"], &rows);
        text += "\n";
    }
    for unseen in &report.unseen {
        text += &wrapped("not seen: ", unseen, columns);
    }
    for (number, finding) in (1..).zip(&report.findings) {
        text += &block(number, finding, columns);
    }
    match report.findings.len() {
        0 if quiet => {}
        0 if report.unseen.is_empty() => text += "Nothing is wrong.\n",
        0 => text += "Nothing wrong was seen, but not everything could be looked at.\n",
        1 => text += "1 thing is wrong.\n",
        many => text += &format!("{many} things are wrong.\n"),
    }
    text
}

fn listener(one: &Listener) -> Vec<String> {
    let belongs = match (&one.site, &one.unit) {
        (Some(site), _) => format!("site {site}"),
        (None, Some(unit)) => unit.clone(),
        (None, None) => NONE.to_owned(),
    };
    let program = if one.pid == 0 { one.program.clone() } else { format!("{} ({})", one.program, one.pid) };
    let protocol = match one.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let verdict = match one.verdict {
        Verdict::Exposed => "EXPOSED",
        Verdict::Closed => "closed",
        Verdict::Expected => "expected",
    };
    let user = if one.user.is_empty() { "?".to_owned() } else { one.user.clone() };
    let cells = [
        protocol,
        &one.address.ip().to_string(),
        &one.address.port().to_string(),
        &program,
        &user,
        &belongs,
        verdict,
        &one.why,
    ];
    cells.map(str::to_owned).to_vec()
}

fn block(number: usize, finding: &Finding, columns: usize) -> String {
    let severity = match finding.severity {
        Severity::High => "HIGH",
        Severity::Medium => "MEDIUM",
    };
    let mut text = format!("{number}. {severity}  {}\n", finding.reason);
    for (label, words) in [("where", &finding.place), ("what", &finding.what), ("fix", &finding.fix)] {
        text += &wrapped(&format!("   {label:<7}"), words, columns);
    }
    text + "\n"
}

/// Words in lines of at most so many characters, the later ones set in below the first word.
fn wrapped(label: &str, words: &str, columns: usize) -> String {
    let indent = label.chars().count();
    let mut text = label.to_owned();
    let mut used = indent;
    for word in words.split(' ') {
        let length = word.chars().count();
        if used > indent && used + 1 + length > columns {
            text += &format!("\n{:indent$}", "");
            used = indent;
        } else if used > indent {
            text.push(' ');
            used += 1;
        }
        text += word;
        used += length;
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_set_in_below_the_first_and_nothing_of_them_is_lost() {
        let text = wrapped("   fix    ", "let the agent close it with nftables", 24);
        assert_eq!(text, "   fix    let the agent\n          close it with\n          nftables\n");
        assert_eq!(wrapped("x: ", "a-word-that-is-longer-than-a-line", 10), "x: a-word-that-is-longer-than-a-line\n");
    }

    #[test]
    fn a_machine_with_nothing_wrong_says_so_and_says_nothing_to_cron() {
        let clean = Report { listeners: Vec::new(), firewalls: Vec::new(), findings: Vec::new(), unseen: Vec::new() };
        assert!(text(&clean, None, false).ends_with("Nothing is wrong.\n"));
        assert_eq!(text(&clean, None, true), "");
    }
}
