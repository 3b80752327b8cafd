//! The inputs that are kept, through the same functions that are fuzzed, without a fuzzer.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fuzz::TARGETS;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// One test for all: the memory of a target is measured for the whole process.
#[test]
fn every_kept_input_is_decoded_as_promised() {
    let folders: BTreeSet<String> =
        entries(&corpus()).iter().map(|path| path.file_name().unwrap().to_string_lossy().into()).collect();
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(folders, targets, "a folder of inputs for each target");
    for target in TARGETS {
        let inputs = entries(&corpus().join(target.name));
        assert!(inputs.len() > 1, "{} has no inputs", target.name);
        // What is made once, tables and the like, counts for no input.
        (target.run)(b"");
        for path in inputs {
            let bytes = std::fs::read(&path).unwrap();
            println!("{}", path.display());
            (target.run)(&bytes);
            target.check(&bytes, &MEMORY);
        }
    }
}
