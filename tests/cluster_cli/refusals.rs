//! What goes wrong is said with what to do next.

use std::fs;

use bluegreen_rig::cluster::{ControlPlane, Options};
use bluegreen_rig::wait;

use super::kit::{Desk, Program, ended, install, manifest, resting, shared};

#[test]
fn without_a_cluster_to_ask_it_says_how_to_name_one() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::new(folder.path(), "default");
    let run = |words: &[&str]| ended(&program.bare(words).output().unwrap());
    let (code, _, err) = run(&["get"]);
    assert_eq!(code, 1);
    assert!(err.contains("no cluster is known: there is no ~/.kube/config, and neither --kubeconfig nor"), "{err}");
    let (_, _, err) = run(&["get", "--kubeconfig", "/nonexistent/config"]);
    assert!(err.contains("the kubeconfig /nonexistent/config can't be read: "), "{err}");
    assert!(err.contains("name another with --kubeconfig"), "{err}");
    let file = program
        .file("config", "apiVersion: v1\nkind: Config\ncontexts: [{name: prod, context: {cluster: c, user: u}}]\n");
    let (_, _, err) = run(&["get", "--kubeconfig", &file]);
    assert!(err.contains("has no current context: name one with --context") && err.contains("it has prod"), "{err}");
    let (_, _, err) = run(&["get", "--kubeconfig", &file, "--context", "prdo"]);
    assert_eq!(err, "error: the kubeconfig has no context \"prdo\"; did you mean prod?\n");
    let (code, out, _) = run(&["crd"]);
    assert_eq!((code, out.contains("kind: CustomResourceDefinition")), (0, true), "what needs no cluster needs none");
}

#[test]
fn a_cluster_without_the_resource_is_told_from_one_that_is_away() {
    let plane = ControlPlane::start(Options::api()).unwrap();
    let program = Program::new(&plane.kubeconfig(), "default");
    for words in [&["get"][..], &["get", "shop"], &["get", "-A"], &["approve", "shop"], &["get", "shop", "-w"]] {
        let err = program.fails(words);
        assert!(
            err.contains("does not know bluegreensites.bluegreen.dev: install it with kubectl bluegreen"),
            "{words:?}: {err}"
        );
        assert!(err.contains("crd | kubectl apply -f -"), "{err}");
    }
    install(&plane);
    let (code, out, err) = program.run(&["get"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert_eq!(
        err,
        "There are no sites in namespace default: apply one with kubectl bluegreen -n default apply -f FILE\n"
    );
    plane.stop_api();
    let err = program.fails(&["get"]);
    assert!(err.contains(&format!("the API server at {} does not answer: ", plane.url())), "{err}");
    assert!(err.contains("kubectl config get-contexts"), "{err}");
}

#[test]
fn who_may_not_is_told_which_verb_on_which_resource() {
    let desk = Desk::new("allowed");
    let plane = shared();
    desk.apply("shop");
    desk.status("shop", &resting());
    desk.namespace.kubectl(&["create", "serviceaccount", "looker"]).unwrap();
    let token = plane.service_account_token(desk.namespace.name(), "looker").unwrap();
    let looker = Program::new(&plane.kubeconfig_for("looker", &token).unwrap(), desk.namespace.name());
    let name = desk.namespace.name();
    let err = looker.fails(&["get"]);
    let said = format!(
        "you as system:serviceaccount:{name}:looker may not list bluegreensites.bluegreen.dev in namespace {name}: ask for a role that allows it"
    );
    assert!(err.contains(&said), "{err}");
    assert!(
        err.trim_end().ends_with(&format!("kubectl auth can-i list bluegreensites.bluegreen.dev -n {name}")),
        "{err}"
    );

    desk.namespace
        .kubectl(&["create", "role", "looker", "--verb=get,list,watch", "--resource=bluegreensites.bluegreen.dev"])
        .unwrap();
    desk.namespace
        .kubectl(&["create", "rolebinding", "looker", "--role=looker", &format!("--serviceaccount={name}:looker")])
        .unwrap();
    wait::until("it may look", wait::PATIENCE, || (looker.run(&["get"]).0 == 0).then_some(())).unwrap();
    // Sites can be shown though what belongs to them can't.
    let (code, out, err) = looker.run(&["get"]);
    assert_eq!(code, 0);
    assert!(out.contains("shop") && out.contains("Idle"), "{out}");
    for resource in ["deployments.apps", "services", "endpointslices.discovery.k8s.io"] {
        assert!(
            err.contains(&format!("Warning: you as system:serviceaccount:{name}:looker may not list {resource}")),
            "{err}"
        );
    }
    assert!(!err.contains(" list pods "), "a table asks for no pods: {err}");
    let watch = looker.begin(&["get", "-w"]);
    watch.until("Idle").unwrap();
    let err = looker.fails(&["pause", "shop"]);
    assert!(err.contains("may not patch bluegreensites.bluegreen.dev"), "{err}");
    let err = looker.fails(&["delete", "shop"]);
    assert!(err.contains("may not delete bluegreensites.bluegreen.dev"), "{err}");
    let err = looker.fails(&["history", "shop"]);
    assert!(err.contains("may not list events"), "{err}");
    let nobody = Program::new(&plane.kubeconfig_for("nobody", "not-a-token").unwrap(), name);
    let err = nobody.fails(&["get"]);
    assert!(err.contains("does not know these credentials (Unauthorized)"), "{err}");
}

#[test]
fn a_site_that_is_not_there_is_an_error_that_helps() {
    let desk = Desk::new("absent");
    let name = desk.namespace.name().to_owned();
    let err = desk.program.fails(&["get", "shop"]);
    assert_eq!(
        err,
        format!(
            "error: there is no site \"shop\"; there are no sites in namespace {name}: apply one with kubectl bluegreen -n {name} apply -f FILE\n"
        )
    );
    desk.apply("shop");
    assert_eq!(desk.program.fails(&["get", "shpo"]), "error: there is no site \"shpo\"; did you mean shop?\n");
    let err = desk.program.fails(&["logs", "elsewhere"]);
    assert_eq!(err, format!("error: there is no site \"elsewhere\"; the sites in namespace {name} are shop\n"));
    for words in [
        &["describe", "shpo"][..],
        &["approve", "shpo"],
        &["history", "shpo"],
        &["delete", "shpo"],
        &["get", "-w", "shpo"],
    ] {
        assert!(desk.program.fails(words).contains("did you mean shop?"), "{words:?}");
    }
    assert_eq!(desk.program.ok(&["delete", "shpo", "--ignore-not-found"]), "");
    let err = desk.program.fails(&["get", "shop", "-A"]);
    assert!(err.contains("a name is looked up in one namespace"), "{err}");
}

#[test]
fn a_namespace_that_is_not_there_or_not_meant_is_said() {
    let desk = Desk::new("meant");
    let file = desk
        .program
        .file("shop.yaml", &manifest("shop", "1").replace("{ name: shop }", "{ name: shop, namespace: other }"));
    let err = desk.program.fails(&["apply", "-f", &file]);
    let said = format!("the manifest is for namespace other, and the command line says {}", desk.namespace.name());
    assert!(err.contains(&said), "{err}");
    let kubeconfig = shared().kubeconfig();
    let mut command = desk.program.bare(&["apply", "-f", &file, "--kubeconfig"]);
    let (code, _, err) = ended(&command.arg(&kubeconfig).output().unwrap());
    assert_eq!(code, 1);
    assert!(err.contains("there is no namespace other: make it with kubectl create namespace other"), "{err}");
    assert!(fs::exists(&file).unwrap());
}
