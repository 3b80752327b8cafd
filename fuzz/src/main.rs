//! The program that libFuzzer drives: `PODFLEET_FUZZ` names the target.
#![no_main]

use std::sync::OnceLock;

use fuzz::Target;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("PODFLEET_FUZZ").unwrap_or_default();
        Target::named(&name).unwrap_or_else(|| panic!("there is no target {name:?}; set PODFLEET_FUZZ"))
    });
    target.check(bytes, &MEMORY);
});
