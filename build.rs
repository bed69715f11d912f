//! Gives the cdylib of a plain `cargo build` its SONAME.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libsendfd.so.{major}");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,defs");
}
