//! An HTTPRoute, as it is read: which colour has all the weight, and whether every Gateway has taken it as it is.

use serde::Deserialize;
use serde_json::Value;

use super::cache::Children;
use super::facts::{HttpRoute, Kind, Owned};
use super::wire::{ConditionWire, Fact, Meta};
use crate::api::names::cluster as names;
use crate::rollout::Colour;

#[derive(Deserialize)]
pub struct RouteWire {
    metadata: Meta,
    #[serde(default)]
    spec: RouteSpecWire,
    #[serde(default)]
    status: RouteStatusWire,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RouteSpecWire {
    parent_refs: Vec<Value>,
    rules: Vec<RuleWire>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuleWire {
    backend_refs: Vec<BackendWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BackendWire {
    name: String,
    weight: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RouteStatusWire {
    parents: Vec<ParentWire>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ParentWire {
    parent_ref: Value,
    conditions: Vec<ConditionWire>,
}

impl Fact for HttpRoute {
    const KIND: Kind = Kind::HttpRoute;
    const NAMES: (&'static str, &'static str, &'static str, &'static str) =
        ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes");
    type Wire = RouteWire;

    fn read(RouteWire { metadata, spec, status }: RouteWire) -> (Meta, HttpRoute) {
        let judged = spec.parent_refs.iter().map(|parent| judge(parent, &status.parents, metadata.generation));
        let verdicts: Vec<Result<(), String>> = judged.collect();
        let route = HttpRoute {
            name: metadata.name(),
            owned: metadata.owned(),
            generation: metadata.generation,
            ours: metadata.number(names::GENERATION),
            written: metadata.annotation(names::DIGEST).and_then(|text| u64::from_str_radix(text, 16).ok()),
            colour: metadata.labels.get(names::SITE).and_then(|site| weight(site, &spec.rules)),
            accepted: !verdicts.is_empty() && verdicts.iter().all(Result::is_ok),
            trouble: verdicts.into_iter().find_map(Result::err).map(String::into_boxed_str),
            front: metadata.front(),
        };
        (metadata, route)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn owned(&self) -> Owned {
        self.owned
    }

    fn place(children: &mut Children) -> &mut Vec<HttpRoute> {
        &mut children.routes
    }

    fn all(children: &Children) -> &[HttpRoute] {
        &children.routes
    }
}

/// The colour to which every rule gives all its weight.
fn weight(site: &str, rules: &[RuleWire]) -> Option<Colour> {
    let whole = |colour: Colour| {
        let named = |backend: &BackendWire| Colour::BOTH.into_iter().find(|c| backend.name == format!("{site}-{c}"));
        !rules.is_empty()
            && rules.iter().all(|rule| {
                let weighs = |backend: &&BackendWire| backend.weight.unwrap_or(1) > 0;
                let mut heavy = rule.backend_refs.iter().filter(weighs).peekable();
                heavy.peek().is_some() && heavy.all(|backend| named(backend) == Some(colour))
            })
    };
    Colour::BOTH.into_iter().find(|colour| whole(*colour))
}

/// Whether this parent has accepted the route as it is now.
fn judge(parent: &Value, all: &[ParentWire], generation: i64) -> Result<(), String> {
    let field = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let same = |said: &&ParentWire| {
        ["name", "sectionName"].iter().all(|name| field(parent, name) == field(&said.parent_ref, name))
    };
    let name = field(parent, "name");
    // Several controllers may answer for one parent.
    let mut answers = all.iter().filter(same).peekable();
    if answers.peek().is_none() {
        return Err(format!("the Gateway {name} has not answered yet: does it exist, and is its controller running?"));
    }
    for said in answers {
        for wanted in ["Accepted", "ResolvedRefs"] {
            let condition = said.conditions.iter().find(|one| one.r#type == wanted);
            match condition {
                Some(one) if one.observed_generation < generation => {
                    return Err(format!("the Gateway {name} has not seen the newest weights yet"));
                }
                Some(one) if one.status == "True" => {}
                Some(one) => return Err(format!("the Gateway {name} says {wanted}={}: {}", one.status, one.message)),
                None => return Err(format!("the Gateway {name} has not said {wanted} yet")),
            }
        }
    }
    Ok(())
}
