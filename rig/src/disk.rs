//! A small disk in memory that can be filled up, mounted for as long as it lives.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// A file system of its own; unmounted when it is dropped, also when something still uses it.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one of this size (`64m`) over a folder. Needs root.
    ///
    /// # Errors
    /// What `mount` says.
    pub fn mount(at: &Path, size: &str) -> Result<Disk> {
        let options = format!("size={size},mode=755");
        process::run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "bluegreen-rig"]).arg(at))?;
        Ok(Disk(at.to_owned()))
    }

    /// Takes all that is left of it.
    ///
    /// # Errors
    /// When nothing can be written at all.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = self.ballast()?;
        while ballast.write(&[1; 4096]).is_ok_and(|wrote| wrote > 0) {}
        Ok(())
    }

    /// Takes all that is left of it but so many bytes.
    ///
    /// # Errors
    /// When it can't be looked at or written.
    pub fn fill_but(&self, bytes: u64) -> Result<()> {
        let stat = rustix::fs::statvfs(&self.0).context("cannot ask the disk how much is free")?;
        let mut rest = (stat.f_bavail * stat.f_frsize).saturating_sub(bytes);
        let mut ballast = self.ballast()?;
        while rest >= 4096 {
            ballast.write_all(&[1; 4096]).context("cannot fill the disk")?;
            rest -= 4096;
        }
        Ok(())
    }

    /// Gives back what was taken.
    ///
    /// # Errors
    /// When nothing was.
    pub fn relieve(&self) -> Result<()> {
        fs::remove_file(self.0.join("ballast")).context("the disk was not filled")
    }

    fn ballast(&self) -> Result<File> {
        File::create(self.0.join("ballast")).context("cannot write to the disk")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
