//! The settings in force: of each name the last that was said, and who said it.

use std::collections::BTreeMap;

use crate::api::java::squeezed;

/// What one text may become, in bytes, and so many placeholders may stand in it and in what they stand for. Settings are whoever's who wrote the
/// app: twenty names that stand for twenty others each would otherwise fill any memory.
const LONGEST: usize = 64 << 10;
const MOST_PLACEHOLDERS: usize = 200;
const DEEPEST: u8 = 16;

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, as it was written.
    pub key: String,
    /// Its value, as it was written.
    pub value: String,
    /// Who said it, for people: a file and its line, a variable, an argument.
    pub from: String,
}

/// Settings by their names, in which case, dots, `-` and `_` make no difference: that is how Spring compares them.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    all: BTreeMap<String, Setting>,
}

impl Settings {
    /// Says a setting; it wins over what was said before.
    pub fn say(&mut self, key: &str, value: &str, from: &str) {
        let setting = Setting { key: key.to_owned(), value: value.to_owned(), from: from.to_owned() };
        self.all.insert(squeezed(key), setting);
    }

    /// The setting of this name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.all.get(&squeezed(key))
    }

    /// The value of this name, with its placeholders replaced; `None`: it isn't set, or what it stands for can't be seen.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<String> {
        self.get(key).and_then(|setting| self.resolved(&setting.value))
    }

    /// All names in their squeezed form, with their settings.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.all.iter().map(|(key, setting)| (key.as_str(), setting))
    }

    /// The values of a list: `a,b` under the name itself, or each under its number.
    #[must_use]
    pub fn list(&self, key: &str) -> Vec<String> {
        let stem = squeezed(key);
        let of_it = self.all.range(stem.clone()..).take_while(|(name, _)| name.starts_with(&stem));
        let of_it = of_it.filter(|(name, _)| name[stem.len()..].bytes().all(|byte| byte.is_ascii_digit()));
        let values = of_it.filter_map(|(_, setting)| self.resolved(&setting.value));
        let split = values.flat_map(|value| value.split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>());
        split.filter(|one| !one.is_empty()).collect()
    }

    /// The text with `${name}` and `${name:otherwise}` replaced; `None`: one of them stands for something that can't be seen from here, or for more
    /// than any setting is.
    #[must_use]
    pub fn resolved(&self, text: &str) -> Option<String> {
        // What stands there itself is as long as its file, and no longer.
        if !text.contains("${") {
            return Some(text.to_owned());
        }
        self.resolve(text, 0, &mut Left { bytes: LONGEST, placeholders: MOST_PLACEHOLDERS })
    }

    fn resolve(&self, text: &str, depth: u8, left: &mut Left) -> Option<String> {
        if depth > DEEPEST {
            return None;
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some(begin) = rest.find("${") {
            left.placeholders = left.placeholders.checked_sub(1)?;
            left.write(&mut out, &rest[..begin])?;
            let inner = &rest[begin + 2..];
            let end = closing(inner)?;
            let (name, otherwise) = match inner[..end].split_once(':') {
                Some((name, otherwise)) => (name, Some(otherwise)),
                None => (&inner[..end], None),
            };
            let name = self.resolve(name, depth + 1, left)?;
            let value = match (self.get(&name), otherwise) {
                (Some(setting), _) => self.resolve(&setting.value, depth + 1, left)?,
                (None, Some(otherwise)) => self.resolve(otherwise, depth + 1, left)?,
                (None, None) => return None,
            };
            left.write(&mut out, &value)?;
            rest = &inner[end + 1..];
        }
        left.write(&mut out, rest)?;
        Some(out)
    }
}

/// What is left of the bounds of one text.
struct Left {
    bytes: usize,
    placeholders: usize,
}

impl Left {
    fn write(&mut self, out: &mut String, text: &str) -> Option<()> {
        self.bytes = self.bytes.checked_sub(text.len())?;
        out.push_str(text);
        Some(())
    }
}

/// Where the brace that was opened before `text` is closed.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_u32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_stand_for_other_settings_or_for_what_holds_otherwise() {
        let mut settings = Settings::default();
        settings.say("DDL_MODE", "update", "the variable DDL_MODE");
        settings.say("a", "${ddl.mode}", "x");
        settings.say("loop", "${loop}", "x");
        for (text, stands_for) in [
            ("none", Some("none")),
            ("${DDL_MODE}", Some("update")),
            ("${missing:none}", Some("none")),
            ("${missing:${a:x}}!", Some("update!")),
            ("${missing}", None),
            ("${loop}", None),
            ("${open", None),
            ("${missing:}", Some("")),
        ] {
            assert_eq!(settings.resolved(text).as_deref(), stands_for, "{text}");
        }
    }

    #[test]
    fn placeholders_that_would_fill_any_memory_stand_for_nothing() {
        let mut settings = Settings::default();
        for level in 1..9 {
            settings.say(&format!("a{level}"), &format!("${{a{}}}", level + 1).repeat(20), "x");
        }
        settings.say("a9", "xxxxxxxx", "x");
        settings.say("long", &"x".repeat(LONGEST), "x");
        assert_eq!(settings.resolved("${a9}").as_deref(), Some("xxxxxxxx"));
        assert_eq!(settings.resolved("${a8}").map(|text| text.len()), Some(160));
        for text in ["${a7}", "${a1}", "${long}"] {
            assert_eq!(settings.resolved(text), None, "{text}");
        }
    }

    #[test]
    fn lists_are_written_in_two_ways() {
        let mut settings = Settings::default();
        settings.say("spring.profiles.include", "a, b", "x");
        settings.say("spring.profiles.group.p[0]", "c", "x");
        settings.say("spring.profiles.group.p[1]", "d", "x");
        settings.say("spring.profiles.group.px", "e", "x");
        assert_eq!(settings.list("spring.profiles.include"), ["a", "b"]);
        assert_eq!(settings.list("spring.profiles.group.p"), ["c", "d"]);
    }
}
