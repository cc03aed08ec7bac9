//! An instance as a unit of systemd: its name, its file, its variables.
//!
//! What a user wrote reaches a unit file only as words of the command line, each quoted and escaped, or as a narrow type; variables stand in a
//! file of their own that only root can read.

use std::path::{Path, PathBuf};

use minijinja::{Environment, UndefinedBehavior, context};

use crate::api::types::{AbsPath, EnvName, SiteName};
use crate::platform::host::layout::SiteDir;
use crate::platform::host::supervise::{InstanceId, Launch};
use crate::rollout::Colour;

const TEMPLATE: &str = include_str!("instance.service");

/// What systemd sets of itself. An app gets its own variables and no other.
const OF_SYSTEMD: &[&str] = &[
    "CREDENTIALS_DIRECTORY",
    "HOME",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LANG",
    "LOGNAME",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "PATH",
    "SHELL",
    "SYSTEMD_EXEC_PID",
    "USER",
];

/// Why an instance can't be written as a unit; in words for people.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwritable {
    #[error("the command is empty: say in `runtime.command` what to run")]
    NoCommand,
    #[error("the program {0:?} is no absolute path of plain characters")]
    Program(String),
    #[error("the path {} can't stand in a unit of systemd: use letters, digits, '-', '_', '.', '~', '+', '@', ',' and '=' only", .0.display())]
    Path(PathBuf),
    #[error(
        "the variable {0} holds a control character, which systemd does not hand on: remove it, or encode the value, as with base64"
    )]
    Variable(EnvName),
    #[error("an argument holds a NUL character")]
    Nul,
    #[error("an app never runs as root: name another user in `user`")]
    Root,
    #[error("the template of units: {0}")]
    Template(String),
}

/// The unit of an instance.
pub(super) fn name(id: &InstanceId) -> String {
    format!("{}{}.service", prefix(&id.site, id.colour), id.index)
}

/// What the names of a colour's units begin with.
pub(super) fn prefix(site: &SiteName, colour: Colour) -> String {
    format!("bluegreen-{site}-{colour}@")
}

/// The instance of a unit.
pub(super) fn parse_name(name: &str) -> Option<InstanceId> {
    let (place, index) = name.strip_prefix("bluegreen-")?.strip_suffix(".service")?.split_once('@')?;
    let (site, colour) = place.rsplit_once('-')?;
    Some(InstanceId {
        site: site.parse().ok()?,
        colour: Colour::BOTH.into_iter().find(|c| c.name() == colour)?,
        index: index.parse().ok()?,
    })
}

/// The unit of an object on the bus, whose name has each unusual byte as `_` and two hexadecimal digits.
pub(super) fn of_object(path: &str) -> Option<InstanceId> {
    let label = path.strip_prefix("/org/freedesktop/systemd1/unit/")?;
    if !label.starts_with("bluegreen_2d") {
        return None;
    }
    let mut parts = label.split('_');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let byte = u8::from_str_radix(part.get(..2)?, 16).ok().filter(u8::is_ascii)?;
        name.push(char::from(byte));
        name.push_str(part.get(2..)?);
    }
    parse_name(&name)
}

/// Where the files of an instance are.
pub(super) struct Places {
    /// The file that says that the colour is wanted until the next reboot.
    pub wanted: PathBuf,
    /// The instance's variables.
    pub env: PathBuf,
    /// Where the site is.
    pub dir: SiteDir,
}

/// The text of the unit's file. `steps`: systemd is new enough to wait longer from crash to crash.
pub(super) fn text(id: &InstanceId, launch: &Launch, places: &Places, steps: bool) -> Result<String, Unwritable> {
    if launch.user.as_str() == "root" {
        return Err(Unwritable::Root);
    }
    let unset: Vec<&str> =
        OF_SYSTEMD.iter().copied().filter(|name| !launch.env.keys().any(|k| k.as_str() == *name)).collect();
    let writable: Vec<String> = launch.writable.iter().map(|path| plain(path)).collect::<Result<_, _>>()?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let rendered = environment.render_str(
        TEMPLATE,
        context! {
            site => id.site.as_str(),
            colour => id.colour.name(),
            index => id.index,
            identifier => format!("bluegreen-{}-{}.{}", id.site, id.colour, id.index),
            live => plain(&places.dir.live().join(id.colour.name()))?,
            wanted => plain(&places.wanted)?,
            env => plain(&places.env)?,
            dir => plain(&launch.dir)?,
            exec => exec(&launch.argv)?,
            unset => unset.join(" "),
            user => launch.user.as_str(),
            stop_within_ms => u64::try_from(launch.stop_within.as_millis()).unwrap_or(u64::MAX).max(1),
            writable,
            steps,
        },
    );
    rendered.map(|text| text + "\n").map_err(|error| Unwritable::Template(error.to_string()))
}

/// The text of the file with the instance's variables.
pub(super) fn variables(launch: &Launch) -> Result<String, Unwritable> {
    let mut out = String::new();
    for (name, value) in &launch.env {
        if value.chars().any(|c| c.is_ascii_control() && c != '\n' && c != '\t') {
            return Err(Unwritable::Variable(name.clone()));
        }
        out.push_str(name.as_str());
        out.push_str("=\"");
        for c in value.chars() {
            // All that has a meaning between these quotes; nothing is expanded in them.
            if matches!(c, '"' | '\\' | '`' | '$') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push_str("\"\n");
    }
    Ok(out)
}

/// The colon in front keeps systemd from replacing `$NAME`.
fn exec(argv: &[String]) -> Result<String, Unwritable> {
    let (program, arguments) = argv.split_first().ok_or(Unwritable::NoCommand)?;
    let program: AbsPath = program.parse().map_err(|_| Unwritable::Program(program.clone()))?;
    let mut line = format!(":{program}");
    for argument in arguments {
        line.push(' ');
        line.push_str(&word(argument)?);
    }
    Ok(line)
}

/// A word between quotes, in which nothing has a meaning to systemd any more.
fn word(text: &str) -> Result<String, Unwritable> {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\0' => return Err(Unwritable::Nul),
            '"' | '\\' => out.extend(['\\', c]),
            '%' => out.push_str("%%"),
            '\n' => out.push_str("\\n"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(out)
}

/// Settings that take a path know no quotes; a plain path needs none.
fn plain(path: &Path) -> Result<String, Unwritable> {
    let parsed: Option<AbsPath> = path.to_str().and_then(|text| text.parse().ok());
    parsed.map(|path| path.to_string()).ok_or_else(|| Unwritable::Path(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    fn launch() -> Launch {
        Launch {
            argv: vec!["/usr/bin/env".to_owned()],
            env: BTreeMap::new(),
            dir: "/srv/shop".into(),
            user: "shop".parse().expect("a name"),
            writable: Vec::new(),
            stop_within: Duration::from_secs(5),
        }
    }

    fn id() -> InstanceId {
        InstanceId { site: "my-shop".parse().expect("a name"), colour: Colour::Green, index: 1 }
    }

    fn places() -> Places {
        Places {
            wanted: "/run/bluegreen/my-shop.green.wanted".into(),
            env: "/var/lib/bluegreen/sites/my-shop/run/green.1.env".into(),
            dir: SiteDir::new(Path::new("/var/lib/bluegreen"), &id().site),
        }
    }

    #[test]
    fn names_tell_site_colour_and_index_also_as_objects_of_the_bus() {
        assert_eq!(name(&id()), "bluegreen-my-shop-green@1.service");
        assert_eq!(parse_name(&name(&id())), Some(id()));
        let object = "/org/freedesktop/systemd1/unit/bluegreen_2dmy_2dshop_2dgreen_401_2eservice";
        assert_eq!(of_object(object), Some(id()));
        for other in ["ssh_2eservice", "bluegreen_2eservice", "bluegreen_2dx", "bluegreen_2d_", "bluegreen_2d\u{e9}_4"]
        {
            assert_eq!(of_object(&format!("/org/freedesktop/systemd1/unit/{other}")), None, "{other}");
        }
        assert_eq!(parse_name("bluegreen-shop-red@0.service"), None);
        assert_eq!(parse_name("bluegreen-blue@0.service"), None);
    }

    #[test]
    fn no_argument_adds_a_line_a_command_a_specifier_or_a_variable() {
        let argv = [
            "/bin/app",
            "a b",
            "\"; rm",
            "%n %%",
            "$HOME ${X}",
            "back\\slash",
            "new\nExecStartPre=/bin/evil",
            ";",
            "",
            "\u{1b}é",
        ];
        let line = exec(&argv.map(str::to_owned)).expect("a line");
        assert_eq!(
            line,
            r#":/bin/app "a b" "\"; rm" "%%n %%%%" "$HOME ${X}" "back\\slash" "new\nExecStartPre=/bin/evil" ";" "" "\x1bé""#
        );
        assert_eq!(exec(&[]), Err(Unwritable::NoCommand));
        assert_eq!(exec(&["/a".to_owned(), "\0".to_owned()]), Err(Unwritable::Nul));
        for program in ["app", "/bin/a b", "/bin/a\nb", "-/bin/app", "/bin/%n"] {
            assert_eq!(exec(&[program.to_owned()]), Err(Unwritable::Program(program.to_owned())));
        }
    }

    #[test]
    fn no_path_adds_a_setting() {
        for bad in ["relative", "/a b", "/a\nUser=root", "/a%n", "/a\\", "/a/../b"] {
            let launch = Launch { writable: vec![bad.into()], ..launch() };
            assert_eq!(text(&id(), &launch, &places(), false), Err(Unwritable::Path(bad.into())), "{bad:?}");
        }
        let root = Launch { user: "root".parse().expect("a name"), ..launch() };
        assert_eq!(text(&id(), &root, &places(), false), Err(Unwritable::Root));
    }

    #[test]
    fn variables_keep_every_character_or_are_refused() {
        let mut launch = launch();
        launch.env.insert("A".parse().expect("a name"), "x \"y\" 'z' $HOME `id` \\ %n #\nsecond\tline".to_owned());
        assert_eq!(
            variables(&launch).expect("a text"),
            "A=\"x \\\"y\\\" 'z' \\$HOME \\`id\\` \\\\ %n #\nsecond\tline\"\n"
        );
        launch.env.insert("B".parse().expect("a name"), "\r".to_owned());
        assert_eq!(variables(&launch), Err(Unwritable::Variable("B".parse().expect("a name"))));
    }

    #[test]
    fn a_unit_holds_no_secret_and_takes_back_what_systemd_would_add() {
        let mut launch = launch();
        launch.env.insert("PATH".parse().expect("a name"), "s3cret".to_owned());
        launch.writable.push("/srv/uploads".into());
        let unit = text(&id(), &launch, &places(), false).expect("a text");
        assert!(!unit.contains("s3cret"));
        assert!(unit.contains("UnsetEnvironment=CREDENTIALS_DIRECTORY HOME INVOCATION_ID"));
        assert!(!unit.contains(" PATH "));
        assert!(unit.contains("\nConditionPathExists=|/var/lib/bluegreen/sites/my-shop/live/green\n"));
        assert!(unit.contains("\nReadWritePaths=/srv/uploads\nPrivateTmp=yes\n"));
        assert!(unit.contains("\nRestartSec=200ms\nKillMode=mixed\nTimeoutStopSec=5000ms\n"), "{unit}");
        assert!(
            text(&id(), &launch, &places(), true).expect("a text").contains("RestartMaxDelaySec=5s\nKillMode=mixed\n")
        );
    }
}
