//! Which sites are meant: those of this machine, or those of a cluster. Under the name `kubectl-bluegreen`, by which kubectl finds its plugins,
//! it is a cluster; under its own name this machine, unless a flag names a cluster.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::cluster::{self, Wish};
use super::source::{Source, SourceError};
use super::{Cli, Sub};
use crate::control::api::DEFAULT_SOCKET;
use crate::control::client::Client;

const HEADING: &str = "Where the sites are";

/// Where the sites are.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// This machine: the agent's control socket.
    #[arg(long, global = true, env = "BLUEGREEN_SOCKET", hide_env_values = true, value_name = "PATH", default_value = DEFAULT_SOCKET, help_heading = HEADING)]
    socket: PathBuf,

    /// A cluster: this context of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME", help_heading = HEADING)]
    context: Option<String>,

    /// A cluster, and in it this namespace; default: that of the context.
    #[arg(short, long, global = true, value_name = "NAME", help_heading = HEADING)]
    namespace: Option<String>,

    /// A cluster: this kubeconfig; default: those that the variable KUBECONFIG names, or ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    kubeconfig: Option<PathBuf>,
}

/// The name by which this program was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Its own.
    Itself,
    /// That of a plugin.
    Kubectl,
}

impl Program {
    /// What the first word of a command line says.
    #[must_use]
    pub fn called(first: Option<&OsStr>) -> Program {
        let name = first.and_then(|first| Path::new(first).file_stem());
        if name == Some(OsStr::new("kubectl-bluegreen")) { Program::Kubectl } else { Program::Itself }
    }

    /// The command line as it is to be called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Program::Itself => "bluegreen",
            Program::Kubectl => "kubectl bluegreen",
        }
    }

    /// Its command line.
    #[must_use]
    pub fn command(self) -> Command {
        let command = Cli::command();
        match self {
            Program::Itself => command,
            // Neither daemon is ever started through kubectl, and a host is no place for it.
            Program::Kubectl => command
                .bin_name(self.name())
                .mut_subcommand("host", |host| {
                    host.mut_subcommand("run", |run| run.hide(true)).mut_subcommand("join", |join| join.hide(true))
                })
                .mut_subcommand("operator", |operator| operator.hide(true)),
        }
    }
}

/// Where the sites are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine, behind this socket.
    Host(PathBuf),
    /// On a cluster.
    Cluster(Wish),
}

impl Place {
    /// Where questions go. Of a machine nothing is asked yet; of a cluster neither, but its credentials are read.
    ///
    /// # Errors
    /// It can't be told which cluster is meant.
    pub async fn open(self) -> Result<Source, SourceError> {
        match self {
            Place::Host(socket) => Ok(Source::Host(Client::new(socket))),
            Place::Cluster(wish) => Ok(Source::Cluster(cluster::connect(&wish).await?)),
        }
    }
}

/// Reads a command line, and says which place it means.
///
/// # Errors
/// It is wrong, or asks for help or the version.
pub fn parse(program: Program, arguments: Vec<OsString>) -> Result<(Cli, Place), clap::Error> {
    let mut command = program.command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    let place = place(program, &cli, &matches).map_err(|error| error.format(&mut command))?;
    Ok((cli, place))
}

fn place(program: Program, cli: &Cli, matches: &ArgMatches) -> Result<Place, clap::Error> {
    let Args { socket, context, namespace, kubeconfig } = &cli.place;
    let all = matches!(&cli.subcommand, Sub::Get(get) if get.everywhere());
    let hub = matches!(&cli.subcommand, Sub::Host(host) if host.asks_cluster());
    // A fleet is always one of clusters.
    let fleet = matches!(&cli.subcommand, Sub::Fleet(_));
    let cluster = all || hub || fleet || context.is_some() || namespace.is_some() || kubeconfig.is_some();
    // The variable may be set for good, and says only which socket, not that one is meant.
    let host = matches.value_source("socket") == Some(ValueSource::CommandLine);
    if host && cluster {
        return Err(clap::Error::raw(
            ErrorKind::ArgumentConflict,
            "--socket means this machine, and --context, --namespace, --kubeconfig, --all-namespaces and fleet mean a cluster: leave out one or the \
             other\n",
        ));
    }
    if host || (!cluster && program == Program::Itself) {
        return Ok(Place::Host(socket.clone()));
    }
    Ok(Place::Cluster(Wish {
        context: context.clone(),
        namespace: namespace.clone(),
        kubeconfig: kubeconfig.clone(),
        all,
        program: program.name(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(line: &str) -> Result<Place, clap::Error> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(Program::called(words.first().map(OsString::as_os_str)), words).map(|(_, place)| place)
    }

    #[test]
    fn the_name_by_which_it_was_called_chooses_the_place() {
        let default = Place::Host(DEFAULT_SOCKET.into());
        assert_eq!(meant("bluegreen get").expect("sound"), default);
        assert_eq!(meant("/usr/local/bin/bluegreen get shop").expect("sound"), default);
        let cluster = Place::Cluster(Wish { program: "kubectl bluegreen", ..Wish::default() });
        assert_eq!(meant("kubectl-bluegreen get").expect("sound"), cluster);
        assert_eq!(meant("/home/jane/.krew/bin/kubectl-bluegreen get").expect("sound"), cluster);
        assert_eq!(meant("kubectl-bluegreen get --socket /x").expect("sound"), Place::Host("/x".into()));
    }

    #[test]
    fn any_flag_of_a_cluster_chooses_it_wherever_it_stands() {
        let wish = |line: &str| match meant(line).expect(line) {
            Place::Cluster(wish) => wish,
            Place::Host(_) => panic!("{line} means a cluster"),
        };
        for line in [
            "bluegreen --context prod get shop",
            "bluegreen get --context prod shop",
            "bluegreen get shop --context=prod",
        ] {
            assert_eq!(wish(line).context.as_deref(), Some("prod"), "{line}");
        }
        assert_eq!(wish("bluegreen approve shop -n web").namespace.as_deref(), Some("web"));
        assert_eq!(wish("bluegreen logs shop -f -n web").namespace.as_deref(), Some("web"));
        assert_eq!(wish("bluegreen --kubeconfig /k get").kubeconfig, Some("/k".into()));
        assert_eq!(wish("bluegreen fleet get --all-contexts").context, None);
        assert!(wish("bluegreen get -A").all && wish("bluegreen get --all-namespaces -w").all);
    }

    #[test]
    fn two_places_at_once_are_refused() {
        let error = meant("bluegreen --socket /x --context prod get").expect_err("which one?");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("leave out one or the other"), "{error}");
    }

    #[test]
    fn help_names_the_program_as_it_was_called() {
        let help = |line: &str| meant(line).expect_err("help is an error, to clap").to_string();
        assert!(help("kubectl-bluegreen get --help").contains("Usage: kubectl bluegreen get"));
        assert!(!help("kubectl-bluegreen --help").contains("\n  operator "));
        assert!(!help("kubectl-bluegreen host --help").contains("\n  run "));
        assert!(help("bluegreen get --help").contains("Usage: bluegreen get"));
        assert!(help("bluegreen --help").contains("\n  host "));
    }
}
