//! What `bluegreen doctor` says of the repository: from what the agent wrote down, so that it works while the agent doesn't.

use jiff::Timestamp;

use super::state::Remembered;
use crate::driver::agent::config::AgentConfig;
use crate::platform::host::audit::{Finding, Severity};
use crate::platform::host::store;

/// Whatever the interval, a server may be away for so long without being told of, in seconds.
const PATIENCE: u64 = 3600;

/// What is wrong with the repository that the configuration names.
#[must_use]
pub fn findings(config: &AgentConfig, now: Timestamp) -> Vec<Finding> {
    let Some(git) = &config.git else { return Vec::new() };
    let file = Remembered::file(&config.state_dir);
    let remembered: Remembered = store::read(&file, store::LIMIT).ok().flatten().unwrap_or_default();
    let find = |severity, reason, what: String, fix: &str| Finding {
        severity,
        reason,
        what,
        place: git.url.to_string(),
        fix: fix.to_owned(),
    };
    let mut found = Vec::new();
    if let Some(refused) = &remembered.refused {
        let what = format!("its newest commit is not applied: {}", refused.lines().next().unwrap_or_default());
        found.push(find(Severity::High, "CommitRefused", what, "correct the file that it names, commit and push"));
    }
    let most = PATIENCE.max(git.interval.as_secs().saturating_mul(5));
    let silent = remembered.fetched.map(|last| now.duration_since(last).unsigned_abs().as_secs());
    if silent.is_none_or(|silent| silent > most) {
        let what = match remembered.fetched {
            Some(last) => format!("it was last read at {last:.0}: what was pushed there since did not arrive"),
            None => "it was never read: what is pushed there does not arrive".to_owned(),
        };
        found.push(find(
            Severity::High,
            "GitNotFetched",
            what,
            "see why with: journalctl -u bluegreen | grep repository",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::agent::git::config::GitConfig;

    #[test]
    fn a_repository_that_is_silent_or_whose_commit_is_refused_is_found_and_no_other() {
        let state = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(state.path().join("git")).expect("made");
        let git = GitConfig::of("https://h/x".parse().expect("a url"));
        let mut config =
            AgentConfig { state_dir: state.path().to_owned(), git: Some(git.clone()), ..AgentConfig::default() };
        let now = Timestamp::now();
        let reasons = |config: &AgentConfig| findings(config, now).iter().map(|one| one.reason).collect::<Vec<_>>();
        assert_eq!(reasons(&config), ["GitNotFetched"], "it was never read");
        let mut remembered = Remembered::load(state.path(), &git).expect("loads");
        remembered.fetched = Some(now);
        remembered.save(state.path()).expect("saved");
        assert!(reasons(&config).is_empty());
        remembered.fetched = Some(now - jiff::SignedDuration::from_hours(2));
        remembered.refused = Some("sites/shop.yaml: line 3".to_owned());
        remembered.save(state.path()).expect("saved");
        assert_eq!(reasons(&config), ["CommitRefused", "GitNotFetched"]);
        config.git = None;
        assert!(reasons(&config).is_empty());
    }
}
