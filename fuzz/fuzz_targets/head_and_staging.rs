#![no_main]
//! See `drystone_fuzz_targets::head_and_staging`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| drystone_fuzz_targets::head_and_staging(data));
