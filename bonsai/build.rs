//! Links the program so that its address table is short.
//!
//! The six services are processes of this one program. Each reads that table (6.6 MB: DataFusion has many tables of
//! functions) when it starts, and would keep its pages. Packed relative relocations (`DT_RELR`) say the same in a
//! sixtieth of the space; glibc reads them since 2.36, so a program that is built where it runs has them from there on.

use std::env;
use std::process::Command;

/// The first glibc that reads packed relative relocations.
const GLIBC: (u32, u32) = (2, 36);

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let is_native = env::var("HOST").ok() == env::var("TARGET").ok();
    let reads_them =
        target("OS") == "linux" && target("ENV") == "gnu" && is_native && glibc().is_some_and(|v| v >= GLIBC);
    if reads_them {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's glibc, as `getconf` says it: `glibc 2.39`.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
