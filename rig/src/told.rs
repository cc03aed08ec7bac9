//! A program that goes on while a test reads what it prints, line by line.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::wait;

/// A program that goes on. It is killed when this is dropped.
#[derive(Debug)]
pub struct Told {
    child: Child,
    lines: Receiver<String>,
}

impl Told {
    /// Starts it.
    ///
    /// # Errors
    /// When the program can't be started.
    pub fn start(command: &mut Command) -> Result<Told> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("it has no standard output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Told { child, lines })
    }

    /// Reads lines of its standard output until one has this in it, and returns that one.
    ///
    /// # Errors
    /// When none comes within [`wait::PATIENCE`], or it ends; the error holds what was read instead.
    pub fn until(&self, part: &str) -> Result<String> {
        let mut seen = Vec::new();
        let end = Instant::now() + wait::PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if line.contains(part) {
                return Ok(line);
            }
            seen.push(line);
        }
        bail!("no line has {part:?}: {seen:#?}")
    }

    /// Waits until it has ended; its exit code (none if a signal ended it), and what stood on its standard error.
    ///
    /// # Errors
    /// When that is no text.
    pub fn end(mut self) -> Result<(Option<i32>, String)> {
        let mut said = String::new();
        self.child.stderr.take().context("it has no standard error")?.read_to_string(&mut said)?;
        Ok((self.child.wait()?.code(), said))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
