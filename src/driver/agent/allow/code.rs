//! What of a site's variables and options could make a program run other code than its release's, or read other settings.

use crate::api::java::squeezed;

/// Variables by which the loader, a virtual machine or an interpreter is told to run something else.
pub(super) fn loads_code(name: &str) -> bool {
    const NAMES: [&str; 28] = [
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
        "ASPNETCORE_HOSTINGSTARTUPASSEMBLIES",
        "ELIXIR_ERL_OPTIONS",
        "GEM_HOME",
        "GEM_PATH",
        "PHPRC",
        "PHP_INI_SCAN_DIR",
    ];
    const BEGINNINGS: [&str; 14] = [
        "LD_", "DYLD_", "PYTHON", "PIP_", "UVICORN_", "GIT_", "BUNDLE_", "COMPLUS_", "CORECLR_", "DOTNET_", "ERL_",
        "LOG4J", "LUA_", "LOADER_",
    ];
    // Spring and .NET don't mind the case.
    let name = name.to_ascii_uppercase();
    names_settings_of_spring(&name)
        || NAMES.contains(&name.as_str())
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
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
        if loads_settings(property) {
            return false;
        }
        let theirs = ["java.", "javax.", "jdk.", "sun.", "com.sun.", "catalina.", "org.apache.catalina."];
        !theirs.iter().any(|beginning| property.starts_with(beginning))
    });
    collector || exits || property || BEGINNINGS.iter().any(|beginning| option.starts_with(beginning))
}

/// Whether `NAME=VALUE` names settings, or classes, outside the release that Spring or a logging library would load. Spring takes `spring.config-import`,
/// `Spring.Config_Import` and the like for one name.
pub(super) fn loads_settings(property: &str) -> bool {
    const BEGINNINGS: [&str; 3] = ["loader.", "log4j", "logback."];
    let name = property.split('=').next().unwrap_or_default().to_ascii_lowercase().replace(['-', '_'], "");
    names_settings_of_spring(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// Spring takes `SPRINGCONFIGNAME`, `spring__config.name` and the like for one name.
fn names_settings_of_spring(name: &str) -> bool {
    let name = squeezed(name);
    ["springconfig", "springapplicationjson", "loggingconfig"].iter().any(|beginning| name.starts_with(beginning))
}
