//! Filter text to a typed tree, and the tree over columns to a set of rows.

/// A parsed filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter;
