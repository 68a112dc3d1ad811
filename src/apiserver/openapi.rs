//! OpenAPI documents, as far as `kubectl` reads them.

use serde_json::Value;

use super::core::Core;
use super::resources::Registry;

/// The document for a path, if it is one.
pub(super) fn document(core: &Core, registry: &Registry, path: &str) -> Option<Value> {
    let _ = (core, registry, path);
    None
}
