//! The table, as text for `nft` and as `nft` tells of it. Nothing but port numbers goes in, so nothing that a person wrote can reach a rule.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

/// The family and the name of the table.
pub(super) const TABLE: [&str; 2] = ["inet", "bluegreen"];

/// One transaction that makes the table what it shall be, whatever there was of it before. Without ports the table goes.
///
/// A verdict `drop` is final, whatever other tables say before or after, and nothing in here accepts anything: so the rules of ufw, iptables and
/// firewalld hold as they did. Packets of a connection that is already open are dropped as well.
pub(super) fn transaction(ports: &BTreeSet<u16>) -> String {
    // A table can't be deleted unless it is there, and adding it where it is does nothing.
    let mut text = "table inet bluegreen\ndelete table inet bluegreen\n".to_owned();
    if ports.is_empty() {
        return text;
    }
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    // What comes from this machine, by whichever of its addresses, comes in by `lo`. What is forwarded to a container or to another machine passes by
    // another hook and is none of ours; what somebody's rule redirects to one of these ports passes here.
    let _ = write!(
        text,
        "table inet bluegreen {{\n\tset app_ports {{\n\t\ttype inet_service\n\t\telements = {{ {} }}\n\t}}\n\
         \tchain input {{\n\t\ttype filter hook input priority -10; policy accept;\n\
         \t\tiif != \"lo\" tcp dport @app_ports drop\n\t}}\n}}\n",
        list.join(", ")
    );
    text
}

/// What `nft --json list table` said, without what changes each time; `None`: it can't be read.
pub(super) fn normal(listing: &str) -> Option<Value> {
    let mut listing: Value = serde_json::from_str(listing).ok()?;
    let parts = listing.get_mut("nftables")?.as_array_mut()?;
    parts.retain(|part| part.get("metainfo").is_none());
    for part in parts.iter_mut() {
        for object in part.as_object_mut()?.values_mut() {
            object.as_object_mut()?.remove("handle");
        }
    }
    Some(listing)
}

/// The ports that a listing says are closed.
pub(super) fn closed(listing: &Value) -> BTreeSet<u16> {
    let parts = listing.get("nftables").and_then(Value::as_array).into_iter().flatten();
    let sets = parts.filter_map(|part| part.get("set")).filter(|set| set["name"] == "app_ports");
    let elements = sets.filter_map(|set| set.get("elem")?.as_array()).flatten();
    elements.filter_map(|element| u16::try_from(element.as_u64()?).ok()).collect()
}

/// Whether what is listed drops packets: awake, hooked, and with its one rule.
pub(super) fn is_in_force(listing: &Value) -> bool {
    let parts = listing.get("nftables").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let asleep = parts
        .iter()
        .filter_map(|part| part.get("table")?.get("flags"))
        .any(|flags| flags.to_string().contains("dormant"));
    let hooked = parts.iter().filter_map(|part| part.get("chain")).any(|chain| chain["hook"] == "input");
    let first = parts.iter().find_map(|part| part.get("rule")?.get("expr")?.as_array());
    let drops = first.is_some_and(|expr| expr.last().is_some_and(|last| last.get("drop").is_some()));
    hooked && drops && !asleep
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_the_ports_and_goes_with_the_last_of_them() {
        let text = transaction(&BTreeSet::from([8082, 8081]));
        assert!(
            text.starts_with("table inet bluegreen\ndelete table inet bluegreen\ntable inet bluegreen {"),
            "{text}"
        );
        assert!(text.contains("elements = { 8081, 8082 }"), "{text}");
        assert_eq!(transaction(&BTreeSet::new()), "table inet bluegreen\ndelete table inet bluegreen\n");
    }

    #[test]
    fn two_listings_of_one_table_are_the_same_and_one_of_a_sleeping_table_is_not() {
        let listing = |handle: u32, flags: &str| {
            format!(
                r#"{{"nftables": [{{"metainfo": {{"version": "1.0.6"}}}},
                    {{"table": {{"family": "inet", "name": "bluegreen", {flags}"handle": {handle}}}}},
                    {{"set": {{"name": "app_ports", "handle": {handle}, "elem": [8081, 8082]}}}}]}}"#
            )
        };
        let first = normal(&listing(1, "")).expect("a listing");
        assert_eq!(Some(&first), normal(&listing(7, "")).as_ref());
        assert_ne!(Some(&first), normal(&listing(1, r#""flags": "dormant", "#)).as_ref());
        assert_eq!(closed(&first), BTreeSet::from([8081, 8082]));
        assert_eq!(normal("nothing"), None);
    }
}
