//! What the nginx at hand understands and another one doesn't, by what it says of itself. Asked only for what a site has of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::platform::host::web::version::{self, Version};

/// What is written for one nginx and not for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knows {
    /// `http2 on`. Before 1.25.1 it was a word of `listen`, of which a later one warns.
    pub http2_on: bool,
    /// `gzip_static`, which not every build has.
    pub gzip_static: bool,
}

impl Default for Knows {
    /// One that doesn't tell: the older way, and what nearly all have. The test of the configuration judges.
    fn default() -> Knows {
        Knows { http2_on: false, gzip_static: true }
    }
}

impl Knows {
    /// Asks the program, once for as long as it stays the same file.
    pub fn asked(program: &Path) -> Knows {
        static LAST: Mutex<Option<(PathBuf, SystemTime, Knows)>> = Mutex::new(None);
        let Ok(changed) = std::fs::metadata(program).and_then(|file| file.modified()) else {
            return Knows::default();
        };
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((path, time, knows)) if path == program && *time == changed => *knows,
            _ => {
                let said = version::said(Command::new(program).arg("-V"));
                let knows = said.map_or_else(Knows::default, |said| Knows::read(&said));
                *last = Some((program.to_owned(), changed, knows));
                knows
            }
        }
    }

    fn read(said: &str) -> Knows {
        let otherwise = Knows::default();
        Knows {
            http2_on: Version::after("nginx/", said).map_or(otherwise.http2_on, |found| found >= Version(1, 25, 1)),
            gzip_static: match said.contains("configure arguments:") {
                true => said.contains("--with-http_gzip_static_module"),
                false => otherwise.gzip_static,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_nginx_understands_is_read_off_what_it_says() {
        for (said, http2_on, gzip_static) in [
            ("nginx version: nginx/1.22.1\nconfigure arguments: --with-http_gzip_static_module\n", false, true),
            ("nginx version: nginx/1.25.0\nconfigure arguments: --with-debug\n", false, false),
            ("nginx version: nginx/1.25.1 (Ubuntu)\nconfigure arguments: --with-http_gzip_static_module\n", true, true),
            ("nginx version: openresty/1.27.1.2\nconfigure arguments: --with-debug\n", false, false),
            ("", false, true),
        ] {
            assert_eq!(Knows::read(said), Knows { http2_on, gzip_static }, "{said}");
        }
    }
}
