//! The settings in force: of each name the last that was said, and who said it.

use std::collections::BTreeMap;

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

    /// The text with `${name}` and `${name:otherwise}` replaced; `None`: one of them stands for something that can't be seen from here.
    #[must_use]
    pub fn resolved(&self, text: &str) -> Option<String> {
        self.resolve(text, 0)
    }

    fn resolve(&self, text: &str, depth: u8) -> Option<String> {
        if depth > 16 {
            return None;
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some(begin) = rest.find("${") {
            out.push_str(&rest[..begin]);
            let inner = &rest[begin + 2..];
            let end = closing(inner)?;
            let (name, otherwise) = match inner[..end].split_once(':') {
                Some((name, otherwise)) => (name, Some(otherwise)),
                None => (&inner[..end], None),
            };
            let name = self.resolve(name, depth + 1)?;
            let value = match (self.get(&name), otherwise) {
                (Some(setting), _) => self.resolve(&setting.value, depth + 1)?,
                (None, Some(otherwise)) => self.resolve(otherwise, depth + 1)?,
                (None, None) => return None,
            };
            out.push_str(&value);
            rest = &inner[end + 1..];
        }
        out.push_str(rest);
        Some(out)
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

/// A name without what makes no difference.
#[must_use]
pub fn squeezed(key: &str) -> String {
    key.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
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
