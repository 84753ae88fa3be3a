//! Indexes: what the user asked for, and which segment to build one for next.

use std::collections::BTreeMap;

use super::garbage::{leave, leave_held};
use super::{Decision, merged};
use crate::base::{FieldId, IndexId, SegmentId, Timestamp};
use crate::coord::catalog::Catalog;
use crate::coord::change::Change;
use crate::model::{ChannelManifest, IndexDefinition, IndexRef, Schema, SegmentManifest};
use crate::rpc::{CollectionInfo, CollectionRef, IndexProgress, NewIndex, Refusal};

/// Most indexes of one collection: they are all in one record, which has to stay small.
const MOST_INDEXES: usize = 128;

pub fn create_index(catalog: &Catalog, wanted: &NewIndex, fresh: Timestamp) -> Decision {
    let old = catalog.collection(&wanted.collection)?;
    let field = old
        .schema
        .field(&wanted.field)
        .ok_or_else(|| Refusal::IndexFieldNotFound { field: wanted.field.clone() })?;
    let id = IndexId(fresh.as_id());
    let index = IndexDefinition::wanted(id, &wanted.name, field, wanted.params.clone());
    // A JSON field has an index for each path and type that its values are taken as, any other field one.
    let target = index.json_target(field);
    let is_in_place =
        |known: &&IndexDefinition| known.field == field.id && known.json_target(field) == target;
    let named = old.indexes.iter().find(|known| known.name == index.name);
    // Without a name, the one that is in its place is meant, whatever that is called.
    let meant = || old.indexes.iter().find(is_in_place).filter(|_| wanted.name.is_empty());
    if let Some(known) = named.or_else(meant) {
        // Milvus takes an index whose warm-up is set for another one, also when it is asked for in the same words again.
        let is_warmed = index.param("warmup").is_some();
        let same = !is_warmed && known.field == index.field && spread(&known.params) == spread(&index.params);
        return if same { Ok(Vec::new()) } else { Err(Refusal::IndexDiffers) };
    }
    if old.indexes.iter().any(|known| is_in_place(&known)) {
        return Err(Refusal::SecondIndexOnField);
    }
    check_room(old)?;
    let mut new = CollectionInfo::clone(old);
    new.indexes.push(index);
    Ok(vec![Change::PutCollection(new)])
}

/// Whether a collection may have one index more.
pub(super) fn check_room(info: &CollectionInfo) -> Result<(), Refusal> {
    if info.indexes.len() >= MOST_INDEXES {
        return Err(Refusal::Rule { text: format!("a collection has at most {MOST_INDEXES} indexes") });
    }
    Ok(())
}

/// Parameters with those that are inside `params` beside the others: clients say them in either way.
fn spread(params: &[(String, String)]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (key, value) in params {
        match serde_json::from_str(value) {
            Ok(serde_json::Value::Object(inside)) if key == "params" => {
                all.extend(inside.into_iter().map(|(key, value)| match value {
                    serde_json::Value::String(text) => (key, text),
                    other => (key, other.to_string()),
                }));
            }
            _ => drop(all.insert(key.clone(), value.clone())),
        }
    }
    all
}

pub fn drop_index(catalog: &Catalog, collection: &CollectionRef, name: &str, fresh: Timestamp) -> Decision {
    let old = catalog.collection(collection)?;
    let on_field =
        |index: &&IndexDefinition| index.field_name(&old.schema).is_some_and(|field| field == name);
    let named = old.indexes.iter().find(|index| index.name == name);
    let mut fitting = named.into_iter().chain(old.indexes.iter().filter(on_field));
    let Some(index) = fitting.next() else { return Ok(Vec::new()) };
    if named.is_none() && fitting.next().is_some() {
        return Err(Refusal::ManyIndexes);
    }
    if old.load.is_some() && index.metric.is_some() {
        return Err(Refusal::DropIndexOfLoaded { collection: old.id.to_string() });
    }
    let id = index.id;
    let mut new = CollectionInfo::clone(old);
    new.indexes.retain(|known| known.id != id);
    let mut changes = vec![Change::PutCollection(new)];
    let (manifests, objects) = without_built(catalog, old, |built| built.index == id);
    changes.extend(manifests);
    changes.extend(leave(Vec::new(), objects, fresh));
    Ok(changes)
}

/// Takes the indexes on `fields` out of `info`, and what was built of them out of the manifests. The objects become garbage, to be
/// removed after `not_before_unix_ms`: unlike those of an index that is dropped by itself, they may be loaded just now.
pub(super) fn without_indexes_on(
    catalog: &Catalog,
    info: &mut CollectionInfo,
    fields: &[FieldId],
    fresh: Timestamp,
    not_before_unix_ms: u64,
) -> Vec<Change> {
    if fields.is_empty() {
        return Vec::new();
    }
    info.indexes.retain(|index| !fields.contains(&index.field));
    let (mut changes, objects) = without_built(catalog, info, |built| fields.contains(&built.field));
    changes.extend(leave_held(info.id, &[], objects, fresh, not_before_unix_ms));
    changes
}

/// The manifests of a collection that change without some built indexes, and the objects of those.
fn without_built(
    catalog: &Catalog,
    info: &CollectionInfo,
    is_gone: impl Fn(&IndexRef) -> bool,
) -> (Vec<Change>, Vec<String>) {
    let (mut changes, mut objects) = (Vec::new(), Vec::new());
    for (shard, manifest) in catalog.manifests.get(&info.id).into_iter().flatten().enumerate() {
        let mut kept = ChannelManifest::clone(manifest);
        for segment in &mut kept.segments {
            let gone = segment.indexes.iter().filter(|built| is_gone(built));
            objects.extend(gone.map(|built| built.object.key.clone()));
            segment.indexes.retain(|built| !is_gone(built));
        }
        if kept != **manifest {
            let channel = info.channels[shard].clone();
            changes.push(Change::PutManifest { collection: info.id, shard, channel, manifest: kept });
        }
    }
    (changes, objects)
}

pub fn alter_index(
    catalog: &Catalog,
    collection: &CollectionRef,
    name: &str,
    set: &[(String, String)],
    removed: &[String],
) -> Decision {
    let mut new = CollectionInfo::clone(catalog.collection(collection)?);
    let not_found = || Refusal::IndexNotFound { what: format!("indexName={name}") };
    let index = new.indexes.iter_mut().find(|index| index.name == name).ok_or_else(not_found)?;
    index.params = merged(&index.params, set, removed);
    Ok(vec![Change::PutCollection(new)])
}

/// Whether a segment answers searches by this index without a built form: it is scanned exactly instead, as arrays of vectors
/// always are, or was sealed before the field was added and has no vectors.
pub fn is_scanned(segment: &SegmentManifest, index: &IndexDefinition, min_rows: u64) -> bool {
    index.metric.is_none()
        || matches!(index.index_type.as_str(), "FLAT" | "BIN_FLAT" | "SVS_FLAT")
        || segment.rows < min_rows
        // Arrays of vectors are among the scalars.
        || !segment.has_vectors(index.field)
}

/// The largest segment that lacks an index it should have, and which one; none of those that `taken` says are being
/// worked on.
pub fn next_index_job<'a>(
    collection: &'a CollectionInfo,
    manifests: &'a [std::sync::Arc<ChannelManifest>],
    min_rows: u64,
    taken: impl Fn(SegmentId, IndexId) -> bool,
) -> Option<(&'a SegmentManifest, &'a IndexDefinition)> {
    index_jobs(collection, manifests, min_rows, taken).max_by_key(|(segment, _)| segment.rows)
}

/// All segments that lack an index they should have, each with every such index.
pub fn index_jobs<'a>(
    collection: &'a CollectionInfo,
    manifests: &'a [std::sync::Arc<ChannelManifest>],
    min_rows: u64,
    taken: impl Fn(SegmentId, IndexId) -> bool,
) -> impl Iterator<Item = (&'a SegmentManifest, &'a IndexDefinition)> {
    let segments = manifests.iter().flat_map(|manifest| &manifest.segments);
    segments
        .flat_map(|segment| collection.indexes.iter().map(move |index| (segment, index)))
        .filter(move |(segment, index)| !is_scanned(segment, index, min_rows))
        .filter(|(segment, index)| !segment.indexes.iter().any(|built| built.index == index.id))
        .filter(move |(segment, index)| !taken(segment.id, index.id))
}

/// Whether a segment was sealed before there was the function that fills `field`: what its rows lack is still to be computed.
pub fn is_to_be_computed(schema: &Schema, segment: &SegmentManifest, field: FieldId) -> bool {
    !segment.has_vectors(field) && schema.recomputed().any(|function| function.output == field)
}

/// How far an index of a collection with this schema is built.
pub fn progress(
    index: &IndexDefinition,
    schema: &Schema,
    manifests: &[std::sync::Arc<ChannelManifest>],
    min_rows: u64,
    failure: Option<String>,
) -> IndexProgress {
    let segments = manifests.iter().flat_map(|manifest| &manifest.segments);
    let (mut indexed_rows, mut total_rows) = (0, 0);
    for segment in segments {
        total_rows += segment.rows;
        let built = segment.indexes.iter().any(|built| built.index == index.id);
        let waits = is_to_be_computed(schema, segment, index.field);
        if built || (is_scanned(segment, index, min_rows) && !waits) {
            indexed_rows += segment.rows;
        }
    }
    IndexProgress { index: index.clone(), indexed_rows, total_rows, failure }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::compact::tests::info;
    use super::*;
    use crate::model::fixture::schema_of;
    use crate::model::{DYNAMIC_FIELD, DataType, Field, Schema};

    fn field(id: i64, name: &str, data_type: DataType) -> Field {
        Field {
            id: FieldId(id),
            name: name.to_owned(),
            description: String::new(),
            data_type,
            is_primary: false,
            auto_id: false,
            is_dynamic: name == DYNAMIC_FIELD,
            nullable: false,
            default: None,
            is_partition_key: false,
            is_clustering_key: false,
            type_params: Vec::new(),
        }
    }

    /// A catalog with a collection of a vector `v`, numbers `n`, JSON values `j` and dynamic keys.
    fn catalog() -> Catalog {
        let fields = vec![
            field(100, "v", DataType::FloatVector),
            field(101, "n", DataType::Int64),
            field(102, "j", DataType::Json),
            field(103, DYNAMIC_FIELD, DataType::Json),
        ];
        let mut info = info(&[1]);
        info.schema = Arc::new(Schema { enable_dynamic_field: true, ..schema_of(fields) });
        let mut catalog = Catalog::default();
        catalog.apply(Change::PutCollection(info));
        catalog
    }

    fn collection(catalog: &Catalog) -> (CollectionRef, Arc<CollectionInfo>) {
        let info = catalog.collections.values().next().unwrap();
        (CollectionRef::Id(info.id), Arc::clone(info))
    }

    /// Makes an index, and says what it is called or why not.
    fn create(
        catalog: &mut Catalog,
        name: &str,
        field: &str,
        params: &[(&str, &str)],
    ) -> Result<String, Refusal> {
        let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let (collection, info) = collection(catalog);
        let wanted = NewIndex { collection, name: name.to_owned(), field: field.to_owned(), params };
        let changes = create_index(catalog, &wanted, Timestamp(1_000 + info.indexes.len() as u64))?;
        for change in changes {
            catalog.apply(change);
        }
        let (_, info) = self::collection(catalog);
        Ok(info.indexes.last().unwrap().name.clone())
    }

    fn drop(catalog: &mut Catalog, name: &str) -> Result<usize, Refusal> {
        let (collection, _) = collection(catalog);
        for change in drop_index(catalog, &collection, name, Timestamp(2_000))? {
            catalog.apply(change);
        }
        Ok(self::collection(catalog).1.indexes.len())
    }

    const DOUBLE_A: &[(&str, &str)] = &[("json_path", "j['a']"), ("json_cast_type", "DOUBLE")];

    #[test]
    fn a_json_field_has_one_index_for_each_path_and_type() {
        let mut catalog = catalog();
        let again: &[(&str, &str)] = &[("json_path", r#"j["a"]"#), ("json_cast_type", "double")];
        let text: &[(&str, &str)] = &[("json_path", "j['a']"), ("json_cast_type", "VARCHAR")];
        let nested = [("params", r#"{"json_path": "j['a'][0]['b/c']", "json_cast_type": "BOOL"}"#)];

        assert_eq!(create(&mut catalog, "", "j", DOUBLE_A), Ok("j/a".to_owned()));
        assert_eq!(create(&mut catalog, "", "j", DOUBLE_A), Ok("j/a".to_owned()), "the same again");
        assert_eq!(create(&mut catalog, "other", "j", again), Err(Refusal::SecondIndexOnField));
        assert_eq!(create(&mut catalog, "j/a", "j", text), Err(Refusal::IndexDiffers));
        assert_eq!(create(&mut catalog, "text", "j", text), Ok("text".to_owned()));
        assert_eq!(create(&mut catalog, "", "j", &nested), Ok("j/a/0/b~1c".to_owned()));
        assert_eq!(create(&mut catalog, "", "j", &[("json_cast_type", "JSON")]), Ok("j".to_owned()));
        assert_eq!(create(&mut catalog, "", "n", &[]), Ok("n".to_owned()));
        assert_eq!(create(&mut catalog, "m", "n", &[]), Err(Refusal::SecondIndexOnField));
        assert_eq!(collection(&catalog).1.indexes.len(), 5);
    }

    #[test]
    fn an_index_without_a_name_is_the_one_that_is_there_in_the_same_words() {
        let mut catalog = catalog();
        let wanted: &[(&str, &str)] = &[("index_type", "INVERTED")];
        let other: &[(&str, &str)] = &[("index_type", "STL_SORT")];

        assert_eq!(create(&mut catalog, "own", "n", wanted), Ok("own".to_owned()));
        assert_eq!(create(&mut catalog, "", "n", wanted), Ok("own".to_owned()));
        assert_eq!(create(&mut catalog, "", "n", other), Err(Refusal::IndexDiffers));
        assert_eq!(create(&mut catalog, "n", "n", wanted), Err(Refusal::SecondIndexOnField));
        assert_eq!(collection(&catalog).1.indexes.len(), 1);
    }

    #[test]
    fn an_index_with_a_warm_up_is_another_one_also_in_the_same_words() {
        let mut catalog = catalog();
        let warmed: &[(&str, &str)] = &[("index_type", "INVERTED"), ("params", r#"{"warmup": "sync"}"#)];

        assert_eq!(create(&mut catalog, "", "n", warmed), Ok("n".to_owned()));
        assert_eq!(create(&mut catalog, "", "n", warmed), Err(Refusal::IndexDiffers));
    }

    #[test]
    fn an_index_on_a_dynamic_key_is_known_by_the_key() {
        let mut catalog = catalog();
        let of = |path| [("json_path", path), ("json_cast_type", "DOUBLE")];

        assert_eq!(create(&mut catalog, "", DYNAMIC_FIELD, &of("k['a']")), Ok("$meta/k/a".to_owned()));
        let same = create(&mut catalog, "same", DYNAMIC_FIELD, &of("$meta['k']['a']"));
        assert_eq!(same, Err(Refusal::SecondIndexOnField));
        assert_eq!(create(&mut catalog, "l", DYNAMIC_FIELD, &of("l")), Ok("l".to_owned()));

        let (_, info) = collection(&catalog);
        let names: Vec<_> = info.indexes.iter().map(|index| index.field_name(&info.schema)).collect();
        assert_eq!(names, [Some("k".to_owned()), Some("l".to_owned())]);
        assert_eq!(drop(&mut catalog, "k"), Ok(1));
    }

    #[test]
    fn an_index_is_dropped_by_its_name_or_by_a_field_that_has_no_other() {
        let mut catalog = catalog();
        let text: &[(&str, &str)] = &[("json_path", "j['a']"), ("json_cast_type", "VARCHAR")];
        create(&mut catalog, "one", "j", DOUBLE_A).unwrap();
        create(&mut catalog, "two", "j", text).unwrap();

        let refused = drop(&mut catalog, "j").unwrap_err();
        assert_eq!(
            (refused.code(), refused.to_string().as_str()),
            (702, "there are multiple indexes, please specify the index_name")
        );
        assert_eq!(drop(&mut catalog, "none"), Ok(2));
        assert_eq!(drop(&mut catalog, "one"), Ok(1));
        assert_eq!(drop(&mut catalog, "j"), Ok(0));
    }

    #[test]
    fn only_vectors_have_a_metric() {
        let mut catalog = catalog();
        let params: &[(&str, &str)] = &[("index_type", "HNSW"), ("metric_type", "L2")];
        create(&mut catalog, "", "v", params).unwrap();
        create(&mut catalog, "", "n", &[("index_type", "INVERTED"), ("metric_type", "L2")]).unwrap();

        let (_, info) = collection(&catalog);
        let metrics: Vec<_> = info.indexes.iter().map(|index| index.metric.is_some()).collect();
        assert_eq!(metrics, [true, false]);
    }

    #[test]
    fn an_index_waits_for_the_segments_that_are_to_be_computed() {
        use super::super::compact::tests::segment;
        use crate::model::{ColumnRef, Function, FunctionKind, ObjectRef};

        let mut catalog = catalog();
        create(&mut catalog, "", "v", &[("index_type", "HNSW"), ("metric_type", "L2")]).unwrap();
        let (_, info) = collection(&catalog);
        let (index, output) = (&info.indexes[0], FieldId(100));
        let mut with = segment(1, 10, 5);
        let object = ObjectRef { key: "c/1/100.bin".to_owned(), size_bytes: 9, crc32: 1 };
        with.columns = vec![ColumnRef { fields: vec![output], object }];
        let mut without = segment(2, 10, 5);
        without.columns[0].fields = vec![FieldId(101), FieldId(102)];
        let (rows_with, rows_without) = (with.rows, without.rows);
        let manifest = ChannelManifest { segments: vec![with, without], ..ChannelManifest::default() };
        let manifests = [Arc::new(manifest)];
        let indexed = |schema: &Schema| progress(index, schema, &manifests, 1_000, None).indexed_rows;

        assert_eq!(
            indexed(&info.schema),
            rows_with + rows_without,
            "what is small or lacks the field is done"
        );
        let function = Function {
            id: 1,
            name: "f".to_owned(),
            description: String::new(),
            kind: FunctionKind::Bm25,
            input: FieldId(101),
            output,
            params: Vec::new(),
        };
        let schema = Schema { functions: vec![function], ..Schema::clone(&info.schema) };
        assert_eq!(indexed(&schema), rows_with);
    }
}
