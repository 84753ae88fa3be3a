//! `collections/…`: the REST form of the calls that change a schema: fields, arrays of structs and functions that come and go.

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use contract::pb::milvus::alter_collection_schema_request::action::Op;
use contract::pb::milvus::alter_collection_schema_request::drop_request::Identifier;
use contract::pb::milvus::alter_collection_schema_request::{Action, AddRequest, DropRequest, FieldInfo};
use contract::pb::milvus::*;
use contract::pb::schema::FunctionSchema;
use http::{Extensions, HeaderMap, Uri};
use prost::Message as _;
use serde_json::Value as Json;

use super::{Data, Door, Version, Visit, answer, indexes, nothing};
use crate::proxy::access::table::Asks;
use crate::proxy::api::schema;
use crate::proxy::convert::json_schema::{function, new_field, struct_field};
use crate::proxy::{Error, Proxy};

/// Milvus's names of the requests, in complaints about missing keys.
const NEW_FIELD: &str = "CollectionFieldReqWithSchema";
const DROPPED_FIELD: &str = "CollectionFieldReq";
const NEW_FUNCTION: &str = "CollectionAddFunction";
const ALTERED_FUNCTION: &str = "CollectionAlterFunction";
const DROPPED_FUNCTION: &str = "CollectionDropFunction";
const NEW_OUTPUT: &str = "CollectionAddFunctionField";

/// These paths.
pub fn router() -> Router<Proxy> {
    Router::new()
        .route("/fields/add", endpoint!("RestAddCollectionField", AddCollectionFieldRequest, add_field))
        .route(
            "/fields/drop",
            endpoint!("RestAlterCollectionSchema", AlterCollectionSchemaRequest, drop_field),
        )
        .route(
            "/struct_fields/add",
            endpoint!("RestAddCollectionStructField", AddCollectionStructFieldRequest, add_struct),
        )
        .route(
            "/add_function",
            endpoint!("RestAddCollectionFunction", AddCollectionFunctionRequest, add_function),
        )
        .route(
            "/alter_function",
            endpoint!("RestAlterCollectionFunction", AlterCollectionFunctionRequest, alter_function),
        )
        .route(
            "/drop_function",
            endpoint!("RestDropCollectionFunction", DropCollectionFunctionRequest, drop_function),
        )
        .route(
            "/add_function_field",
            endpoint!("RestAlterCollectionSchema", AlterCollectionSchemaRequest, add_function_field),
        )
        .route(
            "/drop_function_field",
            endpoint!("RestAlterCollectionSchema", AlterCollectionSchemaRequest, drop_function_field),
        )
}

async fn add_field(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(NEW_FIELD, "collectionName")?;
    let schema = new_field(named(&visit, NEW_FIELD, "schema")?)?.encode_to_vec();
    let request = AddCollectionFieldRequest { collection_name, schema, ..Default::default() };
    schema::add_field(proxy, visit.caller, request).await?;
    Ok(nothing())
}

/// A field by its name, or by its number (`fieldId`) where it has none.
async fn drop_field(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(DROPPED_FIELD, "collectionName")?;
    let number = visit.body.get("fieldId").and_then(Json::as_i64);
    let identifier = match number.filter(|_| !visit.body.contains_key("fieldName")) {
        Some(number) => Identifier::FieldId(number),
        None => Identifier::FieldName(visit.required(DROPPED_FIELD, "fieldName")?),
    };
    let drop = DropRequest { identifier: Some(identifier), ..Default::default() };
    alter(proxy, visit, collection_name, Op::DropRequest(drop)).await
}

async fn add_struct(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(NEW_FIELD, "collectionName")?;
    let wanted = struct_field(named(&visit, NEW_FIELD, "schema")?)?;
    let request = AddCollectionStructFieldRequest {
        collection_name,
        struct_array_field_schema: Some(wanted),
        ..Default::default()
    };
    schema::add_struct(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn add_function(proxy: &Proxy, visit: Visit) -> Data {
    let request = AddCollectionFunctionRequest {
        collection_name: visit.required(NEW_FUNCTION, "collectionName")?,
        function_schema: Some(named_function(&visit, NEW_FUNCTION)?),
        ..Default::default()
    };
    schema::add_function(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn alter_function(proxy: &Proxy, visit: Visit) -> Data {
    let request = AlterCollectionFunctionRequest {
        collection_name: visit.required(ALTERED_FUNCTION, "collectionName")?,
        function_name: visit.required(ALTERED_FUNCTION, "functionName")?,
        function_schema: Some(named_function(&visit, ALTERED_FUNCTION)?),
        ..Default::default()
    };
    schema::alter_function(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn drop_function(proxy: &Proxy, visit: Visit) -> Data {
    let request = DropCollectionFunctionRequest {
        collection_name: visit.required(DROPPED_FUNCTION, "collectionName")?,
        function_name: visit.required(DROPPED_FUNCTION, "functionName")?,
        ..Default::default()
    };
    schema::drop_function(proxy, visit.caller, request).await?;
    Ok(nothing())
}

/// A function (`function`) with the field that it fills (`schema`) and the index on that: the one entry of `indexParams`.
async fn add_function_field(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(NEW_OUTPUT, "collectionName")?;
    let field_schema = new_field(named(&visit, NEW_OUTPUT, "schema")?)?;
    let function = named_function(&visit, NEW_OUTPUT)?;
    let list = visit.body.get("indexParams").and_then(Json::as_array);
    let list = list.ok_or_else(|| Error::missing(NEW_OUTPUT, "indexParams"))?;
    let mut wanted = indexes::wanted(&collection_name, list)?;
    let of_field = wanted.pop().filter(|index| wanted.is_empty() && index.field_name == field_schema.name);
    let Some(index) = of_field else {
        let text = format!(
            "indexParams must have exactly one index, on the function output field {}: invalid parameter",
            field_schema.name
        );
        return Err(Error::Checked { code: 1100, text });
    };
    let add = AddRequest {
        field_infos: vec![FieldInfo {
            field_schema: Some(field_schema),
            index_name: index.index_name,
            extra_params: index.extra_params,
        }],
        func_schema: vec![function],
        ..Default::default()
    };
    alter(proxy, visit, collection_name, Op::AddRequest(add)).await
}

async fn drop_function_field(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(DROPPED_FUNCTION, "collectionName")?;
    let function = visit.required(DROPPED_FUNCTION, "functionName")?;
    let drop = DropRequest {
        identifier: Some(Identifier::FunctionName(function)),
        drop_function_output_fields: true,
    };
    alter(proxy, visit, collection_name, Op::DropRequest(drop)).await
}

async fn alter(proxy: &Proxy, visit: Visit, collection_name: String, op: Op) -> Data {
    let action = Some(Action { op: Some(op) });
    let request = AlterCollectionSchemaRequest { collection_name, action, ..Default::default() };
    schema::alter(proxy, visit.caller, request).await?;
    Ok(nothing())
}

fn named<'a>(visit: &'a Visit, request: &str, key: &str) -> Result<&'a Json, Error> {
    visit.body.get(key).ok_or_else(|| Error::missing(request, key))
}

fn named_function(visit: &Visit, request: &str) -> Result<FunctionSchema, Error> {
    function(named(visit, request, "function")?)
}
