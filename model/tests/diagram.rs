//! The diagram of the phases is drawn from what the search saw, so that it can't go stale. `UPDATE=1` draws it anew.

use std::fmt::Write;

use bluegreen_model::rollout::{Promotion, Rules};
use bluegreen_model::search::{Bounds, search};
use bluegreen_model::step::Start;

#[test]
fn the_diagram_of_the_phases_shows_what_the_search_saw() {
    let mut followed = std::collections::BTreeSet::new();
    for promotion in [Promotion::Automatic, Promotion::Manual] {
        let bounds = Bounds { promotion, start: Start::One, edits: 1, commands: 1, faults: 0, preparation: true };
        followed.extend(search(bounds, Rules::ALL, false).followed);
    }
    let mut drawn = String::from(
        "# The phases of a rollout\n\n\
         Drawn by the search in `model` from every state that one edit and one command can lead to, without faults. `UPDATE=1 cargo test -p\n\
         bluegreen-model --test diagram` draws it anew. What each phase waits for stands in `src/rollout/status.rs`.\n\n\
         ```mermaid\nstateDiagram-v2\n    [*] --> Preparing\n",
    );
    for (from, to) in followed {
        writeln!(drawn, "    {from:?} --> {to:?}").unwrap();
    }
    drawn.push_str("    Gone --> [*]\n```\n");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/phases.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == drawn, "docs/phases.md is not what the search saw: run with UPDATE=1");
}
