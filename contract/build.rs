//! Compiles the public protocol files that the official Rust client ships, so that the repository keeps no copy of them,
//! and our own files of the calls between nodes and of the admin API.

use std::error::Error;
use std::path::PathBuf;

/// The crate whose package carries the protocol files.
const CARRIER: &str = "milvus-sdk-rust";
/// Our own protocol files.
const INTERNAL: &str = "proto/internal";
/// The protocol file of the admin API.
const ADMIN: &str = "proto/admin";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../Cargo.lock");
    let protos = public_protos()?;
    let mut compiler = protox::Compiler::new([&protos])?;
    compiler.include_source_info(true).include_imports(true).open_file(protos.join("milvus.proto"))?;
    // With the options of messages, which the decoded form below does not keep.
    let described = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(described.join("public.bin"), compiler.encode_file_descriptor_set())?;
    let files = compiler.file_descriptor_set();
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        // The generated `connect` of the transport would clash with the call `Connect` of the service.
        .build_transport(false)
        // A call that Redkite does not have answers gRPC UNIMPLEMENTED, which every client understands.
        .generate_default_stubs(true)
        .bytes(".milvus.proto.schema.JSONArray")
        .bytes(".milvus.proto.schema.VectorField")
        .bytes(".milvus.proto.milvus.SearchRequest.placeholder_group")
        .compile_fds(files)?;
    compile_internal()?;
    compile_admin()
}

fn compile_admin() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ADMIN}");
    let files = protox::compile(["redkite/admin/v1/admin.proto"], [ADMIN])?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        // Connections are made by the engine and the operator, which have their own ideas of their security.
        .build_transport(false)
        // A twin or an older version that lacks a call answers UNIMPLEMENTED.
        .generate_default_stubs(true)
        // `redkite ctl` shows answers as JSON and YAML: the same order each time, states by their names.
        .btree_map(".")
        .message_attribute(".", "#[derive(serde::Serialize)]")
        .field_attribute("state", "#[serde(serialize_with = \"crate::state_name\")]")
        .compile_fds(files)?;
    Ok(())
}

fn compile_internal() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={INTERNAL}");
    let names = ["common", "coord", "writer", "querier", "builder"];
    let files = protox::compile(names.map(|name| format!("redkite/internal/v1/{name}.proto")), [INTERNAL])?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        // Connections are made by the engine, which has its own idea of their security.
        .build_transport(false)
        // All byte fields are shared with the received frame and never copied.
        .bytes(".redkite.internal.v1")
        .compile_fds(files)?;
    Ok(())
}

fn public_protos() -> Result<PathBuf, Box<dyn Error>> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .or_else(|_| cargo_metadata::MetadataCommand::new().exec())?;
    let carrier = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == CARRIER)
        .ok_or_else(|| format!("the package {CARRIER} is not in the dependency graph"))?;
    let root = carrier.manifest_path.parent().ok_or("a manifest has a folder")?;
    Ok(root.join("milvus-proto/proto").into_std_path_buf())
}
