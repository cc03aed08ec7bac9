//! Reads the settings that a release would run with, out of its jar or war, beside it, its configuration files, variables and arguments, and has them
//! judged ([`crate::guards`]). `release` asks when a release was taken, before it is complete: nothing of it has run then.

mod archive;

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use self::archive::Archive;
use crate::api::site::{Run, Runtime, SettingsGuards};
use crate::api::spec::GuardSpec;
use crate::guards::spring::{self, Effective, File, Sources};
use crate::guards::{Finding, Guard, django, schema};
use crate::platform::host::release::{Config, beneath};
use crate::platform::host::runtime::artifact;
use crate::platform::{Class, Fault};

/// The largest file of settings that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Judges a release in the folder `release`, with `reader` as the program that looks into a jar. Returns what is wrong and let pass.
///
/// # Errors
/// A guard denies it, or its settings can't be read ([`Class::User`]).
pub fn check(
    release: &Path,
    run: &Run,
    config: &Config,
    guards: SettingsGuards,
    reader: &Path,
) -> Result<Vec<String>, Fault> {
    let env = variables(run, config);
    let (mut found, mut unseen) = (Vec::new(), Vec::new());
    let app = match app(release, run, reader) {
        // Whoever asks for no guard is held up by none.
        Err(fault) if fault.class == Class::User && guards.schema_changes == GuardSpec::Off => None,
        app => app?,
    };
    if let Some(app) = app {
        let effective = effective(&app, release, config, &env);
        app.archive.all_read()?;
        match effective {
            Ok(effective) => {
                health(&app, run, &effective)?;
                found.extend(schema::judge(&effective.settings));
                if guards.schema_changes != GuardSpec::Off && !effective.unseen.is_empty() {
                    unseen.push(format!("the guard of schema changes can't see {}", effective.unseen.join(", ")));
                }
            }
            Err(broken) => found.push(Finding {
                guard: Guard::SchemaChanges,
                message: format!("{broken}: so nobody can tell what the app would do to its database"),
            }),
        }
    }
    let django = of_django(release, run, &env);
    found.extend(django.found);
    let mut warnings = unseen;
    if guards.insecure_settings != GuardSpec::Off && !django.unseen.is_empty() {
        warnings.push(format!("the guard of insecure settings can't see {}", django.unseen.join(", ")));
    }
    let mut denied: Vec<Finding> = Vec::new();
    for finding in found {
        let guard = match finding.guard {
            Guard::SchemaChanges => guards.schema_changes,
            Guard::InsecureSettings => guards.insecure_settings,
        };
        match guard {
            GuardSpec::Deny => denied.push(finding),
            GuardSpec::Warn => warnings.push(finding.message),
            GuardSpec::Off => {}
        }
    }
    let Some(first) = denied.first().map(|finding| finding.guard) else { return Ok(warnings) };
    let all: Vec<String> = denied.into_iter().map(|finding| finding.message).collect();
    Err(Fault {
        class: Class::User,
        reason: first.reason(),
        message: format!(
            "{}; take it out of the production settings, or override it there; if it is meant, write {}: Warn, and `bluegreen retry`",
            all.join("; "),
            first.field()
        ),
    })
}

/// A Spring app, or one that may be.
struct App {
    archive: Archive,
    jvm: Vec<String>,
    arguments: Vec<String>,
}

fn app(release: &Path, run: &Run, reader: &Path) -> Result<Option<App>, Fault> {
    let (path, jvm, arguments) = match &run.runtime {
        Runtime::SpringBoot(app) => {
            let mut arguments = app.arguments.clone();
            arguments.extend(app.profile.iter().map(|profile| format!("--spring.profiles.active={profile}")));
            (artifact(release, app.jar.as_ref(), "jar").ok(), app.jvm.clone(), arguments)
        }
        Runtime::Tomcat(app) => (artifact(release, app.war.as_ref(), "war").ok(), app.jvm.clone(), Vec::new()),
        Runtime::Command { argv, .. } => {
            // Somebody's own command for a jar.
            let Some(at) = argv.iter().position(|word| word == "-jar") else { return Ok(None) };
            let (jvm, arguments) = (argv.get(1..at).unwrap_or_default(), argv.get(at + 2..).unwrap_or_default());
            (argv.get(at + 1).map(|jar| release.join(jar)), jvm.to_owned(), arguments.to_owned())
        }
        _ => return Ok(None),
    };
    let Some(path) = path else { return Ok(None) };
    let archive = Archive::open(release, &path, reader)?;
    Ok(archive.map(|archive| App { archive, jvm, arguments }))
}

fn variables(run: &Run, config: &Config) -> Vec<(String, String)> {
    let all = config.env().chain(&run.env);
    all.map(|(name, value)| (name.to_string(), value.clone())).collect()
}

fn effective(
    app: &App,
    release: &Path,
    config: &Config,
    env: &[(String, String)],
) -> Result<Effective, spring::Broken> {
    let read = |name: &str| {
        let (place, path) = name.split_once(':')?;
        match place {
            "classpath" => app.archive.read(path),
            "file" => beside(release, path),
            _ => {
                let file = config.files().iter().find(|file| file.name == path)?;
                let text = String::from_utf8_lossy(&file.content).into_owned();
                Some(File { name: file.path.display().to_string(), text })
            }
        }
    };
    spring::effective(&Sources { read: &read, env, jvm: &app.jvm, arguments: &app.arguments })
}

/// A file of the release. The app chooses the name, and we read with more rights than it has: a shared folder is the app's, and what it put there
/// may be a link to anything.
fn beside(release: &Path, path: &str) -> Option<File> {
    let mut bytes = Vec::new();
    plain(release, path)?.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(File { name: path.to_owned(), text: String::from_utf8_lossy(&bytes).into_owned() })
}

/// A regular file in the folder, by a path that does not lead out of it.
fn plain(folder: &Path, path: &str) -> Option<std::fs::File> {
    let folder = beneath::own(folder).ok()?;
    let file = beneath::within(folder.as_fd(), path).ok()?;
    file.metadata().is_ok_and(|found| found.is_file()).then_some(file)
}

/// Whether anything can answer at the usual path for health.
fn health(app: &App, run: &Run, effective: &Effective) -> Result<(), Fault> {
    const USUAL: &str = "/actuator/health";
    if !matches!(run.runtime, Runtime::SpringBoot(_)) || run.health.path.as_str() != USUAL {
        return Ok(());
    }
    let wrong = |message: String| Fault { class: Class::User, reason: "HealthPathMissing", message };
    if app.archive.has("BOOT-INF/lib/") && !app.archive.has("BOOT-INF/lib/spring-boot-actuator-") {
        return Err(wrong(format!(
            "nothing in {} answers {USUAL}: add spring-boot-starter-actuator to the app, or name a path that it answers in spec.health.path",
            app.archive.name()
        )));
    }
    let settings = &effective.settings;
    let moved = [
        ("server.servlet.context-path", "/"),
        ("spring.webflux.base-path", "/"),
        ("management.endpoints.web.base-path", "/actuator"),
    ];
    let moves =
        |(key, usual): &(&str, &str)| settings.value(key).is_some_and(|value| !value.is_empty() && value != *usual);
    match moved.iter().find(|one| moves(one)).and_then(|(key, _)| settings.get(key)) {
        None => Ok(()),
        // Never a value: a placeholder may stand for a secret.
        Some(by) => Err(wrong(format!(
            "the app does not answer for its health at {USUAL}, since {} ({}) moves that: write spec.health.path",
            by.key, by.from
        ))),
    }
}

fn of_django(release: &Path, run: &Run, env: &[(String, String)]) -> django::Judged {
    let entry = match &run.runtime {
        Runtime::Wsgi(wsgi) => Some(wsgi.app.module()),
        Runtime::Asgi(asgi) => Some(asgi.app.module()),
        _ => None,
    };
    let variable = env.iter().rev().find(|(name, _)| name == django::VARIABLE).map(|(_, module)| module.as_str());
    let read = |path: &str| beside(release, path).map(|file| django::Source { name: file.name, text: file.text });
    django::judge(&django::App { read: &read, variable, entry })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_of_a_release_is_read_for_it() {
        let all = tempfile::tempdir().unwrap();
        let (release, shared) = (all.path().join("release"), all.path().join("shared"));
        std::fs::create_dir_all(release.join("conf")).unwrap();
        std::fs::create_dir(&shared).unwrap();
        std::fs::write(all.path().join("secret.yml"), "password: hunter2").unwrap();
        std::fs::write(release.join("conf/real.yml"), "a: 1").unwrap();
        // What is the app's own, by a link of ours; what it put there; and what its release brought.
        symlink(&shared, release.join("data")).unwrap();
        symlink(all.path().join("secret.yml"), shared.join("application.yml")).unwrap();
        symlink("conf/real.yml", release.join("application.yml")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, release.join("pipe.yml"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();

        assert_eq!(beside(&release, "application.yml").unwrap().text, "a: 1");
        let secret = all.path().join("secret.yml");
        for path in [secret.to_str().unwrap(), "../secret.yml", "data/application.yml", "conf", "pipe.yml", "none.yml"]
        {
            assert_eq!(beside(&release, path), None, "{path}");
        }
        let open = |path: &Path| Archive::open(&release, path, Path::new("/nonexistent")).unwrap();
        for path in [all.path().join("secret.yml"), release.join("../secret.yml"), release.join("data/application.yml")]
        {
            assert!(open(&path).is_none(), "{}", path.display());
        }
        let folder = open(&release.join("conf")).unwrap();
        assert!(folder.read("real.yml").is_some() && folder.read("../../secret.yml").is_none());
    }
}
