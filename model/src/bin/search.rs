//! `search auto|manual EDITS COMMANDS FAULTS [first|standby] [prepare] [without RULE]`: one search, its size, and what it found.

use std::process::ExitCode;
use std::time::Instant;

use bluegreen_model::rollout::{Promotion, Rule, Rules};
use bluegreen_model::search::{Bounds, search};
use bluegreen_model::step::Start;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(1);
    let has = |word: &str| words.iter().any(|given| given == word);
    let left_out = words.iter().position(|word| word == "without").and_then(|at| words.get(at + 1));
    let rule = left_out.and_then(|name| Rule::ALL.into_iter().find(|rule| format!("{rule:?}") == *name));
    let start = match () {
        () if has("first") => Start::Nothing,
        () if has("standby") => Start::Standby,
        () => Start::One,
    };
    let bounds = Bounds {
        promotion: if has("manual") { Promotion::Manual } else { Promotion::Automatic },
        start,
        edits: number(1),
        commands: number(2),
        faults: number(3),
        preparation: has("prepare"),
    };
    let begun = Instant::now();
    let found = search(bounds, rule.map_or(Rules::ALL, Rules::without), has("stop"));
    println!("{} states, {} transitions, {:.1?}", found.states, found.transitions, begun.elapsed());
    for (from, to) in &found.followed {
        println!("{from:?} → {to:?}");
    }
    for (violation, way) in &found.violations {
        println!("* {violation}");
        for event in way {
            println!("    {event}");
        }
    }
    if found.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
