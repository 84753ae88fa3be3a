//! test twin
