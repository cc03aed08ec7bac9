//! `command`: any program.

use super::{Instance, Program, wrong};
use crate::api::types::{Invalid, RelPath};
use crate::platform::Fault;

/// A program inside the release becomes absolute; `$(PORT)` becomes the port.
pub(super) fn program(argv: &[String], instance: &Instance<'_>) -> Result<Program, Fault> {
    let port = instance.port.to_string();
    let mut argv: Vec<String> = argv.iter().map(|word| word.replace("$(PORT)", &port)).collect();
    let program = argv.first_mut().ok_or_else(|| wrong("argv is empty"))?;
    if !program.starts_with('/') {
        let inside: RelPath = program.parse().map_err(|e: Invalid| wrong(&format!("the program {e}")))?;
        let path = inside.below(instance.release);
        *program = path.to_str().ok_or_else(|| wrong("the state folder's path is not text"))?.to_owned();
    }
    Ok(Program { argv, ..Program::default() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn argv(words: &[&str], port: u16) -> Result<Vec<String>, Fault> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let instance = Instance {
            release: Path::new("/r"),
            port,
            work: Path::new("/w"),
            config: None,
            stop_within: std::time::Duration::ZERO,
        };
        program(&words, &instance).map(|program| program.argv)
    }

    #[test]
    fn a_program_inside_the_release_becomes_absolute_and_the_port_is_filled_in() {
        assert_eq!(
            argv(&["bin/app", "--listen=127.0.0.1:$(PORT)", "$(PORT)"], 8081).expect("valid"),
            ["/r/bin/app", "--listen=127.0.0.1:8081", "8081"]
        );
        assert_eq!(argv(&["/usr/bin/java"], 1).expect("valid"), ["/usr/bin/java"]);
        assert!(argv(&["../sh"], 1).is_err(), "it climbs out");
    }
}
