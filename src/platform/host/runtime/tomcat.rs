//! `tomcat`: a war on a Tomcat of its own for each instance: CATALINA_HOME is what the machine has installed, CATALINA_BASE a folder that we make,
//! in which the app may write only what it must.

use std::path::{Path, PathBuf};

use minijinja::{Environment, UndefinedBehavior, context};

use super::{Instance, Program, java, wrong};
use crate::api::java::Tomcat;
use crate::platform::{Class, Fault};

const SERVER: &str = include_str!("server.xml.j2");

/// Everything goes where the supervisor keeps what an instance printed.
const LOGGING: &str = "handlers = java.util.logging.ConsoleHandler
java.util.logging.ConsoleHandler.level = INFO
java.util.logging.ConsoleHandler.formatter = org.apache.juli.OneLineFormatter
";

/// What Tomcat wants opened of Java's own modules (as its own catalina.sh says).
const OPENS: &[&str] = &[
    "java.base/java.lang",
    "java.base/java.io",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.rmi/sun.rmi.transport",
];

/// What the app writes into, below its CATALINA_BASE.
const WRITABLE: &[&str] = &["temp", "work", "webapps", "logs"];

/// A file or folder of a CATALINA_BASE.
pub(super) struct Base {
    /// Root's files below it, with their content.
    pub files: Vec<(&'static str, String)>,
}

/// `java … org.apache.catalina.startup.Bootstrap start`, without a shell in between: SIGTERM must reach Java.
pub(super) fn program(app: &Tomcat, instance: &Instance<'_>) -> Result<Program, Fault> {
    let (base, home) = (instance.work.display(), &app.home);
    let mut argv = vec![
        java::java(app.java.as_ref())?,
        "-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager".to_owned(),
        format!("-Djava.util.logging.config.file={base}/conf/logging.properties"),
        "-XX:+ExitOnOutOfMemoryError".to_owned(),
        format!("-Dcatalina.home={home}"),
        format!("-Dcatalina.base={base}"),
        format!("-Djava.io.tmpdir={base}/temp"),
    ];
    argv.extend(OPENS.iter().map(|module| format!("--add-opens={module}=ALL-UNNAMED")));
    argv.extend(app.jvm.iter().cloned());
    argv.extend(["-classpath".to_owned(), format!("{home}/bin/bootstrap.jar:{home}/bin/tomcat-juli.jar")]);
    argv.extend(["org.apache.catalina.startup.Bootstrap", "start"].map(str::to_owned));
    // For an app that is Spring's; others don't look at it.
    let config = instance.config.map(|config| format!("optional:file:{}/", config.display()));
    let env = config.map(|config| ("SPRING_CONFIG_ADDITIONAL_LOCATION", config)).into_iter().collect();
    Ok(Program { argv, env, writable: writable(instance.work) })
}

/// What the app writes into.
pub(super) fn writable(work: &Path) -> Vec<PathBuf> {
    WRITABLE.iter().map(|name| work.join(name)).collect()
}

/// What its CATALINA_BASE holds before it starts.
pub(super) fn base(app: &Tomcat, instance: &Instance<'_>) -> Result<Base, Fault> {
    let war = java::artifact(instance.release, app.war.as_ref(), "war")?;
    let failed = |error: minijinja::Error| wrong(&format!("tomcat: the template of server.xml: {error}"));
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let server = environment.render_str(
        SERVER,
        context! {
            port => instance.port,
            path => app.path.as_str().trim_end_matches('/'),
            war => war.display().to_string(),
            graceful => u64::try_from(instance.stop_within.mul_f64(0.8).as_millis()).unwrap_or(u64::MAX),
        },
    );
    // Its defaults for all apps (the servlet for files, JSP, types of files) lie where Debian or Tomcat's own archive has them.
    let web = ["etc/web.xml", "conf/web.xml"].iter().find_map(|name| std::fs::read_to_string(at(app, name)).ok());
    Ok(Base {
        files: vec![
            ("conf/server.xml", server.map_err(failed)?),
            ("conf/web.xml", web.ok_or_else(|| missing(app))?),
            ("conf/logging.properties", LOGGING.to_owned()),
        ],
    })
}

/// Whether it can be run at all.
pub(super) fn check(app: &Tomcat, release: &Path, reader: &Path) -> Result<(), Fault> {
    if !at(app, "bin/bootstrap.jar").is_file() || !at(app, "lib/catalina.jar").exists() {
        return Err(missing(app));
    }
    let war = java::artifact(release, app.war.as_ref(), "war")?;
    if war.is_dir() {
        return Ok(());
    }
    java::open(&war, "war", reader).map(drop)
}

fn at(app: &Tomcat, name: &str) -> PathBuf {
    app.home.as_path().join(name)
}

fn missing(app: &Tomcat) -> Fault {
    Fault {
        class: Class::User,
        reason: "TomcatMissing",
        message: format!(
            "there is no Tomcat 10 in {}: install it (apt-get install tomcat10; its own service may stay off: systemctl disable --now \
             tomcat10), or name its folder in spec.target.host.runtime.tomcat.home",
            app.home
        ),
    }
}
