//! Reads YAML into a JSON value and remembers where each part stood, so that an error can say the line. One document a file; what is
//! too big, too deep or too cleverly aliased is refused before it costs anything.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::{Error, Location, Spanned};

use super::problem::{Place, Problem};

/// The largest manifest that is read, in bytes: what Kubernetes takes as an annotation.
pub const LIMIT: usize = 256 * 1024;

/// A manifest that is YAML, whatever else it may be.
#[derive(Debug)]
pub struct Document {
    /// What it says.
    pub value: Value,
    places: BTreeMap<String, Place>,
}

impl Document {
    /// Where the part at `path` stands, or else the nearest part around it.
    #[must_use]
    pub fn place(&self, path: &str) -> Option<Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some(*place);
            }
            let end = path.rfind(['.', '['])?;
            path = &path[..end];
        }
    }
}

/// Reads one document.
///
/// # Errors
/// It isn't YAML, holds several documents, or is larger or deeper than any site is.
pub fn read(text: &str) -> Result<Document, Problem> {
    if text.len() > LIMIT {
        return Err(Problem::new("", format!("the manifest is {} bytes long; at most {LIMIT} are read", text.len())));
    }
    let budget = serde_saphyr::budget! {
        max_depth: 64,
        max_nodes: 20_000,
        max_aliases: 100,
        max_anchors: 100,
        max_documents: 1,
        max_inclusion_depth: 0,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        strict_booleans: true,
        with_snippet: false,
    };
    let tree: Spanned<Tree> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| wrong(&error, text))?;
    let mut document = Document { value: Value::Null, places: BTreeMap::new() };
    document.value = flatten(tree.value, String::new(), &mut document.places);
    Ok(document)
}

fn wrong(error: &Error, text: &str) -> Problem {
    let mut error = error.without_snippet();
    while let Error::AliasError { error: inner, .. } = error {
        error = inner.without_snippet();
    }
    let (message, at) = match error {
        Error::MultipleDocuments { location, .. } => (several(), place(location)),
        Error::Budget { location, .. } if documents(text) > 1 => (several(), place(location)),
        Error::Budget { .. } => (format!("the manifest is larger or deeper than any site is: {error}"), None),
        Error::DuplicateMappingKey { location, key, .. } => (
            format!(
                "{} stands here twice; keep one",
                key.as_deref().map_or_else(|| "a key".to_owned(), |key| format!("{key:?}"))
            ),
            place(location),
        ),
        other => {
            let at = other.location().as_ref().and_then(place);
            let text = other.to_string();
            // The place is said in front, as for every other problem.
            let text = text.split(" at line ").next().unwrap_or(&text);
            (format!("this is not YAML: {text}"), at)
        }
    };
    Problem { path: String::new(), message, at }
}

fn several() -> String {
    "a second document starts here; a file holds one site: put each into a file of its own".to_owned()
}

fn documents(text: &str) -> usize {
    1 + text.lines().skip(1).filter(|line| line.trim_end() == "---").count()
}

fn place(location: &Location) -> Option<Place> {
    (location.line() > 0).then(|| Place { line: location.line(), column: location.column() })
}

/// A value whose parts know where they stood.
#[derive(Debug)]
enum Tree {
    Leaf(Value),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

fn flatten(tree: Tree, path: String, places: &mut BTreeMap<String, Place>) -> Value {
    match tree {
        Tree::Leaf(value) => value,
        Tree::List(items) => Value::Array(
            items
                .into_iter()
                .enumerate()
                .map(|(index, item)| {
                    let path = format!("{path}[{index}]");
                    if let Some(place) = place(&item.referenced) {
                        places.insert(path.clone(), place);
                    }
                    flatten(item.value, path, places)
                })
                .collect(),
        ),
        Tree::Map(entries) => {
            let mut map = Map::new();
            for (key, item) in entries {
                let path = join(&path, &key.value);
                // A field is where its name is: that is what a person looks for.
                if let Some(place) = place(&key.referenced).or_else(|| place(&item.referenced)) {
                    places.insert(path.clone(), place);
                }
                map.insert(key.value, flatten(item.value, path, places));
            }
            Value::Object(map)
        }
    }
}

/// The path of a field.
#[must_use]
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree, E> {
        let number = serde_json::Number::from_f64(value).ok_or_else(|| E::custom("not a number that JSON can hold"))?;
        Ok(Tree::Leaf(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries: Vec<(Spanned<String>, Spanned<Tree>)> = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            if entries.iter().any(|(other, _)| other.value == key.value) {
                return Err(A::Error::custom(format!("the key {:?} stands twice in one map", key.value)));
            }
            entries.push((key, map.next_value()?));
        }
        Ok(Tree::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_knows_its_line() {
        let document = read("a:\n  b:\n    - x\n    - y: 1\n").expect("this is YAML");
        assert_eq!(document.value, serde_json::json!({"a": {"b": ["x", {"y": 1}]}}));
        let line = |path: &str| document.place(path).map(|place| (place.line, place.column));
        assert_eq!(line("a.b"), Some((2, 3)));
        assert_eq!(line("a.b[1].y"), Some((4, 7)));
        assert_eq!(line("a.b[1].missing"), line("a.b[1]"), "what isn't there is said of what is around it");
    }

    #[test]
    fn what_is_not_yaml_is_said_with_its_line() {
        let problem = read("a: 1\nb: [1, 2\nc: 3\n").expect_err("the list never ends");
        assert!(problem.at.is_some_and(|place| place.line >= 2), "{problem:?}");
        assert!(problem.message.starts_with("this is not YAML"), "{problem}");
    }

    #[test]
    fn a_key_twice_two_documents_and_a_bomb_are_refused() {
        let twice = read("a: 1\na: 2\n").expect_err("twice");
        assert!(twice.message.contains("twice"), "{twice}");
        assert_eq!(twice.at.map(|place| place.line), Some(2));
        let several = read("a: 1\n---\nb: 2\n").expect_err("two documents");
        assert!(several.message.contains("a file of its own"), "{several}");
        let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (this, last) in ["b", "c", "d", "e", "f", "g", "h"].iter().zip(["a", "b", "c", "d", "e", "f", "g"]) {
            bomb += &format!("{this}: &{this} [{}]\n", vec![format!("*{last}"); 10].join(", "));
        }
        let bomb = read(&bomb).expect_err("ten to the eighth");
        assert!(bomb.message.contains("larger or deeper"), "{bomb}");
        assert!(read(&"[".repeat(1000)).is_err());
        assert!(read(&format!("a: {}", "x".repeat(LIMIT))).is_err());
    }
}
