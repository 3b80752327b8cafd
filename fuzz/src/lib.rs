//! Every decoder of bytes that come from outside, as a function of any bytes whatever that panics when the decoder breaks a promise.
//! `make fuzz` looks for such bytes, guided by coverage; `cargo test` tries the inputs that are kept in `corpus` again.

mod audio;
mod chat;
mod edits;
mod http;
mod messages;
mod requests;
#[path = "../../cli/src/client/sse.rs"]
mod sse;
mod streams;
mod texts;
mod world;

/// One decoder, or a few that read the same.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also the name of its folder in `corpus`.
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Most memory that one input may take at once, in MiB.
    pub memory_mib: usize,
}

pub const TARGETS: [Target; 15] = [
    Target { name: "request", run: requests::request, memory_mib: 4 },
    Target { name: "headers", run: http::headers, memory_mib: 4 },
    Target { name: "edit", run: edits::edit, memory_mib: 4 },
    Target { name: "ticket", run: messages::ticket, memory_mib: 4 },
    Target { name: "outcome", run: messages::outcome, memory_mib: 4 },
    Target { name: "pulse", run: messages::pulse, memory_mib: 4 },
    Target { name: "stream", run: streams::stream, memory_mib: 4 },
    Target { name: "answer", run: chat::answer, memory_mib: 8 },
    Target { name: "refusal", run: streams::refusal, memory_mib: 4 },
    // A few bytes of FLAC may stand for minutes of silence; 15 minutes of samples are 86 MB.
    Target { name: "audio", run: audio::audio, memory_mib: 384 },
    Target { name: "wav", run: audio::wav, memory_mib: 4 },
    Target { name: "mp3", run: audio::mp3, memory_mib: 4 },
    Target { name: "source", run: texts::source, memory_mib: 16 },
    Target { name: "speech", run: texts::speech, memory_mib: 8 },
    Target { name: "writer", run: texts::writer, memory_mib: 16 },
];

impl Target {
    pub fn named(name: &str) -> Option<Target> {
        TARGETS.into_iter().find(|target| target.name == name)
    }

    /// Runs it, and panics when it takes more memory than it may. `memory` is the program's allocator.
    pub fn check(&self, bytes: &[u8], memory: &peak_alloc::PeakAlloc) {
        let before = memory.current_usage();
        memory.reset_peak_usage();
        (self.run)(bytes);
        let taken = memory.peak_usage().saturating_sub(before);
        assert!(
            taken <= self.memory_mib << 20,
            "{} took {taken} bytes for {} bytes of input",
            self.name,
            bytes.len()
        );
    }
}

/// The first byte decides something, the rest is the input.
fn choice(bytes: &[u8]) -> Option<(usize, &[u8])> {
    bytes.split_first().map(|(first, rest)| (usize::from(*first), rest))
}

/// Text as a decoder of text meets it: what is no UTF-8 was refused or replaced before.
fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A text in pieces of about `step` bytes.
fn pieces(text: &str, step: usize) -> Vec<&str> {
    let mut rest = text;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let end = (step.max(1)..rest.len()).find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}
