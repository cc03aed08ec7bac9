//! The health check and the actions, run by the real Argo CD from the settings that we tell people to use. Its production machine for Lua lacks
//! libraries that a test machine has; this is the production one.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use bluegreen::api::command;
use bluegreen::api::names::{API_VERSION, KIND};
use bluegreen::api::spec::BlueGreenSite;
use bluegreen::rollout::{Attempt, Revision, Verb, VerbKind};
use bluegreen_rig::cluster::tools;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::{documents, file, read, succeeded};

fn folder() -> PathBuf {
    file("deploy/argocd/resource_customizations/bluegreen.dev/BlueGreenSite")
}

/// Runs `argocd admin settings resource-overrides …` with our settings.
pub fn argocd(arguments: &[&str]) -> Output {
    let own = TempDir::new().unwrap();
    let mut command = Command::new(tools::argocd().unwrap());
    command.args(["admin", "settings", "resource-overrides"]).args(arguments);
    command.arg("--argocd-cm-path").arg(file("deploy/argocd/argocd-cm.yaml"));
    command.env("HOME", own.path()).env("XDG_CONFIG_HOME", own.path()).env("TMPDIR", own.path());
    // It shows what an action changed with a program of one's choice: ours prints the new object whole. `diff` would end with 1.
    command.env("KUBECTL_EXTERNAL_DIFF", "sh -c 'cat \"$2\"' show");
    command.env_remove("KUBECONFIG");
    command.output().unwrap()
}

fn tests(file: &str, kind: &str) -> Vec<Value> {
    read(&folder().join(file))[0][kind].as_array().unwrap().clone()
}

fn input(folder: &std::path::Path, test: &Value) -> PathBuf {
    folder.join(test["inputPath"].as_str().unwrap())
}

#[test]
fn argo_cd_judges_each_state_of_a_site_as_we_say() {
    let all = tests("health_test.yaml", "tests");
    assert!(all.len() >= 11);
    for test in all {
        let path = input(&folder(), &test);
        let said = succeeded(&argocd(&["health", path.to_str().unwrap()]), &path.display().to_string());
        let status = test["healthStatus"]["status"].as_str().unwrap();
        let message = test["healthStatus"]["message"].as_str().unwrap();
        assert_eq!(said.trim_end(), format!("STATUS: {status}\nMESSAGE: {message}"), "{}", path.display());
    }
}

#[test]
fn each_state_offers_the_actions_that_make_sense_in_it() {
    let folder = folder().join("actions");
    for test in tests("actions/action_test.yaml", "discoveryTests") {
        let path = input(&folder, &test);
        let said = succeeded(&argocd(&["list-actions", path.to_str().unwrap()]), &path.display().to_string());
        let mut offered: Vec<(String, bool)> = said
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(char::is_whitespace))
            .map(|(name, disabled)| (name.to_owned(), disabled.trim() == "true"))
            .collect();
        let mut expected: Vec<(String, bool)> = (test["result"].as_array().unwrap().iter())
            .map(|action| (action["name"].as_str().unwrap().to_owned(), action["disabled"].as_bool().unwrap()))
            .collect();
        offered.sort();
        expected.sort();
        assert_eq!(offered, expected, "{}", path.display());
    }
}

#[test]
fn an_action_sets_one_annotation_and_changes_nothing_else() {
    let folder = folder().join("actions");
    let mut seen = std::collections::BTreeSet::new();
    for test in tests("actions/action_test.yaml", "actionTests") {
        let (path, action) = (input(&folder, &test), test["action"].as_str().unwrap());
        let parameters: Vec<String> = (test["parameters"].as_object().into_iter().flatten())
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap()))
            .collect();
        let mut arguments = vec!["run-action", path.to_str().unwrap(), action];
        for parameter in &parameters {
            arguments.extend(["--param", parameter]);
        }
        let output = argocd(&arguments);
        let what = format!("{action} of {} with {parameters:?}", path.display());
        if let Some(error) = test["expectedErrorMessage"].as_str() {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && said.contains(error), "{what}: {said}");
            continue;
        }
        let said = succeeded(&output, &what);
        let (_, object) = said.split_once("have been changed:").unwrap_or_else(|| panic!("{what}: {said}"));
        let expected = &read(&folder.join(test["expectedOutputPath"].as_str().unwrap()))[0];
        assert_eq!(&documents(object)[0], expected, "{what}");
        let mut before = read(&path)[0].clone();
        let mut after = expected.clone();
        let annotations = after["metadata"]["annotations"].as_object().unwrap().clone();
        assert_eq!(annotations.len(), 1, "{what}");
        for it in [&mut before, &mut after] {
            it["metadata"].as_object_mut().unwrap().remove("annotations");
        }
        assert_eq!(before, after, "{what}");
        seen.insert(action.to_owned());
    }
    assert_eq!(seen.len(), 7, "{seen:?}");
}

#[test]
fn what_an_action_writes_is_read_by_the_operator_as_what_was_meant() {
    let (live, old) = ("8a7b6c5d4e3f20111a2b3c4d5e6f7081", "1f2e3d4c5b6a79880f1e2d3c4b5a6978");
    let revision = |text: &str| text.parse::<Revision>().unwrap();
    for (file, kind, verb, number) in [
        ("awaiting_approve.yaml", VerbKind::Approve, Verb::Approve, 1),
        ("starting_abort.yaml", VerbKind::Abort, Verb::Abort, 1),
        ("rejected_retry.yaml", VerbKind::Retry, Verb::Retry, 2),
        ("healthy_rollback.yaml", VerbKind::Rollback, Verb::Rollback(revision(old)), 1),
        ("starting_pause.yaml", VerbKind::Pause, Verb::Pause, 1),
        ("paused_resume.yaml", VerbKind::Resume, Verb::Resume, 1),
    ] {
        let object = &read(&folder().join("actions/testdata").join(file))[0];
        let text = object["metadata"]["annotations"][command::annotation(kind)].as_str().unwrap();
        let command = command::parse(kind, text).unwrap();
        assert_eq!(command.verb, verb, "{file}");
        assert_eq!(command.about, Attempt { revision: revision(live), number }, "{file}");
        assert_eq!(command.id, "48151", "{file}: another state of the object is another command");
    }
}

#[test]
fn what_the_scripts_are_tested_with_has_the_form_of_a_real_site() {
    let mut count = 0;
    for folder in [folder().join("testdata"), folder().join("actions/testdata")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let object = read(&path)[0].clone();
            let site: BlueGreenSite =
                serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let status = site.status.map(|status| serde_json::to_value(status).unwrap());
            // Also without a null where nothing is: Lua has none, so an action would take it out, and write the status.
            assert_eq!(json!(status), object["status"], "{}", path.display());
            assert_eq!((&object["apiVersion"], &object["kind"]), (&json!(API_VERSION), &json!(KIND)));
            count += 1;
        }
    }
    assert!(count > 20, "there are {count}");
}

#[test]
fn the_scripts_do_without_the_libraries_that_argo_cd_withholds() {
    let mut waiting = vec![folder()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "lua") {
                let text = fs::read_to_string(&path).unwrap();
                for library in ["string.", "math.", "io.", "debug.", "coroutine.", ":sub(", ":match(", ":format("] {
                    assert!(!text.contains(library), "{} uses {library}", path.display());
                }
            }
        }
    }
}
