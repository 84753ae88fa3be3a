//! Changes of the schema of a collection that has rows: what comes, what goes, and what has to stay.
//!
//! Whoever asks for a change checks it by itself (`check_…`). Whether it fits is seen where it is made, against the schema
//! of that moment, and numbers are given there.

use super::{
    FIRST_FIELD, FieldRequest, FunctionRequest, MAX_FIELDS, MAX_VECTORS, SchemaError, StructRequest,
    check_clustering_key, check_memory, check_new_field, checked_structs, functions, is_vector,
};
use crate::base::FieldId;
use crate::model::{Field, Function, FunctionKind, FunctionOutput, Schema, StructField};

/// Checks a field that is to be added to a collection that has rows; its number is given by [`add_field`].
///
/// # Errors
/// [`SchemaError`] for the first rule that is broken: the rows that are there have no value for it, so it is neither a key
/// nor without null.
pub fn check_added_field(request: &FieldRequest, collection: &str) -> Result<Field, SchemaError> {
    let field = || request.name.clone();
    check_no_key(request)?;
    match request {
        FieldRequest { nullable: false, data_type, .. } if is_vector(*data_type) => {
            Err(SchemaError::AddedVector { field: field() })
        }
        FieldRequest { nullable: false, .. } => Err(SchemaError::AddedNotNull { field: field() }),
        _ => check_new_field(FieldId(0), request, collection),
    }
}

/// Rows that are there have no key in a field that comes later.
fn check_no_key(request: &FieldRequest) -> Result<(), SchemaError> {
    let field = || request.name.clone();
    match request {
        FieldRequest { is_primary: true, .. } => Err(SchemaError::AddedPrimary { field: field() }),
        FieldRequest { auto_id: true, .. } => Err(SchemaError::AutoId { field: field() }),
        FieldRequest { is_partition_key: true, .. } => Err(SchemaError::AddedPartitionKey { field: field() }),
        FieldRequest { is_dynamic: true, .. } => Err(SchemaError::DynamicField),
        _ => Ok(()),
    }
}

/// Checks an array of structs that is to be added to a collection that has rows; the numbers are given by [`add_struct`].
///
/// # Errors
/// [`SchemaError`] for the first rule that is broken: the rows that are there lack the array.
pub fn check_added_struct(
    request: &StructRequest,
    collection: &str,
) -> Result<(StructField, Vec<Field>), SchemaError> {
    if !request.nullable {
        return Err(SchemaError::AddedNotNull { field: request.name.clone() });
    }
    let (structs, parts) = checked_structs(std::slice::from_ref(request), collection, 0)?;
    for (at, part) in parts.iter().enumerate() {
        if parts[..at].iter().any(|earlier| earlier.name == part.name) {
            return Err(SchemaError::Duplicate { field: part.name.clone() });
        }
        check_memory(part)?;
    }
    match structs.into_iter().next() {
        Some(one) => Ok((one, parts)),
        None => Err(SchemaError::StructWithoutParts { field: request.name.clone() }),
    }
}

/// Checks a function that is to be added to a collection that has rows. With `output` it fills a field that is added with it,
/// without it one that is there; numbers of its own are given by [`add_function`].
///
/// # Errors
/// [`SchemaError`] for the first rule that is broken: what rows lack can be computed where it follows from what is stored, and
/// models are not asked about rows that were written.
pub fn check_added_function(
    schema: &Schema,
    request: &FunctionRequest,
    output: Option<&FieldRequest>,
    collection: &str,
) -> Result<(Function, Option<Field>), SchemaError> {
    let output = match output {
        None => None,
        Some(asked) => {
            if !request.outputs.contains(&asked.name) {
                return Err(SchemaError::AddedOutput {
                    function: request.name.clone(),
                    field: asked.name.clone(),
                });
            }
            check_no_key(asked)?;
            Some(check_new_field(FieldId(next_number(schema)), asked, collection)?)
        }
    };
    let fields: Vec<Field> = schema.fields.iter().chain(&output).cloned().collect();
    let function = functions::checked_beside(&schema.functions, request, &fields)?;
    match (function.kind, &output) {
        (FunctionKind::TextEmbedding, Some(_)) => {
            Err(SchemaError::AddedEmbedding { function: request.name.clone() })
        }
        (FunctionKind::Bm25 | FunctionKind::MinHash, None) => Err(SchemaError::AddedWithoutOutput {
            function: request.name.clone(),
            kind: function.kind.name(),
        }),
        _ => Ok((function, output)),
    }
}

/// `schema` with one field more, which [`check_added_field`] gave: behind the others, before the hidden one and the parts of
/// structs, under a number that is greater than all that there ever were.
///
/// # Errors
/// [`SchemaError`] if there are too many fields or the new one is a second of its name or kind.
pub fn add_field(schema: &Schema, field: Field) -> Result<Schema, SchemaError> {
    check_name_is_free(schema, &field.name)?;
    check_room(schema, std::slice::from_ref(&field))?;
    if field.is_clustering_key {
        if let Some(other) = schema.fields.iter().find(|known| known.is_clustering_key) {
            return Err(SchemaError::OtherClusteringKey { field: other.name.clone() });
        }
        check_clustering_key(std::slice::from_ref(&field))?;
    }
    let is_behind = |known: &Field| known.is_dynamic || schema.struct_of(known.id).is_some();
    let mut fields = schema.fields.clone();
    let place = fields.iter().position(is_behind).unwrap_or(fields.len());
    fields.insert(place, Field { id: FieldId(next_number(schema)), ..field });
    Ok(Schema { fields, ..schema.clone() })
}

/// `schema` with one array of structs more, which [`check_added_struct`] gave, under numbers that are greater than all that there
/// ever were.
///
/// # Errors
/// As for [`add_field`].
pub fn add_struct(schema: &Schema, of: StructField, parts: Vec<Field>) -> Result<Schema, SchemaError> {
    check_name_is_free(schema, &of.name)?;
    check_room(schema, &parts)?;
    let id = next_number(schema);
    let parts: Vec<Field> =
        (id + 1..).zip(parts).map(|(id, part)| Field { id: FieldId(id), ..part }).collect();
    let mut new = schema.clone();
    let ids = parts.iter().map(|part| part.id).collect();
    new.structs.push(StructField { id: FieldId(id), parts: ids, ..of });
    new.fields.extend(parts);
    Ok(new)
}

/// `schema` with one function more, which [`check_added_function`] gave, and the field that it fills, where that is new.
///
/// # Errors
/// [`SchemaError`] if there is a function of its name, the fields that it reads and fills are not there any more, or `output`
/// does not fit.
pub fn add_function(
    schema: &Schema,
    function: Function,
    output: Option<Field>,
) -> Result<Schema, SchemaError> {
    if schema.functions.iter().any(|known| known.name == function.name) {
        return Err(SchemaError::DuplicateFunction { function: function.name });
    }
    let (mut new, function) = match output {
        None => (schema.clone(), function),
        Some(output) => {
            let id = FieldId(next_number(schema));
            (add_field(schema, output)?, Function { output: id, ..function })
        }
    };
    check_ends(&new, &function)?;
    let id = new.functions.iter().map(|known| known.id).max().unwrap_or(0) + 1;
    new.functions.push(Function { id, ..function });
    Ok(new)
}

/// Checks what is to be in the place of the function called `name`; [`alter_function`] puts it there.
///
/// # Errors
/// [`SchemaError`] if there is no such function, if one of the two is not of the type that may change, or for the first rule that
/// the new one breaks.
pub fn check_altered_function(
    schema: &Schema,
    name: &str,
    request: &FunctionRequest,
) -> Result<Function, SchemaError> {
    let old = function_called(schema, name)?;
    if request.name != name {
        return Err(SchemaError::RenamedFunction { function: name.to_owned(), other: request.name.clone() });
    }
    let others: Vec<Function> = schema.functions.iter().filter(|known| known.name != name).cloned().collect();
    let new = functions::checked_beside(&others, request, &schema.fields)?;
    check_may_change(old)?;
    check_may_change(&new)?;
    Ok(Function { id: old.id, ..new })
}

/// `schema` with `function`, which [`check_altered_function`] gave, in the place of the one of its name.
///
/// # Errors
/// As there.
pub fn alter_function(schema: &Schema, function: Function) -> Result<Schema, SchemaError> {
    let id =
        function_called(schema, &function.name).and_then(|old| check_may_change(old).map(|()| old.id))?;
    let mut new = schema.clone();
    new.functions.retain(|known| known.id != id);
    check_ends(&new, &function)?;
    let place = schema.functions.iter().position(|known| known.id == id).unwrap_or(new.functions.len());
    new.functions.insert(place, Function { id, ..function });
    Ok(new)
}

/// `schema` without the function called `name`, and without the field that it fills, if that is to go.
///
/// # Errors
/// [`SchemaError`] if there is no such function, if the field means nothing without it, or cannot go.
pub fn drop_function(schema: &Schema, name: &str, output: FunctionOutput) -> Result<Schema, SchemaError> {
    let function = function_called(schema, name)?;
    let mut new = schema.clone();
    new.functions.retain(|known| known.id != function.id);
    match (output, function.kind) {
        (FunctionOutput::Goes, _) => drop_field(&new, function.output),
        (FunctionOutput::Stays, FunctionKind::TextEmbedding) => Ok(new),
        (FunctionOutput::Stays, kind) => {
            Err(SchemaError::DroppedWithoutOutput { function: name.to_owned(), kind: kind.name() })
        }
    }
}

/// `schema` without the field or the array of structs numbered `id`. Its number is not given again.
///
/// # Errors
/// [`SchemaError`] if there is none, or rows cannot be without it: a key, the hidden field, what functions read or fill, what
/// chooses between analyzers, a part of a struct by itself, the last field that can be searched.
pub fn drop_field(schema: &Schema, id: FieldId) -> Result<Schema, SchemaError> {
    let of = schema.structs.iter().find(|one| one.id == id);
    let going: Vec<FieldId> = of.map_or_else(|| vec![id], |of| of.parts.clone());
    let name = match (of, schema.field_by_id(id)) {
        (Some(of), _) => of.name.clone(),
        (None, Some(field)) => {
            check_may_go(schema, field)?;
            field.name.clone()
        }
        (None, None) => return Err(SchemaError::DroppedNotFound { field: id.to_string() }),
    };
    let mut new = schema.clone();
    new.fields.retain(|field| !going.contains(&field.id));
    new.structs.retain(|one| one.id != id);
    if new.searched().next().is_none() {
        return Err(SchemaError::DroppedLastVector { field: name });
    }
    new.youngest_dropped = going.into_iter().chain([id]).chain(schema.youngest_dropped).max();
    Ok(new)
}

fn check_may_go(schema: &Schema, field: &Field) -> Result<(), SchemaError> {
    let name = || field.name.clone();
    let refuse = |what| Err(SchemaError::DroppedKey { what, field: field.name.clone() });
    match field {
        Field { is_primary: true, .. } => return refuse("primary key"),
        Field { is_partition_key: true, .. } => return refuse("partition key"),
        Field { is_clustering_key: true, .. } => return refuse("clustering key"),
        Field { is_dynamic: true, .. } => return refuse("dynamic"),
        _ => {}
    }
    if let Some(of) = schema.struct_of(field.id) {
        return Err(SchemaError::DroppedPart { field: name(), of: of.name.clone() });
    }
    for function in &schema.functions {
        let end = match field.id {
            id if id == function.input => "input",
            id if id == function.output => "output",
            _ => continue,
        };
        return Err(SchemaError::DroppedOfFunction { field: name(), end, function: function.name.clone() });
    }
    match schema.fields.iter().find(|other| chooser(other).is_some_and(|by| by == field.name)) {
        Some(other) => Err(SchemaError::DroppedChooser { field: name(), of: other.name.clone() }),
        None => Ok(()),
    }
}

/// The name of the field that says which of several analyzers a field's texts are for.
fn chooser(field: &Field) -> Option<String> {
    let params: serde_json::Value = serde_json::from_str(field.type_param("multi_analyzer_params")?).ok()?;
    params.get("by_field")?.as_str().map(str::to_owned)
}

fn next_number(schema: &Schema) -> i64 {
    schema.newest().map_or(FIRST_FIELD.0, |newest| newest.0 + 1)
}

fn check_name_is_free(schema: &Schema, name: &str) -> Result<(), SchemaError> {
    if schema.field(name).is_some() || schema.struct_field(name).is_some() {
        return Err(SchemaError::Duplicate { field: name.to_owned() });
    }
    Ok(())
}

/// Whether there is room for some fields more.
fn check_room(schema: &Schema, more: &[Field]) -> Result<(), SchemaError> {
    let known = schema.fields.iter().filter(|known| !known.is_dynamic).count();
    if known + more.len() > MAX_FIELDS {
        return Err(SchemaError::AddedTooMany);
    }
    let searched = more.iter().filter(|field| field.data_type.is_searched()).count();
    if searched > 0 && schema.searched().count() + searched > MAX_VECTORS {
        return Err(SchemaError::TooManyVectors);
    }
    Ok(())
}

fn function_called<'a>(schema: &'a Schema, name: &str) -> Result<&'a Function, SchemaError> {
    let found = schema.functions.iter().find(|known| known.name == name);
    found.ok_or_else(|| SchemaError::FunctionNotFound { function: name.to_owned() })
}

/// What others compute is in the rows that are there, and would not be what the altered function computes.
fn check_may_change(function: &Function) -> Result<(), SchemaError> {
    match function.kind {
        FunctionKind::TextEmbedding => Ok(()),
        kind => Err(SchemaError::AlteredFunction { function: function.name.clone(), kind: kind.name() }),
    }
}

/// Whether what a function reads and fills is there, and filled by no other one.
fn check_ends(schema: &Schema, function: &Function) -> Result<(), SchemaError> {
    if schema.field_by_id(function.input).is_none() {
        return Err(SchemaError::FunctionInput { field: function.input.to_string() });
    }
    let Some(output) = schema.field_by_id(function.output) else {
        return Err(SchemaError::FunctionOutput { field: function.output.to_string() });
    };
    match schema.function_of(function.output) {
        Some(_) => Err(SchemaError::SharedOutput { field: output.name.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
