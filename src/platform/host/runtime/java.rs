//! What all apps on a Java virtual machine need: the Java itself, and the one jar or war that a release is about.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::{PATH, wrong};
use crate::api::types::{AbsPath, RelPath};
use crate::platform::{Class, Fault};

/// The largest manifest of a jar that is read.
const LARGEST_MANIFEST: u64 = 1 << 20;

/// The Java to run an app on: the one that was named, or the first one on PATH.
pub(super) fn java(named: Option<&AbsPath>) -> Result<String, Fault> {
    let found = match named {
        Some(path) => path.as_path().is_file().then(|| path.as_path().to_owned()),
        None => PATH.split(':').map(|folder| Path::new(folder).join("java")).find(|path| path.is_file()),
    };
    let found = found.as_deref().and_then(Path::to_str);
    found.map(str::to_owned).ok_or_else(|| Fault {
        class: Class::User,
        reason: "JavaMissing",
        message: match named {
            Some(path) => format!("there is no Java at {path}: install one there, or name another in spec.target.host.runtime"),
            None => format!(
                "there is no java in {PATH}: install one (apt-get install openjdk-17-jre-headless), or name it in spec.target.host.runtime"
            ),
        },
    })
}

/// The jar or war that was named, or the only one at the top of the release.
///
/// # Errors
/// There is none, or more than one ([`Class::User`]).
pub fn artifact(release: &Path, named: Option<&RelPath>, ending: &str) -> Result<PathBuf, Fault> {
    if let Some(path) = named {
        let inside = path.below(release);
        return if inside.exists() { Ok(inside) } else { Err(wrong(&format!("the release has no {path}"))) };
    }
    let entries = std::fs::read_dir(release).map_err(|error| Fault {
        class: Class::Transient,
        reason: "ReleaseNotRead",
        message: format!("the release in {}: {error}", release.display()),
    })?;
    let dotted = format!(".{ending}");
    let mut all: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(&dotted) && name.parse::<RelPath>().is_ok())
        .collect();
    all.sort();
    match all.as_slice() {
        [only] => Ok(release.join(only)),
        [] => Err(wrong(&format!("the release has no .{ending} at its top: name the one to run ({ending}: …)"))),
        several => Err(wrong(&format!(
            "the release has several .{ending} files ({}): name the one to run ({ending}: …)",
            several.join(", ")
        ))),
    }
}

/// Opens a jar or a war: whatever its name ends in, it must be whole.
pub(super) fn open(path: &Path, kind: &str) -> Result<ZipArchive<BufReader<File>>, Fault> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = File::open(path).map_err(|error| wrong(&format!("{name} can't be opened: {error}")))?;
    ZipArchive::new(BufReader::new(file))
        .map_err(|error| wrong(&format!("{name} is not a {kind}: {error}; upload it again, whole")))
}

/// Whether `java -jar` can begin with this jar.
pub(super) fn check_jar(jar: &Path) -> Result<(), Fault> {
    let name = jar.file_name().unwrap_or_default().to_string_lossy();
    let mut archive = open(jar, "jar")?;
    let mut manifest = String::new();
    let entry = archive.by_name("META-INF/MANIFEST.MF").map_err(|_| {
        wrong(&format!("{name} has no manifest (META-INF/MANIFEST.MF), so Java can't run it: build it with spring-boot-maven-plugin's repackage or Gradle's bootJar"))
    })?;
    entry
        .take(LARGEST_MANIFEST)
        .read_to_string(&mut manifest)
        .map_err(|error| wrong(&format!("the manifest of {name} can't be read: {error}; upload it again, whole")))?;
    if manifest.lines().any(|line| line.starts_with("Main-Class:")) {
        return Ok(());
    }
    Err(wrong(&format!(
        "the manifest of {name} names no Main-Class, so Java can't run it (is it the -plain.jar, or the .original?): build it with \
         spring-boot-maven-plugin's repackage or Gradle's bootJar"
    )))
}
