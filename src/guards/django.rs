//! Settings of Django that are for development only. Python is a language and not a form: what stands at the beginning of a line of the module, or
//! of one that it imports everything from, with a plain value, is seen; what is computed or set in a branch is not. Where a whole module can't be
//! seen, that is said.

use super::{Finding, Guard};
use crate::api::types;

/// The variable that names the module of settings.
pub const VARIABLE: &str = "DJANGO_SETTINGS_MODULE";

/// So many modules are read at most.
const MOST: usize = 64;

/// A file of the release.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path in the release.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// What an app of Python's is given, as far as Django looks at it.
pub struct App<'a> {
    /// Reads a file of the release.
    pub read: &'a dyn Fn(&str) -> Option<Source>,
    /// What `DJANGO_SETTINGS_MODULE` is set to, if it is.
    pub variable: Option<&'a str>,
    /// The module that the server imports, if that is known: Django's own has a name of settings in it.
    pub entry: Option<&'a str>,
}

/// What the guard says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// What must not reach production.
    pub found: Vec<Finding>,
    /// What can't be seen, for people.
    pub unseen: Vec<String>,
}

/// Judges the settings that an app would run with; nothing is said of an app that isn't Django's.
#[must_use]
pub fn judge(app: &App<'_>) -> Judged {
    let mut judged = Judged::default();
    let entry = app.entry.and_then(|entry| Module::read(app, entry));
    let named = entry.as_ref().map_or(Named::Nowhere, |entry| named(&entry.source.text));
    let module = match (&named, app.variable) {
        (Named::Set(module), _) => Some(module.as_str()),
        (_, Some(variable)) => Some(variable),
        (Named::Default(module), None) => Some(module.as_str()),
        (Named::Unclear | Named::Nowhere, None) => None,
    };
    let Some(module) = module else {
        if let Some(entry) = entry.filter(|entry| named == Named::Unclear || is_django(&entry.source.text)) {
            judged.unseen.push(format!("which module of settings {} names ({VARIABLE} says it)", entry.source.name));
        }
        return judged;
    };
    let mut values = Values::default();
    match Module::read(app, module) {
        Some(module) => values.read(app, &module, &mut judged.unseen),
        None => judged.unseen.push(format!("the module of settings {module}, of which the release has no file")),
    }
    judged.found = values.judge();
    judged
}

/// A module of the release.
struct Module {
    source: Source,
    /// The package that a relative import in it begins at.
    package: String,
}

impl Module {
    fn read(app: &App<'_>, module: &str) -> Option<Module> {
        let file = file_of(module)?;
        if let Some(source) = (app.read)(&file) {
            let package = module.rsplit_once('.').map_or("", |(package, _)| package).to_owned();
            return Some(Module { source, package });
        }
        let source = (app.read)(&file.replace(".py", "/__init__.py"))?;
        Some(Module { source, package: module.to_owned() })
    }

    /// The module that `from HERE import *` means.
    fn absolute(&self, here: &str) -> Option<String> {
        let name = here.trim_start_matches('.');
        let dots = here.len() - name.len();
        if dots == 0 {
            return Some(name.to_owned());
        }
        let mut package = self.package.as_str();
        for _ in 1..dots {
            package = package.rsplit_once('.')?.0;
        }
        match (package, name) {
            ("", name) => Some(name.to_owned()),
            (package, "") => Some(package.to_owned()),
            (package, name) => Some(format!("{package}.{name}")),
        }
    }
}

/// Where a setting was last said, and what it is. As in Python, the last one counts.
#[derive(Default)]
struct Values {
    /// The files that are being read, each imported by the one before it.
    reading: Vec<String>,
    read: usize,
    debug: Option<(String, usize, String)>,
    hosts: Option<(String, usize, String)>,
}

impl Values {
    fn read(&mut self, app: &App<'_>, module: &Module, unseen: &mut Vec<String>) {
        let name = &module.source.name;
        self.reading.push(name.clone());
        self.read += 1;
        let mut open: Option<(usize, String)> = None;
        for (index, line) in module.source.text.lines().enumerate() {
            let (code, number) = (without_comment(line), index + 1);
            if let Some((begun, mut list)) = open.take() {
                list.push_str(code);
                if list.contains([']', ')']) {
                    self.hosts = Some((name.clone(), begun, list));
                } else {
                    open = Some((begun, list));
                }
                continue;
            }
            if let Some(here) = everything_of(code.trim()) {
                let target = module.absolute(here);
                let inner = target.as_deref().and_then(|target| Module::read(app, target));
                // One that isn't there is no fault of a module that tries it.
                let tries = code.starts_with([' ', '\t']);
                match inner {
                    // Python has it already, as far as it got.
                    Some(inner) if self.reading.contains(&inner.source.name) => {}
                    Some(inner) if !tries && self.read < MOST => self.read(app, &inner, unseen),
                    None if tries => {}
                    _ => unseen.push(format!("what `{}` brings ({name}, line {number})", code.trim())),
                }
                continue;
            }
            let Some((key, value)) = assignment(code) else { continue };
            let said = || (name.clone(), number, value.to_owned());
            match key {
                "DEBUG" => self.debug = Some(said()),
                "ALLOWED_HOSTS" if value.starts_with(['[', '(']) && !value.contains([']', ')']) => {
                    open = Some((number, value.to_owned()));
                }
                "ALLOWED_HOSTS" => self.hosts = Some(said()),
                _ => {}
            }
        }
        self.reading.pop();
    }

    fn judge(self) -> Vec<Finding> {
        let debug = self.debug.filter(|(.., value)| value == "True" || value == "1").map(|(name, line, _)| {
            format!("DEBUG is True ({name}, line {line}): every error would show the source and the settings to whoever caused it")
        });
        let any = |value: &str| value.contains("\"*\"") || value.contains("'*'");
        let hosts = self.hosts.filter(|(.., value)| any(value)).map(|(name, line, _)| {
            format!(
                "ALLOWED_HOSTS has '*' ({name}, line {line}): any name in a request's Host header would be believed"
            )
        });
        debug.into_iter().chain(hosts).map(|message| Finding { guard: Guard::InsecureSettings, message }).collect()
    }
}

fn is_django(text: &str) -> bool {
    text.lines().any(|line| ["from django", "import django"].iter().any(|begin| line.trim_start().starts_with(begin)))
}

/// `from HERE import *`.
fn everything_of(code: &str) -> Option<&str> {
    let (here, what) = code.strip_prefix("from ")?.split_once(" import ")?;
    let here = here.trim();
    let plain = here.trim_start_matches('.');
    let right = plain.is_empty() || types::is_dotted(plain);
    (what.trim() == "*" && right).then_some(here)
}

/// What a module says about the name of the settings.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// `os.environ["DJANGO_SETTINGS_MODULE"] = "…"`: whatever the variable was.
    Set(String),
    /// `os.environ.setdefault("DJANGO_SETTINGS_MODULE", "…")`: if the variable isn't set.
    Default(String),
    /// Something that isn't plain.
    Unclear,
    /// Nothing.
    Nowhere,
}

fn named(text: &str) -> Named {
    let code: String = text.lines().map(without_comment).collect::<Vec<_>>().join(" ");
    let mut named = Named::Nowhere;
    for quote in ['"', '\''] {
        for (at, place) in code.match_indices(&format!("{quote}{VARIABLE}{quote}")) {
            let rest = code[at + place.len()..].trim_start();
            let after = |begin: &str| quoted(rest.strip_prefix(begin)?.trim_start());
            let set = rest.strip_prefix(']').and_then(|rest| quoted(rest.trim_start().strip_prefix('=')?.trim_start()));
            named = match (set, after(",")) {
                (Some(module), _) => Named::Set(module),
                (None, Some(module)) => Named::Default(module),
                (None, None) => Named::Unclear,
            };
        }
    }
    named
}

/// A text in quotes that is the name of a module.
fn quoted(code: &str) -> Option<String> {
    let quote = code.chars().next().filter(|letter| matches!(letter, '"' | '\''))?;
    let (module, rest) = code[1..].split_once(quote)?;
    let ends = rest.trim_start().chars().next().is_none_or(|next| !matches!(next, '+' | '%' | '.'));
    (ends && types::is_dotted(module)).then(|| module.to_owned())
}

/// `NAME = value` or `NAME: type = value`, at the beginning of a line.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (left, value) = line.split_once('=').filter(|(_, value)| !value.starts_with('='))?;
    let name = left.split(':').next()?.trim_end().trim_end_matches('+').trim_end();
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    plain.then(|| (name, value.trim()))
}

/// A `#` within quotes begins no comment.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, letter) in line.char_indices() {
        match (quote, letter) {
            (None, '#') => return &line[..at],
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            _ => {}
        }
    }
    line
}

/// The file of a Python module, below the folder that it is imported from: `shop.settings` is `shop/settings.py`. `None`: it is no module's name.
fn file_of(module: &str) -> Option<String> {
    types::is_dotted(module).then(|| format!("{}.py", module.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of an app with these files, whose variable names `shop.settings`.
    fn judged(files: &[(&str, &str)], variable: Option<&str>, entry: Option<&str>) -> (String, String) {
        let read = |name: &str| {
            let (name, text) = files.iter().find(|(file, _)| *file == name)?;
            Some(Source { name: (*name).to_owned(), text: (*text).to_owned() })
        };
        let judged = judge(&App { read: &read, variable, entry });
        let found: Vec<String> = judged.found.into_iter().map(|finding| finding.message).collect();
        (found.join("\n"), judged.unseen.join("\n"))
    }

    fn said(text: &str) -> String {
        judged(&[("shop/settings.py", text)], Some("shop.settings"), None).0
    }

    #[test]
    fn debug_and_any_host_are_found_with_their_lines() {
        let found = said("import os\nDEBUG = True  # for now\nALLOWED_HOSTS = [\n    'a',\n    '*',\n]\n");
        assert!(found.contains("DEBUG is True (shop/settings.py, line 2)"), "{found}");
        assert!(found.contains("ALLOWED_HOSTS has '*' (shop/settings.py, line 3)"), "{found}");
        for text in ["DEBUG: bool = True", "DEBUG=True", "DEBUG = False\nDEBUG = True", "ALLOWED_HOSTS += [\"*\"]"] {
            assert!(!said(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_for_production_is_not_found() {
        for text in [
            "DEBUG = False\nALLOWED_HOSTS = ['shop.example.com', '*.example.com']",
            "# DEBUG = True",
            "DEBUG = True\nDEBUG = False",
            "DEBUG = os.environ.get('DEBUG') == 'yes'",
            "TEMPLATE_DEBUG = True",
            "NOTE = 'DEBUG = True'",
            "if DEBUG == True: pass",
            "ALLOWED_HOSTS = ['#', 'a']",
        ] {
            assert_eq!(said(text), "", "{text}");
        }
    }

    #[test]
    fn the_settings_are_those_that_the_variable_or_else_the_imported_module_names() {
        let bad = ("shop/dev.py", "DEBUG = True");
        let good = ("shop/live.py", "DEBUG = False");
        let of = |text: &str, variable| judged(&[("shop/wsgi.py", text), bad, good], variable, Some("shop.wsgi"));
        let default = "os.environ.setdefault(\n    'DJANGO_SETTINGS_MODULE', \"shop.dev\",\n)";
        assert!(of(default, None).0.contains("(shop/dev.py, line 1)"));
        assert_eq!(of(default, Some("shop.live")), (String::new(), String::new()));
        let set = "os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.dev'";
        assert!(of(set, Some("shop.live")).0.contains("(shop/dev.py, line 1)"));
        let commented = "# os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.dev')\nimport flask";
        assert_eq!(of(commented, None), (String::new(), String::new()));
        // What isn't plain is said to be so.
        for text in [
            "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.' + which)",
            "os.environ['DJANGO_SETTINGS_MODULE'] = which",
            "from django.core.wsgi import get_wsgi_application",
        ] {
            let (found, unseen) = of(text, None);
            assert_eq!(found, "", "{text}");
            assert!(unseen.contains("which module of settings shop/wsgi.py names"), "{text}: {unseen}");
        }
        let (_, unseen) = of("", Some("elsewhere.settings"));
        assert!(unseen.contains("the module of settings elsewhere.settings"), "{unseen}");
    }

    #[test]
    fn what_a_module_imports_everything_from_is_read_in_its_place() {
        let base = ("shop/settings/base.py", "DEBUG = True\nALLOWED_HOSTS = ['*']\n");
        let of = |text: &str, files: &[(&'static str, &'static str)]| {
            let all = [&[("shop/settings/live.py", text)], files].concat();
            judged(&all, Some("shop.settings.live"), None)
        };
        let (found, unseen) = of("from .base import *  # noqa\nALLOWED_HOSTS = ['a']\n", &[base]);
        assert!(found.contains("DEBUG is True (shop/settings/base.py, line 1)") && !found.contains("HOSTS"), "{found}");
        assert_eq!(unseen, "");
        // What comes after it wins, and what comes before it doesn't.
        assert_eq!(of("from .base import *\nDEBUG = False\nALLOWED_HOSTS = []", &[base]).0, "");
        assert!(!of("DEBUG = False\nfrom shop.settings.base import *", &[base]).0.is_empty());
        assert!(!of("from ..common import *", &[("shop/common.py", "DEBUG = True")]).0.is_empty());
        // A package is a module too, and begins at itself.
        let package = [("shop/settings/__init__.py", "from .base import *"), base];
        assert!(!judged(&package, Some("shop.settings"), None).0.is_empty());
        // Each in the other ends.
        let around = [("shop/settings/a.py", "from .live import *\nDEBUG = True"), base];
        assert!(of("from .a import *", &around).0.contains("shop/settings/a.py, line 2"));
        // What can't be seen is said, but for what is only tried and not there.
        assert!(of("from company.django import *", &[]).1.contains("`from company.django import *`"));
        assert_eq!(of("try:\n    from .local import *\nexcept ImportError: pass", &[]).1, "");
        let local = [("shop/settings/local.py", "DEBUG = True")];
        assert!(of("try:\n    from .local import *\nexcept ImportError: pass", &local).1.contains("line 2"));
    }

    #[test]
    fn a_module_is_a_file() {
        assert_eq!(file_of("shop.settings.production").as_deref(), Some("shop/settings/production.py"));
        for bad in ["", "a..b", "../etc", "a/b", "1a"] {
            assert_eq!(file_of(bad), None, "{bad}");
        }
    }
}
