//! Reading embedded Kubernetes values, collecting what is wrong with them.

use serde::de::DeserializeOwned;

use super::{Fault, FaultReason};
use crate::crd::{Open, Typed};

/// Where wrong fields are collected while a spec is read.
#[derive(Debug, Default)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl Faults {
    /// Notes that the field at `path` is wrong.
    pub(super) fn add(&mut self, reason: FaultReason, path: impl Into<String>, message: impl Into<String>) {
        let fault = Fault { reason, path: path.into(), message: message.into() };
        // What stands in the defaults is read once for each component.
        if !self.0.contains(&fault) {
            self.0.push(fault);
        }
    }

    fn keep<T>(&mut self, path: &str, read: Result<T, serde_json::Error>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(FaultReason::InvalidField, path, error.to_string());
                None
            }
        }
    }

    /// Reads an optional value.
    pub(super) fn typed<T: DeserializeOwned>(&mut self, path: &str, value: Option<&Typed<T>>) -> Option<T> {
        value.and_then(|value| self.keep(path, value.read()))
    }

    /// Reads a list of values; a path has the position of the item.
    pub(super) fn typed_list<T: DeserializeOwned>(
        &mut self,
        path: &str,
        values: Option<&Vec<Typed<T>>>,
    ) -> Vec<T> {
        let values = values.into_iter().flatten().enumerate();
        values.filter_map(|(at, value)| self.keep(&format!("{path}[{at}]"), value.read())).collect()
    }

    /// Reads an optional open value; `null` is as if it were not there.
    pub(super) fn open<T: DeserializeOwned>(&mut self, path: &str, value: Option<&Open<T>>) -> Option<T> {
        value.filter(|value| !value.value().is_null()).and_then(|value| self.keep(path, value.read()))
    }

    /// Reads a list of open values; a path has the position of the item.
    pub(super) fn open_items<T: DeserializeOwned>(
        &mut self,
        path: &str,
        values: Option<&Vec<Open<T>>>,
    ) -> Vec<T> {
        let values = values.into_iter().flatten().enumerate();
        values.filter_map(|(at, value)| self.keep(&format!("{path}[{at}]"), value.read())).collect()
    }

    /// Reads a list of open values that have names; a path has the position of the item.
    pub(super) fn open_list<T: DeserializeOwned>(
        &mut self,
        path: &str,
        values: Option<&Vec<Open<T>>>,
    ) -> Vec<T> {
        let mut list = Vec::new();
        for (at, value) in values.into_iter().flatten().enumerate() {
            let path = format!("{path}[{at}]");
            if value.value()["name"].as_str().is_none_or(str::is_empty) {
                self.add(FaultReason::InvalidField, format!("{path}.name"), "a name is needed");
            }
            list.extend(self.keep(&path, value.read()));
        }
        list
    }
}
