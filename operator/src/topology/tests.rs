//! What is done about a collection, as values.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, from_value, json};

use super::*;
use crate::crd::{Consistency, FieldType, Kept, MilvusCollection};

const DEFAULT: &str = contract::names::DEFAULT_RESOURCE_GROUP;

/// An object named `books`, made in the second of `age`.
fn object(mut spec: Value) -> MilvusCollection {
    spec["milvus"] = json!({"name": "db"});
    from_value(json!({
        "metadata": {"name": "books", "generation": 2, "creationTimestamp": "2026-01-01T00:00:09Z"}, "spec": spec,
    }))
    .unwrap()
}

/// Another object about the same database, older by nine seconds.
fn older(name: &str, mut spec: Value) -> MilvusCollection {
    spec["milvus"] = json!({"name": "db"});
    from_value(json!({"metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec}))
        .unwrap()
}

fn fields() -> Value {
    json!({"fields": [
        {"name": "id", "type": "Int64", "primaryKey": true},
        {"name": "title", "type": "VarChar", "maxLength": 64, "nullable": true, "default": "none"},
        {"name": "vector", "type": "FloatVector", "dim": 4},
    ]})
}

fn index(kind: &str) -> Value {
    json!([{"field": "vector", "type": kind, "metric": "L2", "params": {"M": 8}}])
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn schema() -> EngineSchema {
    let field =
        |name: &str, kind| EngineField { name: name.to_owned(), kind: Some(kind), ..EngineField::default() };
    EngineSchema {
        fields: vec![
            EngineField { primary: true, ..field("id", FieldType::Int64) },
            EngineField {
                nullable: true,
                default: Some("none".to_owned()),
                params: texts([("max_length", "64")]),
                ..field("title", FieldType::VarChar)
            },
            EngineField { params: texts([("dim", "4")]), ..field("vector", FieldType::FloatVector) },
        ],
        ..EngineSchema::default()
    }
}

fn hnsw(name: &str) -> EngineIndex {
    EngineIndex {
        name: name.to_owned(),
        field: "vector".to_owned(),
        params: texts([("index_type", "HNSW"), ("metric_type", "L2"), ("M", "8"), ("efConstruction", "100")]),
    }
}

/// The collection `books` with the number 7.
fn found(loading: Loading, groups: &[&str]) -> EngineCollection {
    let replica = |(at, group): (i64, &&str)| EngineReplica {
        id: 10 + at,
        group: (*group).to_owned(),
        nodes: vec![at],
        followed: vec![true, at == 0],
        partial: false,
    };
    EngineCollection {
        id: 7,
        name: "books".to_owned(),
        schema: schema(),
        loading,
        replicas: (0..).zip(groups).map(replica).collect(),
        ..EngineCollection::default()
    }
}

/// What surrounds an object.
struct Around<'a> {
    found: Option<&'a EngineCollection>,
    others: Vec<MilvusCollection>,
    aliases: BTreeMap<String, EngineAlias>,
    nodes: BTreeMap<String, usize>,
    held: bool,
    second: i64,
}

impl<'a> Around<'a> {
    fn of(found: &'a EngineCollection) -> Self {
        Self { found: Some(found), ..Self::nothing() }
    }

    fn nothing() -> Self {
        let nodes = [(DEFAULT.to_owned(), 1), ("gold".to_owned(), 1), ("silver".to_owned(), 1)].into();
        Self { found: None, others: Vec::new(), aliases: BTreeMap::new(), nodes, held: false, second: 0 }
    }

    fn leads(mut self, alias: &str, collection: &str, loaded: bool) -> Self {
        self.aliases.insert(alias.to_owned(), EngineAlias { collection: collection.to_owned(), loaded });
        self
    }

    fn beside(mut self, other: MilvusCollection) -> Self {
        self.others.push(other);
        self
    }

    fn decide(&self, object: &MilvusCollection) -> Step<CollectionAction> {
        collection(&self.picture(object))
    }

    fn picture<'b>(&'b self, object: &'b MilvusCollection) -> CollectionPicture<'b> {
        CollectionPicture {
            object,
            others: &self.others,
            held: self.held,
            database: Database::Here,
            engine: Ok(self.found),
            aliases: &self.aliases,
            nodes: &self.nodes,
            now: Timestamp::UNIX_EPOCH + k8s_openapi::jiff::SignedDuration::from_secs(self.second),
        }
    }
}

/// The object once it has taken in hand what this asks for.
fn having(mut object: MilvusCollection, kept: Kept) -> MilvusCollection {
    object.status.get_or_insert_default().kept = Some(kept);
    object
}

/// What comes after the record of what is taken in hand.
fn next(object: &MilvusCollection, around: &Around<'_>) -> Step<CollectionAction> {
    match around.decide(object) {
        Step::Act(CollectionAction::Keep(kept)) => around.decide(&having(object.clone(), kept)),
        other => other,
    }
}

fn seven() -> Kept {
    Kept { id: Some("7".to_owned()), ..Kept::default() }
}

fn act(action: CollectionAction) -> Step<CollectionAction> {
    Step::Act(action)
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn loads(groups: &[&str]) -> Step<CollectionAction> {
    act(CollectionAction::Load(named(groups)))
}

fn wait(reason: Reason, message: &str) -> Step<CollectionAction> {
    Step::Wait(Wait::new(reason, message))
}

fn reason(step: Step<CollectionAction>) -> Reason {
    match step {
        Step::Wait(wait) => wait.reason,
        other => panic!("not waiting: {other:?}"),
    }
}

fn managed(load: Value) -> MilvusCollection {
    object(json!({"policy": "Manage", "load": load}))
}

#[test]
fn replicas_go_where_the_spec_says_and_rest_there() {
    let object = managed(json!({"replicas": 2, "resourceGroups": ["silver", "gold"]}));

    let from_default = found(Loading::Done, &[DEFAULT]);
    assert_eq!(next(&object, &Around::of(&from_default)), loads(&["gold", "silver"]));
    let moving = found(Loading::Under(40), &["silver", "gold"]);
    let progress = wait(Reason::Loading, "40 % can be read from its replicas");
    assert_eq!(next(&object, &Around::of(&moving)), progress);
    let there = found(Loading::Done, &["gold", "silver"]);
    assert_eq!(next(&object, &Around::of(&there)), Step::Rest);
}

#[test]
fn replicas_wait_for_groups_with_query_nodes() {
    let object = managed(json!({"replicas": 2, "resourceGroups": ["gold"]}));
    let here = found(Loading::Done, &["silver"]);
    let with = |nodes: &[(&str, usize)]| {
        let nodes = nodes.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        next(&object, &Around { nodes, ..Around::of(&here) })
    };

    assert_eq!(with(&[]), wait(Reason::GroupNotFound, "resource group gold does not exist"));
    let small = wait(Reason::GroupTooSmall, "resource group gold has 1 query nodes for 2 replicas");
    assert_eq!(with(&[("gold", 1)]), small);
    assert_eq!(with(&[("gold", 2)]), loads(&["gold", "gold"]));
}

#[test]
fn a_collection_that_was_there_is_observed_and_never_changed() {
    let spec = json!({"schema": fields(), "indexes": index("HNSW"), "aliases": ["live"], "properties": {"a": 1},
                      "load": {"state": "Released"}});
    let here = found(Loading::Done, &["gold"]);

    let said = "properties a are not as they should be; there is no index vector; there is no alias live; the \
                collection is loaded";
    assert_eq!(Around::of(&here).decide(&object(spec.clone())), wait(Reason::Differs, said));
    let mut explicit = spec;
    explicit["policy"] = json!("Observe");
    assert_eq!(Around::of(&here).decide(&object(explicit)), wait(Reason::Differs, said));
}

#[test]
fn whether_it_is_loaded_is_the_clients_choice_unless_the_spec_says_it() {
    let (not, done) = (found(Loading::Not, &[]), found(Loading::Done, &["gold"]));
    let decided = |load: Value, found: &EngineCollection| next(&managed(load), &Around::of(found));

    assert_eq!(decided(json!({"replicas": 1}), &not), Step::Rest);
    assert_eq!(decided(json!({"state": "Loaded"}), &not), loads(&[DEFAULT]));
    assert_eq!(decided(json!({"state": "Loaded"}), &done), Step::Rest);
    assert_eq!(decided(json!({"state": "Released"}), &done), act(CollectionAction::Release));
    assert_eq!(decided(json!({"state": "Released"}), &not), Step::Rest);
}

#[test]
fn partitions_that_nobody_asked_for_are_not_loaded_along_with_a_move_or_a_changed_index() {
    let mut here = found(Loading::Done, &["silver"]);
    here.replicas[0].partial = true;
    here.indexes = vec![hnsw("vector")];
    let changed = object(json!({"policy": "Manage", "indexes": index("IVF_FLAT")}));

    let moved = next(&managed(json!({"resourceGroups": ["gold"]})), &Around::of(&here));
    assert_eq!(reason(moved), Reason::LoadedInPart);
    assert_eq!(reason(next(&changed, &Around::of(&here))), Reason::LoadedInPart);
    let whole = next(&managed(json!({"state": "Loaded"})), &Around::of(&here));
    assert_eq!(whole, loads(&["silver"]));
}

#[test]
fn a_collection_that_is_not_there_is_made_after_it_was_written_down() {
    let spec =
        json!({"schema": fields(), "indexes": index("HNSW"), "properties": {"collection.ttl.seconds": 60}});
    let around = Around::nothing();
    let begun = Kept {
        made: true,
        indexes: named(&["vector"]),
        properties: named(&["collection.ttl.seconds"]),
        ..Kept::default()
    };

    assert_eq!(around.decide(&object(spec.clone())), act(CollectionAction::Keep(begun.clone())));
    let created = around.decide(&having(object(spec), begun));

    assert_eq!(
        created,
        act(CollectionAction::Create(NewCollection {
            schema: schema(),
            shards: 1,
            partitions: 0,
            consistency: Consistency::Bounded,
            properties: texts([("collection.ttl.seconds", "60")]),
        }))
    );
}

#[test]
fn what_an_object_made_it_manages_and_what_took_its_place_it_does_not() {
    let object = object(json!({"schema": fields(), "indexes": index("HNSW")}));
    let begun = Kept { made: true, indexes: named(&["vector"]), ..Kept::default() };
    let made = found(Loading::Not, &[]);
    let other = EngineCollection { schema: EngineSchema::default(), ..found(Loading::Not, &[]) };

    let definitions = texts([("vector", "vector: M=8 index_type=HNSW metric_type=L2")]);
    let known = Kept { id: Some("7".to_owned()), definitions, ..begun.clone() };
    let after = Around::of(&made).decide(&having(object.clone(), begun.clone()));
    assert_eq!(after, act(CollectionAction::Keep(known.clone())));
    assert_eq!(reason(Around::of(&other).decide(&having(object.clone(), begun))), Reason::Differs);
    let again = EngineCollection { id: 8, ..made };
    let later = Around::of(&again).decide(&having(object, known));
    assert_eq!(later, wait(Reason::Differs, "there is no index vector"));
}

#[test]
fn fields_that_differ_are_said_and_nothing_but_load_is_done() {
    let mut here = found(Loading::Not, &[]);
    here.schema.fields[1].params = texts([("max_length", "32")]);
    here.schema.fields.pop();
    let load = |state: &str| {
        object(json!({"policy": "Manage", "schema": fields(), "indexes": index("HNSW"), "aliases": ["live"],
                      "load": {"state": state}}))
    };

    assert_eq!(next(&load("Loaded"), &Around::of(&here)), loads(&[DEFAULT]));
    let said = "field title is VarChar maxLength 32 nullable default none, not VarChar maxLength 64 nullable default none; \
                there is no field vector; nothing but load is carried out, and no row is touched";
    assert_eq!(next(&load("Released"), &Around::of(&here)), wait(Reason::SchemaDiffers, said));
}

#[test]
fn a_default_that_is_no_value_of_its_type_is_named() {
    let mut schema = fields();
    schema["fields"][1]["default"] = json!(5);

    let step = Around::nothing().decide(&object(json!({"schema": schema})));

    assert_eq!(
        step,
        wait(Reason::InvalidField, "spec.schema.fields[title].default: 5 is no value of VarChar")
    );
}

#[test]
fn indexes_are_made_and_only_those_that_were_listed_are_dropped() {
    let object = |indexes: Value| object(json!({"policy": "Manage", "indexes": indexes}));
    let mut here = found(Loading::Not, &[]);
    let wanted = EngineIndex {
        params: texts([("index_type", "HNSW"), ("metric_type", "L2"), ("M", "8")]),
        ..hnsw("vector")
    };

    assert_eq!(next(&object(index("HNSW")), &Around::of(&here)), act(CollectionAction::CreateIndex(wanted)));
    here.indexes = vec![hnsw("vector")];
    assert_eq!(next(&object(index("HNSW")), &Around::of(&here)), Step::Rest);
    assert_eq!(next(&object(json!([])), &Around::of(&here)), Step::Rest, "it was never listed");
    let listed = Kept { indexes: named(&["vector"]), ..seven() };
    let gone = next(&having(object(json!([])), listed.clone()), &Around::of(&here));
    assert_eq!(gone, act(CollectionAction::DropIndex("vector".to_owned())));
    let loaded = EngineCollection { indexes: here.indexes.clone(), ..found(Loading::Done, &["gold"]) };
    let used = next(&having(object(json!([])), listed), &Around::of(&loaded));
    assert_eq!(reason(used), Reason::IndexInUse);
    here.indexes = vec![hnsw("another")];
    assert_eq!(reason(next(&object(index("HNSW")), &Around::of(&here))), Reason::IndexInTheWay);
}

/// From a loaded collection to one with the other index, loaded where it was: one step after another.
#[test]
fn a_changed_index_is_released_for_dropped_made_and_loaded_again_where_it_was() {
    let object = object(json!({"policy": "Manage", "indexes": index("IVF_FLAT")}));
    let mut here =
        EngineCollection { indexes: vec![hnsw("vector")], ..found(Loading::Done, &["gold", "silver"]) };
    let kept = |reload: &[&str]| Kept { indexes: named(&["vector"]), reload: named(reload), ..seven() };
    let there = having(object.clone(), kept(&["gold", "silver"]));

    let recorded = act(CollectionAction::Keep(kept(&["gold", "silver"])));
    assert_eq!(Around::of(&here).decide(&object), recorded);
    assert_eq!(Around::of(&here).decide(&there), act(CollectionAction::Release));
    here = EngineCollection { loading: Loading::Not, replicas: Vec::new(), ..here };
    let dropped = act(CollectionAction::DropIndex("vector".to_owned()));
    assert_eq!(Around::of(&here).decide(&there), dropped);
    here.indexes.clear();
    let text = "vector: M=8 index_type=IVF_FLAT metric_type=L2";
    let definitions: BTreeMap<String, String> = texts([("vector", text)]);
    let kept = |reload: &[&str]| Kept { definitions: definitions.clone(), ..kept(reload) };
    let defined = act(CollectionAction::Keep(kept(&["gold", "silver"])));
    assert_eq!(Around::of(&here).decide(&there), defined);
    let there = having(object.clone(), kept(&["gold", "silver"]));
    let Step::Act(CollectionAction::CreateIndex(made)) = Around::of(&here).decide(&there) else {
        panic!("no index is made")
    };
    here.indexes = vec![made];
    assert_eq!(Around::of(&here).decide(&there), loads(&["gold", "silver"]));
    here = EngineCollection { indexes: here.indexes, ..found(Loading::Done, &["gold", "silver"]) };
    assert_eq!(Around::of(&here).decide(&there), act(CollectionAction::Keep(kept(&[]))));
    assert_eq!(Around::of(&here).decide(&having(object, kept(&[]))), Step::Rest);
}

#[test]
fn an_automatic_index_is_compared_by_type_and_metric_alone() {
    let automatic = |params: Value| {
        object(
            json!({"policy": "Manage", "indexes": [{"field": "vector", "metric": "L2", "params": params}]}),
        )
    };
    let kept = texts([("index_type", "AUTOINDEX"), ("metric_type", "L2")]);
    let mut here = found(Loading::Done, &["gold"]);
    here.indexes = vec![EngineIndex { params: kept, ..hnsw("vector") }];

    assert_eq!(next(&automatic(json!({"mmap.enabled": "true"})), &Around::of(&here)), Step::Rest);
    here.indexes[0].params = texts([("index_type", "AUTOINDEX"), ("metric_type", "IP")]);
    let changed = next(&automatic(json!({"mmap.enabled": "true"})), &Around::of(&here));
    assert_eq!(changed, act(CollectionAction::Release));
}

#[test]
fn an_index_that_the_engine_keeps_otherwise_than_it_was_made_is_not_made_again() {
    let definitions = texts([("vector", "vector: M=8 index_type=IVF_FLAT metric_type=L2")]);
    let kept = Kept { indexes: named(&["vector"]), definitions, ..seven() };
    let with = |kind: &str| having(object(json!({"policy": "Manage", "indexes": index(kind)})), kept.clone());
    let mut here = found(Loading::Done, &["gold"]);
    here.indexes = vec![hnsw("vector")];

    let said = "index vector was made as spec.indexes[vector] says, and the engine has it as vector: M=8 efConstruction=100 \
                index_type=HNSW metric_type=L2: it is not made again; list it as it is, or drop it";
    assert_eq!(next(&with("IVF_FLAT"), &Around::of(&here)), wait(Reason::IndexDiffers, said));
    assert_eq!(next(&with("IVF_SQ8"), &Around::of(&here)), act(CollectionAction::Release));
}

#[test]
fn an_index_that_the_engine_would_refuse_takes_nothing_out_of_memory() {
    let mut here = found(Loading::Done, &["gold"]);
    here.indexes = vec![hnsw("vector")];
    let said = |index: Value| {
        let object = object(json!({"policy": "Manage", "indexes": [index]}));
        match Around::of(&here).decide(&object) {
            Step::Wait(Wait { reason: Reason::InvalidField, message }) => message,
            other => panic!("not refused: {other:?}"),
        }
    };
    let vector = |kind: &str, metric: &str, params: Value| {
        said(json!({"field": "vector", "type": kind, "metric": metric, "params": params}))
    };
    let none = || json!({});

    let refused = [
        vector("HSNW", "L2", none()),
        vector("HNSW", "L3", none()),
        vector("HNSW", "HAMMING", none()),
        vector("BIN_FLAT", "HAMMING", none()),
        vector("HNSW", "L2", json!({"M": 1, "efConstruction": "many"})),
        vector("IVF_FLAT", "L2", json!({"nlist": 65_537})),
        vector("IVF_PQ", "L2", json!({"m": 3})),
        vector("AUTOINDEX", "L2", json!({"M": 8})),
        vector("HNSW", "L2", json!({"params": "{}"})),
        said(json!({"field": "vector", "type": "HNSW"})),
        said(json!({"field": "title", "type": "HNSW", "metric": "L2"})),
        said(json!({"field": "vektor"})),
        said(json!({"field": "$meta[\"a\"]"})),
    ];

    insta::assert_json_snapshot!(refused);
}

#[test]
fn indexes_suit_the_fields_of_their_spec() {
    let said = |index: Value| {
        let mut schema = fields();
        for more in [
            json!({"name": "bits", "type": "BinaryVector", "dim": 8}),
            json!({"name": "words", "type": "SparseFloatVector"}),
            json!({"name": "bytes", "type": "Int8Vector", "dim": 4}),
            json!({"name": "size", "type": "Double"}),
        ] {
            schema["fields"].as_array_mut().unwrap().push(more);
        }
        super::fields::spec_faults(&object(json!({"schema": schema, "indexes": [index]}))).join("; ")
    };
    let index =
        |field: &str, kind: &str, metric: &str| said(json!({"field": field, "type": kind, "metric": metric}));

    for taken in [
        index("bits", "BIN_IVF_FLAT", "JACCARD"),
        index("words", "SPARSE_INVERTED_INDEX", "ip"),
        index("bytes", "HNSW", "COSINE"),
        said(json!({"field": "title", "type": "Trie"})),
        said(json!({"field": "size", "type": "STL_SORT"})),
        said(json!({"field": "vector"})),
    ] {
        assert_eq!(taken, "");
    }
    assert_eq!(
        index("words", "SPARSE_WAND", "L2"),
        "spec.indexes[words].metric: L2 is not for SparseFloatVector"
    );
    assert_eq!(index("bytes", "IVF_FLAT", "L2"), "spec.indexes[bytes].type: IVF_FLAT is not for Int8Vector");
    let bitmap = said(json!({"field": "size", "type": "BITMAP"}));
    assert_eq!(bitmap, "spec.indexes[size].type: BITMAP is not for Double");
}

#[test]
fn properties_are_set_and_those_no_longer_listed_removed() {
    let object = |properties: Value| object(json!({"policy": "Manage", "properties": properties}));
    let mut here = found(Loading::Not, &[]);
    here.properties = texts([("ttl", "60"), ("theirs", "1")]);

    let set = act(CollectionAction::SetProperties(texts([("ttl", "90")])));
    assert_eq!(next(&object(json!({"ttl": "90"})), &Around::of(&here)), set);
    assert_eq!(next(&object(json!({"ttl": 60})), &Around::of(&here)), Step::Rest);
    let listed = Kept { properties: named(&["ttl"]), ..seven() };
    let removed = next(&having(object(json!({})), listed), &Around::of(&here));
    assert_eq!(removed, act(CollectionAction::DeleteProperties(named(&["ttl"]))));
}

#[test]
fn an_alias_is_moved_in_one_step_and_never_from_what_is_loaded_to_what_is_not() {
    let object = object(json!({"policy": "Manage", "aliases": ["live"]}));
    let (not, done) = (found(Loading::Not, &[]), found(Loading::Done, &["gold"]));

    let made = act(CollectionAction::CreateAlias("live".to_owned()));
    assert_eq!(next(&object, &Around::of(&not)), made);
    let moved = act(CollectionAction::MoveAlias("live".to_owned()));
    assert_eq!(next(&object, &Around::of(&not).leads("live", "books_v0", false)), moved);
    assert_eq!(next(&object, &Around::of(&done).leads("live", "books_v0", true)), moved);
    let waits = "alias live leads to books_v0, which is loaded: it is moved once all of books can be read";
    let early = next(&object, &Around::of(&not).leads("live", "books_v0", true));
    assert_eq!(early, wait(Reason::AliasWaits, waits));
    assert_eq!(next(&object, &Around::of(&not).leads("live", "books", false)), Step::Rest);
}

#[test]
fn an_alias_that_another_object_lists_is_left_to_it_and_the_oldest_has_it() {
    let here = EngineCollection { aliases: named(&["live"]), ..found(Loading::Not, &[]) };
    let kept = Kept { aliases: named(&["live"]), ..seven() };
    let without = having(object(json!({"policy": "Manage"})), kept.clone());
    let with = object(json!({"policy": "Manage", "aliases": ["live"]}));
    let other = || older("books-v2", json!({"policy": "Manage", "aliases": ["live"]}));

    let letting = [("live".to_owned(), "1970-01-01T00:00:00Z".to_owned())].into();
    let noted = Kept { letting_go: letting, ..kept };
    assert_eq!(Around::of(&here).decide(&without), act(CollectionAction::Keep(noted.clone())));
    let alone =
        |second| Around { second, ..Around::of(&here) }.decide(&having(without.clone(), noted.clone()));
    assert_eq!(reason(alone(29)), Reason::AliasGoes);
    assert_eq!(alone(30), act(CollectionAction::DropAlias("live".to_owned())));
    assert_eq!(Around::of(&here).beside(other()).decide(&without), Step::Rest);
    let there = Around::of(&here).beside(other()).leads("live", "books-v2", false);
    assert_eq!(reason(next(&with, &there)), Reason::AliasTaken);
}

#[test]
fn of_two_objects_that_manage_one_collection_the_older_does_and_the_other_says_so() {
    let here = found(Loading::Not, &[]);
    let mine = object(json!({"policy": "Manage", "load": {"state": "Loaded"}}));
    let other = |spec: Value| older("theirs", spec);
    let beside = |other: MilvusCollection| next(&mine, &Around::of(&here).beside(other));

    let said =
        wait(Reason::AnotherManages, "MilvusCollection theirs, which is older, manages the collection");
    assert_eq!(beside(other(json!({"policy": "Manage", "name": "books"}))), said);
    for harmless in [
        json!({"policy": "Observe", "name": "books"}),
        json!({"policy": "Manage", "name": "films"}),
        json!({"policy": "Manage", "name": "books", "database": "other"}),
    ] {
        assert_eq!(beside(other(harmless.clone())), loads(&[DEFAULT]), "{harmless}");
    }
    let mut elsewhere = other(json!({"policy": "Manage", "name": "books"}));
    elsewhere.spec.milvus.name = "db-2".to_owned();
    assert_eq!(beside(elsewhere), loads(&[DEFAULT]));
    let named = EngineCollection { aliases: vec!["live".to_owned()], ..here.clone() };
    let by_alias = Around::of(&named).beside(other(json!({"policy": "Manage", "name": "live"})));
    assert_eq!(reason(next(&mine, &by_alias)), Reason::AnotherManages);
}

#[test]
fn through_an_alias_nothing_but_load_is_done() {
    let here = EngineCollection {
        name: "books_v1".to_owned(),
        aliases: named(&["books"]),
        ..found(Loading::Not, &[])
    };
    let spec = json!({"policy": "Manage", "indexes": index("HNSW"), "properties": {"ttl": 1}, "aliases": ["live"],
                      "deletionPolicy": "Delete", "load": {"state": "Loaded"}});
    let loaded = EngineCollection {
        loading: Loading::Done,
        replicas: found(Loading::Done, &[DEFAULT]).replicas,
        ..here.clone()
    };

    assert_eq!(Around::of(&here).decide(&object(spec.clone())), loads(&[DEFAULT]));
    assert_eq!(reason(Around::of(&loaded).decide(&object(spec))), Reason::NamedByAlias);
}

fn deleted(spec: Value, kept: Kept) -> MilvusCollection {
    let mut object = having(object(spec), kept);
    object.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
    object
}

#[test]
fn a_collection_is_dropped_with_its_object_only_where_that_is_said_and_it_is_its_own() {
    let delete = json!({"policy": "Manage", "deletionPolicy": "Delete"});
    let here = EngineCollection { aliases: named(&["live"]), ..found(Loading::Done, &["gold"]) };
    let bare = found(Loading::Done, &["gold"]);
    let kept = Kept { aliases: named(&["live"]), ..seven() };
    let held = |found| Around { held: true, ..Around::of(found) };
    let (drop, let_go) = (act(CollectionAction::Drop), act(CollectionAction::LetGo));

    assert_eq!(Around::of(&bare).decide(&object(delete.clone())), act(CollectionAction::Hold));
    let going = deleted(delete.clone(), kept.clone());
    assert_eq!(held(&here).decide(&going), act(CollectionAction::DropAlias("live".to_owned())));
    assert_eq!(held(&bare).decide(&going), drop);
    assert_eq!(Around { held: true, ..Around::nothing() }.decide(&going), let_go);
    let another = EngineCollection { id: 8, ..bare.clone() };
    assert_eq!(held(&another).decide(&going), let_go, "it is not the one that was managed");
    let by_alias = EngineCollection { name: "books_v1".to_owned(), ..bare.clone() };
    assert_eq!(held(&by_alias).decide(&going), let_go, "it is named by an alias");
    let younger = MilvusCollection {
        metadata: kube::core::ObjectMeta { name: Some("z".to_owned()), ..Default::default() },
        ..object(json!({"policy": "Manage", "name": "books"}))
    };
    assert_eq!(held(&bare).beside(younger).decide(&going), let_go, "another object manages it");
    assert_eq!(held(&bare).decide(&deleted(json!({"policy": "Manage"}), kept)), let_go);
    assert_eq!(Around::of(&bare).decide(&deleted(delete, seven())), Step::Rest, "it is not held");
}

#[test]
fn a_database_of_another_operator_is_said_to_be_not_taken_over() {
    let object = managed(json!({"state": "Loaded"}));
    let around = Around::nothing();
    let picture = CollectionPicture {
        database: Database::NotTakenOver,
        engine: Err(Wait::new(Reason::EngineUnreachable, "no")),
        ..around.picture(&object)
    };

    assert_eq!(reason(collection(&picture)), Reason::NotTakenOver);
}

#[test]
fn a_status_shows_each_replica_index_and_name() {
    let object = having(
        object(json!({"policy": "Manage", "indexes": index("HNSW"),
                      "load": {"resourceGroups": ["gold", "silver"]}})),
        Kept { indexes: named(&["vector"]), ..seven() },
    );
    let found = EngineCollection {
        indexes: vec![hnsw("vector")],
        aliases: named(&["live"]),
        ..found(Loading::Done, &["silver", "gold"])
    };
    let around = Around::of(&found);

    insta::assert_json_snapshot!(collection_status(&around.picture(&object), None, Timestamp::UNIX_EPOCH));
}
