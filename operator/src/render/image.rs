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
    /// The version of Milvus whose components this image stands for, where the tag does not say it. Example: `2.5`.
    #[serde(default)]
    pub level: Option<String>,
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

    fn entry(&self, repository: &str, tag: &str) -> Option<&CatalogEntry> {
        self.images.iter().find(|entry| entry.repository == repository && tag.starts_with(&entry.tag_prefix))
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

/// Which components a version of Milvus has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Below 2.6: index nodes, perhaps four coordinators, no streaming node unless asked for.
    Before26,
    /// From 2.6 on.
    From26,
    /// The image does not say; taken for today's, unless the spec names what only an older version has.
    Unknown,
}

impl Level {
    /// The words in a status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Before26 => "below 2.6",
            Self::From26 => "2.6",
            Self::Unknown => "unknown",
        }
    }
}

/// The level of an image: what the spec says as its version, else the catalog, else the tag. A digest, a branch and a
/// missing image are no version.
pub(super) fn level(version: Option<&str>, named: Option<&str>, catalog: &Catalog) -> Level {
    let (repository, tag) = named.map_or(("", ""), split);
    let of_catalog = catalog.entry(repository, tag).and_then(|entry| entry.level.as_deref());
    let written = version.filter(|version| !version.is_empty()).or(of_catalog);
    if written.is_none() && named.is_none() {
        return Level::From26;
    }
    match two_numbers(written.unwrap_or(tag)) {
        // Tags of our own images are our own versions.
        Some(_) if written.is_none() && !is_upstream(repository) => Level::Unknown,
        Some(version) if version < (2, 6) => Level::Before26,
        Some(_) => Level::From26,
        None if tag.starts_with("master-") => Level::From26,
        None => Level::Unknown,
    }
}

/// The first two numbers of a version, whatever stands before and after them.
fn two_numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches(['v', 'V']).split(['.', '-']);
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().map_or(Some(0), |minor| minor.parse().ok())?;
    // A date or a commit in front is no version of Milvus.
    (major < 100).then_some((major, minor))
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
    match catalog.entry(repository, tag) {
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

/// Whether an image, as pods would run it, is a build of upstream Milvus and none of ours.
pub(super) fn is_milvus(reference: &str) -> bool {
    let (repository, _) = split(reference);
    is_upstream(repository) && !repository.contains("redkite")
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
    fn the_level_is_what_the_spec_the_catalog_or_the_tag_says_and_a_digest_is_none() {
        let catalog = Catalog::parse(
            "images: [{repository: example/fork, tagPrefix: old, image: 'redkite/engine:1', level: '2.5'}]",
        )
        .unwrap();
        let table = [
            (None, None, Level::From26),
            (None, Some("milvusdb/milvus:v2.5.16"), Level::Before26),
            (None, Some("milvusdb/milvus:v2.6.0-gpu"), Level::From26),
            (None, Some("milvusdb/milvus:3.0"), Level::From26),
            (None, Some("milvusdb/milvus-dev:master-latest"), Level::From26),
            (None, Some("milvusdb/milvus@sha256:aa"), Level::Unknown),
            (None, Some("milvusdb/milvus"), Level::Unknown),
            (None, Some("harbor.example/milvus/milvus:branch-36319c0-20250326"), Level::Unknown),
            (None, Some("redkite/engine:0.1.0"), Level::Unknown),
            (None, Some("example/fork:old-1"), Level::Before26),
            (Some("2.4.9"), Some("milvusdb/milvus@sha256:aa"), Level::Before26),
            (Some("v2.6"), Some("milvusdb/milvus:v2.5.1"), Level::From26),
        ];

        for (version, named, expected) in table {
            assert_eq!(level(version, named, &catalog), expected, "{version:?} {named:?}");
        }
    }

    #[test]
    fn an_override_may_name_any_image_but_one_of_milvus() {
        for image in ["milvusdb/milvus:v2.6.11", "registry.example:5000/milvusdb/milvus-gpu@sha256:aa"] {
            assert!(is_milvus(image), "{image}");
        }
        for image in ["redkite/engine:1", "example/vectors:1", "registry.example/redkite/milvus:1"] {
            assert!(!is_milvus(image), "{image}");
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
