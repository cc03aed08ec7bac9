//! What may be asked from afar, and every way past it that came to mind.

use serde_json::{Map, Value, json};

use super::*;
use crate::api::parse;

const LIST: &str = "
users: [shop]
releases: [/srv/shop]
sources: [releases.example.com/shop, registry.example.com/team]
hostnames: [shop.example.com, '*.apps.example.com']
runtimes: [command, springBoot, tomcat, wsgi, asgi, cgi, static]
files: [/etc/shop, /srv/data/shop, /etc/letsencrypt/live/shop]
credentials: [/etc/registry, /etc/shop-registry.json]
certificates: [/etc/letsencrypt/live/shop, /etc/tls]
ports: [8080-8099, 9001]
programs: [/usr/bin/php-fpm8.2]
";

fn allow(text: &str) -> Allow {
    serde_saphyr::from_str(text).expect("a list")
}

fn ours() -> Vec<PathBuf> {
    ["/var/lib/bluegreen", "/etc/bluegreen/sites", "/run/bluegreen", "/srv/shop/state"].map(PathBuf::from).to_vec()
}

/// A site that asks for everything that it may have.
fn fair() -> Value {
    json!({
        "apiVersion": "bluegreen.dev/v1alpha1", "kind": "BlueGreenSite", "metadata": { "name": "shop" },
        "spec": { "target": { "host": {
            "hostnames": ["shop.example.com", "a.b.apps.example.com", "*.apps.example.com"],
            "previewHostnames": ["next.apps.example.com"],
            "tls": { "certificate": "/etc/letsencrypt/live/shop/fullchain.pem", "key": "/etc/tls/shop.key" },
            "release": { "path": "/srv/shop/v1" },
            "runtime": { "command": { "argv": ["bin/app", "--config", "/anything"] } },
            "ports": { "blue": [8081], "green": [8082] },
            "user": "shop",
            "configFiles": [{ "path": "/etc/shop/app.yml" }, { "path": "/etc/shop" }],
            "envFile": "/etc/shop/env",
            "sharedDirs": [{ "path": "uploads", "source": "/srv/data/shop/uploads" }],
            "static": [{ "path": "/assets/", "root": "public" }],
            "env": { "SHOP_CURRENCY": "EUR" },
        } } },
    })
}

fn url(url: &str) -> Value {
    json!({ "url": url, "sha256": "0".repeat(64) })
}

fn image(repository: &str) -> String {
    format!("{repository}@sha256:{}", "0".repeat(64))
}

fn with_access(field: &str, value: Value) -> Value {
    let mut release = url("https://releases.example.com/shop/1.zip");
    release[field] = value;
    release
}

fn with(pointer: &str, value: Value) -> Value {
    let mut site = fair();
    let mut at = &mut site["spec"]["target"]["host"];
    for part in pointer.split('/') {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[part];
    }
    *at = value;
    site
}

fn judged(site: &Value) -> Result<(), String> {
    // What is no site at all is refused before anybody asks what it may have.
    let (_, site) = parse::manifest(&site.to_string()).map_err(|problems| problems.to_string())?;
    let site = site.on_host().map_err(|problem| problem.to_string())?;
    judge(Some(&allow(LIST)), &ours(), &site).map_err(|problem| {
        assert_eq!(problem.reason, reasons::NOT_ALLOWED);
        problem.message
    })
}

#[test]
fn a_site_that_asks_for_what_the_list_names_is_taken() {
    judged(&fair()).expect("allowed");
    for (pointer, value) in [
        ("release", json!({ "archive": "/srv/shop/v2.tar.gz" })),
        ("release", url("https://releases.example.com/shop/1.zip")),
        ("release", json!({ "oci": { "image": image("registry.example.com/team/shop") } })),
        ("release", with_access("credentials", json!({ "file": "/etc/registry/shop.json" }))),
        ("release", with_access("caFile", json!("/etc/registry/ca.pem"))),
        ("release", with_access("credentials", json!({ "secret": "registry" }))),
        ("ports", json!({ "blue": [8080, 8099], "green": [9001, 8090] })),
        ("release", json!({ "uploads": "/srv/shop/incoming" })),
        ("release", json!({ "path": "/srv/shop/releases/v3" })),
        ("runtime", json!({ "command": { "argv": ["/usr/bin/php-fpm8.2", "-F"] } })),
        (
            "runtime",
            json!({ "springBoot": { "jvm": ["-Xmx256m", "-XX:+UseZGC", "-Dshop.x=1"], "arguments": ["--a=b"] } }),
        ),
        ("runtime", json!({ "tomcat": {} })),
        ("runtime", json!({ "wsgi": { "app": "shop.wsgi:application" } })),
        ("listen", json!(["*:80"])),
    ] {
        judged(&with(pointer, value.clone())).unwrap_or_else(|why| panic!("{pointer} {value}: {why}"));
    }
}

#[test]
fn every_way_out_is_refused_and_the_message_names_the_field_and_the_value() {
    let escapes = [
        // Somebody else's power.
        ("user", json!("root"), "root"),
        ("user", json!("nobody"), "nobody"),
        ("user", json!("www-data"), "\"www-data\""),
        ("user", json!("shop2"), "allow.users"),
        ("user", json!("0"), "user"),
        ("user", json!("Root"), "user"),
        ("user", json!("shop\nroot"), "user"),
        // Paths: climbing, neighbours, the agent's own, folders above.
        ("release/path", json!("/srv/shop/../other"), "release.path"),
        ("release/path", json!("/srv/shop/./v1"), "release.path"),
        ("release/path", json!("/srv/shop//v1"), "release.path"),
        ("release/path", json!("/srv/shop-other/v1"), "allow.releases"),
        ("release/path", json!("/srv"), "keeps for itself"),
        ("release/path", json!("/srv/shop"), "keeps for itself"),
        ("release/path", json!("/home"), "allow.releases"),
        ("release/path", json!("/"), "release.path"),
        ("release/path", json!("srv/shop"), "release.path"),
        ("release/path", json!("/etc/shop"), "allow.releases"),
        ("release/path", json!("/srv/shop/state/sites"), "keeps for itself"),
        ("release", json!({ "archive": "/root/x.tar.gz" }), "allow.releases"),
        ("release", json!({ "archive": "/srv/shop/%2e%2e/x.zip" }), "release.archive"),
        ("release", json!({ "uploads": "/home/other/incoming" }), "allow.releases"),
        // Servers: another one, a neighbour, what must not be read for it.
        ("release", url("https://evil.example.com/shop/1.zip"), "allow.sources"),
        ("release", url("https://releases.example.com/other/1.zip"), "allow.sources"),
        ("release", url("https://releases.example.com/shop/../other/1.zip"), "release.url"),
        ("release", json!({ "oci": { "image": image("evil.example.com/team/shop") } }), "allow.sources"),
        ("release", json!({ "oci": { "image": image("registry.example.com/other/shop") } }), "allow.sources"),
        ("release", with_access("caFile", json!("/root/ca.pem")), "release.caFile"),
        ("release", with_access("credentials", json!({ "file": "/root/.docker/config.json" })), "release.credentials"),
        ("release", with_access("credentials", json!({ "file": "/etc/shop/app.yml" })), "allow.credentials"),
        ("release", with_access("credentials", json!({ "file": "/etc/tls/shop.key" })), "allow.credentials"),
        ("release", with_access("caFile", json!("/etc/shop/ca.pem")), "allow.credentials"),
        ("release", json!({ "uploads": "/var/lib" }), "keeps for itself"),
        // What is for fetching or for TLS alone, though it lies in a folder of files.
        ("configFiles", json!([{ "path": "/etc/letsencrypt/live/shop/privkey.pem" }]), "no app is given"),
        ("configFiles", json!([{ "path": "/etc/tls/shop.key" }]), "no app is given"),
        ("envFile", json!("/etc/shop-registry.json"), "no app is given"),
        ("envFile", json!("/etc/registry/shop.json"), "no app is given"),
        ("sharedDirs", json!([{ "path": "x", "source": "/etc/letsencrypt" }]), "no app is given"),
        ("release", json!({ "path": "/etc/letsencrypt/live" }), "no app is given"),
        ("configFiles", json!([{ "path": "/etc/shadow" }]), "configFiles[0].path"),
        ("configFiles", json!([{ "path": "/root/.ssh/id_ed25519" }]), "allow.files"),
        ("configFiles", json!([{ "path": "/etc" }]), "configFiles[0].path"),
        ("configFiles", json!([{ "path": "/var/lib/bluegreen/hub/token" }]), "keeps for itself"),
        ("configFiles", json!([{ "path": "/etc/bluegreen" }]), "keeps for itself"),
        ("envFile", json!("/proc/1/environ"), "envFile"),
        ("envFile", json!("/etc/shopper/env"), "allow.files"),
        ("sharedDirs", json!([{ "path": "x", "source": "/etc" }]), "sharedDirs[0].source"),
        ("sharedDirs", json!([{ "path": "x", "source": "/srv/data" }]), "allow.files"),
        ("sharedDirs", json!([{ "path": "../x", "source": "/etc/shop" }]), "sharedDirs"),
        ("tls/key", json!("/etc/ssl/private/other.key"), "tls.key"),
        ("tls/key", json!("/etc/shop/tls.key"), "allow.certificates"),
        ("tls/certificate", json!("/etc/letsencrypt/live/other/fullchain.pem"), "tls.certificate"),
        ("static", json!([{ "path": "/x/", "root": "/etc" }]), "static"),
        ("static", json!([{ "path": "/x/", "root": "../../etc" }]), "static"),
        // Names: of others, the end of another's, above, with and without a star.
        ("hostnames", json!(["bank.example.com"]), "allow.hostnames"),
        ("hostnames", json!(["evil-shop.example.com"]), "allow.hostnames"),
        ("hostnames", json!(["shop.example.com.evil.net"]), "allow.hostnames"),
        ("hostnames", json!(["x.shop.example.com"]), "allow.hostnames"),
        ("hostnames", json!(["*.shop.example.com"]), "allow.hostnames"),
        ("hostnames", json!(["apps.example.com"]), "allow.hostnames"),
        ("hostnames", json!(["evilapps.example.com"]), "allow.hostnames"),
        ("hostnames", json!(["*.example.com"]), "allow.hostnames"),
        ("hostnames", json!(["*"]), "hostnames"),
        ("hostnames", json!(["_"]), "hostnames"),
        ("hostnames", json!(["SHOP.example.com"]), "hostnames"),
        ("hostnames", json!(["shop.example.com; root /"]), "hostnames"),
        ("previewHostnames", json!(["bank.example.com"]), "previewHostnames"),
        // Doors.
        ("listen", json!(["*:22"]), "allow.listen"),
        ("listen", json!(["*:8080"]), "allow.listen"),
        ("listen", json!(["127.0.0.1:5432"]), "allow.listen"),
        ("tls/listen", json!(["*:25"]), "tls.listen"),
        ("ports", json!({ "blue": [80], "green": [81] }), "ports"),
        ("ports", json!({ "blue": [8080], "green": [60022] }), "allow.ports"),
        ("ports", json!({ "blue": [9000], "green": [9001] }), "allow.ports"),
        // Programs that are not of the release.
        ("runtime", json!({ "command": { "argv": ["/bin/sh", "-c", "id"] } }), "allow.programs"),
        ("runtime", json!({ "command": { "argv": ["../../bin/sh"] } }), "argv[0]"),
        ("runtime", json!({ "command": { "argv": ["/usr/bin/../bin/sh"] } }), "argv[0]"),
        ("runtime", json!({ "springBoot": { "java": "/tmp/java" } }), "springBoot.java"),
        ("runtime", json!({ "springBoot": { "jvm": ["-javaagent:/tmp/x.jar"] } }), "-javaagent"),
        ("runtime", json!({ "springBoot": { "jvm": ["-XX:OnOutOfMemoryError=id"] } }), "OnOutOfMemoryError"),
        ("runtime", json!({ "springBoot": { "jvm": ["@/tmp/arguments"] } }), "@/tmp"),
        ("runtime", json!({ "springBoot": { "jvm": ["-cp", "/tmp"] } }), "-cp"),
        ("runtime", json!({ "springBoot": { "jvm": ["-Djava.system.class.loader=X"] } }), "class.loader"),
        ("runtime", json!({ "springBoot": { "arguments": ["--loader.path=/tmp"] } }), "loader.path"),
        ("runtime", json!({ "tomcat": { "home": "/tmp/tomcat" } }), "tomcat.home"),
        ("runtime", json!({ "wsgi": { "app": "a:b", "python": "/tmp/python3" } }), "wsgi.python"),
        ("runtime", json!({ "asgi": { "app": "a:b", "python": "/bin/sh" } }), "asgi.python"),
        ("env", json!({ "LD_PRELOAD": "/tmp/x.so" }), "LD_PRELOAD"),
        ("env", json!({ "JAVA_TOOL_OPTIONS": "-javaagent:/tmp/x.jar" }), "JAVA_TOOL_OPTIONS"),
        ("env", json!({ "PYTHONPATH": "/tmp" }), "PYTHONPATH"),
        ("env", json!({ "PIP_INDEX_URL": "http://evil" }), "PIP_INDEX_URL"),
        ("env", json!({ "PATH": "/tmp" }), "PATH"),
        ("env", json!({ "DOTNET_STARTUP_HOOKS": "/tmp/x.dll" }), "DOTNET_STARTUP_HOOKS"),
        ("env", json!({ "CORECLR_PROFILER_PATH": "/tmp/x.so" }), "CORECLR_PROFILER_PATH"),
        ("env", json!({ "PHPRC": "/tmp" }), "PHPRC"),
        ("env", json!({ "PHP_INI_SCAN_DIR": "/tmp" }), "PHP_INI_SCAN_DIR"),
        ("env", json!({ "LUA_INIT": "@/tmp/x.lua" }), "LUA_INIT"),
        ("env", json!({ "LUA_PATH_5_4": "/tmp/?.lua" }), "LUA_PATH_5_4"),
        ("env", json!({ "ERL_FLAGS": "-s x" }), "ERL_FLAGS"),
        ("env", json!({ "ERL_LIBS": "/tmp" }), "ERL_LIBS"),
        ("env", json!({ "SPRING_CONFIG_IMPORT": "file:/tmp/x.yml" }), "SPRING_CONFIG_IMPORT"),
        ("env", json!({ "spring_config_location": "/tmp/" }), "spring_config_location"),
        ("env", json!({ "SPRINGCONFIGNAME": "/etc/x" }), "SPRINGCONFIGNAME"),
        ("env", json!({ "SPRING__CONFIG__NAME": "/etc/x" }), "SPRING__CONFIG__NAME"),
        ("env", json!({ "SPRING_APPLICATION_JSON": "{}" }), "SPRING_APPLICATION_JSON"),
        ("env", json!({ "LOG4J_CONFIGURATION_FILE": "/tmp/x.xml" }), "LOG4J_CONFIGURATION_FILE"),
        (
            "runtime",
            json!({ "springBoot": { "arguments": ["--spring.config.import=file:/tmp/x.yml"] } }),
            "spring.config",
        ),
        (
            "runtime",
            json!({ "springBoot": { "arguments": ["--Spring.Con-fig.im_port=/tmp/"] } }),
            "springBoot.arguments",
        ),
        ("runtime", json!({ "springBoot": { "arguments": ["--logging.config=/tmp/x.xml"] } }), "logging.config"),
        ("runtime", json!({ "springBoot": { "jvm": ["-Dlog4j2.configurationFile=http://evil/x.xml"] } }), "log4j2"),
        ("runtime", json!({ "tomcat": { "jvm": ["-Dlog4j.configuration=file:/tmp/x"] } }), "log4j"),
        ("runtime", json!({ "springBoot": { "jvm": ["-Dspring.config.location=/tmp/"] } }), "spring.config"),
        ("runtime", json!({ "springBoot": { "jvm": ["-DspringConfigName=/etc/x"] } }), "springConfigName"),
        ("runtime", json!({ "springBoot": { "jvm": ["-Dlogging.config=/tmp/x"] } }), "logging.config"),
    ];
    for (pointer, value, says) in escapes {
        let site = with(pointer, value.clone());
        let why = judged(&site).expect_err(&format!("{pointer} {value} got through"));
        assert!(why.contains(says), "{pointer} {value}: {why}");
    }
    let mut include = with("front", json!("Include"));
    for field in ["hostnames", "previewHostnames", "tls"] {
        include["spec"]["target"]["host"].as_object_mut().expect("an object").remove(field);
    }
    assert!(judged(&include).expect_err("refused").contains("front"));
}

#[test]
fn each_kind_of_runtime_has_to_be_named() {
    let kinds = [
        ("command", json!({ "argv": ["app"] })),
        ("wsgi", json!({ "app": "a:b" })),
        ("asgi", json!({ "app": "a:b" })),
        ("cgi", json!({ "script": "x.cgi" })),
        ("springBoot", json!({})),
        ("tomcat", json!({})),
    ];
    for (kind, settings) in &kinds {
        let site = with("runtime", json!({ *kind: settings }));
        let (_, site) = parse::manifest(&site.to_string()).unwrap_or_else(|why| panic!("{kind}: {why}"));
        let site = site.on_host().expect("a host's");
        let others: Vec<&str> = kinds.iter().map(|(other, _)| *other).filter(|other| other != kind).collect();
        let without = LIST.replace("command, springBoot, tomcat, wsgi, asgi, cgi, static", &others.join(", "));
        let why = judge(Some(&allow(&without)), &ours(), &site).expect_err(kind).message;
        assert!(why.contains(&format!("\"{kind}\"")) && why.contains("allow.runtimes"), "{why}");
    }
}

#[test]
fn without_a_list_nothing_is_taken_and_the_message_says_what_to_write() {
    let (_, site) = parse::manifest(&fair().to_string()).expect("valid");
    let site = site.on_host().expect("a host's");
    let problem = judge(None, &[], &site).expect_err("refused");
    assert!(problem.reason == reasons::NOT_ALLOWED && problem.message.contains("`allow:`"), "{problem:?}");
    let empty = judge(Some(&Allow::default()), &[], &site).expect_err("refused").message;
    for key in ["users", "releases", "hostnames", "runtimes", "files"] {
        assert!(empty.contains(&format!("allow.{key}")), "{key}: {empty}");
    }
}

#[test]
fn everything_that_is_refused_is_told_at_once() {
    let mut site = with("user", json!("other"));
    site["spec"]["target"]["host"]["envFile"] = json!("/etc/other");
    let why = judged(&site).expect_err("refused");
    assert_eq!(why.lines().count(), 2, "{why}");
}

#[test]
fn doors_that_root_named_are_the_only_ones() {
    let list = allow(&format!("{LIST}listen: ['127.0.0.1:8080', '*:81']"));
    for (listen, fits) in
        [("127.0.0.1:8080", true), ("*:81", true), ("[::1]:81", true), ("*:80", false), ("*:8080", false)]
    {
        let mut site = with("listen", json!([listen]));
        site["spec"]["target"]["host"].as_object_mut().expect("an object").remove("tls");
        let (_, site) = parse::manifest(&site.to_string()).expect("valid");
        let site = site.on_host().expect("a host's");
        assert_eq!(judge(Some(&list), &ours(), &site).is_ok(), fits, "{listen}");
    }
}

#[test]
fn apps_have_the_usual_ports_where_the_list_says_nothing_of_them() {
    let list = allow(&LIST.replace("ports: [8080-8099, 9001]\n", ""));
    for (port, fits) in [(8000, true), (29_999, true), (7999, false), (30_000, false), (60_022, false), (5432, false)] {
        let site = with("ports", json!({ "blue": [8081], "green": [port] }));
        let (_, site) = parse::manifest(&site.to_string()).expect("valid");
        let site = site.on_host().expect("a host's");
        assert_eq!(judge(Some(&list), &ours(), &site).is_ok(), fits, "{port}");
    }
}

#[test]
fn a_list_that_names_root_is_none() {
    assert!(allow("users: [root]").check().expect_err("refused").contains("allow.users"));
    assert!(allow(LIST).check().is_ok());
    for wrong in [
        "users: [0]",
        "releases: [/]",
        "releases: [srv]",
        "runtimes: [shell]",
        "hostnames: ['*']",
        "listen: [80]",
        "ports: [80]",
        "ports: ['9000-8000']",
        "ports: ['8000-']",
        "ports: [99999]",
        "user: [a]",
    ] {
        assert!(serde_saphyr::from_str::<Allow>(wrong).is_err(), "{wrong}");
    }
}
