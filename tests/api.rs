//! The resource as the outside sees it: its CustomResourceDefinition, what is refused and how that is said, and that text and
//! schema say the same.

#[path = "api/requests.rs"]
mod requests;

use bluegreen::api::conflicts::conflicts;
use bluegreen::api::site::{Front, Runtime, SiteOnHost};
use bluegreen::api::{crd, parse, types};
use proptest::prelude::*;

/// Compares a generated file with what stands in the repository; `UPDATE=1` rewrites it.
fn assert_generated(path: &str, now: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, now).expect("the repository can be written to");
    }
    let then = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(then == now, "{} is out of date: run `UPDATE=1 cargo test --test api`", path.display());
}

#[test]
fn the_crd_in_the_repository_is_that_of_the_types() {
    let yaml = crd::yaml().expect("the definition can be written");
    assert_generated("crds/bluegreen.dev_bluegreensites.yaml", &yaml);
    let definition: serde_json::Value = serde_saphyr::from_str(&yaml).expect("the definition can be read");
    assert!(
        definition.to_string().len() < 200 * 1024,
        "a plain kubectl apply copies the definition, as JSON, into an annotation; all annotations together have 256 KiB"
    );
}

#[test]
fn every_example_is_a_site() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("there are examples") {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            let text = std::fs::read_to_string(&path).expect("an example can be read");
            if let Err(problems) = parse::manifest(&text) {
                panic!("{}:\n{problems}", path.display());
            }
            count += 1;
        }
    }
    assert!(count >= 3, "there are {count} examples");
}

const SHOP: &str = "\
apiVersion: bluegreen.dev/v1alpha1
kind: BlueGreenSite
metadata:
  name: shop
spec:
  target:
    host:
      hostnames: [shop.example.com]
      release: {path: /srv/shop/1.4.2}
      runtime:
        command:
          argv: [bin/shop, --port, $(PORT)]
      ports: {blue: [8081], green: [8082]}
      user: shop
      static: [{path: /assets/, root: public/assets}]
      configFiles: [{path: /etc/shop/shop.toml}]
      sharedDirs: [{path: uploads, source: /srv/shop/uploads}]
      env: {RUST_LOG: info}
  health: {path: /healthz}
  strategy: {bake: 1m30s}
";

fn shop() -> SiteOnHost {
    on_host(SHOP)
}

fn on_host(text: &str) -> SiteOnHost {
    parse::manifest(text).expect("it is a site").1.on_host().expect("of a host")
}

/// What is said of the shop when `old` is replaced by `new` in its manifest.
fn said(old: &str, new: &str) -> Vec<String> {
    assert!(SHOP.contains(old), "{old:?} is in the manifest");
    let text = SHOP.replacen(old, new, 1);
    match parse::manifest(&text) {
        Ok(_) => Vec::new(),
        Err(problems) => (problems.all().iter())
            .map(|problem| {
                format!("line {}: {}: {}", problem.at.map_or(0, |place| place.line), problem.path, problem.message)
            })
            .collect(),
    }
}

#[test]
fn what_is_not_said_has_a_sane_default() {
    let site = shop();
    assert_eq!(site.limits.bake.as_secs(), 90);
    assert_eq!(site.limits.ready_within.as_secs(), 300);
    assert_eq!(site.limits.approve_within, None);
    assert_eq!(site.target.run.statics[0].keep, 3);
    assert_eq!(site.target.run.health.successes, 3);
    let Front::Own { listen, .. } = &site.target.front else {
        panic!("the agent writes the server block by default");
    };
    let listen: Vec<String> = listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["0.0.0.0:80", "[::]:80"]);
    assert!(matches!(&site.target.run.runtime, Runtime::Command { argv, .. } if argv[2] == "$(PORT)"));
}

/// Else an upgrade of the agent would make another revision of every site.
#[test]
fn what_is_not_said_of_a_static_path_is_not_in_its_record() {
    let plain = serde_json::to_value(&shop().target.run.statics).unwrap();
    assert_eq!(plain, serde_json::json!([{ "path": "/assets/", "root": "public/assets", "keep": 3 }]));
    let more = "root: public/assets, fallback: a/b.html, cacheControl: 'public, max-age=60', precompressed: true";
    let text = SHOP.replacen("root: public/assets", more, 1);
    let all = serde_json::to_value(&on_host(&text).target.run.statics).unwrap();
    assert_eq!(
        all,
        serde_json::json!([{
            "path": "/assets/", "root": "public/assets", "keep": 3,
            "fallback": "a/b.html", "cacheControl": "public, max-age=60", "precompressed": true
        }])
    );
}

/// The same.
#[test]
fn what_is_not_said_of_a_warm_up_is_not_in_the_record() {
    let of = |text: &str| serde_json::to_value(&on_host(text).target.run.health).unwrap();
    assert_eq!(of(SHOP).get("warmUp"), None);
    let warm = SHOP.replacen("path: /healthz", "path: /healthz, warmUp: {paths: [/, /offers], requests: 20}", 1);
    let within = serde_json::json!({ "secs": 30, "nanos": 0 });
    assert_eq!(of(&warm)["warmUp"], serde_json::json!({ "paths": ["/", "/offers"], "requests": 20, "within": within }));
}

/// Each mistake is made alone, and exactly one thing is said: where, what is wrong, what would be right.
#[test]
fn each_mistake_is_said_once_with_its_path_and_what_would_be_right() {
    let cases = [
        ("v1alpha1", "v1", "line 1: apiVersion: \"bluegreen.dev/v1\" is not bluegreen.dev/v1alpha1"),
        ("kind: BlueGreenSite", "kind: Deployment", "line 2: kind: \"Deployment\" is not BlueGreenSite"),
        (
            "name: shop",
            "name: Shop",
            "line 4: metadata.name: \"Shop\" is not a site's name: lower-case letters, digits and '-', a letter or digit at both ends, at most 49 characters",
        ),
        ("  name: shop", "  nam: shop", "line 4: metadata.nam: there is no such field; did you mean name?"),
        (
            "hostnames: [shop.example.com]",
            "hostnames: []",
            "line 8: spec.target.host.hostnames: a server block needs at least one host name: name it, or write front: Include to use a server block of your own",
        ),
        (
            "      user: shop",
            "      user: shop\n      tls: { certificate: shop.pem, key: /etc/ssl/shop.key }",
            "line 15: spec.target.host.tls.certificate: \"shop.pem\" is not an absolute path of letters, digits, '-', '_', '.', '~', '+', '@', ',' and '=', without '.' or '..' as a part",
        ),
        (
            "      user: shop",
            "      user: shop\n      tls: { certificate: /etc/ssl/shop.pem, key: /etc/ssl/shop.key, listen: ['*:80'] }",
            "line 15: spec.target.host.tls.listen: 0.0.0.0:80 is in the site's own listen too: an address speaks HTTPS or it doesn't",
        ),
        (
            "      user: shop",
            "      user: shop\n      tls: { certificate: /etc/ssl/shop.pem, key: /etc/ssl/shop.key, listen: ['*:8081'] }",
            "line 13: spec.target.host.ports.blue[0]: 8081 is where the site itself listens (listen): take another one",
        ),
        (
            "hostnames: [shop.example.com]",
            "hostnames: ['shop.example.com; return 200']",
            "line 8: spec.target.host.hostnames[0]: \"shop.example.com; return 200\" is not a host name: lower-case labels of letters, digits and '-', joined by dots, optionally '*.' in front",
        ),
        (
            "hostnames: [shop.example.com]",
            "hostnames: [a.example, a.example]",
            "line 8: spec.target.host.hostnames[1]: a.example is named twice; keep one",
        ),
        (
            "hostnames: [shop.example.com]",
            "hostnames: shop.example.com",
            "line 8: spec.target.host.hostnames: \"shop.example.com\" is a text, and a list is wanted: write [\"shop.example.com\"]",
        ),
        (
            "hostnames: [",
            "front: Include\n      hostnames: [",
            "line 9: spec.target.host.hostnames: your own server block names the hosts: leave this out, or write front: Own",
        ),
        (
            "hostnames: [",
            "front: include\n      hostnames: [",
            "line 8: spec.target.host.front: \"include\" is none of Own, Include; did you mean Include?",
        ),
        (
            "user: shop",
            "user: root",
            "line 14: spec.target.host.user: a site never runs as root: name an account of its own (adduser makes one)",
        ),
        (
            "      user: shop\n",
            "",
            "line 7: spec.target.host.user: is missing: the user account that unpacks and runs the release: one of the site's own, not root, nobody, or a system account",
        ),
        (
            "blue: [8081]",
            "blue: [80]",
            "line 13: spec.target.host.ports.blue[0]: 80 is out of range: a whole number from 1024 to 65535 is wanted",
        ),
        (
            "blue: [8081]",
            "blue: [\"8081\"]",
            "line 13: spec.target.host.ports.blue[0]: \"8081\" is a text, and a whole number from 1024 to 65535 is wanted: write 8081 without quotes",
        ),
        (
            "blue: [8081]",
            "blue: [8082]",
            "line 13: spec.target.host.ports.green[0]: 8082 is spec.target.host.ports.blue[0] already: each instance needs a port of its own",
        ),
        (
            "blue: [8081]",
            "blue: [8081, 8083]",
            "line 13: spec.target.host.ports.green: has 1 port, and blue has 2: each colour needs a port for each instance",
        ),
        (
            "ports: {blue: [8081], green: [8082]}",
            "ports: {}",
            "line 13: spec.target.host.ports: an app needs at least one port for each colour, as in blue: [8081], green: [8082]",
        ),
        (
            "path: /srv/shop/1.4.2",
            "path: /srv/shop/1.4.2, archive: /srv/shop.zip",
            "line 9: spec.target.host.release: has path and archive; it needs exactly one of them",
        ),
        (
            "path: /srv/shop/1.4.2",
            "uploads: /srv/shop/releases, archive: /srv/shop.zip",
            "line 9: spec.target.host.release: has archive and uploads; it needs exactly one of them",
        ),
        (
            "path: /srv/shop/1.4.2",
            "",
            "line 9: spec.target.host.release: needs exactly one of path (a folder), archive (a file), uploads (a folder in which they arrive), url (an archive to be fetched) and oci (an image or an artifact of a registry)",
        ),
        (
            "path: /srv/shop/1.4.2",
            "archive: /srv/shop.rar",
            "line 9: spec.target.host.release.archive: \"/srv/shop.rar\" is no archive that is understood: its name ends in .tar.gz, .tgz, .zip, .jar, .war",
        ),
        (
            "/srv/shop/1.4.2",
            "/srv/../etc",
            "line 9: spec.target.host.release.path: \"/srv/../etc\" is not an absolute path of letters, digits, '-', '_', '.', '~', '+', '@', ',' and '=', without '.' or '..' as a part",
        ),
        (
            "path: /assets/",
            "path: /assets",
            "line 15: spec.target.host.static[0].path: \"/assets\" names a folder's paths: write \"/assets\" with '/' at its end",
        ),
        (
            "root: public/assets",
            "root: ../assets",
            "line 15: spec.target.host.static[0].root: \"../assets\" is not a path inside the release: relative, of letters, digits, '-', '_', '.', '~', '+', '@', ',' and '=', without '.' or '..' as a part",
        ),
        (
            "root: public/assets",
            "root: public/assets, fallback: ../x",
            "line 15: spec.target.host.static[0].fallback: \"../x\" is not a path inside the release: relative, of letters, digits, '-', '_', '.', '~', '+', '@', ',' and '=', without '.' or '..' as a part",
        ),
        (
            "root: public/assets",
            "root: public/assets, fallback: .hidden/index.html",
            "line 15: spec.target.host.static[0].fallback: lies behind a name that begins with a dot, and such files are never answered",
        ),
        (
            "root: public/assets",
            "root: public/assets, cacheControl: imutable",
            "line 15: spec.target.host.static[0].cacheControl: \"imutable\" is not a value of Cache-Control: public, private, no-cache, no-store, no-transform, must-revalidate, proxy-revalidate, must-understand, immutable, and max-age, s-maxage, stale-while-revalidate, stale-if-error with '=SECONDS', joined by ', '",
        ),
        (
            "RUST_LOG: info",
            "PORT: '1'",
            "line 18: spec.target.host.env.PORT: is set by the agent, for each instance as it needs it: leave it out",
        ),
        (
            "RUST_LOG: info",
            "DEBUG: true",
            "line 18: spec.target.host.env.DEBUG: true is a yes or no, and a text is wanted: put it into quotes, \"true\"",
        ),
        (
            "RUST_LOG: info",
            "A: \"x\\ny\"",
            "line 18: spec.target.host.env.A: holds the control character '\\n': put what needs it into a file, and name that in configFiles",
        ),
        (
            "[{path: uploads,",
            "[{path: uploads/a, source: /srv/a}, {path: uploads,",
            "line 17: spec.target.host.sharedDirs[1].path: \"uploads\" and \"uploads/a\" lie in one another: they need places of their own in the release",
        ),
        (
            "bake: 1m30s",
            "bake: 90",
            "line 20: spec.strategy.bake: 90 is a number, and a text is wanted: put it into quotes, \"90\"",
        ),
        (
            "bake: 1m30s",
            "bake: 1.5m",
            "line 20: spec.strategy.bake: \"1.5m\" is not a span of time: numbers of at most five digits with the units h, m, s or ms, as in 1h30m, 10s or 500ms",
        ),
        (
            "bake: 1m30s",
            "approveWithin: 1h",
            "line 20: spec.strategy.approveWithin: nothing waits for an approval: leave it out, or write promotion: Manual",
        ),
        (
            "bake: 1m30s",
            "readyWithin: 1s",
            "line 20: spec.strategy.readyWithin: 1s is never enough for 3 successful checks every 500ms: give it more, or ask for fewer or more often (spec.health)",
        ),
        (
            "bake: 1m30s",
            "bakeTime: 1m30s",
            "line 20: spec.strategy.bakeTime: there is no such field; its fields are approveWithin, bake, cutoverWithin, drainWithin, failoverAfter, prepareWithin, promotion, readyWithin, standby, verifyWithin",
        ),
        (
            "path: /healthz",
            "path: /healthz, warmUp: {paths: []}",
            "line 19: spec.health.warmUp.paths: is empty; it needs at least 1",
        ),
        (
            "path: /healthz",
            "path: /healthz, warmUp: {paths: ['/a?b']}",
            "line 19: spec.health.warmUp.paths[0]: \"/a?b\" is not a URL path: it starts with '/' and holds letters, digits, '-', '_', '.', '~', '+', '@', ',' and '=', without '..' or '//'",
        ),
        (
            "path: /healthz",
            "path: /healthz, warmUp: {paths: [/], within: 1m}",
            "line 19: spec.health.warmUp.within: 1m is as long as the checks before a cutover may take (spec.strategy.verifyWithin: 1m), or longer: give it less, or them more",
        ),
        (
            "path: /healthz",
            "path: /healthz, interval: 1ms",
            "line 19: spec.health.interval: 1ms is too short: at least 10ms is needed",
        ),
        (
            "argv: [bin/shop, ",
            "argv: ['bin/shop --verbose', ",
            "line 12: spec.target.host.runtime.command.argv[0]: \"bin/shop --verbose\" is not the path of a program: one inside the release (bin/server) or an absolute one (/usr/bin/java), each argument as an entry of its own, since no shell splits them",
        ),
        (
            "      user: shop",
            "      user: shop\n      listen: ['*:8081']",
            "line 13: spec.target.host.ports.blue[0]: 8081 is where the site itself listens (listen): take another one",
        ),
        (
            "      user: shop",
            "      user: shop\n      listen: [8080]",
            "line 15: spec.target.host.listen[0]: 8080 is a number, and a text is wanted: put it into quotes, \"8080\"",
        ),
        (
            "      user: shop",
            "      user: shop\n      listen: ['localhost:80']",
            "line 15: spec.target.host.listen[0]: \"localhost:80\" is nowhere to listen: ADDRESS:PORT, [V6ADDRESS]:PORT or *:PORT is, as in *:8080",
        ),
    ];
    let mut wrong = String::new();
    for (old, new, expected) in cases {
        let said = said(old, new);
        if said != [expected] {
            wrong += &format!(
                "{old:?} replaced by {new:?}:\n  expected {expected}\n  but said {}\n",
                said.join("\n       and ")
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_mistake_is_said_at_once_in_the_order_of_the_text() {
    let text = SHOP
        .replace("name: shop", "name: SHOP")
        .replace("hostnames", "hostnamse")
        .replace("[8081]", "[80, x]")
        .replace("user: shop", "user: root")
        .replace("[bin/shop, --port, $(PORT)]", "[]")
        .replace("bake: 1m30s", "bake: 1x, promotion: Sometimes");
    let problems = parse::manifest(&text).expect_err("nearly everything is wrong");
    let places: Vec<(&str, u64)> = problems
        .all()
        .iter()
        .map(|problem| (problem.path.as_str(), problem.at.map_or(0, |place| place.line)))
        .collect();
    assert_eq!(
        places,
        [
            ("metadata.name", 4),
            ("spec.target.host.hostnamse", 8),
            ("spec.target.host.runtime.command.argv", 12),
            ("spec.target.host.ports.blue[0]", 13),
            ("spec.target.host.ports.blue[1]", 13),
            ("spec.target.host.ports.green", 13),
            ("spec.target.host.user", 14),
            ("spec.strategy.bake", 20),
            ("spec.strategy.promotion", 20),
        ],
        "{problems}"
    );
}

#[test]
fn the_shape_of_the_whole_is_judged_too() {
    for (text, expected) in [
        ("", "the file holds nothing"),
        ("# only a comment\n", "the file holds nothing"),
        ("just words", "and a map"),
        ("a: [", "this is not YAML"),
        ("{}", "apiVersion: is missing: write bluegreen.dev/v1alpha1"),
        ("spec: {target: {}}", "spec.target: needs exactly one of host, cluster"),
        ("spec: {target: {host: {runtime: {}}}}", "spec.target.host.runtime: needs exactly one of command, "),
        (
            "spec: {target: {host: {runtime: {static: }}}}",
            "spec.target.host.runtime.static: says nothing: write 'static: {}'",
        ),
        (
            "spec: {target: {host: {runtime: {static: {}, command: {argv: [x]}}}}}",
            "spec.target.host.runtime: has command and static; it needs exactly one of",
        ),
    ] {
        let problems = parse::manifest(text).expect_err(text).to_string();
        assert!(problems.contains(expected), "{text:?} gives\n{problems}");
    }
    let two = format!("{SHOP}---\n{SHOP}");
    let problems = parse::manifest(&two).expect_err("two sites in a file");
    assert!(problems.to_string().contains("a file of its own"), "{problems}");
}

#[test]
fn a_site_that_was_read_from_an_agent_can_be_applied_again() {
    let text = SHOP.replace(
        "  name: shop\n",
        "  name: shop\n  generation: 7\n  uid: x\n  creationTimestamp: 2026-11-22T00:00:00Z\n  managedFields: []\nstatus: {phase: Idle, anything: 1}\n",
    );
    let site = on_host(&text);
    assert_eq!(site.generation, 7);
    assert_eq!(SiteOnHost { generation: 1, ..site }, shop());
}

#[test]
fn a_restart_makes_another_incarnation() {
    let annotated =
        |token: &str| {
            parse::manifest(&SHOP.replace(
                "  name: shop\n",
                &format!("  name: shop\n  annotations:\n    bluegreen.dev/restart: {token}\n"),
            ))
        };
    let (_, site) = annotated("a-1").expect("a token");
    let site = site.on_host().expect("of a host");
    assert_ne!(site.target.run, shop().target.run);
    let problems = annotated("\"a b\"").expect_err("not a token");
    assert!(
        problems.to_string().contains("metadata.annotations[bluegreen.dev/restart]: \"a b\" is not a token"),
        "{problems}"
    );
}

#[test]
fn a_site_that_came_first_keeps_its_hostname_and_its_ports() {
    let other = on_host(
        &SHOP
            .replace("name: shop", "name: other")
            .replace("[shop.example.com]", "[free.example.com, shop.example.com]")
            .replace("blue: [8081]", "blue: [9081]"),
    );
    let said: Vec<String> =
        conflicts(&[shop(), other.clone()]).iter().map(|(name, problem)| format!("{name}: {problem}")).collect();
    assert_eq!(
        said,
        [
            "other: spec.target.host.hostnames[1]: the site shop answers to shop.example.com already: take it out of one of the two",
            "other: spec.target.host.ports.green[0]: the site shop has port 8082 already: take another one",
        ]
    );
    assert_eq!(conflicts(&[other, shop()]).len(), 2, "whoever comes first keeps it");
    assert_eq!(conflicts(&[shop()]), []);
}

/// What would be syntax in some file that we write.
fn has_syntax(text: &str) -> bool {
    text.chars()
        .any(|letter| letter.is_control() || letter.is_whitespace() || ";{}\"'$`\\#*()<>|&!?[]%^".contains(letter))
}

/// Every string of a site that reaches a file or a path that we write.
fn strings(site: &SiteOnHost) -> Vec<String> {
    let run = &site.target.run;
    let mut all = vec![site.name.to_string(), run.user.to_string(), run.health.path.to_string()];
    if let Front::Own { hostnames, .. } = &site.target.front {
        all.extend(hostnames.iter().map(|name| name.as_str().trim_start_matches("*.").to_owned()));
    }
    all.extend(run.statics.iter().flat_map(|entry| [entry.path.to_string(), entry.root.to_string()]));
    all.extend(run.config_files.iter().map(ToString::to_string));
    all.extend(run.shared_dirs.iter().flat_map(|dir| [dir.path.to_string(), dir.source.to_string()]));
    all.extend(run.env.keys().map(ToString::to_string));
    all.push(format!("{:?}", site.target.release).replace(|letter: char| "\"(){}: ".contains(letter), ""));
    all
}

/// Words near to what is right, with something in them that might be syntax somewhere.
fn nasty() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,12}", "[/a-z.*;{}$\"'\\\\ \n#-]{1,12}", "/?[a-z]{1,5}[;{}\n\"'$ ]?[a-z./]{0,5}",]
}

/// Where a text of the manifest can be replaced by another.
const FIELDS: [&str; 11] = [
    "/metadata/name",
    "/spec/target/host/hostnames/0",
    "/spec/target/host/release/path",
    "/spec/target/host/runtime/command/argv/0",
    "/spec/target/host/user",
    "/spec/target/host/static/0/path",
    "/spec/target/host/static/0/root",
    "/spec/target/host/configFiles/0/path",
    "/spec/target/host/sharedDirs/0/path",
    "/spec/target/host/sharedDirs/0/source",
    "/spec/health/path",
];

proptest! {
    #[test]
    fn no_text_in_any_field_makes_a_site_whose_strings_hold_syntax(field in 0..FIELDS.len(), text in nasty(), name in nasty()) {
        let (object, _) = parse::manifest(SHOP).expect("the shop is a site");
        let mut value = serde_json::to_value(object).expect("a site is plain data");
        *value.pointer_mut(FIELDS[field]).expect("the field is there") = text.clone().into();
        value["spec"]["target"]["host"]["env"][&name] = "x".into();
        if let Ok((_, site)) = parse::manifest(&value.to_string()) {
            let site = site.on_host().expect("of a host");
            for string in strings(&site) {
                prop_assert!(!has_syntax(&string), "{string:?}");
            }
            if let Runtime::Command { argv, .. } = &site.target.run.runtime {
                prop_assert!(!argv[0].contains(char::is_whitespace), "{argv:?}");
            }
        }
    }

    #[test]
    fn no_text_at_all_makes_the_reader_panic(text in "\\PC{0,200}", cut in 0..SHOP.len()) {
        let _ = parse::manifest(&text);
        let _ = parse::manifest(&format!("{}{text}", SHOP.get(..cut).unwrap_or_default()));
    }

    /// The schema refuses what the parser refuses, but for lengths, which stand beside the pattern there.
    #[test]
    fn the_patterns_of_the_schema_and_the_parsers_agree(text in nasty()) {
        macro_rules! agree {
            ($($type:ident at most $most:literal),*) => {$(
                let pattern = regex::Regex::new(types::$type::PATTERN).expect("the pattern is one");
                prop_assert_eq!(
                    text.parse::<types::$type>().is_ok(),
                    pattern.is_match(&text) && text.len() <= $most,
                    "{} and {:?}", stringify!($type), text
                );
            )*};
        }
        agree!(
            SiteName at most 49, Hostname at most 255, UrlPath at most 1024, RelPath at most 1024, AbsPath at most 4096,
            UserName at most 32, EnvName at most 128, PythonApp at most 256, Sha256 at most 64, Token at most 64, CacheControl at most 256
        );
        let span = regex::Regex::new(bluegreen::api::span::PATTERN).expect("the pattern is one");
        prop_assert_eq!(bluegreen::api::span::parse(&text).is_ok(), span.is_match(&text));
    }

    #[test]
    fn spans_agree_with_their_pattern(text in "[0-9]{0,6}(h|m|s|ms|d)?([0-9]{1,6}(h|m|s|ms)){0,5}") {
        let span = regex::Regex::new(bluegreen::api::span::PATTERN).expect("the pattern is one");
        prop_assert_eq!(bluegreen::api::span::parse(&text).is_ok(), span.is_match(&text), "{}", text);
    }
}

/// The manifests that the rig writes are what every other test hands in.
#[test]
fn what_the_rig_writes_is_a_site() {
    use bluegreen_rig::manifest::Manifest;
    let listen = "127.0.0.1:8080".parse().expect("an address");
    let app = Manifest::app("shop", listen, "shop", &[8081], &[8082]).release(std::path::Path::new("/srv/shop"));
    let files = Manifest::files("docs", listen, "docs").release(std::path::Path::new("/srv/docs"));
    for manifest in [app, files] {
        if let Err(problems) = parse::manifest(&manifest.yaml().expect("it can be written")) {
            panic!("{}:\n{problems}", manifest.name());
        }
    }
}

/// The manifest of the shop with another runtime.
fn with_runtime(runtime: serde_json::Value) -> Result<Runtime, String> {
    let (object, _) = parse::manifest(SHOP).expect("the shop is a site");
    let mut value = serde_json::to_value(object).expect("a site is plain data");
    value["spec"]["target"]["host"]["runtime"] = runtime;
    match parse::manifest(&value.to_string()) {
        Ok((_, site)) => Ok(site.on_host().expect("of a host").target.run.runtime),
        Err(problems) => Err(problems.to_string()),
    }
}

#[test]
fn the_runtimes_of_python_s_have_sane_defaults() {
    let Ok(Runtime::Wsgi(wsgi)) = with_runtime(serde_json::json!({ "wsgi": { "app": "shop.wsgi:application" } }))
    else {
        panic!("it is one");
    };
    assert_eq!((wsgi.workers, wsgi.threads), (2, 1));
    assert_eq!(wsgi.installed.requirements.as_str(), "requirements.txt");
    assert_eq!(wsgi.installed.python.as_str(), "/usr/bin/python3");
    let Ok(Runtime::Asgi(asgi)) = with_runtime(serde_json::json!({ "asgi": { "app": "main:app" } })) else {
        panic!("it is one");
    };
    assert_eq!(asgi.workers, 1);
}

#[test]
fn what_would_be_an_argument_or_a_path_of_another_s_is_refused() {
    for (runtime, said) in [
        (serde_json::json!({ "wsgi": { "app": "--config=/etc/x" } }), "runtime.wsgi.app"),
        (serde_json::json!({ "wsgi": { "app": "a:b", "requirements": "../r.txt" } }), "runtime.wsgi.requirements"),
        (serde_json::json!({ "wsgi": { "app": "a:b", "python": "python3" } }), "runtime.wsgi.python"),
        (serde_json::json!({ "wsgi": { "app": "a:b", "workers": 0 } }), "runtime.wsgi.workers"),
        (serde_json::json!({ "asgi": { "app": "main" } }), "runtime.asgi.app"),
        (serde_json::json!({ "cgi": {} }), "exactly one of script"),
        (serde_json::json!({ "cgi": { "script": "a.py", "folder": "cgi-bin" } }), "exactly one of script"),
        (serde_json::json!({ "cgi": { "script": "/usr/bin/env" } }), "runtime.cgi.script"),
        (serde_json::json!({ "command": { "argv": ["/bin/x"], "fastCgi": "../x.php" } }), "runtime.command.fastCgi"),
    ] {
        let problem = with_runtime(runtime).expect_err("it is wrong");
        assert!(problem.contains(said), "{problem}");
    }
}
