//! What Redkite's operator and engine must agree on, said once: wire types, roles, ports, names and settings.
//!
//! No logic and no I/O of its own.

pub mod names;
pub mod role;

/// The public protocol as its files describe it, options included: an encoded `FileDescriptorSet`.
pub const PUBLIC_PROTOCOL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public.bin"));

/// The generated types of the public protocol (`milvus.proto.*`).
#[allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    rustdoc::all,
    reason = "generated from the public protocol files"
)]
pub mod pb {
    /// `milvus.proto.common`
    pub mod common {
        tonic::include_proto!("milvus.proto.common");
    }
    /// `milvus.proto.feder`
    pub mod feder {
        tonic::include_proto!("milvus.proto.feder");
    }
    /// `milvus.proto.milvus`
    pub mod milvus {
        tonic::include_proto!("milvus.proto.milvus");
    }
    /// `milvus.proto.msg`
    pub mod msg {
        tonic::include_proto!("milvus.proto.msg");
    }
    /// `milvus.proto.rg`
    pub mod rg {
        tonic::include_proto!("milvus.proto.rg");
    }
    /// `milvus.proto.schema`
    pub mod schema {
        tonic::include_proto!("milvus.proto.schema");
    }
}

/// The generated types of the calls between nodes (`redkite.internal.v1`).
#[allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    rustdoc::all,
    reason = "generated from the protocol files in `proto/internal`"
)]
pub mod internal {
    tonic::include_proto!("redkite.internal.v1");
}

/// The generated types of the admin API (`redkite.admin.v1`), which `proto/admin` documents.
#[allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    rustdoc::all,
    reason = "generated from the protocol files in `proto/admin`"
)]
pub mod admin {
    tonic::include_proto!("redkite.admin.v1");
}

/// The state of a node as people read it: `ready`, `draining`, `leaving`, or `unspecified`.
#[must_use]
pub fn node_state_name(state: i32) -> &'static str {
    match admin::NodeState::try_from(state) {
        Ok(admin::NodeState::Ready) => "ready",
        Ok(admin::NodeState::Draining) => "draining",
        Ok(admin::NodeState::Leaving) => "leaving",
        Ok(admin::NodeState::Unspecified) | Err(_) => "unspecified",
    }
}

/// Writes a state by its name.
fn state_name<S: serde::Serializer>(state: &i32, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(node_state_name(*state))
}

pub mod settings;
