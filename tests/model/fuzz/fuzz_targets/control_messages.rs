//! Any bytes as control messages: ../src/control_messages.rs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libsendfd_model::control_messages;

fuzz_target!(|bytes: &[u8]| control_messages::check(bytes));
