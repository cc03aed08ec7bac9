//! The guards of settings, by tables: twenty ways to write a change of the schema, and twenty settings that look like one and are none.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use bluegreen::guards::schema;
use bluegreen::guards::spring::{File, Sources, effective};

/// Everything that an app is given.
#[derive(Default)]
struct App {
    files: Vec<(&'static str, String)>,
    env: Vec<(String, String)>,
    jvm: Vec<String>,
    arguments: Vec<String>,
}

impl App {
    fn new() -> App {
        App::default().argument("--spring.profiles.active=production")
    }

    fn file(mut self, name: &'static str, text: &str) -> App {
        self.files.push((name, text.to_owned()));
        self
    }

    fn env(mut self, name: &str, value: &str) -> App {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn option(mut self, option: &str) -> App {
        self.jvm.push(option.to_owned());
        self
    }

    fn argument(mut self, argument: &str) -> App {
        self.arguments.push(argument.to_owned());
        self
    }

    /// What the guard says.
    fn judged(&self) -> Vec<String> {
        let read = |name: &str| {
            let found = self.files.iter().find(|(file, _)| *file == name);
            found.map(|(name, text)| File { name: (*name).to_owned(), text: text.clone() })
        };
        let sources = Sources { read: &read, env: &self.env, jvm: &self.jvm, arguments: &self.arguments };
        let effective = effective(&sources).unwrap();
        schema::judge(&effective.settings).into_iter().map(|finding| finding.message).collect()
    }
}

const UPDATE: &str = "spring:\n  jpa:\n    hibernate:\n      ddl-auto: update\n";
const NONE: &str = "spring:\n  jpa:\n    hibernate:\n      ddl-auto: none\n";

#[test]
fn twenty_ways_to_write_a_change_of_the_schema_are_all_stopped() {
    let yml = "classpath:application.yml";
    let ways = [
        App::new().file(yml, UPDATE),
        App::new().file("classpath:application-production.yaml", &UPDATE.replace("update", "create")),
        App::new().file("classpath:application.properties", "spring.jpa.hibernate.ddl-auto=create-drop\n"),
        App::new().file("classpath:config/application.properties", "spring.jpa.hibernate.ddlAuto : create-only\n"),
        App::new().file("outside:application-production.yml", "spring.jpa.hibernate.ddl-auto: update\n").file(yml, NONE),
        App::new().file("file:application.yml", "spring: {jpa: {hibernate: {ddl_auto: \"UPDATE\"}}}\n"),
        App::new().file(yml, &format!("{NONE}---\nspring.config.activate.on-profile: production | live\n{UPDATE}").replace("\nspring:\n  jpa:\n    hibernate:\n      ddl-auto: update", "\nspring.jpa.hibernate.ddl-auto: update")),
        App::new().file("classpath:application.properties", "#---\nspring.config.activate.on-profile=!test\nspring.jpa.hibernate.ddl-auto=drop\n"),
        App::new().file(yml, "spring.jpa.hibernate.ddl-auto: ${DDL_MODE:update}\n"),
        App::new().file(yml, "spring.jpa.hibernate.ddl-auto: ${DDL_MODE:none}\n").env("DDL_MODE", "create"),
        App::new().env("SPRING_JPA_HIBERNATE_DDL_AUTO", "update"),
        App::new().env("SPRING_JPA_HIBERNATE_DDLAUTO", "update"),
        App::new().env("SPRING_APPLICATION_JSON", r#"{"spring":{"jpa":{"hibernate":{"ddl-auto":"create"}}}}"#),
        App::new().file(yml, NONE).argument("--spring.jpa.hibernate.ddl-auto=update"),
        App::new().option("-Dspring.jpa.hibernate.ddl-auto=create"),
        App::new().file(yml, "spring:\n  jpa:\n    generate-ddl: true\n"),
        App::new().file(yml, "spring:\n  sql:\n    init:\n      mode: always\n"),
        App::new().file(yml, "spring.jpa.properties:\n  hibernate.hbm2ddl.auto: update\n"),
        App::new().file(yml, "spring:\n  jpa:\n    properties:\n      jakarta.persistence.schema-generation.database.action: drop-and-create\n"),
        App::new().file("classpath:hibernate.properties", "hibernate.hbm2ddl.auto=update\n"),
    ];
    assert_eq!(ways.len(), 20);
    for (number, app) in ways.iter().enumerate() {
        assert!(!app.judged().is_empty(), "way {} is not stopped", number + 1);
    }
}

#[test]
fn twenty_settings_that_change_nothing_are_all_let_through() {
    let yml = "classpath:application.yml";
    let settings = [
        App::new(),
        App::new().file(yml, NONE),
        App::new().file(yml, &UPDATE.replace("update", "validate")),
        App::new().file(yml, "# spring.jpa.hibernate.ddl-auto: update\nspring.application.name: shop\n"),
        App::new().file("classpath:application-dev.yml", UPDATE),
        App::new().file("classpath:application-test.properties", "spring.jpa.hibernate.ddl-auto=create-drop\n"),
        App::new().file(yml, "a: 1\n---\nspring.config.activate.on-profile: dev\nspring.jpa.hibernate.ddl-auto: update\n"),
        App::new().file(yml, "a: 1\n---\nspring.profiles: dev\nspring.jpa.hibernate.ddl-auto: update\n"),
        App::new().file(yml, "a: 1\n---\nspring.config.activate.on-profile: '!production'\nspring.jpa.hibernate.ddl-auto: update\n"),
        App::new().file(yml, UPDATE).file("outside:application-production.yml", NONE),
        App::new().file(yml, UPDATE).file("classpath:application-production.properties", "spring.jpa.hibernate.ddl-auto=none\n"),
        App::new().file(yml, UPDATE).env("SPRING_JPA_HIBERNATE_DDL_AUTO", "validate"),
        App::new().file(yml, UPDATE).argument("--spring.jpa.hibernate.ddl-auto=none"),
        App::new().file(yml, "spring.jpa.hibernate.ddl-auto: ${DDL_MODE:validate}\n"),
        App::new().file(yml, "spring:\n  sql:\n    init:\n      mode: never\n  jpa:\n    generate-ddl: false\n"),
        App::new().file(yml, "spring.sql.init.mode: embedded\n"),
        App::new().file("classpath:test/application.yml", UPDATE),
        App::new().file(yml, "spring:\n  jpa:\n    properties:\n      hibernate.hbm2ddl.auto: none\n      jakarta.persistence.schema-generation.database.action: none\n"),
        App::new().file(yml, "spring.flyway.enabled: true\nspring.jpa.show-sql: true\nshop.update: always\n"),
        App::new().file("classpath:META-INF/persistence.xml", "<!-- <property name=\"hibernate.hbm2ddl.auto\" value=\"update\"/> -->\n"),
    ];
    assert_eq!(settings.len(), 20);
    for (number, app) in settings.iter().enumerate() {
        assert_eq!(app.judged(), Vec::<String>::new(), "setting {}", number + 1);
    }
}

#[test]
fn further_ways_that_empty_or_make_tables_are_stopped_too() {
    let yml = "classpath:application.yml";
    for app in [
        App::new().file(yml, "spring.quartz.jdbc.initialize-schema: always\n"),
        App::new().file(yml, "spring.batch.jdbc.initialize-schema: always\n"),
        App::new().file(yml, "spring.datasource.initialization-mode: always\n"),
        App::new().file(yml, "spring.liquibase.drop-first: true\n"),
        App::new().file(yml, "spring.flyway.clean-on-validation-error: true\n"),
        App::new().file(
            "classpath:META-INF/persistence.xml",
            "<persistence>\n<property name=\"hibernate.hbm2ddl.auto\" value=\"create\"/>\n",
        ),
        App::new().env("JAVA_TOOL_OPTIONS", "-Xmx1g -Dspring.jpa.hibernate.ddl-auto=update"),
        App::new().file(yml, "spring.config.import: optional:classpath:db.yml\n").file("classpath:db.yml", UPDATE),
        App::new()
            .file(yml, "spring.profiles.group.production: [db, log]\n")
            .file("classpath:application-db.yml", UPDATE),
        App::default().file(yml, "spring.profiles.active: live\n").file("classpath:application-live.yml", UPDATE),
        App::default().file("classpath:application-default.yml", UPDATE),
        App::new().env("SPRING_CONFIG_NAME", "shop").file("classpath:shop.yml", UPDATE),
        App::new().file(yml, "shop.orders.jpa.hibernate.ddl-auto: update\n"),
    ] {
        assert!(!app.judged().is_empty(), "{:?}", app.files);
    }
}

#[test]
fn a_finding_names_the_setting_its_file_and_its_line_and_no_secret() {
    let app = App::new().file("outside:application.yml", &format!("password: s3cret\n{UPDATE}"));
    assert_eq!(
        app.judged(),
        [
            "spring.jpa.hibernate.ddl-auto is update (outside:application.yml, line 5): Hibernate would change the schema of the database"
        ]
    );
    let odd =
        App::new().file("outside:application.yml", "spring.jpa.hibernate.ddl-auto: S3CRET!\n").judged().join("\n");
    assert!(odd.contains("a value that is not shown") && !odd.to_lowercase().contains("s3cret"), "{odd}");
}

#[test]
fn what_leads_out_of_the_app_is_never_asked_for() {
    use std::cell::RefCell;

    let asked = RefCell::new(Vec::new());
    let read = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        let text = match name {
            "classpath:application.properties" => {
                "spring.profiles.include=/../../etc/other\nspring.config.import=file:../x.yml\n"
            }
            _ => return None,
        };
        Some(File { name: name.to_owned(), text: text.to_owned() })
    };
    let look = |env: &[(String, String)]| effective(&Sources { read: &read, env, jvm: &[], arguments: &[] }).unwrap();
    for stem in ["/etc/shadow", "../../shadow", "a/../../shadow"] {
        let effective = look(&[("SPRINGCONFIGNAME".to_owned(), stem.to_owned())]);
        assert!(effective.unseen.iter().any(|said| said.contains(stem)), "{stem}: {:?}", effective.unseen);
    }
    let effective = look(&[]);
    assert!(effective.unseen.iter().any(|said| said.contains("etc/other")), "{:?}", effective.unseen);
    for name in asked.borrow().iter() {
        assert!(!name.contains("..") && !name.contains(":/"), "{name}");
    }
}

#[test]
fn settings_that_nobody_gets_to_the_end_of_are_not_called_harmless() {
    let own = "classpath:application.properties";
    let many = |one: &str| vec![one; 5_000].join(",");
    let grown = |level: u32| format!("a{level}={}\n", format!("${{a{}}}", level + 1).repeat(20));
    for (text, words) in [
        (format!("spring.config.import={}\n", many(own)), Some("more files are imported")),
        (format!("spring.config.import={}\n", many("optional:file:x.yml")), Some("more files are imported")),
        (
            format!("spring.profiles.active={}\n", (0..5_000).map(|n| format!("p{n}")).collect::<Vec<_>>().join(",")),
            Some("more profiles are active"),
        ),
        // This one ends by itself, with what it stands for unseen.
        ((1..9).map(grown).collect(), None),
    ] {
        let read = |name: &str| (name == own).then(|| File { name: name.to_owned(), text: text.clone() });
        let found = effective(&Sources { read: &read, env: &[], jvm: &[], arguments: &[] });
        match words {
            Some(words) => {
                let Err(error) = found else { panic!("{words}: it passes") };
                let error = error.to_string();
                assert!(error.contains(words), "{error}");
            }
            None => assert!(schema::judge(&found.unwrap().settings).is_empty()),
        }
    }
}
