//! Which duties a process has: the only table of roles.

/// One part of the engine's work. A process runs one or more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Duty {
    /// The public API: authentication, quota, routing, merge of results.
    Proxy,
    /// Catalog, time, placement and jobs.
    Coord,
    /// Log channels and growing segments.
    Writer,
    /// Sealed segments and searches over them.
    Querier,
    /// Index builds, compaction, import.
    Builder,
}

/// What one engine process is started as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Serves clients; holds no state.
    Proxy,
    /// Decides; one leader, others stand by.
    Coordinator,
    /// Holds sealed segments of one resource group.
    QueryNode,
    /// Builds and compacts; also writes where no streaming node runs.
    DataNode,
    /// Owns log channels alone.
    StreamingNode,
    /// All duties in one process.
    Standalone,
}

impl Role {
    /// All roles, in the order of the table.
    pub const ALL: [Self; 6] = [
        Self::Proxy,
        Self::Coordinator,
        Self::QueryNode,
        Self::DataNode,
        Self::StreamingNode,
        Self::Standalone,
    ];

    /// The word on the command line, and the component label of its pods.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Coordinator => "mixcoord",
            Self::QueryNode => "querynode",
            Self::DataNode => "datanode",
            Self::StreamingNode => "streamingnode",
            Self::Standalone => "standalone",
        }
    }

    /// The role that a word of Milvus's command line means; `None` for a word that is none.
    ///
    /// The four coordinators of older versions are each a candidate for the one leadership.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "proxy" => Some(Self::Proxy),
            "mixcoord" | "mixture" | "coordinator" | "rootcoord" | "datacoord" | "querycoord"
            | "indexcoord" => Some(Self::Coordinator),
            "querynode" => Some(Self::QueryNode),
            "datanode" | "indexnode" => Some(Self::DataNode),
            "streamingnode" => Some(Self::StreamingNode),
            "standalone" => Some(Self::Standalone),
            _ => None,
        }
    }

    /// The duties of a process in this role.
    #[must_use]
    pub const fn duties(self) -> &'static [Duty] {
        match self {
            Self::Proxy => &[Duty::Proxy],
            Self::Coordinator => &[Duty::Coord],
            Self::QueryNode => &[Duty::Querier],
            Self::DataNode => &[Duty::Writer, Duty::Builder],
            Self::StreamingNode => &[Duty::Writer],
            Self::Standalone => &[Duty::Proxy, Duty::Coord, Duty::Writer, Duty::Querier, Duty::Builder],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_found_by_its_own_name() {
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
    }
}
