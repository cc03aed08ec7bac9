//! A file of variables: a line each as `KEY=VALUE`, blank lines and comments between them. What stands there is in no error.

use std::collections::BTreeMap;

use super::Taken;
use super::error::ConfigError;
use crate::api::types::EnvName;

/// The longest value that a program can be given, in bytes.
const LONGEST: usize = 128 * 1024;

pub(super) fn parse(file: &Taken) -> Result<BTreeMap<EnvName, String>, ConfigError> {
    let wrong = |line, what| ConfigError::Variables { path: file.path.clone(), line, what };
    let text = std::str::from_utf8(&file.content).map_err(|error| {
        let line = file.content[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        wrong(line, "this is not UTF-8")
    })?;
    let mut env = BTreeMap::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (name, value) = text.split_once('=').ok_or_else(|| wrong(line, "there is no '='"))?;
        let name: EnvName = name.parse().map_err(|_| {
            wrong(line, "a variable's name has letters, digits and '_', not a digit first, and no blank after it")
        })?;
        if name.as_str() == "PORT" || name.as_str().starts_with("BLUEGREEN_") {
            return Err(wrong(line, "PORT and BLUEGREEN_… are set by the agent: leave it out"));
        }
        let value = unquoted(value.trim_end()).ok_or_else(|| wrong(line, "a quote is opened and not closed"))?;
        if value.chars().any(|letter| letter.is_control() && letter != '\t') {
            return Err(wrong(line, "the value holds a control character"));
        }
        if value.len() > LONGEST {
            return Err(wrong(line, "the value is longer than a program can be given"));
        }
        if env.insert(name, value.to_owned()).is_some() {
            return Err(wrong(line, "this variable stands there twice"));
        }
    }
    Ok(env)
}

/// The value without the quotes around it, if it has some. Nothing in it is replaced.
fn unquoted(value: &str) -> Option<&str> {
    match value.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        Some(quote) => value[1..].strip_suffix(quote),
        None => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<(String, String)>, String> {
        let file = Taken { name: "a.env".to_owned(), path: "/etc/a.env".into(), content: text.as_bytes().to_vec() };
        let plain = |env: BTreeMap<EnvName, String>| env.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
        parse(&file).map(plain).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_are_names_and_values_as_they_stand() {
        let env = parsed("# keys\n\nA=1\nB=\"x y\"\nC='$HOME #'\nD=a=b # no comment\nE=\n").expect("it is one");
        let said: Vec<(&str, &str)> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(said, [("A", "1"), ("B", "x y"), ("C", "$HOME #"), ("D", "a=b # no comment"), ("E", "")]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_the_secret() {
        for bad in [
            "A=1\ns3cret",
            "A=1\ns3 cret=1",
            "A=1\nB=\"s3cret",
            "A=1\nA=s3cret",
            "A=1\nPORT=s3cret",
            "A=1\nB=s3cret\u{7}",
        ] {
            let error = parsed(bad).expect_err(bad);
            assert!(error.starts_with("/etc/a.env, line 2: "), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
