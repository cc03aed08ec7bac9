//! `.yml` and `.properties` files, as Spring reads them: one or more documents of settings, each setting with its line. Errors never show what a
//! file holds: it may be a secret.

use serde_json::Value;

use crate::api::yaml;

/// A part of a file: its settings, in the order in which they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The settings.
    pub entries: Vec<Entry>,
}

/// A setting in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as it was written, joined by dots.
    pub key: String,
    /// Its value, as text.
    pub value: String,
    /// Where it stands, counted from 1.
    pub line: u64,
}

/// A file is not what its name says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Unreadable {
    /// Where, counted from 1.
    pub line: u64,
    /// What is wrong there, without what stands there.
    pub what: &'static str,
}

/// Whether a file of this name is YAML.
#[must_use]
pub fn is_yaml(name: &str) -> bool {
    name.ends_with(".yml") || name.ends_with(".yaml")
}

/// Reads a file by the ending of its name.
///
/// # Errors
/// [`Unreadable`].
pub fn read(name: &str, text: &str) -> Result<Vec<Document>, Unreadable> {
    if is_yaml(name) { read_yaml(text) } else { Ok(read_properties(text)) }
}

fn read_yaml(text: &str) -> Result<Vec<Document>, Unreadable> {
    let mut documents = Vec::new();
    let mut begun = 0;
    let mut part = String::new();
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    for (index, line) in lines.iter().enumerate() {
        // At the beginning of a line it is a separator wherever it stands, also within a block of text.
        let separates = line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if separates && index > 0 {
            documents.push(read_part(&part, begun)?);
            (part, begun) = (String::new(), index);
        }
        part.push_str(line);
        part.push('\n');
    }
    documents.push(read_part(&part, begun)?);
    Ok(documents)
}

fn read_part(text: &str, lines_before: usize) -> Result<Document, Unreadable> {
    let before = u64::try_from(lines_before).unwrap_or(u64::MAX);
    let document = yaml::read(text).map_err(|problem| Unreadable {
        line: before + problem.at.map_or(1, |place| place.line),
        what: if problem.message.contains("twice") { "a key stands there twice" } else { "this is not YAML" },
    })?;
    let mut entries = Vec::new();
    let line = |path: &str| before + document.place(path).map_or(1, |place| place.line);
    match &document.value {
        Value::Object(_) => flatten(&document.value, "", &line, &mut entries),
        Value::Null => {}
        _ => {
            return Err(Unreadable {
                line: before + 1,
                what: "settings are names and values, and this is something else",
            });
        }
    }
    Ok(Document { entries })
}

fn flatten(value: &Value, path: &str, line: &impl Fn(&str) -> u64, entries: &mut Vec<Entry>) {
    let text = match value {
        Value::Object(map) => {
            for (key, value) in map {
                flatten(value, &yaml::join(path, key), line, entries);
            }
            return;
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten(item, &format!("{path}[{index}]"), line, entries);
            }
            return;
        }
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    entries.push(Entry { key: path.to_owned(), value: text, line: line(path) });
}

/// The settings of a JSON object, as `SPRING_APPLICATION_JSON` holds; none if it is no object.
#[must_use]
pub fn read_json(text: &str) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    if let Ok(value @ Value::Object(_)) = serde_json::from_str(text) {
        flatten(&value, "", &|_| 1, &mut entries);
    }
    entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

/// Nothing is wrong in this form: what has no separator is a name without a value.
fn read_properties(text: &str) -> Vec<Document> {
    let mut documents = vec![Document::default()];
    let mut number = 0_u64;
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    while let Some(line) = lines.next() {
        number += 1;
        let first = number;
        let line = line.trim_start();
        if let Some(comment) = line.strip_prefix(['#', '!']) {
            if comment.trim_end() == "---" {
                documents.push(Document::default());
            }
            continue;
        }
        let mut whole = line.to_owned();
        while ends_with_odd_backslashes(&whole) {
            whole.pop();
            let Some(next) = lines.next() else { break };
            number += 1;
            whole.push_str(next.trim_start());
        }
        if whole.trim().is_empty() {
            continue;
        }
        let (key, value) = split(&whole);
        if let Some(document) = documents.last_mut() {
            document.entries.push(Entry { key, value, line: first });
        }
    }
    documents
}

fn ends_with_odd_backslashes(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Splits at the first `=`, `:` or blank that no backslash stands before.
fn split(line: &str) -> (String, String) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, letter)| {
        let ends = !escaped && matches!(letter, '=' | ':' | ' ' | '\t' | '\u{c}');
        escaped = *letter == '\\' && !escaped;
        ends
    });
    let at = end.map_or(line.len(), |(at, _)| at);
    let (key, rest) = line.split_at(at);
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
    (unescaped(key), unescaped(value))
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = letters.by_ref().take(4).collect();
                out.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(name: &str, text: &str) -> Vec<Vec<(String, String, u64)>> {
        let documents = read(name, text).expect("it can be read");
        let plain = |document: Document| document.entries.into_iter().map(|e| (e.key, e.value, e.line)).collect();
        documents.into_iter().map(plain).collect()
    }

    fn said(key: &str, value: &str, line: u64) -> (String, String, u64) {
        (key.to_owned(), value.to_owned(), line)
    }

    #[test]
    fn yaml_is_flattened_and_each_setting_knows_its_line() {
        let text = "# head\nspring:\n  jpa:\n    hibernate.ddl-auto: none\n  list: [a, {b: 1}]\n---\nx: |\n  --- no\n  end\ny: true\n";
        assert_eq!(
            entries("a.yml", text),
            [
                vec![
                    said("spring.jpa.hibernate.ddl-auto", "none", 4),
                    said("spring.list[0]", "a", 5),
                    said("spring.list[1].b", "1", 5)
                ],
                vec![said("x", "--- no\nend\n", 7), said("y", "true", 10)]
            ]
        );
        assert_eq!(entries("a.yaml", ""), [vec![]]);
        assert_eq!(entries("a.yaml", "---\na: 1\n"), [vec![said("a", "1", 2)]]);
    }

    #[test]
    fn properties_know_three_separators_continued_lines_escapes_and_documents() {
        let text = "# c\n! c\na=1\nb : 2\nc 3\nd=x\\\n   y\ne\\=f=\\u0041\ng\n#---\nh=\\\\\n";
        assert_eq!(
            entries("a.properties", text),
            [
                vec![
                    said("a", "1", 3),
                    said("b", "2", 4),
                    said("c", "3", 5),
                    said("d", "xy", 6),
                    said("e=f", "A", 8),
                    said("g", "", 9)
                ],
                vec![said("h", "\\", 11)]
            ]
        );
    }

    #[test]
    fn what_is_not_yaml_is_said_with_its_line_and_without_what_stands_there() {
        for (text, line) in [
            ("a: 1\npassword: s3cret\n  b: [\n", 3),
            ("a: 1\n---\nb: 1\nb: s3cret\n", 4),
            ("a: *s3cret\n", 1),
            ("just s3cret\n", 1),
            ("a: 'x\ns3cret\n", 1),
        ] {
            let error = read("a.yml", text).expect_err(text);
            assert!(!error.to_string().contains("s3cret"), "{error}");
            assert!(error.line >= line && error.line <= line + 2, "{text:?}: {error}");
        }
    }
}
