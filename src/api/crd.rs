//! The CustomResourceDefinition, made of the types. `crds/` holds it as YAML; a test keeps the two the same.

use kube::CustomResourceExt;

use super::spec::BlueGreenSite;

/// The CustomResourceDefinition as YAML, as it stands in `crds/`.
///
/// # Errors
/// It can't be written as YAML, which no input can bring about.
pub fn yaml() -> Result<String, serde_saphyr::SerializeError> {
    Ok(format!(
        "# Generated from src/api; `UPDATE=1 cargo test --test api` rewrites it.\n{}",
        serde_saphyr::to_string(&BlueGreenSite::crd())?
    ))
}
