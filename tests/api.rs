//! The resource as the outside sees it: its CustomResourceDefinition, and that text and schema say the same.

use bluegreen::api::crd;

/// Compares a generated file with what stands in the repository; `UPDATE=1` rewrites it.
fn assert_generated(path: &str, now: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, now).expect("the repository can be written to");
    }
    let then = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        then == now,
        "{} is out of date: run `UPDATE=1 cargo test --test api`",
        path.display()
    );
}

#[test]
fn the_crd_in_the_repository_is_that_of_the_types() {
    let yaml = crd::yaml().expect("the definition can be written");
    assert_generated("crds/bluegreen.dev_bluegreensites.yaml", &yaml);
    assert!(
        yaml.len() < 256 * 1024,
        "a plain kubectl apply copies the definition into an annotation of at most 256 KiB"
    );
}
