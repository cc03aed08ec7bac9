//! What starts a release on a plain machine.

use super::host::HOST;
use super::judge::Judge;
use crate::api::site::Runtime;
use crate::api::spec::{CommandSpec, RuntimeSpec};
use crate::api::types::{AbsPath, RelPath};

impl Judge {
    pub(super) fn runtime(&mut self, runtime: &RuntimeSpec) -> Option<Runtime> {
        match runtime {
            RuntimeSpec::Command(command) => self.command(command),
            RuntimeSpec::Wsgi(wsgi) => self.wsgi(wsgi),
            RuntimeSpec::Asgi(asgi) => self.asgi(asgi),
            RuntimeSpec::Cgi(cgi) => self.cgi(cgi),
            RuntimeSpec::Static(_) => Some(Runtime::Static),
            RuntimeSpec::SpringBoot(spec) => self.spring_boot(spec),
            RuntimeSpec::Tomcat(spec) => self.tomcat(spec),
        }
    }

    fn command(&mut self, command: &CommandSpec) -> Option<Runtime> {
        let path = format!("{HOST}.runtime.command.argv");
        if command.argv.is_empty() {
            self.wrong(path, "is empty: it starts with the program");
            return None;
        }
        let argv = self
            .each(&path, &command.argv, |judge, path, argument| judge.text(path, argument).then(|| argument.clone()));
        let program = &command.argv[0];
        let relative = program.parse::<RelPath>().is_ok();
        if !relative && program.parse::<AbsPath>().is_err() {
            self.wrong(
                format!("{path}[0]"),
                format!(
                    "{program:?} is not the path of a program: one inside the release (bin/server) or an absolute one (/usr/bin/java), \
                     each argument as an entry of its own, since no shell splits them"
                ),
            );
            return None;
        }
        let fast_cgi = match &command.fast_cgi {
            None => None,
            Some(script) => Some(self.narrow(&format!("{HOST}.runtime.command.fastCgi"), script)?),
        };
        Some(Runtime::Command { argv: argv?, fast_cgi })
    }
}
