//! Links libsendfd's shared object, which is in `SENDFD_DIRECTORY`.

fn main() {
    println!("cargo::rerun-if-env-changed=SENDFD_DIRECTORY");
    let directory = std::env::var("SENDFD_DIRECTORY").expect("SENDFD_DIRECTORY is not set");
    println!("cargo::rustc-link-search=native={directory}");
    println!("cargo::rustc-link-lib=dylib=sendfd");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{directory}");
}
