//! How the binary is linked.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if reads_packed_addresses() {
        // Over a hundred thousand addresses are put in as a process begins. Listed one by one they would take 3 MB of the file,
        // and of the memory of each process from then on; so they take a bit each.
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether programs are for glibc and that of this machine, as which theirs is at least as new, is of version 2.36 or later.
fn reads_packed_addresses() -> bool {
    let is = |key: &str, value: &str| std::env::var(key).is_ok_and(|found| found == value);
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = told.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.'));
    let version = version.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && version.is_some_and(|version: (u32, u32)| version >= (2, 36))
}
