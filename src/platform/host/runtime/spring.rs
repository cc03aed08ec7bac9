//! `springBoot`: a jar, bound to loopback and ended gracefully by what it is told in arguments, which win over everything that a Spring app reads.
//! What is secret is never an argument: those are for everybody to see.

use super::{Instance, Program, java};
use crate::api::java::SpringBoot;
use crate::platform::Fault;

/// How long the app keeps a silent connection: longer than any web server keeps one to it (2 s), or a POST would meet a closed one.
const KEEP_ALIVE: &str = "75s";

/// `java … -jar RELEASE/shop.jar --server.address=127.0.0.1 …`
pub(super) fn program(app: &SpringBoot, instance: &Instance<'_>) -> Result<Program, Fault> {
    let jar = java::artifact(instance.release, app.jar.as_ref(), "jar")?;
    let temp = instance.work.join("temp");
    let mut argv = vec![
        java::java(app.java.as_ref())?,
        format!("-Djava.io.tmpdir={}", temp.display()),
        // An app without memory answers nothing and ends never; started again, it does.
        "-XX:+ExitOnOutOfMemoryError".to_owned(),
    ];
    argv.extend(app.jvm.iter().cloned());
    argv.extend(["-jar".to_owned(), jar.display().to_string()]);
    argv.extend(app.arguments.iter().cloned());
    argv.extend(ours(app, instance).into_iter().map(|(key, value)| format!("--{key}={value}")));
    Ok(Program { argv, writable: vec![temp], ..Program::default() })
}

/// Spring joins the values of an argument that stands there twice: none of these may be said by the site too.
fn ours(app: &SpringBoot, instance: &Instance<'_>) -> Vec<(&'static str, String)> {
    // Spring's limit is for the requests; what comes after them needs a little of the time until SIGKILL too.
    let graceful = instance.stop_within.mul_f64(0.8).as_millis().max(1);
    let mut all = vec![
        ("server.address", "127.0.0.1".to_owned()),
        ("server.port", instance.port.to_string()),
        ("server.shutdown", "graceful".to_owned()),
        ("spring.lifecycle.timeout-per-shutdown-phase", format!("{graceful}ms")),
    ];
    all.extend(app.profile.iter().map(|profile| ("spring.profiles.active", profile.to_string())));
    if let Some(config) = instance.config {
        all.push(("spring.config.additional-location", format!("optional:file:{}/", config.display())));
    }
    // The site may say otherwise.
    for (key, value) in [
        ("server.forward-headers-strategy", "native"),
        ("server.tomcat.keep-alive-timeout", KEEP_ALIVE),
        ("server.tomcat.max-keep-alive-requests", "-1"),
    ] {
        if !app.arguments.iter().any(|argument| argument.starts_with(&format!("--{key}="))) {
            all.push((key, value.to_owned()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn app() -> SpringBoot {
        SpringBoot {
            jar: Some("shop.jar".parse().expect("a path")),
            profile: Some("production".parse().expect("a profile")),
            java: Some("/bin/sh".parse().expect("a path")),
            jvm: vec!["-Xmx64m".to_owned()],
            arguments: vec!["--server.forward-headers-strategy=framework".to_owned()],
        }
    }

    #[test]
    fn the_app_is_bound_to_loopback_and_told_where_its_configuration_is() {
        let release = tempfile::tempdir().expect("a folder");
        std::fs::write(release.path().join("shop.jar"), b"").expect("a file");
        let instance = Instance {
            release: release.path(),
            config: Some(Path::new("/c")),
            stop_within: Duration::from_secs(10),
            ..super::super::tests::instance(8081)
        };
        let argv = program(&app(), &instance).expect("it can be run").argv;
        let jar = format!("{}/shop.jar", release.path().display());
        assert_eq!(
            argv,
            [
                "/bin/sh",
                "-Djava.io.tmpdir=/w/temp",
                "-XX:+ExitOnOutOfMemoryError",
                "-Xmx64m",
                "-jar",
                &jar,
                "--server.forward-headers-strategy=framework",
                "--server.address=127.0.0.1",
                "--server.port=8081",
                "--server.shutdown=graceful",
                "--spring.lifecycle.timeout-per-shutdown-phase=8000ms",
                "--spring.profiles.active=production",
                "--spring.config.additional-location=optional:file:/c/",
                "--server.tomcat.keep-alive-timeout=75s",
                "--server.tomcat.max-keep-alive-requests=-1",
            ]
        );
    }

    #[test]
    fn one_jar_need_not_be_named_and_of_several_one_must_be() {
        let release = tempfile::tempdir().expect("a folder");
        let find = || java::artifact(release.path(), None, "jar").map_err(|fault| fault.message);
        assert!(find().expect_err("none").contains("has no .jar"));
        std::fs::write(release.path().join("a.jar"), b"").expect("a file");
        assert_eq!(find().expect("one"), release.path().join("a.jar"));
        std::fs::write(release.path().join("b.jar"), b"").expect("a file");
        assert!(find().expect_err("two").contains("(a.jar, b.jar)"));
    }
}
