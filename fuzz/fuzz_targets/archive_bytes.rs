#![no_main]
//! See `drystone_fuzz_targets::archive_bytes`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| drystone_fuzz_targets::archive_bytes(data));
