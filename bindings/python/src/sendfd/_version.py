# The library's version: the tests compare it with Cargo.toml.
__version__ = "1.0.0"
