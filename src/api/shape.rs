//! Checks the shape of a manifest against the schema that Kubernetes would check it with: unknown fields, missing ones, wrong types,
//! wrong words, numbers out of range, one-ofs. All problems at once.
//!
//! What is wrong is mended in place with a harmless value, so that the second look (`parse`, on the typed form) can still find everything
//! else; what it then says of a mended path is left out.

use std::sync::OnceLock;

use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::names;
use super::problem::Problem;
use super::spec::BlueGreenSite;
use super::yaml::join;

/// What a look at the shape found.
#[derive(Debug, Default)]
pub struct Found {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The paths that were mended.
    pub mended: Vec<String>,
}

impl Found {
    /// Whether something at, below or above `path` was mended: what is said of it then is about our own value.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        let below = |path: &str, top: &str| {
            path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.mended.iter().any(|mended| below(path, mended) || below(mended, path))
    }

    fn wrong(&mut self, path: &str, message: String) {
        self.problems.push(Problem::new(path, message));
        self.mended.push(path.to_owned());
    }
}

/// Checks a manifest and mends it in place.
#[must_use]
pub fn check(manifest: &mut Value) -> Found {
    let mut found = Found::default();
    if let Value::Object(map) = manifest {
        // Written by tools that read a site and apply it again; nobody here looks at it.
        map.remove("status");
    }
    visit(schema(), manifest, "", &mut found);
    found
}

/// The schema of a whole manifest: that of the CRD, with the parts that Kubernetes adds.
fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let crd = serde_json::to_value(BlueGreenSite::crd()).unwrap_or_default();
        let mut schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
        let mut metadata = json!({
            "type": "object",
            "description": "The name of the site, as in {name: shop}.",
            "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "namespace": {"type": "string"},
                "labels": texts,
                "annotations": texts,
            },
        });
        for field in [
            "uid",
            "generation",
            "resourceVersion",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "finalizers",
            "ownerReferences",
            "managedFields",
            "generateName",
            "selfLink",
        ] {
            metadata["properties"][field] = json!({"x-kubernetes-preserve-unknown-fields": true});
        }
        schema["properties"]["metadata"] = metadata;
        schema["properties"]["apiVersion"] = json!({"type": "string", "enum": [names::API_VERSION]});
        schema["properties"]["kind"] = json!({"type": "string", "enum": [names::KIND]});
        schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
        schema
    })
}

fn visit(schema: &Value, value: &mut Value, path: &str, found: &mut Found) {
    let wanted = schema["type"].as_str().unwrap_or("any");
    let fits = match (wanted, &*value) {
        ("object", Value::Object(_))
        | ("array", Value::Array(_))
        | ("string", Value::String(_))
        | ("boolean", Value::Bool(_))
        | ("any", _) => true,
        ("integer", Value::Number(number)) => number.is_i64(),
        _ => false,
    };
    if !fits {
        found.wrong(path, format!("{}, and {} is wanted{}", describe(value), noun(schema), hint(wanted, value)));
        *value = sample(schema);
        return;
    }
    match value {
        Value::Object(map) => object(schema, map, path, found),
        Value::Array(items) => list(schema, items, path, found),
        Value::String(text) => {
            if let Some(words) = schema["enum"].as_array() {
                let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
                if !words.contains(&text.as_str()) {
                    let message = match words[..] {
                        [only] => format!("{text:?} is not {only}"),
                        _ => format!("{text:?} is none of {}{}", words.join(", "), meant(text, &words)),
                    };
                    found.wrong(path, message);
                    *text = words.first().copied().unwrap_or_default().to_owned();
                }
            }
        }
        Value::Number(number) => {
            let low = schema["minimum"].as_f64().unwrap_or(f64::MIN);
            let high = schema["maximum"].as_f64().unwrap_or(f64::MAX);
            if number.as_f64().is_some_and(|is| is < low || is > high) {
                found.wrong(path, format!("{number} is out of range: {} is wanted", noun(schema)));
                *value = sample(schema);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn object(schema: &Value, map: &mut Map<String, Value>, path: &str, found: &mut Found) {
    if schema["x-kubernetes-preserve-unknown-fields"] == json!(true) {
        return;
    }
    if schema["additionalProperties"].is_object() {
        for (key, value) in map.iter_mut() {
            visit(&schema["additionalProperties"], value, &join(path, key), found);
        }
        if schema["maxProperties"].as_u64().is_some_and(|most| map.len() as u64 > most) {
            found.wrong(path, format!("{} entries; at most {} are taken", map.len(), schema["maxProperties"]));
        }
        return;
    }
    let empty = Map::new();
    let fields = schema["properties"].as_object().unwrap_or(&empty);
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    let unknown: Vec<String> = map.keys().filter(|key| !fields.contains_key(*key)).cloned().collect();
    for key in unknown {
        let known = if names.is_empty() {
            "it has no fields".to_owned()
        } else {
            format!("its fields are {}", names.join(", "))
        };
        let advice = match meant(&key, &names) {
            none if none.is_empty() => format!("; {known}"),
            meant => meant,
        };
        found.problems.push(Problem::new(join(path, &key), format!("there is no such field{advice}")));
        // Whatever it was meant to be is missing now, and that is not a second mistake.
        if let Some(meant) = closest(&key, &names).filter(|meant| !map.contains_key(*meant)) {
            found.mended.push(join(path, meant));
            if let Some(value) = map.remove(&key) {
                map.insert(meant.to_owned(), value);
            }
        }
        map.remove(&key);
    }
    let moved = found.mended.len();
    one_of(schema, map, path, found);
    for key in strings(&schema["required"]) {
        if map.get(key).is_none_or(Value::is_null) {
            if !found.mended.contains(&join(path, key)) {
                found.wrong(&join(path, key), format!("is missing: {}", missing(&fields[key])));
            }
            map.insert(key.to_owned(), sample(&fields[key]));
        }
    }
    // As in Kubernetes: nothing said is nothing said.
    map.retain(|_, value| !value.is_null());
    for (key, value) in map.iter_mut() {
        let path = join(path, key);
        // What we put there ourselves needs no judge.
        let ours = found.mended[moved..].contains(&path);
        if let Some(field) = fields.get(key).filter(|_| !ours) {
            visit(field, value, &path, found);
        }
    }
}

/// A one-of is a list of alternatives that each require one field.
fn one_of(schema: &Value, map: &mut Map<String, Value>, path: &str, found: &mut Found) {
    let Some(alternatives) = schema["oneOf"].as_array() else {
        return;
    };
    let names: Vec<&str> = alternatives.iter().filter_map(|one| one["required"][0].as_str()).collect();
    let given: Vec<&str> = names.iter().copied().filter(|name| map.contains_key(*name)).collect();
    match given[..] {
        [one] => {
            if map.get(one).is_some_and(Value::is_null) {
                found.wrong(&join(path, one), format!("says nothing: write '{one}: {{}}' if there is nothing to say"));
                map.insert(one.to_owned(), sample(&schema["properties"][one]));
            }
        }
        [] => {
            let Some(first) = names.first() else { return };
            found.wrong(path, format!("needs {}", one_of_words(&names)));
            found.mended.push(join(path, first));
            map.insert((*first).to_owned(), sample(&schema["properties"][*first]));
        }
        [first, ..] => {
            found.wrong(path, format!("has {}; it needs {}", given.join(" and "), one_of_words(&names)));
            map.retain(|key, _| key == first || !names.contains(&key.as_str()));
        }
    }
}

fn one_of_words(names: &[&str]) -> String {
    match names {
        [only] => format!("the field {only}"),
        several => format!("exactly one of {}", several.join(", ")),
    }
}

fn list(schema: &Value, items: &mut [Value], path: &str, found: &mut Found) {
    let length = items.len() as u64;
    if schema["minItems"].as_u64().is_some_and(|least| length < least) {
        found.wrong(path, format!("is empty; it needs at least {}", schema["minItems"]));
    }
    if schema["maxItems"].as_u64().is_some_and(|most| length > most) {
        found.wrong(path, format!("has {length} entries; at most {} are taken", schema["maxItems"]));
    }
    for (index, item) in items.iter_mut().enumerate() {
        visit(&schema["items"], item, &format!("{path}[{index}]"), found);
    }
}

/// A harmless value of this schema.
fn sample(schema: &Value) -> Value {
    if !schema["default"].is_null() {
        return schema["default"].clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let mut map = Map::new();
            let first = schema["oneOf"][0]["required"][0].as_str();
            for key in strings(&schema["required"]).chain(first) {
                map.insert(key.to_owned(), sample(&schema["properties"][key]));
            }
            Value::Object(map)
        }
        Some("array") => json!([]),
        Some("integer") => json!(schema["minimum"].as_f64().map_or(0, |low| low as i64)),
        Some("boolean") => json!(false),
        Some("string") => schema["enum"].get(0).cloned().unwrap_or_else(|| json!("")),
        _ => Value::Null,
    }
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// What a missing field is, in the words of its description.
fn missing(schema: &Value) -> String {
    if let Some([only]) = schema["enum"].as_array().map(Vec::as_slice) {
        return format!("write {}", only.as_str().unwrap_or_default());
    }
    match schema["description"].as_str().and_then(|text| text.split(['.', '\n']).next()) {
        Some(text) if !text.is_empty() => lower_first(text),
        _ => format!("{} is wanted", noun(schema)),
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn noun(schema: &Value) -> String {
    match schema["type"].as_str() {
        Some("object") => {
            let mut names: Vec<&str> =
                schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
            names.truncate(4);
            if names.is_empty() { "a map".to_owned() } else { format!("a map ({}: …)", names.join(": …, ")) }
        }
        Some("array") => "a list".to_owned(),
        Some("integer") => match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
            (Some(low), Some(high)) => format!("a whole number from {low} to {high}"),
            (Some(low), None) => format!("a whole number from {low}"),
            _ => "a whole number".to_owned(),
        },
        Some("boolean") => "true or false".to_owned(),
        Some("string") => match schema["enum"].as_array() {
            Some(words) => format!("one of {}", words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")),
            None => "a text".to_owned(),
        },
        _ => "something else".to_owned(),
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "there is nothing here".to_owned(),
        Value::Bool(is) => format!("{is} is a yes or no"),
        Value::Number(number) => format!("{number} is a number"),
        Value::String(text) => format!("{text:?} is a text"),
        Value::Array(_) => "this is a list".to_owned(),
        Value::Object(_) => "this is a map".to_owned(),
    }
}

fn hint(wanted: &str, value: &Value) -> String {
    match (wanted, value) {
        ("string", Value::Number(_) | Value::Bool(_)) => format!(": put it into quotes, \"{value}\""),
        ("integer", Value::String(text)) if text.parse::<i64>().is_ok() => format!(": write {text} without quotes"),
        ("array", Value::String(_) | Value::Number(_)) => format!(": write [{value}]"),
        _ => String::new(),
    }
}

fn meant(text: &str, words: &[&str]) -> String {
    closest(text, words).map_or_else(String::new, |word| format!("; did you mean {word}?"))
}

/// The word that `text` was probably meant to be.
fn closest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace(['-', '_'], "");
    words
        .iter()
        .map(|word| (strsim::damerau_levenshtein(&plain(text), &plain(word)), *word))
        .filter(|(distance, word)| *distance <= 1 + word.len() / 5)
        .min()
        .map(|(_, word)| word)
}
