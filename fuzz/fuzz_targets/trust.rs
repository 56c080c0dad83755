#![no_main]
//! See `drystone_fuzz_targets::trust`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| drystone_fuzz_targets::trust(data));
