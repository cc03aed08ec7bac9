//! `make bench-cutover`.

use anyhow::Result;
use bluegreen_rig::bench::cutovers::Cutovers;
use bluegreen_rig::bench::recipe::Recipe;
use bluegreen_rig::load::Load;
use bluegreen_rig::nginx::Nginx;

fn main() -> Result<()> {
    let recipe = Recipe::start(Nginx::start()?)?;
    let load = Load::to(recipe.nginx.address(), "shop.test").keep_samples().start()?;
    let mut cutovers = Cutovers::default();
    load.wait_for_version("v1")?;
    let names = ["v1", "v2"];
    for turn in 0..40 {
        let (old, new) = (turn % 2, (turn + 1) % 2);
        cutovers.watch(&load, names[old], names[new], || recipe.cut_to(new))?;
    }
    let totals = load.stop();
    println!("{totals}");
    println!("{}", serde_json::to_string_pretty(&cutovers.summary(&totals))?);
    Ok(())
}
