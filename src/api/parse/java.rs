//! Apps that run on a Java virtual machine.

use super::host::HOST;
use super::judge::Judge;
use crate::api::java::{SpringBoot, Tomcat, squeezed};
use crate::api::site::Runtime;
use crate::api::spec::{SpringBootSpec, TomcatSpec};
use crate::api::types::UrlPath;

/// What would run something else than the app that was named.
const NOT_OPTIONS: &[&str] = &["-jar", "-cp", "-classpath", "--class-path", "-m", "--module"];

impl Judge {
    pub(super) fn spring_boot(&mut self, spec: &SpringBootSpec) -> Option<Runtime> {
        let path = format!("{HOST}.runtime.springBoot");
        let jar = self.maybe(&format!("{path}.jar"), spec.jar.as_deref());
        let profile = self.maybe(&format!("{path}.profile"), spec.profile.as_deref());
        let java = self.maybe(&format!("{path}.java"), spec.java.as_deref());
        let jvm = self.jvm(&format!("{path}.jvm"), &spec.jvm);
        let arguments = self.each(&format!("{path}.arguments"), &spec.arguments, |judge, path, argument| {
            judge.text(path, argument).then_some(())?;
            let key = argument.strip_prefix("--").and_then(|rest| rest.split('=').next()).unwrap_or_default();
            let taken = SpringBoot::OURS.iter().find(|ours| squeezed(ours) == squeezed(key));
            if let Some(ours) = taken {
                judge
                    .wrong(path, format!("{ours} is set by the agent, for each instance as it needs it: leave it out"));
                return None;
            }
            if spec.profile.is_some() && squeezed(key) == "springprofilesactive" {
                judge.wrong(path, "spring.profiles.active is what springBoot.profile says: keep one of the two");
                return None;
            }
            Some(argument.clone())
        });
        Some(Runtime::SpringBoot(SpringBoot {
            jar: jar?,
            profile: profile?,
            java: java?,
            jvm: jvm?,
            arguments: arguments?,
        }))
    }

    pub(super) fn tomcat(&mut self, spec: &TomcatSpec) -> Option<Runtime> {
        let path = format!("{HOST}.runtime.tomcat");
        let war = self.maybe(&format!("{path}.war"), spec.war.as_deref());
        let context: Option<UrlPath> = self.narrow(&format!("{path}.path"), &spec.path);
        let context = context.filter(|context| {
            let folder = context.as_str().len() > 1 && context.as_str().ends_with('/');
            if folder {
                self.wrong(
                    format!("{path}.path"),
                    format!("{context} ends with '/', and a context path does not: leave that out"),
                );
            }
            !folder
        });
        let home = self.narrow(&format!("{path}.home"), &spec.home);
        let java = self.maybe(&format!("{path}.java"), spec.java.as_deref());
        let jvm = self.jvm(&format!("{path}.jvm"), &spec.jvm);
        Some(Runtime::Tomcat(Tomcat { war: war?, path: context?, home: home?, java: java?, jvm: jvm? }))
    }

    fn jvm(&mut self, path: &str, options: &[String]) -> Option<Vec<String>> {
        self.each(path, options, |judge, path, option| {
            judge.text(path, option).then_some(())?;
            let word = option.split('=').next().unwrap_or_default();
            if !option.starts_with('-') || NOT_OPTIONS.contains(&word) {
                judge.wrong(
                    path,
                    format!(
                        "{option:?} is no option of the virtual machine, as -Xmx256m is: what is run says the site"
                    ),
                );
                return None;
            }
            Some(option.clone())
        })
    }
}
