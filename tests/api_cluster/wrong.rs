//! What a person can get wrong in a site of a cluster. It is judged twice, since a manifest is: by us (`tests/api_cluster.rs`), and by a real API server
//! that has nothing but the definition (`tests/operator/refused.rs`).

/// A site with nothing wrong.
pub const SHOP: &str = "\
apiVersion: bluegreen.dev/v1alpha1
kind: BlueGreenSite
metadata:
  name: shop
spec:
  target:
    cluster:
      service:
        ports: [{port: 80, targetPort: http}]
      template:
        spec:
          containers: [{name: app, image: shop:1}]
";

/// One mistake.
#[allow(dead_code, reason = "each of the two reads its own words")]
pub struct Wrong {
    /// What stands in the manifest.
    pub old: &'static str,
    /// What takes its place.
    pub new: &'static str,
    /// What we say of it.
    pub ours: &'static str,
    /// What the API server says, by the definition alone; `None`: nothing, so that the operator says it in a condition.
    pub theirs: Option<&'static str>,
}

impl Wrong {
    /// The manifest with the mistake in it.
    pub fn manifest(&self) -> String {
        assert!(SHOP.contains(self.old), "{:?} is in the manifest", self.old);
        SHOP.replacen(self.old, self.new, 1)
    }
}

/// Makes one of them.
const fn wrong(old: &'static str, new: &'static str, ours: &'static str, theirs: Option<&'static str>) -> Wrong {
    Wrong { old, new, ours, theirs }
}

/// Where a field of the specification can be added.
const SPEC: &str = "spec:\n  target:\n";
/// Where one of the target can.
const CLUSTER: &str = "      template:\n";

/// All of them.
pub const WRONG: &[Wrong] = &[
    wrong(
        "port: 80, ",
        "port: 0, ",
        "spec.target.cluster.service.ports[0].port: 0 is out of range",
        Some("spec.target.cluster.service.ports[0].port in body should be greater than or equal to 1"),
    ),
    wrong(
        "targetPort: http",
        "targetPort: Http",
        "spec.target.cluster.service.ports[0].targetPort: \"Http\" is not a port's name",
        None,
    ),
    wrong(
        "[{port: 80, targetPort: http}]",
        "[{port: 80}, {port: 443, name: tls}]",
        "spec.target.cluster.service.ports[0].name: is missing: several ports each need a name",
        Some("several ports each need a name"),
    ),
    wrong(
        "[{port: 80, targetPort: http}]",
        "[{port: 80, name: a}, {port: 80, name: a}]",
        "spec.target.cluster.service.ports[1].name: a is named twice",
        Some("spec.target.cluster.service.ports[1]: Duplicate value"),
    ),
    wrong(
        "      service:\n",
        "      replicas: 0\n      service:\n",
        "spec.target.cluster.replicas: 0 is out of range",
        Some("spec.target.cluster.replicas in body should be greater than or equal to 1"),
    ),
    wrong(
        "        ports",
        "        name: shop-blue\n        ports",
        "\"shop-blue\" is the name of a Service of the site's own",
        None,
    ),
    wrong(
        "        ports",
        "        name: Shop\n        ports",
        "spec.target.cluster.service.name: \"Shop\" is not a Service's name",
        Some("spec.target.cluster.service.name in body should match"),
    ),
    wrong("name: shop\n", "name: 1shop\n", "spec.target.cluster.service.name: is needed", None),
    wrong(
        "containers: [{name: app, image: shop:1}]",
        "containers: []",
        "spec.target.cluster.template.spec.containers: is missing",
        None,
    ),
    wrong(
        "containers:",
        "restartPolicy: Never\n          containers:",
        "template.spec.restartPolicy: \"Never\" is for jobs",
        None,
    ),
    wrong(
        "        spec:\n          containers",
        "        metadata: {labels: {bluegreen.dev/site: x}}\n        spec:\n          containers",
        "template.metadata.labels[bluegreen.dev/site]: is for the operator to write",
        None,
    ),
    wrong(
        CLUSTER,
        "      route: {httpRoute: {parentRefs: []}}\n      template:\n",
        "route.httpRoute.parentRefs: is empty",
        Some("spec.target.cluster.route.httpRoute.parentRefs in body should have at least 1 items"),
    ),
    wrong(
        CLUSTER,
        "      route: {httpRoute: {parentRefs: [{name: web}], rules: [{backendRefs: []}]}}\n      template:\n",
        "route.httpRoute.rules[0].backendRefs: is written by the operator",
        None,
    ),
    wrong(
        CLUSTER,
        "      route: {}\n      template:\n",
        "spec.target.cluster.route: needs exactly one of",
        Some("spec.target.cluster.route"),
    ),
    wrong(
        CLUSTER,
        "      route: {service: {}, httpRoute: {parentRefs: [{name: web}]}}\n      template:\n",
        "spec.target.cluster.route: has service and httpRoute; it needs exactly one of",
        Some("spec.target.cluster.route"),
    ),
    wrong(
        SPEC,
        "spec:\n  health: {path: /up}\n  target:\n",
        "spec.health: is for target.host",
        Some(
            "health is for target.host: on a cluster the readiness probes of the template say whether an instance can serve",
        ),
    ),
    wrong(
        SPEC,
        "spec:\n  guards: {exposure: Deny}\n  target:\n",
        "spec.guards.exposure: is for target.host",
        Some("guards.exposure is for target.host: on a cluster a NetworkPolicy says who reaches a pod"),
    ),
    wrong(
        SPEC,
        "spec:\n  strategy: {readyWithin: 0s}\n  target:\n",
        "spec.strategy.readyWithin",
        Some(
            "prepareWithin, readyWithin, verifyWithin and cutoverWithin are longer than 0s: nothing could ever go live",
        ),
    ),
    wrong(
        SPEC,
        "spec:\n  strategy: {approveWithin: 1h}\n  target:\n",
        "spec.strategy.approveWithin",
        Some("approveWithin is for promotion Manual: nothing waits for an approval otherwise"),
    ),
    wrong(
        SPEC,
        "spec:\n  strategy: {bake: soon}\n  target:\n",
        "spec.strategy.bake",
        Some("spec.strategy.bake in body should match"),
    ),
    wrong(
        "name: shop\n",
        "name: a-name-that-is-longer-than-any-that-its-objects-could-have\n",
        "metadata.name",
        Some("a site's name has at most 49 characters"),
    ),
    wrong(
        "name: shop\n",
        "name: shop.example\n",
        "metadata.name",
        Some("a site's name holds lower-case letters, digits and '-', a letter or digit at both ends"),
    ),
];
