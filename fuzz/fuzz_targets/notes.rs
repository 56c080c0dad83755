#![no_main]
//! See `drystone_fuzz_targets::notes`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| drystone_fuzz_targets::notes(data));
