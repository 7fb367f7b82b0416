#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(embedded_ipfs::fuzzing::record(bytes)));
