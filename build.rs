//! Gives the cdylib of a plain `cargo build` its SONAME, and with the feature
//! `header` generates the C header at the path in `SENDFD_HEADER`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libsendfd.so.{major}");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,defs");
    #[cfg(feature = "header")]
    header::generate();
}

#[cfg(feature = "header")]
mod header {
    use std::{env, fs};

    pub(crate) fn generate() {
        for input in ["src/ffi.rs", "cbindgen.toml"] {
            println!("cargo::rerun-if-changed={input}");
        }
        println!("cargo::rerun-if-env-changed=SENDFD_HEADER");
        let Some(header) = env::var_os("SENDFD_HEADER") else {
            println!("cargo::error=SENDFD_HEADER does not say where to write: use `make header`");
            return;
        };
        let mut config = match cbindgen::Config::from_file("cbindgen.toml") {
            Ok(config) => config,
            Err(error) => return println!("cargo::error=cbindgen.toml: {error}"),
        };
        config.after_includes = Some(version() + &config.after_includes.unwrap_or_default());
        // From the source file, not the crate: that would run `cargo metadata`.
        let generated = cbindgen::Builder::new()
            .with_config(config)
            .with_src("src/ffi.rs")
            .generate();
        match generated {
            Ok(bindings) => {
                if let Err(error) = fs::write(header, text_of(&bindings)) {
                    println!("cargo::error=the header: {error}");
                }
            }
            Err(error) => println!("cargo::error=cbindgen: {error}"),
        }
    }

    /// The header, without the comments of C99 that cbindgen puts behind `#endif`: as
    /// C89 they are a warning.
    fn text_of(bindings: &cbindgen::Bindings) -> String {
        let mut text = Vec::new();
        bindings.write(&mut text);
        String::from_utf8_lossy(&text)
            .replace("#endif // __cplusplus", "#endif")
            .replace("#endif  // __cplusplus", "#endif")
            .replace("}  // extern \"C\"", "}")
    }

    /// The version as the header has it; Cargo.toml is where it stands.
    fn version() -> String {
        format!(
            "\n/* The version of this header; sendfd_version() is the library's. */\n\
             #define SENDFD_VERSION \"{}\"\n\
             #define SENDFD_VERSION_MAJOR {}\n\
             #define SENDFD_VERSION_MINOR {}\n\
             #define SENDFD_VERSION_PATCH {}\n",
            env!("CARGO_PKG_VERSION"),
            env!("CARGO_PKG_VERSION_MAJOR"),
            env!("CARGO_PKG_VERSION_MINOR"),
            env!("CARGO_PKG_VERSION_PATCH"),
        )
    }
}
