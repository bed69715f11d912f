//! Any bytes as the steps of a hostile peer: ../src/hostile_peer.rs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libsendfd_model::hostile_peer;

fuzz_target!(|bytes: &[u8]| {
    hostile_peer::run(bytes);
});
