//! Writes the C header that src/ffi.rs says: `header VERSION HEADER`, in the
//! directory of the library.

use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [version, header] = arguments.as_slice() else {
        return Err("usage: header VERSION HEADER".into());
    };
    let mut config = cbindgen::Config::from_file("tools/header/cbindgen.toml")?;
    config.after_includes = Some(macros_of(version)? + &config.after_includes.unwrap_or_default());
    // From the source file, not the crate: that would run `cargo metadata`.
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src("src/ffi.rs")
        .generate()?;
    fs::write(header, text_of(&bindings))?;
    Ok(())
}

/// The version as the header has it.
fn macros_of(version: &str) -> Result<String, &'static str> {
    let [major, minor, patch] = version.split('.').collect::<Vec<_>>()[..] else {
        return Err("a version is three numbers");
    };
    Ok(format!(
        "\n/* The version of this header; sendfd_version() is the library's. */\n\
         #define SENDFD_VERSION \"{version}\"\n\
         #define SENDFD_VERSION_MAJOR {major}\n\
         #define SENDFD_VERSION_MINOR {minor}\n\
         #define SENDFD_VERSION_PATCH {patch}\n"
    ))
}

/// The header as C programmers write it: cbindgen puts comments of C99 behind `#endif`,
/// which are a warning in C89, a negative number without parentheses, and a flag in
/// decimal.
fn text_of(bindings: &cbindgen::Bindings) -> String {
    let mut text = Vec::new();
    bindings.write(&mut text);
    String::from_utf8_lossy(&text)
        .replace("#endif // __cplusplus", "#endif")
        .replace("#endif  // __cplusplus", "#endif")
        .replace("}  // extern \"C\"", "}")
        .replace("RECVFD_EOF -2", "RECVFD_EOF (-2)")
        .replace("RECVFD_PARTIAL 268435456", "RECVFD_PARTIAL 0x10000000")
}
