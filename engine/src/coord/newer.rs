//! What came with a later format, refused while the cluster writes an earlier one.

use std::sync::atomic::Ordering;

use crate::base::FUNCTIONS_FORMAT;
use crate::coord::drive::Coordinator;
use crate::model::{Field, Metric, index_param};
use crate::rpc::{CollectionChange, NewCollection, NewIndex, Refusal};

/// Algorithms of sparse indexes that came with functions.
const NEWER_ALGORITHMS: [&str; 3] = ["SINDI", "BLOCK_MAX_MAXSCORE", "BLOCK_MAX_WAND"];

impl Coordinator {
    /// Refuses functions, arrays of structs, and types of fields that came with them, while a version that does not know them may read the
    /// catalog.
    pub(super) fn check_schema(&self, collection: &NewCollection) -> Result<(), Refusal> {
        if !collection.schema.functions.is_empty() {
            self.check_format(|| "functions need".to_owned())?;
        }
        if !collection.schema.structs.is_empty() {
            self.check_format(|| "arrays of structs need".to_owned())?;
        }
        collection.schema.fields.iter().try_for_each(|field| self.check_type(field))
    }

    /// Refuses what a change adds to a schema, as [`Self::check_schema`] does, and that anything is dropped: an earlier version would take
    /// a value of a dropped field for one of a field that it is still to hear of.
    pub(super) fn check_change(&self, change: &CollectionChange) -> Result<(), Refusal> {
        match change {
            CollectionChange::AddField { field } => self.check_type(field),
            CollectionChange::AddStruct { .. } => self.check_format(|| "arrays of structs need".to_owned()),
            CollectionChange::AddFunction { .. } | CollectionChange::AlterFunction { .. } => {
                self.check_format(|| "functions need".to_owned())
            }
            CollectionChange::DropField { .. } | CollectionChange::DropFunction { .. } => {
                self.check_format(|| "dropping a field needs".to_owned())
            }
            CollectionChange::SetProperties(_)
            | CollectionChange::DeleteProperties(_)
            | CollectionChange::Rename { .. }
            | CollectionChange::Truncate
            | CollectionChange::SetFieldParams { .. } => Ok(()),
        }
    }

    /// Refuses a field of a type that came with functions, as [`Self::check_schema`] does.
    fn check_type(&self, field: &Field) -> Result<(), Refusal> {
        if !field.data_type.is_newer() {
            return Ok(());
        }
        self.check_format(|| {
            format!("the data type {} of field {} needs", field.data_type.name(), field.name)
        })
    }

    /// Refuses metrics and algorithms that came with functions, as [`Self::check_schema`] does.
    pub(super) fn check_index(&self, index: &NewIndex) -> Result<(), Refusal> {
        let named = |key| index_param(&index.params, key);
        if let Some(metric @ (Metric::Substructure | Metric::Superstructure | Metric::MhJaccard)) =
            named("metric_type").and_then(|name| Metric::from_name(&name))
        {
            self.check_format(|| format!("the metric type {} needs", metric.name()))?;
        }
        match named("inverted_index_algo") {
            Some(name) if NEWER_ALGORITHMS.contains(&name.as_str()) => {
                self.check_format(|| format!("the algorithm {name} of sparse indexes needs"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what came with functions while the cluster writes an earlier format. `what` needs it, with its verb.
    pub(super) fn check_format(&self, what: impl FnOnce() -> String) -> Result<(), Refusal> {
        let format = self.format.load(Ordering::Acquire);
        if format >= FUNCTIONS_FORMAT {
            return Ok(());
        }
        let text = format!(
            "{} format {FUNCTIONS_FORMAT} and the cluster writes {format}: run redkite ctl finalize once no process of an \
             earlier version is left",
            what()
        );
        Err(Refusal::Rule { text })
    }
}
