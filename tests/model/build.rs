//! Copies src/cmsg.rs to where `include!` finds it: as a part of another module,
//! which may use what is private there, and so cannot begin with `//!`.

use std::path::Path;
use std::{env, fs};

fn main() {
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let source = Path::new(&manifest).join("../../src/cmsg.rs");
    println!("cargo::rerun-if-changed={}", source.display());
    let text = fs::read_to_string(&source).expect("src/cmsg.rs can be read");
    let place = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("cmsg.rs");
    fs::write(
        place,
        text.replace("\n//!", "\n//").replacen("//!", "//", 1),
    )
    .expect("OUT_DIR can be written");
}
