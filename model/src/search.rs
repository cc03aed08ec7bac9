//! Breadth first through every reachable state; in each, whether it comes to rest when left alone.

use std::collections::BTreeSet;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::judge::Violation;
use crate::nature::{Event, after, events, quiet};
use crate::policy::Policy;
use crate::rollout::{Phase, Promotion, Rules};
use crate::state::{Budget, Setting, State};
use crate::step::{Start, start};

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Who lets a candidate go live.
    pub promotion: Promotion,
    /// From where.
    pub start: Start,
    /// Edits of the specification.
    pub edits: u8,
    /// Commands.
    pub commands: u8,
    /// Faults.
    pub faults: u8,
    /// Whether artifacts have to be prepared, and can be unusable.
    pub preparation: bool,
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// Distinct states.
    pub states: usize,
    /// Changes from one state to another.
    pub transitions: usize,
    /// Which phase was seen to follow which.
    pub followed: BTreeSet<(Phase, Phase)>,
    /// Broken invariants, each with a shortest way to it.
    pub violations: Vec<(Violation, Vec<String>)>,
}

/// Searches all states within the bounds; with `first_only` up to the first violation.
#[must_use]
pub fn search(bounds: Bounds, rules: Rules, first_only: bool) -> Found {
    let mut setting = Setting::new(bounds.promotion, rules, bounds.preparation);
    let budget = Budget { edits: bounds.edits, commands: bounds.commands, faults: bounds.faults };
    let first = start(&mut setting, bounds.start, budget);
    let mut numbers: FxHashMap<State, u32> = FxHashMap::default();
    let mut states = vec![(first, u32::MAX)];
    numbers.insert(first, 0);
    let mut resting = [const { None }; 4].map(|_: Option<()>| FxHashSet::<State>::default());
    let mut found = Found::default();
    let mut at = 0;
    while at < states.len() {
        let (state, _) = states[at];
        for (policy, rests) in Policy::ALL.into_iter().zip(&mut resting) {
            if let Err(violation) = comes_to_rest(&mut setting, &state, policy, rests) {
                found.note(violation, || {
                    let mut way = way(&mut setting, &states, at);
                    way.push(format!("left alone, {policy:?}"));
                    way
                });
            }
        }
        for event in events(&setting, &state) {
            match after(&mut setting, &state, event) {
                Ok(None) => {}
                Ok(Some(next)) => {
                    found.transitions += 1;
                    if let (Some(from), Some(to)) = (setting.phase(&state), setting.phase(&next))
                        && from != to
                    {
                        found.followed.insert((from, to));
                    }
                    let number = u32::try_from(states.len()).unwrap_or(u32::MAX);
                    numbers.entry(next).or_insert_with(|| {
                        states.push((next, u32::try_from(at).unwrap_or(u32::MAX)));
                        number
                    });
                }
                Err(violation) => found.note(violation, || {
                    let mut way = way(&mut setting, &states, at);
                    way.push(format!("{event:?}"));
                    way
                }),
            }
        }
        if first_only && !found.violations.is_empty() {
            break;
        }
        at += 1;
    }
    found.states = states.len();
    found
}

impl Found {
    fn note(&mut self, violation: Violation, way: impl FnOnce() -> Vec<String>) {
        if !self.violations.iter().any(|(known, _)| *known == violation) {
            self.violations.push((violation, way()));
        }
    }
}

fn comes_to_rest(
    setting: &mut Setting,
    from: &State,
    policy: Policy,
    rests: &mut FxHashSet<State>,
) -> Result<(), Violation> {
    let mut path = Vec::new();
    let mut on_path = FxHashSet::default();
    let mut state = *from;
    let result = loop {
        if rests.contains(&state) {
            break Ok(());
        }
        if !on_path.insert(state) {
            break Err("I5: no rest: it goes round in circles");
        }
        path.push(state);
        match quiet(setting, &state, policy) {
            Ok(Some(next)) => state = next,
            Ok(None) => break Ok(()),
            Err(violation) => break Err(violation),
        }
    };
    rests.extend(path);
    result
}

/// The events that led to a state, each with the phase that it led to.
fn way(setting: &mut Setting, states: &[(State, u32)], to: usize) -> Vec<String> {
    let mut way = Vec::new();
    let mut at = to;
    while states[at].1 != u32::MAX {
        let from = states[at].1 as usize;
        let (before, next) = (states[from].0, states[at].0);
        let event =
            events(setting, &before).into_iter().find(|&event| after(setting, &before, event) == Ok(Some(next)));
        let phase = setting.phase(&next);
        way.push(match event {
            Some(Event::Decide) => format!("Decide → {phase:?} {:?}", next.pending.map(|p| p.step)),
            Some(event) => format!("{event:?}"),
            None => "?".to_owned(),
        });
        at = from;
    }
    way.reverse();
    way
}
