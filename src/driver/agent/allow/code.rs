//! What of a site's variables and options could make a program run other code than its release's.

/// Variables by which the loader, a virtual machine or an interpreter is told to run something else.
pub(super) fn loads_code(name: &str) -> bool {
    const NAMES: [&str; 22] = [
        "PATH",
        "IFS",
        "ENV",
        "BASH_ENV",
        "SHELLOPTS",
        "JAVA_HOME",
        "JAVA_OPTS",
        "JAVA_TOOL_OPTIONS",
        "_JAVA_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "CLASSPATH",
        "CATALINA_OPTS",
        "NODE_OPTIONS",
        "NODE_PATH",
        "PERL5OPT",
        "PERL5LIB",
        "RUBYOPT",
        "RUBYLIB",
        "GCONV_PATH",
        "LOADER_PATH",
        "OPENSSL_CONF",
        "GUNICORN_CMD_ARGS",
    ];
    const BEGINNINGS: [&str; 6] = ["LD_", "DYLD_", "PYTHON", "PIP_", "UVICORN_", "GIT_"];
    NAMES.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// Options of a Java virtual machine that name no program, no file and no agent.
pub(super) fn is_harmless(option: &str) -> bool {
    const BEGINNINGS: [&str; 9] = [
        "-Xmx",
        "-Xms",
        "-Xmn",
        "-Xss",
        "-XX:Max",
        "-XX:Initial",
        "-XX:Min",
        "-XX:ActiveProcessorCount=",
        "-XX:ReservedCodeCacheSize=",
    ];
    let collector = option.starts_with("-XX:+Use") && option.ends_with("GC");
    let exits = option == "-XX:+ExitOnOutOfMemoryError";
    let property = option.strip_prefix("-D").is_some_and(|property| {
        let theirs = ["java.", "javax.", "jdk.", "sun.", "com.sun.", "loader.", "catalina.", "org.apache.catalina."];
        !theirs.iter().any(|beginning| property.starts_with(beginning))
    });
    collector || exits || property || BEGINNINGS.iter().any(|beginning| option.starts_with(beginning))
}
