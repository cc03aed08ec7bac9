//! Writes text, and knows whether a terminal reads it.

use std::io::{self, IsTerminal, Write};

use rustix::termios::tcgetwinsize;

/// Writes a whole text to the standard output, and ends its last line.
///
/// # Errors
/// Nobody reads (see [`nobody_reads`]), or it can't be written.
pub fn print(text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Writes a line to the standard error; if that can't be done there is nobody to tell.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The reader of our standard output went away.
#[must_use]
pub fn nobody_reads(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A terminal to draw on.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Characters a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
    /// Whether colours are welcome (see <https://no-color.org>).
    pub colours: bool,
}

impl Terminal {
    /// The terminal that reads our standard output, as large as it is now. `None`: something else reads it.
    #[must_use]
    pub fn now() -> Option<Terminal> {
        let out = io::stdout();
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if !out.is_terminal() || dumb {
            return None;
        }
        let size = tcgetwinsize(&out).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        Some(Terminal {
            columns: size.map_or(80, |size| usize::from(size.ws_col)),
            rows: size.map_or(24, |size| usize::from(size.ws_row)),
            colours: std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()),
        })
    }
}

/// A drawing that replaces the one before it, in place.
#[derive(Debug, Default)]
pub struct Canvas {
    lines: usize,
}

impl Canvas {
    /// Draws these lines over the last ones. Each must fit into one line of the terminal.
    ///
    /// # Errors
    /// As [`print()`].
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = String::new();
        if self.lines > 0 {
            text.push_str(&format!("\x1b[{}A\r\x1b[0J", self.lines));
        }
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        self.lines = lines.len();
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}
