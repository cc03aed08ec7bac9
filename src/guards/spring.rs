//! The settings of a Spring app that are in force: which files, variables, options and arguments it reads, in which order, and which of them wins.
//!
//! From the weakest to the strongest, as Spring Boot 2.4 and later do it: `application` files inside the jar or war, beside it (the app's
//! working folder), outside (`configFiles`), in each place first those of no profile and then those of the active ones; variables;
//! `-D` options; `SPRING_APPLICATION_JSON`; arguments.

use super::files::{self, Document, Unreadable};
use super::profiles::holds;
use super::settings::Settings;

/// Where an app looks for its files, the weakest first. Each is a place to [`Sources::read`] from.
const PLACES: &[&str] = &["classpath:", "classpath:config/", "file:", "file:config/", "outside:"];
/// Of files of one name in one place the last wins.
const ENDINGS: &[&str] = &["yaml", "yml", "properties"];
/// A file that names others, which name others: no further than this.
const DEEPEST: u8 = 5;
/// So many files are read, and so many more names are tried: more than any app has, and what nobody gets to the end of is not judged as harmless.
const MOST_FILES: usize = 64;
const MOST_NAMES: usize = 4096;
/// So many profiles.
const MOST_PROFILES: usize = 64;
/// Variables that hold options of the virtual machine.
const OPTIONS: &[&str] = &["JDK_JAVA_OPTIONS", "JAVA_OPTS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS"];

/// A file that an app reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, for people.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// What an app is given.
pub struct Sources<'a> {
    /// The file of this name, if there is one: `classpath:NAME` inside the jar, `file:NAME` in the working folder, `outside:NAME` in the folder of
    /// configuration files.
    pub read: &'a dyn Fn(&str) -> Option<File>,
    /// Its variables.
    pub env: &'a [(String, String)],
    /// Options of its virtual machine.
    pub jvm: &'a [String],
    /// Its arguments.
    pub arguments: &'a [String],
}

/// What was found.
#[derive(Debug, Default)]
pub struct Effective {
    /// The settings in force.
    pub settings: Settings,
    /// The active profiles, the weakest first.
    pub profiles: Vec<String>,
    /// What the app reads too, and nobody could look at: for people.
    pub unseen: Vec<String>,
}

/// A file that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}, {source}")]
pub struct Broken {
    /// Which.
    pub name: String,
    /// Where, and what is wrong.
    pub source: Unreadable,
}

/// Reads the settings in force.
///
/// # Errors
/// A file that the app would read is [`Broken`].
pub fn effective(sources: &Sources<'_>) -> Result<Effective, Broken> {
    // First without profiles: they are themselves settings, but never in a document that depends on them.
    let first = Reading::of(sources, None).all()?;
    let profiles = active(&first.settings);
    if profiles.len() > MOST_PROFILES {
        let source = Unreadable { line: 1, what: "more profiles are active than any app has" };
        return Err(Broken { name: "spring.profiles.active".to_owned(), source });
    }
    Reading::of(sources, Some(profiles)).all()
}

/// The active profiles, the weakest first.
fn active(settings: &Settings) -> Vec<String> {
    let mut named = settings.list("spring.profiles.include");
    named.extend(settings.list("spring.profiles.active"));
    if named.is_empty() {
        named = settings.list("spring.profiles.default");
    }
    if named.is_empty() {
        named.push("default".to_owned());
    }
    let mut all: Vec<String> = Vec::new();
    while !named.is_empty() && all.len() <= MOST_PROFILES {
        let name = named.remove(0);
        if all.contains(&name) {
            continue;
        }
        let group = settings.list(&format!("spring.profiles.group.{name}"));
        all.push(name);
        named.splice(0..0, group);
    }
    all
}

struct Reading<'a> {
    sources: &'a Sources<'a>,
    /// `None`: they are not known yet.
    profiles: Option<Vec<String>>,
    found: Effective,
    /// So many names were tried, and so many files read.
    tried: usize,
    read: usize,
}

impl<'a> Reading<'a> {
    fn of(sources: &'a Sources<'a>, profiles: Option<Vec<String>>) -> Reading<'a> {
        Reading { sources, profiles, found: Effective::default(), tried: 0, read: 0 }
    }

    fn all(mut self) -> Result<Effective, Broken> {
        let stem = self.stem();
        for place in PLACES {
            self.place(&format!("{place}{stem}"), None, 0)?;
        }
        // What Hibernate reads by itself.
        for name in ["classpath:hibernate.properties", "classpath:META-INF/persistence.xml"] {
            if let Some(file) = (self.sources.read)(name) {
                self.of_hibernate(&file);
            }
        }
        self.given();
        self.found.profiles = self.profiles.take().unwrap_or_default();
        Ok(self.found)
    }

    /// What the app calls its files.
    fn stem(&self) -> String {
        let mut given = Reading::of(self.sources, None);
        given.given();
        given.found.settings.value("spring.config.name").unwrap_or_else(|| "application".to_owned())
    }

    /// Reads the files of this name: of no profile, then of each active one.
    fn place(&mut self, stem: &str, ending: Option<&str>, depth: u8) -> Result<(), Broken> {
        let endings = ending.map_or(ENDINGS.to_vec(), |ending| vec![ending]);
        for ending in &endings {
            self.file(&format!("{stem}.{ending}"), depth)?;
        }
        for profile in self.profiles.clone().unwrap_or_default() {
            for ending in &endings {
                self.file(&format!("{stem}-{profile}.{ending}"), depth)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, name: &str, depth: u8) -> Result<(), Broken> {
        if !stays_inside(name) {
            self.unseen(format!("the app reads {name}, which is not looked at"));
            return Ok(());
        }
        self.tried += 1;
        let Some(file) = (self.sources.read)(name) else { return self.not_too_many(name) };
        self.read += 1;
        self.not_too_many(&file.name)?;
        let broken = |source| Broken { name: file.name.clone(), source };
        for document in files::read(name, &file.text).map_err(broken)? {
            if self.is_meant(&document) {
                for entry in &document.entries {
                    let from = format!("{}, line {}", file.name, entry.line);
                    self.found.settings.say(&entry.key, &entry.value, &from);
                }
                self.imports(&document, &file.name, depth)?;
            }
        }
        Ok(())
    }

    fn is_meant(&self, document: &Document) -> bool {
        let mut own = Settings::default();
        for entry in &document.entries {
            own.say(&entry.key, &entry.value, "");
        }
        // The second is how it was written before Spring Boot 2.4.
        let on = [own.list("spring.config.activate.on-profile"), own.list("spring.profiles")].concat();
        match &self.profiles {
            _ if on.is_empty() => true,
            None => false,
            Some(active) => on.iter().any(|one| holds(one, active)),
        }
    }

    /// What a file names to be read too; it wins over the file itself.
    fn imports(&mut self, document: &Document, by: &str, depth: u8) -> Result<(), Broken> {
        let mut own = Settings::default();
        for entry in &document.entries {
            own.say(&entry.key, &entry.value, "");
        }
        for name in own.list("spring.config.import") {
            let plain = name.strip_prefix("optional:").unwrap_or(&name);
            let place = match plain.split_once(':') {
                Some(("classpath", path)) => Some(format!("classpath:{}", path.trim_start_matches('/'))),
                Some(("file", path)) if !path.starts_with('/') => {
                    Some(format!("file:{}", path.trim_start_matches("./")))
                }
                _ => None,
            };
            let place = place.filter(|place| !place.contains("..") && depth < DEEPEST);
            match place.as_deref().and_then(|place| place.rsplit_once('.')) {
                Some((stem, ending)) if ENDINGS.contains(&ending) => self.place(stem, Some(ending), depth + 1)?,
                _ => self.unseen(format!("{by} imports {name}, which is not looked at")),
            }
        }
        Ok(())
    }

    fn unseen(&mut self, said: String) {
        if self.found.unseen.len() < MOST_FILES && !self.found.unseen.contains(&said) {
            self.found.unseen.push(said);
        }
    }

    fn not_too_many(&self, name: &str) -> Result<(), Broken> {
        if self.read <= MOST_FILES && self.tried <= MOST_NAMES {
            return Ok(());
        }
        Err(Broken {
            name: name.to_owned(),
            source: Unreadable { line: 1, what: "more files are imported than any app has" },
        })
    }

    fn of_hibernate(&mut self, file: &File) {
        if file.name.ends_with(".xml") {
            for (name, value, line) in properties_of_xml(&file.text) {
                self.found.settings.say(&name, &value, &format!("{}, line {line}", file.name));
            }
        } else if let Ok(documents) = files::read("hibernate.properties", &file.text) {
            for entry in documents.iter().flat_map(|document| &document.entries) {
                let from = format!("{}, line {}", file.name, entry.line);
                self.found.settings.say(&entry.key, &entry.value, &from);
            }
        }
    }

    /// Variables, options and arguments.
    fn given(&mut self) {
        let settings = &mut self.found.settings;
        for (name, value) in self.sources.env {
            settings.say(name, value, &format!("the variable {name}"));
        }
        let words = self.sources.env.iter().filter(|(name, _)| OPTIONS.contains(&name.as_str()));
        let words = words.flat_map(|(name, value)| value.split_whitespace().map(move |word| (word, name.as_str())));
        let options = self.sources.jvm.iter().map(|option| (option.as_str(), ""));
        for (option, by) in words.chain(options) {
            if let Some((key, value)) =
                option.trim_matches(['"', '\'']).strip_prefix("-D").and_then(|o| o.split_once('='))
            {
                let of = if by.is_empty() { String::new() } else { format!(" in the variable {by}") };
                settings.say(key, value, &format!("the option -D{key}{of}"));
            }
        }
        let arguments: Vec<(&str, &str)> = self
            .sources
            .arguments
            .iter()
            .filter_map(|argument| argument.strip_prefix("--"))
            .map(|argument| argument.split_once('=').unwrap_or((argument, "")))
            .collect();
        let json = arguments.iter().find(|(key, _)| *key == "spring.application.json").map(|(_, value)| *value);
        let json = json.map(str::to_owned).or_else(|| settings.get("spring.application.json").map(|s| s.value.clone()));
        for (key, value) in json.iter().flat_map(|json| files::read_json(json)) {
            settings.say(&key, &value, "SPRING_APPLICATION_JSON");
        }
        for (key, value) in arguments {
            settings.say(key, value, &format!("the argument --{key}"));
        }
    }
}

/// Whether a name leads to something in its own place: an app may name its files as it likes, and whoever judges it reads with more rights than the
/// app has.
fn stays_inside(name: &str) -> bool {
    let path = name.split_once(':').map_or(name, |(_, path)| path);
    !path.starts_with('/') && path.split('/').all(|part| part != "..")
}

/// The properties of a `persistence.xml`, with their lines; comments left out.
fn properties_of_xml(text: &str) -> Vec<(String, String, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].find('<').map(|offset| at + offset) {
        let rest = &text[next..];
        if rest.starts_with("<!--") {
            at = rest.find("-->").map_or(text.len(), |end| next + end);
            continue;
        }
        let end = rest.find('>').unwrap_or(rest.len());
        let tag = &rest[..end];
        if tag.starts_with("<property")
            && let (Some(name), Some(value)) = (attribute(tag, "name"), attribute(tag, "value"))
        {
            found.push((name, value, text[..next].matches('\n').count() + 1));
        }
        at = next + 1;
    }
    found
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}"))?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|letter| matches!(letter, '"' | '\''))?;
    rest[1..].split(quote).next().map(str::to_owned)
}
