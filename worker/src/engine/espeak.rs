//! espeak-ng, as a program on this machine: one process a segment, killed when nobody waits for it any more.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use common::config::Engine;
use common::work::SpeechInput;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::{Call, Recording, SpeechEngine};
use crate::failure::Failure;
use crate::text::{is_speakable, normalise, primary};

const PROGRAM: &str = "espeak-ng";

/// About 25 minutes of speech: no segment is nearly that long.
const MAX_OUTPUT: u64 = 64 * 1024 * 1024;
const MAX_ERRORS: u64 = 4 * 1024;

/// How long the program may take to list its voices.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// A WAV header without samples.
const EMPTY_WAV: usize = 44;

/// Words a minute, as the program counts them. Another take of the same text is said a little slower or faster.
const SPEED: i32 = 175;
const TAKES: [i32; 5] = [0, -8, 8, -16, 16];

/// Primary tags that the program has a voice of its own for. Chinese, Cantonese and Japanese are left out although it
/// lists them: it cannot read their characters.
const LANGUAGES: &[&str] = &[
    "af", "am", "an", "ar", "as", "az", "ba", "be", "bg", "bn", "bs", "ca", "cs", "cy", "da", "de", "el",
    "en", "eo", "es", "et", "eu", "fa", "fi", "fr", "ga", "gd", "gn", "gu", "haw", "he", "hi", "hr", "ht",
    "hu", "hy", "ia", "id", "is", "it", "ka", "kk", "kn", "ko", "ku", "ky", "la", "lb", "lt", "lv", "mi",
    "mk", "ml", "mr", "ms", "mt", "my", "nb", "ne", "nl", "or", "pa", "pl", "pt", "ro", "ru", "sd", "si",
    "sk", "sl", "sq", "sr", "sv", "sw", "ta", "te", "th", "tk", "tr", "tt", "ug", "uk", "ur", "uz", "vi",
];

/// The program where it was found, with what its settings allow.
#[derive(Clone, Debug)]
pub struct Espeak {
    program: PathBuf,
    timeout: Duration,
    settings: Engine,
}

impl Espeak {
    /// Looks for the program on `PATH`. The error says how to install it.
    pub fn find(settings: &Engine) -> anyhow::Result<Espeak> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program =
            std::env::split_paths(&path).map(|folder| folder.join(PROGRAM)).find(|file| is_executable(file));
        let program = program.ok_or_else(|| {
            anyhow::anyhow!("{PROGRAM} is not on PATH, and the espeak engine speaks with it: run `make setup` to install it")
        })?;
        Ok(Espeak { program, timeout: settings.timeout(), settings: settings.clone() })
    }

    async fn run(&self, voice: &str, speed: i32, text: &str) -> Result<Output, Failure> {
        let mut child = Command::new(&self.program)
            .args(["-v", voice, "-s", &speed.to_string(), "-b", "1", "-z", "--stdin", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| not_started(&error))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // A program that ends early closes the pipe; its exit status says why.
                let _ = stdin.write_all(text.as_bytes()).await;
            }
        };
        // All three at once: a program that fills one pipe stops reading the others.
        let ((), audio, errors) = tokio::join!(write, read(stdout, MAX_OUTPUT), read(stderr, MAX_ERRORS));
        let (audio, errors) = (audio?, errors?);
        if audio.len() as u64 >= MAX_OUTPUT {
            return Err(Failure::permanent_input(
                "the segment is too long: it speaks for more than 20 minutes",
            ));
        }
        let status =
            child.wait().await.map_err(|error| Failure::transient("waiting for espeak-ng").because(error))?;
        Ok(Output { status, audio, errors: String::from_utf8_lossy(&errors).trim().to_owned() })
    }
}

impl SpeechEngine for Espeak {
    fn speak<'a>(
        &'a self,
        input: &'a SpeechInput,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Recording, Failure>> {
        async move {
            let voice = voice(input, &self.settings)?;
            if !is_speakable(&input.text) {
                return Err(Failure::permanent_input(
                    "the segment has nothing to say: it is punctuation only",
                ));
            }
            let text = without_phonemes(&normalise::spoken(&input.text, &input.language));
            let speed = SPEED + TAKES[usize::from(input.take) % TAKES.len()];
            let timeout = self.timeout.min(call.time_left);
            let output =
                tokio::time::timeout(timeout, self.run(&voice, speed, &text)).await.map_err(|_| {
                    Failure::timeout(format!(
                        "espeak-ng gave no speech within {} ms and was stopped",
                        timeout.as_millis()
                    ))
                })??;
            let bytes = output.into_audio()?;
            Ok(Recording { bytes, units: input.text.chars().count() as u64 })
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            let listing = Command::new(&self.program).arg("--voices=variant").kill_on_drop(true).output();
            let listing = tokio::time::timeout(LIST_TIMEOUT, listing).await??;
            let listing = String::from_utf8_lossy(&listing.stdout);
            let known = variants(&listing);
            let missing: Vec<&str> = self
                .settings
                .voices
                .iter()
                .map(String::as_str)
                .filter(|voice| !known.contains(voice))
                .collect();
            anyhow::ensure!(
                known.is_empty() || missing.is_empty(),
                "{PROGRAM} has no voice variant {}; `{PROGRAM} --voices=variant` lists them",
                missing.join(", ")
            );
            Ok(())
        }
        .boxed()
    }
}

/// Names of files in the program's list of variants: `!v/f2` in the fifth column.
fn variants(listing: &str) -> Vec<&str> {
    listing.split_whitespace().filter_map(|word| word.strip_prefix("!v/")).collect()
}

struct Output {
    status: ExitStatus,
    audio: Vec<u8>,
    errors: String,
}

impl Output {
    fn into_audio(self) -> Result<Bytes, Failure> {
        if !self.status.success() {
            let message = format!("espeak-ng failed ({}): {}", self.status, self.errors);
            // A signal is the machine's trouble (memory, a shutdown); an exit code is the installation's.
            return Err(match self.status.code() {
                Some(_) => Failure::permanent_config(message),
                None => Failure::transient(message),
            });
        }
        if self.audio.len() <= EMPTY_WAV {
            return Err(Failure::permanent_input(
                format!("espeak-ng said nothing. {}", self.errors).trim_end().to_owned(),
            ));
        }
        Ok(Bytes::from(self.audio))
    }
}

/// The program's voice for the input: its language with the variant that the request calls a voice, `en-us+f2`.
fn voice(input: &SpeechInput, settings: &Engine) -> Result<String, Failure> {
    let language = voice_language(&input.language)?;
    if !settings.speaks(&input.language) {
        return Err(Failure::permanent_input(format!(
            "the espeak engine is not set up for the language {}",
            input.language
        )));
    }
    let variant = input.voice.as_str();
    // It names a file: nothing that could lead out of the program's folder of variants. Unknown ones are ignored there.
    let plain = variant.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let listed = settings.voices.is_empty() || settings.voices.iter().any(|known| known == variant);
    if !plain || !listed {
        let message = format!("espeak has no voice \"{variant}\"; it has {}", settings.voices.join(", "));
        return Err(Failure::permanent_input(message));
    }
    Ok(if variant.is_empty() { language } else { format!("{language}+{variant}") })
}

/// BCP 47 to the program's names.
fn voice_language(language: &str) -> Result<String, Failure> {
    let tag = language.replace('_', "-").to_ascii_lowercase();
    let primary = primary(&tag);
    let name = match (primary.as_str(), tag.as_str()) {
        ("zh" | "yue" | "cmn" | "ja", _) => {
            return Err(Failure::permanent_input(format!(
                "espeak cannot read the characters of {language}; choose a speech engine that can"
            )));
        }
        ("en", "en-gb" | "en-ie" | "en-au" | "en-nz" | "en-in" | "en-za") => "en-gb",
        ("en", _) => "en-us",
        ("pt", "pt-br") => "pt-br",
        ("es", "es" | "es-es") => "es",
        ("es", _) => "es-419",
        ("no" | "nn", _) => "nb",
        (primary, _) if LANGUAGES.contains(&primary) => primary,
        _ => {
            return Err(Failure::permanent_input(format!(
                "espeak does not speak the language \"{language}\""
            )));
        }
    };
    Ok(name.to_owned())
}

/// Double brackets switch the program to its own phonemes.
fn without_phonemes(text: &str) -> String {
    text.replace("[[", "[ [").replace("]]", "] ]")
}

fn not_started(error: &std::io::Error) -> Failure {
    let message = format!("{PROGRAM} could not be started: {error}");
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
            Failure::permanent_config(format!("{message}. Run `make setup` to install it"))
        }
        _ => Failure::transient(message),
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let reading = pipe.take(most).read_to_end(&mut bytes).await;
        reading.map_err(|error| Failure::transient("reading what espeak-ng answers").because(error))?;
    }
    Ok(bytes)
}

fn is_executable(file: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests;
