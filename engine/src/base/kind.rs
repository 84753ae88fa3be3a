//! What kind of failure an error is: the one thing that decides retry, codes, requeue and metric labels.

/// What the caller of a failed operation can do about it. Closed on purpose: every table that maps it is exhaustive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The request is wrong and will be wrong again.
    Invalid,
    /// The caller may not do this.
    Denied,
    /// The thing named does not exist.
    NotFound,
    /// The thing to make exists already.
    Exists,
    /// Somebody else changed the thing meanwhile: read again, then decide again.
    Conflict,
    /// A newer owner has taken over; this one must stop.
    Fenced,
    /// A quota, a budget or a queue is full.
    Exhausted,
    /// Not now: a retry may succeed.
    Unavailable,
    /// Stored bytes are not what was written.
    Corrupt,
    /// A defect of ours.
    Internal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Invalid,
        Self::Denied,
        Self::NotFound,
        Self::Exists,
        Self::Conflict,
        Self::Fenced,
        Self::Exhausted,
        Self::Unavailable,
        Self::Corrupt,
        Self::Internal,
    ];

    /// The kind of a label; `None` for a label of a later version.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == label)
    }

    /// The label under which errors of this kind are counted.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::Conflict => "conflict",
            Self::Fenced => "fenced",
            Self::Exhausted => "exhausted",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
        }
    }

    /// Whether the same call may succeed later with nothing changed by the caller.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Exhausted)
    }
}

/// An error that knows its kind, usually from its cause.
pub trait Kinded {
    /// The kind of this error.
    fn kind(&self) -> Kind;
}

impl Kinded for std::io::Error {
    fn kind(&self) -> Kind {
        use std::io::ErrorKind;
        match std::io::Error::kind(self) {
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::AlreadyExists => Kind::Exists,
            ErrorKind::PermissionDenied => Kind::Denied,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Kind::Exhausted,
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => Kind::Corrupt,
            _ => Kind::Unavailable,
        }
    }
}

/// An error and all its causes, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
