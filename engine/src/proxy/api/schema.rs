//! Calls that change the schema of a collection that has rows: fields, arrays of structs and functions that come and go.

use std::sync::Arc;

use contract::pb::common::Status;
use contract::pb::milvus::alter_collection_schema_request::action::Op;
use contract::pb::milvus::alter_collection_schema_request::drop_request::Identifier;
use contract::pb::milvus::alter_collection_schema_request::{AddRequest, DropRequest, FieldInfo};
use contract::pb::milvus::{
    AddCollectionFieldRequest, AddCollectionFunctionRequest, AddCollectionStructFieldRequest,
    AlterCollectionFunctionRequest, AlterCollectionSchemaRequest, AlterCollectionSchemaResponse,
    DropCollectionFunctionRequest,
};
use contract::pb::schema::{FieldSchema, FunctionSchema};
use prost::Message as _;
use tracing::warn;

use super::{Caller, models, rows};
use crate::model::{FunctionOutput, index_param};
use crate::proxy::convert::schema::{
    Called, added_field, added_function, added_struct, altered_function, check_index_name, dropped_field,
    dropped_function,
};
use crate::proxy::convert::status::success;
use crate::proxy::convert::{index, params};
use crate::proxy::limits::{About, Asked};
use crate::proxy::{Error, Proxy};
use crate::rpc::{CollectionChange, CollectionInfo, CollectionRef, NewOutput};

/// Adds or drops a field, or a function with the field that it fills.
pub async fn alter(
    proxy: &Proxy,
    caller: Caller,
    request: AlterCollectionSchemaRequest,
) -> Result<AlterCollectionSchemaResponse, Error> {
    let info = admitted(proxy, &caller, &request.db_name, &request.collection_name).await?;
    match request.action.and_then(|action| action.op) {
        Some(Op::AddRequest(add)) => self::add(proxy, &info, add).await?,
        Some(Op::DropRequest(drop)) => self::drop(proxy, &info, drop).await?,
        None => return Err(refused("a change of the schema must add or drop something")),
    }
    Ok(AlterCollectionSchemaResponse { alter_status: Some(success()) })
}

/// Adds a field; rows that are there have its default or no value.
pub async fn add_field(
    proxy: &Proxy,
    caller: Caller,
    request: AddCollectionFieldRequest,
) -> Result<Status, Error> {
    let info = admitted(proxy, &caller, &request.db_name, &request.collection_name).await?;
    let wire = FieldSchema::decode(&*request.schema)
        .map_err(|reason| Error::SchemaBytes { reason: reason.to_string() })?;
    let field = added_field(&info, wire)?;
    change(proxy, &info, CollectionChange::AddField { field }).await
}

/// Adds an array of structs; rows that are there lack it.
pub async fn add_struct(
    proxy: &Proxy,
    caller: Caller,
    request: AddCollectionStructFieldRequest,
) -> Result<Status, Error> {
    let info = admitted(proxy, &caller, &request.db_name, &request.collection_name).await?;
    let wire = request.struct_array_field_schema.ok_or_else(|| refused("no struct field is named"))?;
    let (of, parts) = added_struct(&info, wire)?;
    change(proxy, &info, CollectionChange::AddStruct { of, parts }).await
}

/// Adds a function to fields that are there: from now on a model fills what rows do not bring.
pub async fn add_function(
    proxy: &Proxy,
    caller: Caller,
    request: AddCollectionFunctionRequest,
) -> Result<Status, Error> {
    let info = admitted(proxy, &caller, &request.db_name, &request.collection_name).await?;
    let wire = request.function_schema.ok_or_else(no_function)?;
    let (function, _, schema) = added_function(&info, wire, None)?;
    models::check_one(proxy, &schema, &function).await?;
    change(proxy, &info, CollectionChange::AddFunction { function, output: None }).await
}

/// Puts a function in the place of the one of its name; rows that are there keep their vectors.
pub async fn alter_function(
    proxy: &Proxy,
    caller: Caller,
    request: AlterCollectionFunctionRequest,
) -> Result<Status, Error> {
    let info = admitted(proxy, &caller, &request.db_name, &request.collection_name).await?;
    let wire = request.function_schema.ok_or_else(no_function)?;
    let function = altered_function(&info, &request.function_name, wire)?;
    models::check_one(proxy, &info.schema, &function).await?;
    change(proxy, &info, CollectionChange::AlterFunction { function }).await
}

/// Drops a function, and keeps the field that it filled.
pub async fn drop_function(
    proxy: &Proxy,
    caller: Caller,
    request: DropCollectionFunctionRequest,
) -> Result<Status, Error> {
    let info = admitted(proxy, &caller, &request.db_name, &request.collection_name).await?;
    let change = dropped_function(&info, request.function_name, FunctionOutput::Stays)?;
    self::change(proxy, &info, change).await
}

async fn admitted(
    proxy: &Proxy,
    caller: &Caller,
    database: &str,
    collection: &str,
) -> Result<Arc<CollectionInfo>, Error> {
    let info = proxy.info(caller, database, collection).await?;
    proxy.admit_one(caller, Asked::Alteration, About::collection(&info))?;
    Ok(info)
}

async fn change(proxy: &Proxy, info: &CollectionInfo, change: CollectionChange) -> Result<Status, Error> {
    proxy.coord().alter_collection(CollectionRef::Id(info.id), change).await?;
    Ok(success())
}

fn refused(what: &str) -> Error {
    Error::Checked { code: 1100, text: format!("{what}: invalid parameter") }
}

fn no_function() -> Error {
    refused("no function is named")
}

async fn add(proxy: &Proxy, info: &CollectionInfo, mut request: AddRequest) -> Result<(), Error> {
    let (Some(field), true) = (request.field_infos.pop(), request.field_infos.is_empty()) else {
        return Err(refused("exactly one field must be added at a time"));
    };
    let named = field.field_schema.clone().ok_or_else(|| refused("the field to add has no schema"))?;
    match (request.func_schema.pop(), request.func_schema.is_empty()) {
        (None, _) if !field.extra_params.is_empty() || !field.index_name.is_empty() => {
            Err(refused("an index can only be added with a field that a function fills"))
        }
        (None, _) => {
            let field = added_field(info, named)?;
            change(proxy, info, CollectionChange::AddField { field }).await.map(|_| ())
        }
        (Some(function), true) => add_with_output(proxy, info, function, (named, field)).await,
        (Some(_), false) => Err(refused("at most one function can be added at a time")),
    }
}

/// Adds a function with the field that it fills and the index on that, all in one step. What rows that are there lack is
/// computed as their segments are rewritten, so those that are not sealed are sealed now.
async fn add_with_output(
    proxy: &Proxy,
    info: &CollectionInfo,
    function: FunctionSchema,
    (output, index): (FieldSchema, FieldInfo),
) -> Result<(), Error> {
    check_index_name(&index.index_name)?;
    let (function, field, schema) = added_function(info, function, Some(output))?;
    let field = field.ok_or_else(|| refused("the field to add has no schema"))?;
    let placed = schema.field(&field.name).ok_or_else(|| refused("the field to add has no schema"))?;
    let pairs = params::pairs(index.extra_params);
    if index_param(&pairs, "index_type").is_none_or(|named| named.is_empty()) {
        let text = format!("index_type must be specified for the function output field {}", field.name);
        return Err(refused(&text));
    }
    let params = index::checked(&schema, placed, &field.name, pairs)?;
    let output = Some(NewOutput { field, index: index.index_name, params });
    change(proxy, info, CollectionChange::AddFunction { function, output }).await?;
    if let Err(error) = rows::seal(proxy, info).await {
        // They are sealed by and by in any case.
        warn!(collection = %info.id, %error, "rows are not sealed at once for the function that was added");
    }
    Ok(())
}

async fn drop(proxy: &Proxy, info: &CollectionInfo, request: DropRequest) -> Result<(), Error> {
    let change = match request.identifier {
        Some(Identifier::FieldName(name)) if !name.is_empty() => dropped_field(info, &Called::Name(name))?,
        Some(Identifier::FieldId(id)) if id > 0 => dropped_field(info, &Called::Number(id))?,
        Some(Identifier::FunctionName(name)) if !name.is_empty() => {
            let output = if request.drop_function_output_fields {
                FunctionOutput::Goes
            } else {
                FunctionOutput::Stays
            };
            dropped_function(info, name, output)?
        }
        _ => return Err(refused("a field or a function to drop must be named")),
    };
    self::change(proxy, info, change).await.map(|_| ())
}
