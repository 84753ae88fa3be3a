//! Which image runs: the annotation, else the catalog, else our own for upstream names, else what the spec says.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What the ConfigMap `redkite-image-catalog` says: upstream images → ours. The first entry that fits wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Catalog {
    /// The entries in order.
    #[serde(default)]
    pub images: Vec<CatalogEntry>,
}

/// One line of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogEntry {
    /// Repository as it stands in a spec, registry included if the spec has one. Example: `milvusdb/milvus`.
    pub repository: String,
    /// Start of the tag; empty fits every tag. Example: `v2.6`.
    #[serde(default)]
    pub tag_prefix: String,
    /// The image to run instead.
    pub image: String,
}

/// The catalog cannot be read.
#[derive(Debug, Error)]
#[error("the image catalog is not a list of images")]
pub struct BadCatalog {
    #[source]
    source: serde_yaml::Error,
}

impl Catalog {
    /// Reads the text under key `catalog.yaml` of the ConfigMap.
    ///
    /// # Errors
    /// If the text is not a catalog; the message has line and column.
    pub fn parse(text: &str) -> Result<Self, BadCatalog> {
        serde_yaml::from_str(text).map_err(|source| BadCatalog { source })
    }
}

/// The image of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What the pods run.
    pub reference: String,
    /// What the spec names, if it names one.
    pub named: Option<String>,
}

/// Chooses the image. `overriding` is the object's annotation, `named` the image of the spec.
pub(super) fn resolve(overriding: Option<&str>, named: Option<&str>, catalog: &Catalog, own: &str) -> Image {
    let reference = overriding
        .map(str::to_owned)
        .or_else(|| named.map(|named| mapped(named, catalog, own)))
        .unwrap_or_else(|| own.to_owned());
    Image { reference, named: named.map(str::to_owned) }
}

fn mapped(named: &str, catalog: &Catalog, own: &str) -> String {
    let (repository, tag) = split(named);
    let entry = catalog
        .images
        .iter()
        .find(|entry| entry.repository == repository && tag.starts_with(&entry.tag_prefix));
    match entry {
        Some(entry) => entry.image.clone(),
        None if repository.contains("redkite") => named.to_owned(),
        None if is_upstream(repository) => own.to_owned(),
        None => named.to_owned(),
    }
}

/// Repository and tag; a digest counts as no tag.
fn split(reference: &str) -> (&str, &str) {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, ""),
    }
}

/// Whether a repository is a build of upstream Milvus, in whichever registry.
fn is_upstream(repository: &str) -> bool {
    let last = repository.rsplit('/').next().unwrap_or(repository);
    matches!(last, "milvus" | "milvus-dev" | "milvus-gpu")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(overriding: Option<&str>, named: Option<&str>, catalog: &Catalog) -> String {
        resolve(overriding, named, catalog, "redkite/engine:1").reference
    }

    #[test]
    fn upstream_images_of_any_registry_become_ours() {
        let none = Catalog::default();

        for named in [
            "milvusdb/milvus:v2.6.11",
            "milvusdb/milvus-dev:master-latest",
            "registry.example:5000/milvusdb/milvus-gpu@sha256:aa",
            "harbor.milvus.io/milvus/milvus:some-branch",
        ] {
            assert_eq!(chosen(None, Some(named), &none), "redkite/engine:1", "{named}");
        }
    }

    #[test]
    fn our_images_and_unknown_ones_run_as_they_are_named() {
        let none = Catalog::default();

        assert_eq!(chosen(None, Some("localhost/redkite-engine:dev"), &none), "localhost/redkite-engine:dev");
        assert_eq!(chosen(None, Some("example/vectors:1"), &none), "example/vectors:1");
        assert_eq!(chosen(None, None, &none), "redkite/engine:1");
    }

    #[test]
    fn the_catalog_decides_by_repository_and_tag_and_the_annotation_over_it() {
        let catalog = Catalog::parse(
            "images:\n- {repository: milvusdb/milvus, tagPrefix: v2.5, image: 'redkite/engine:old'}\n\
             - {repository: milvusdb/milvus, image: 'redkite/engine:new'}\n",
        )
        .unwrap();

        assert_eq!(chosen(None, Some("milvusdb/milvus:v2.5.4"), &catalog), "redkite/engine:old");
        assert_eq!(chosen(None, Some("milvusdb/milvus:v2.6.0"), &catalog), "redkite/engine:new");
        assert_eq!(
            chosen(Some("redkite/engine:mine"), Some("milvusdb/milvus:v2.6.0"), &catalog),
            "redkite/engine:mine"
        );
    }
}
