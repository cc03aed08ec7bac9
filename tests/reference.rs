//! The reference in `docs/reference`, made of the program and the schema themselves; `UPDATE=1` rewrites it. And that every metric is explained.

use std::fmt::Write;
use std::path::Path;

use bluegreen::api::spec::BlueGreenSite;
use bluegreen::cli::Cli;
use clap::CommandFactory;
use kube::CustomResourceExt;
use serde_json::Value;

fn assert_generated(file: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the repository can be written to");
        std::fs::write(&path, now).expect("the repository can be written to");
    }
    let then = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(then == now, "{} is out of date: run `UPDATE=1 cargo test --test reference`", path.display());
}

#[test]
fn the_reference_of_the_command_line_is_that_of_the_program() {
    let mut page =
        "# The command line\n\nGenerated from the program; `UPDATE=1 cargo test --test reference` rewrites it.\n"
            .to_owned();
    let mut root = Cli::command();
    root.build();
    describe(&mut root, "bluegreen", &mut page);
    assert_generated("cli.md", &page);
}

fn describe(command: &mut clap::Command, name: &str, page: &mut String) {
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    write!(page, "\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n").trim_end()).expect("a string takes it");
    for sub in command.get_subcommands_mut() {
        let name = format!("{name} {}", sub.get_name());
        describe(sub, &name, page);
    }
}

#[test]
fn the_reference_of_a_site_is_that_of_the_schema() {
    let crd = serde_json::to_value(BlueGreenSite::crd()).expect("plain data");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut page = "# A site\n\nGenerated from the schema; `UPDATE=1 cargo test --test reference` rewrites it. A field without a default that is \
                    not marked as needed may be left out.\n\n| field | type | default | what it is |\n|---|---|---|---|\n"
        .to_owned();
    fields(schema, "spec", &mut page);
    page += "\n## Rules across fields\n\n";
    rules(schema, "spec", &mut page);
    assert_generated("site.md", &page);
}

fn fields(schema: &Value, path: &str, page: &mut String) {
    let needed = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let default = match &field["default"] {
            Value::Null if needed(name) => "needed".to_owned(),
            Value::Null | Value::Object(_) => String::new(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        let what = field["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        writeln!(page, "| `{path}` | {} | {default} | {what} |", kind(field)).expect("a string takes it");
        // Kubernetes' own type, with its own reference.
        if name == "template" {
            continue;
        }
        fields(field, &path, page);
        if field["items"]["properties"].is_object() {
            fields(&field["items"], &format!("{path}[]"), page);
        }
    }
}

fn kind(field: &Value) -> String {
    if let Some(words) = field["enum"].as_array() {
        return words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ");
    }
    match field["type"].as_str() {
        Some("array") => format!("list of {}", kind(&field["items"])),
        Some("integer") => format!("{} to {}", field["minimum"], field["maximum"]).replace(".0", ""),
        Some("boolean") => "true or false".to_owned(),
        _ if field["x-kubernetes-int-or-string"] == true => "number or text".to_owned(),
        Some("string") if field["pattern"] == bluegreen::api::span::PATTERN => "span".to_owned(),
        Some("string") => "text".to_owned(),
        Some("object") if field["additionalProperties"].is_object() => "map of texts".to_owned(),
        _ => "map".to_owned(),
    }
}

fn rules(schema: &Value, path: &str, page: &mut String) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        writeln!(page, "- `{path}`: {}.", rule["message"].as_str().unwrap_or_default()).expect("a string takes it");
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        rules(field, &format!("{path}.{name}"), page);
    }
}

/// What both programs count is named where it is registered, and only there.
#[test]
fn every_metric_is_on_the_page_of_metrics_and_no_other() {
    let read =
        |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is there");
    let page = read("docs/metrics.md");
    let (operator, agent) = page.split_once("\n## The agent of a host\n").expect("it has two parts");
    let registered = regex::Regex::new(r#"register\(\s*"([a-z_]+)""#).expect("an expression");
    let explained = regex::Regex::new(r"\n\| `bluegreen_([a-z_]+)`").expect("an expression");
    let of_agent = ["src/driver/agent/metrics.rs", "src/driver/agent/git/metrics.rs"];
    for (part, files) in [(operator, &["src/driver/operator/metrics.rs"][..]), (agent, &of_agent)] {
        let source: String = files.iter().map(|file| read(file)).collect();
        let names = |text: &str, by: &regex::Regex| {
            let all = by.captures_iter(text).map(|one| one[1].trim_end_matches("_total").to_owned());
            all.collect::<std::collections::BTreeSet<String>>()
        };
        let counted = names(&source, &registered);
        assert!(counted.len() >= 12, "{counted:?}");
        assert_eq!(counted, names(part, &explained), "registered on the left, explained on the right: {files:?}");
    }
}

/// The folder of each layer and those that it uses are a column of ARCHITECTURE.md.
#[test]
fn each_layer_uses_those_that_the_architecture_says_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("it is there");
    let said: Vec<(&str, Vec<&str>)> = page
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.strip_prefix("| `src/")?.split('|').collect();
            let [layer, .., uses, _] = cells[..] else { return None };
            let uses = uses.split('`').skip(1).step_by(2).collect();
            Some((layer.trim().trim_end_matches('`'), uses))
        })
        .collect();
    assert_eq!(said.len(), 7, "{said:?}");
    for (layer, uses) in &said {
        let mut text = String::new();
        read_all(&root.join("src").join(layer), &mut text);
        for (other, _) in &said {
            let used = text.contains(&format!("crate::{other}::"));
            assert_eq!(used, layer == other && used || uses.contains(other), "whether {layer} uses {other}");
        }
    }
}

fn read_all(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            *text += &std::fs::read_to_string(&path).expect("text");
        }
    }
}
