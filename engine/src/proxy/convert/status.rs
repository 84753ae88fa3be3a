//! One table: error to `Status`.

use std::collections::HashMap;

use contract::pb::common::{ErrorCode, Status};

use crate::base::{Kind, Kinded};
use crate::proxy::Error;

/// The status of a call that did what it was asked.
#[must_use]
pub fn success() -> Status {
    Status::default()
}

/// The status of a call that failed. Old clients read the legacy number, new ones the code; both are set.
#[must_use]
#[expect(deprecated, reason = "old clients only read the legacy number")]
pub fn failure(error: &Error) -> Status {
    let code = error.code();
    let reason = error.to_string();
    let by_user = matches!(error.kind(), Kind::Invalid | Kind::NotFound | Kind::Exists | Kind::Denied);
    let mut extra_info = HashMap::new();
    if by_user {
        extra_info.insert("is_input_error".to_owned(), "true".to_owned());
    }
    let legacy = if matches!(error, Error::DescribeNotFound { .. }) {
        ErrorCode::CollectionNotExists
    } else {
        legacy(code)
    };
    Status {
        error_code: legacy.into(),
        detail: reason.clone(),
        reason,
        code,
        retriable: !by_user && is_retriable(code),
        extra_info,
    }
}

/// The number that clients before Milvus 2.3 understand.
///
/// Source: wire specification 1.1.
const fn legacy(code: i32) -> ErrorCode {
    match code {
        0 => ErrorCode::Success,
        1 => ErrorCode::NotReadyServe,
        3 => ErrorCode::InsufficientMemoryToLoad,
        7 => ErrorCode::DiskQuotaExhausted,
        8 => ErrorCode::RateLimit,
        9 => ErrorCode::ForceDeny,
        11 => ErrorCode::TimeTickLongDelay,
        100 => ErrorCode::CollectionNotExists,
        109 => ErrorCode::SchemaMismatch,
        200 | 400 | 501 => ErrorCode::MetaFailed,
        401 | 503 | 905 => ErrorCode::NoReplicaAvailable,
        600 => ErrorCode::SegmentNotFound,
        700 => ErrorCode::IndexNotExist,
        904 => ErrorCode::NodeIdNotMatch,
        1100 => ErrorCode::IllegalArgument,
        _ => ErrorCode::UnexpectedError,
    }
}

/// Whether Milvus marks a code as worth a retry.
///
/// Source: wire specification 1.2.
const fn is_retriable(code: i32) -> bool {
    matches!(code, 1 | 2 | 4 | 8 | 12 | 103 | 106 | 110 | 202 | 305 | 1002 | 1003 | 2200)
}
