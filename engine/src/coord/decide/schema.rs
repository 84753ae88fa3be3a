//! Changes of a collection's schema: fields, arrays of structs and functions that come and go.

use std::sync::Arc;

use super::Decision;
use super::index::{check_room, without_indexes_on};
use crate::base::{FieldId, IndexId, Timestamp};
use crate::coord::catalog::Catalog;
use crate::coord::change::Change;
use crate::model::check_schema::{
    add_field, add_function, add_struct, alter_function, drop_field, drop_function,
};
use crate::model::{IndexDefinition, Schema};
use crate::rpc::{CollectionChange, CollectionInfo, NewOutput, Refusal, TTL_FIELD};

/// What a change of the schema of `old` means; nothing for other changes, and for a field that was dropped before. Indexes on
/// what goes go with it, in the same step, and so comes the index on what a new function fills.
///
/// - `fresh`: an unused number.
/// - `not_before_unix_ms`: nobody who comes after this needs the indexes.
pub fn alter_schema(
    catalog: &Catalog,
    old: &CollectionInfo,
    change: &CollectionChange,
    fresh: Timestamp,
    not_before_unix_ms: u64,
) -> Decision {
    let schema = &*old.schema;
    let changed = match change {
        CollectionChange::AddField { field } => add_field(schema, field.clone()),
        CollectionChange::AddStruct { of, parts } => add_struct(schema, of.clone(), parts.clone()),
        CollectionChange::DropField { field } if schema.is_dropped(*field) => return Ok(Vec::new()),
        CollectionChange::DropField { field } => drop_field(schema, *field),
        CollectionChange::AddFunction { function, output } => {
            let field = output.as_ref().map(|output| output.field.clone());
            add_function(schema, function.clone(), field)
        }
        CollectionChange::AlterFunction { function } => alter_function(schema, function.clone()),
        CollectionChange::DropFunction { function, output } => drop_function(schema, function, *output),
        CollectionChange::SetProperties(_)
        | CollectionChange::DeleteProperties(_)
        | CollectionChange::Rename { .. }
        | CollectionChange::Truncate
        | CollectionChange::SetFieldParams { .. } => return Ok(Vec::new()),
    };
    let changed = changed.map_err(|error| Refusal::Rule { text: error.to_string() })?;
    let is_gone = |field: &FieldId| changed.field_by_id(*field).is_none();
    let gone: Vec<FieldId> = schema.fields.iter().map(|field| field.id).filter(is_gone).collect();
    check_no_end(old, &gone)?;
    let mut new = CollectionInfo { updated: fresh, ..old.clone() };
    if let CollectionChange::AddFunction { output: Some(output), .. } = change {
        new.indexes.push(index_on(old, &changed, output, IndexId(fresh.as_id()))?);
    }
    new.schema = Arc::new(changed);
    let manifests = without_indexes_on(catalog, &mut new, &gone, fresh, not_before_unix_ms);
    Ok(std::iter::once(Change::PutCollection(new)).chain(manifests).collect())
}

/// The index on the field that the newest function of `schema` fills.
fn index_on(
    old: &CollectionInfo,
    schema: &Schema,
    output: &NewOutput,
    id: IndexId,
) -> Result<IndexDefinition, Refusal> {
    let not_found = || Refusal::IndexFieldNotFound { field: output.field.name.clone() };
    let field = schema.field(&output.field.name).ok_or_else(not_found)?;
    let index = IndexDefinition::wanted(id, &output.index, field, output.params.clone());
    if old.indexes.iter().any(|known| known.name == index.name) {
        return Err(Refusal::IndexDiffers);
    }
    check_room(old)?;
    Ok(index)
}

/// Rows end by the instants of one field, as long as the collection's properties say so.
fn check_no_end(old: &CollectionInfo, gone: &[FieldId]) -> Result<(), Refusal> {
    let named = old.properties.iter().find(|(key, _)| key == TTL_FIELD);
    let field = named.and_then(|(_, name)| old.schema.field(name));
    match field.filter(|field| gone.contains(&field.id)) {
        Some(field) => {
            let text = format!("cannot drop ttl field: {}: invalid parameter", field.name);
            Err(Refusal::Rule { text })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::compact::tests::{info, segment};
    use super::*;
    use crate::base::{CollectionId, SegmentId};
    use crate::coord::catalog::Garbage;
    use crate::model::check_schema::{
        FieldRequest, FunctionRequest, SchemaRequest, StructRequest, check_added_field, check_added_function,
        check_added_struct, check_schema,
    };
    use crate::model::{ChannelManifest, FunctionOutput, IndexRef, ObjectRef};
    use crate::rpc::CollectionRef;

    const NOT_BEFORE: u64 = 60_000;

    fn field(name: &str, data_type: i32, params: &[(&str, &str)]) -> FieldRequest {
        FieldRequest {
            name: name.to_owned(),
            data_type,
            is_primary: name == "id",
            nullable: !matches!(name, "id" | "sparse"),
            type_params: params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..FieldRequest::default()
        }
    }

    /// A catalog with a collection of a key, a text, two vectors (100 to 103) and dynamic keys (104).
    struct World {
        catalog: Catalog,
        id: CollectionId,
        now: u64,
    }

    impl World {
        fn new(properties: &[(&str, &str)]) -> Self {
            let mut info = info(&[1]);
            let request = SchemaRequest {
                name: "c".to_owned(),
                fields: vec![
                    field("id", 5, &[]),
                    field("text", 21, &[("max_length", "100"), ("enable_analyzer", "true")]),
                    field("a", 101, &[("dim", "4")]),
                    field("ends", 26, &[]),
                ],
                enable_dynamic_field: true,
                ..SchemaRequest::default()
            };
            info.schema = Arc::new(check_schema(&request).unwrap());
            info.properties =
                properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let id = info.id;
            let mut catalog = Catalog::default();
            catalog.apply(Change::PutCollection(info));
            Self { catalog, id, now: 1_000 }
        }

        fn info(&self) -> &CollectionInfo {
            self.catalog.collection(&CollectionRef::Id(self.id)).unwrap()
        }

        fn alter(&mut self, change: CollectionChange) -> Result<Vec<Change>, String> {
            self.now += 1;
            let old = self.info().clone();
            let changes = alter_schema(&self.catalog, &old, &change, Timestamp(self.now), NOT_BEFORE);
            let changes = changes.map_err(|refusal| refusal.to_string())?;
            changes.iter().for_each(|change| self.catalog.apply(change.clone()));
            Ok(changes)
        }

        fn add(&mut self, request: &FieldRequest) -> Result<FieldId, String> {
            let field = check_added_field(request, "c").map_err(|error| error.to_string())?;
            self.alter(CollectionChange::AddField { field })?;
            Ok(self.number(&request.name))
        }

        fn number(&self, name: &str) -> FieldId {
            self.info().schema.field(name).unwrap().id
        }

        fn drop(&mut self, name: &str) -> Result<Vec<Change>, String> {
            let field = self.number(name);
            self.alter(CollectionChange::DropField { field })
        }

        fn names(&self) -> Vec<(i64, String)> {
            self.info().schema.fields.iter().map(|field| (field.id.0, field.name.clone())).collect()
        }
    }

    fn named(names: &[(i64, &str)]) -> Vec<(i64, String)> {
        names.iter().map(|(id, name)| (*id, (*name).to_owned())).collect()
    }

    fn on_words() -> FunctionRequest {
        FunctionRequest {
            name: "words".to_owned(),
            kind: 1,
            inputs: vec!["text".to_owned()],
            outputs: vec!["sparse".to_owned()],
            ..FunctionRequest::default()
        }
    }

    #[test]
    fn a_number_is_never_given_again_whatever_was_dropped() {
        let mut world = World::new(&[]);

        let first = world.add(&field("b", 101, &[("dim", "8")])).unwrap();
        world.drop("b").unwrap();
        let again = world.add(&field("b", 5, &[])).unwrap();

        assert_eq!((first, again), (FieldId(105), FieldId(106)));
        assert!(world.info().schema.is_dropped(first) && !world.info().schema.is_dropped(again));
        world.drop("b").unwrap();
        assert_eq!(
            world.alter(CollectionChange::DropField { field: again }),
            Ok(Vec::new()),
            "it is gone already"
        );
        assert_eq!(
            world.names(),
            named(&[(100, "id"), (101, "text"), (102, "a"), (103, "ends"), (104, "$meta")])
        );
        assert_eq!(world.info().updated, Timestamp(world.now - 1), "clients see that their schema is old");
    }

    #[test]
    fn a_struct_comes_last_with_its_parts_and_goes_with_them() {
        let mut world = World::new(&[]);
        let part = FieldRequest {
            nullable: false,
            data_type: 22,
            element_type: 5,
            ..field("n", 22, &[("max_capacity", "8")])
        };
        let request = StructRequest {
            name: "s".to_owned(),
            nullable: true,
            parts: vec![part],
            ..StructRequest::default()
        };
        let (of, parts) = check_added_struct(&request, "c").unwrap();

        world.alter(CollectionChange::AddStruct { of: of.clone(), parts: parts.clone() }).unwrap();
        world.add(&field("later", 5, &[])).unwrap();

        let fields = [
            (100, "id"),
            (101, "text"),
            (102, "a"),
            (103, "ends"),
            (107, "later"),
            (104, "$meta"),
            (106, "s[n]"),
        ];
        assert_eq!(world.names(), named(&fields));
        let stored = world.info().schema.struct_field("s").unwrap().clone();
        assert_eq!((stored.id, &stored.parts), (FieldId(105), &vec![FieldId(106)]));
        let twice = world.alter(CollectionChange::AddStruct { of, parts });
        assert_eq!(twice, Err("duplicated field name s".to_owned()));
        let part = world.drop("s[n]");
        assert_eq!(
            part,
            Err("cannot drop sub-field s[n] of struct field s, drop the struct field: invalid parameter"
                .to_owned())
        );
        world.alter(CollectionChange::DropField { field: stored.id }).unwrap();
        assert_eq!((world.names().len(), world.info().schema.structs.len()), (6, 0));
        assert!([105, 106].iter().all(|id| world.info().schema.is_dropped(FieldId(*id))));
    }

    #[test]
    fn what_rows_cannot_be_without_is_not_dropped() {
        let mut world = World::new(&[(TTL_FIELD, "ends")]);
        let sparse = field("sparse", 104, &[]);
        let (function, output) =
            check_added_function(&world.info().schema, &on_words(), Some(&sparse), "c").unwrap();
        let output = output.map(|field| NewOutput { field, index: String::new(), params: Vec::new() });
        world.alter(CollectionChange::AddFunction { function, output }).unwrap();

        let cases = [
            ("id", "cannot drop primary key field: id: invalid parameter"),
            ("$meta", "cannot drop dynamic field: $meta: invalid parameter"),
            ("text", "cannot drop field text: it is the input of function words: invalid parameter"),
            ("sparse", "cannot drop field sparse: it is the output of function words: invalid parameter"),
            ("ends", "cannot drop ttl field: ends: invalid parameter"),
        ];
        for (name, text) in cases {
            assert_eq!(world.drop(name), Err(text.to_owned()));
        }
        world.drop("a").unwrap();
        let last =
            CollectionChange::DropFunction { function: "words".to_owned(), output: FunctionOutput::Goes };
        assert_eq!(
            world.alter(last),
            Err("cannot drop the last vector field: sparse: invalid parameter".to_owned())
        );
        let missing = world.alter(CollectionChange::DropField { field: FieldId(900) });
        assert_eq!(missing, Err("field not found[field=900]".to_owned()));
    }

    #[test]
    fn a_function_comes_with_its_field_and_index_and_goes_with_them() {
        let mut world = World::new(&[]);
        let sparse = field("sparse", 104, &[]);
        let (function, output) =
            check_added_function(&world.info().schema, &on_words(), Some(&sparse), "c").unwrap();
        let params = vec![("index_type".to_owned(), "AUTOINDEX".to_owned())];
        let output = output.map(|field| NewOutput { field, index: String::new(), params: params.clone() });
        let add = CollectionChange::AddFunction { function, output };
        // Somebody was faster with another field, so that the number is another one.
        world.add(&field("b", 5, &[])).unwrap();

        world.alter(add.clone()).unwrap();

        let info = world.info();
        let (function, index) = (&info.schema.functions[0], &info.indexes[0]);
        let sparse = world.number("sparse");
        assert_eq!(sparse, FieldId(106));
        assert_eq!((function.id, function.output, function.input), (1, sparse, FieldId(101)));
        assert_eq!((index.field, index.name.as_str(), &index.params), (sparse, "sparse", &params));
        assert_eq!(world.alter(add), Err("duplicate function name words".to_owned()));
        let drop = |output| CollectionChange::DropFunction { function: "words".to_owned(), output };
        assert_eq!(
            world.alter(drop(FunctionOutput::Stays)),
            Err("function words of type BM25 can only be dropped together with its output field: invalid parameter"
                .to_owned())
        );
        world.alter(drop(FunctionOutput::Goes)).unwrap();
        let info = world.info();
        assert_eq!((info.schema.functions.len(), info.indexes.len()), (0, 0));
        assert!(info.schema.is_dropped(sparse));
    }

    #[test]
    fn indexes_go_with_their_field_and_their_objects_once_nobody_reads_them() {
        let mut world = World::new(&[]);
        let b = world.add(&field("b", 101, &[("dim", "8")])).unwrap();
        let mut info = world.info().clone();
        let index = |id, field: FieldId, name: &str| {
            let field = info.schema.field_by_id(field).unwrap();
            IndexDefinition::wanted(IndexId(id), name, field, Vec::new())
        };
        info.indexes = vec![index(1, FieldId(102), "a"), index(2, b, "b")];
        let object = |key: &str| ObjectRef { key: key.to_owned(), size_bytes: 1, crc32: 1 };
        let built = |id, field, key: &str| IndexRef { index: IndexId(id), field, object: object(key) };
        let mut sealed = segment(5, 10, 100);
        sealed.indexes = vec![built(1, FieldId(102), "ia"), built(2, b, "ib")];
        let manifest = ChannelManifest { segments: vec![sealed], ..ChannelManifest::default() };
        let channel = info.channels[0].clone();
        let put = |manifest| Change::PutManifest {
            collection: world.id,
            shard: 0,
            channel: channel.clone(),
            manifest,
        };
        let before = put(manifest.clone());
        let mut without = manifest.clone();
        without.segments[0].indexes.truncate(1);
        let after = put(without);
        world.catalog.apply(Change::PutCollection(info));
        world.catalog.apply(before);

        let changes = world.drop("b").unwrap();

        let garbage = Garbage {
            id: Timestamp(world.now).as_id(),
            objects: vec!["ib".to_owned()],
            collection: Some(world.id),
            not_before_unix_ms: NOT_BEFORE,
            ..Garbage::default()
        };
        assert_eq!(changes[1..], [after, Change::PutGarbage(garbage)]);
        let names: Vec<&str> = world.info().indexes.iter().map(|index| index.name.as_str()).collect();
        assert_eq!(names, ["a"]);
        assert_eq!(manifest.segments[0].id, SegmentId(5));
    }
}
