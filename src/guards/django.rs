//! Settings of Django that are for development only. Python is a language and not a form: what stands at the beginning of a line of the module,
//! with a plain value, is seen; what is computed, imported, or set in a branch is not.

use super::{Finding, Guard};
use crate::api::types;

/// Judges the module of settings in the file `name`.
#[must_use]
pub fn judge(name: &str, text: &str) -> Vec<Finding> {
    let mut debug = None;
    let mut hosts = None;
    let mut hosts_open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let code = without_comment(line);
        if let Some((begun, mut list)) = hosts_open.take() {
            list.push_str(code);
            if list.contains(']') || list.contains(')') {
                hosts = Some((begun, list));
            } else {
                hosts_open = Some((begun, list));
            }
            continue;
        }
        let Some((key, value)) = assignment(code) else { continue };
        match key {
            // The last one counts, as in Python.
            "DEBUG" => debug = Some((index + 1, value.to_owned())),
            "ALLOWED_HOSTS" if value.starts_with(['[', '(']) && !value.contains([']', ')']) => {
                hosts_open = Some((index + 1, value.to_owned()));
            }
            "ALLOWED_HOSTS" => hosts = Some((index + 1, value.to_owned())),
            _ => {}
        }
    }
    let debug = debug.filter(|(_, value)| value == "True" || value == "1").map(|(line, _)| {
        format!("DEBUG is True ({name}, line {line}): every error would show the source and the settings to whoever caused it")
    });
    let hosts = hosts.filter(|(_, value)| value.contains("\"*\"") || value.contains("'*'")).map(|(line, _)| {
        format!("ALLOWED_HOSTS has '*' ({name}, line {line}): any name in a request's Host header would be believed")
    });
    debug.into_iter().chain(hosts).map(|message| Finding { guard: Guard::InsecureSettings, message }).collect()
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
#[must_use]
pub fn file_of(module: &str) -> Option<String> {
    types::is_dotted(module).then(|| format!("{}.py", module.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        judge("shop/settings.py", text).into_iter().map(|finding| finding.message).collect::<Vec<_>>().join("\n")
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
    fn a_module_is_a_file() {
        assert_eq!(file_of("shop.settings.production").as_deref(), Some("shop/settings/production.py"));
        for bad in ["", "a..b", "../etc", "a/b", "1a"] {
            assert_eq!(file_of(bad), None, "{bad}");
        }
    }
}
