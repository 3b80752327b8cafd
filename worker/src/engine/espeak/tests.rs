use common::class::Class;
use common::config::{Config, Engine};

use super::*;

fn settings() -> Engine {
    let config: Config = Config::load(None).unwrap();
    config.engines.get("espeak").unwrap().clone()
}

fn input(text: &str, voice: &str, language: &str) -> SpeechInput {
    SpeechInput { text: text.into(), voice: voice.into(), language: language.into(), take: 0 }
}

fn call() -> Call {
    Call::new("key", Duration::from_secs(60))
}

/// A program in place of espeak-ng, to see its failures.
fn scripted(folder: &std::path::Path, body: &str) -> Espeak {
    use std::os::unix::fs::PermissionsExt;
    let program = folder.join("speak");
    std::fs::write(&program, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Espeak { program, timeout: Duration::from_secs(20), settings: settings() }
}

#[test]
fn languages_and_voices_are_mapped_or_refused() {
    let check = |voice_name: &str, language: &str, expected: Result<&str, &str>| {
        let found = voice(&input("x", voice_name, language), &settings());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(failure), Err(word)) => {
                assert_eq!(failure.class, Class::PermanentInput);
                assert!(failure.message.contains(word), "{failure}");
            }
            (found, expected) => panic!("{language} {voice_name}: {found:?}, not {expected:?}"),
        }
    };
    check("f2", "en", Ok("en-us+f2"));
    check("f2", "en-GB", Ok("en-gb+f2"));
    check("m3", "ko-KR", Ok("ko+m3"));
    check("m3", "pt-BR", Ok("pt-br+m3"));
    check("m3", "es-MX", Ok("es-419+m3"));
    check("m3", "zh-Hans", Err("zh-Hans"));
    check("m3", "ja", Err("characters"));
    check("m3", "tlh", Err("tlh"));
    check("m3", "sw", Err("not set up"));
    check("nobody", "en", Err("nobody"));
    check("../f2", "en", Err("../f2"));
}

#[tokio::test]
async fn the_real_program_speaks() {
    // The worker can do without it; `make setup` installs it.
    let Ok(espeak) = Espeak::find(&settings()) else { return };
    for (text, language) in
        [("The sea comes back twice a day.", "en"), ("바다는 하루에 두 번 돌아온다. 3.5미터다.", "ko")]
    {
        let recording = espeak.speak(&input(text, "f2", language), &call()).await.unwrap();
        assert!(recording.bytes.starts_with(b"RIFF") && recording.bytes.len() > 40_000);
        assert_eq!(recording.units, text.chars().count() as u64);
    }
    let failure = espeak.speak(&input("… !", "f2", "en"), &call()).await.unwrap_err();
    assert_eq!(failure.class, Class::PermanentInput);
}

#[tokio::test]
async fn failures_have_classes() {
    let folder = tempfile::tempdir().unwrap();
    let check = async |body: &str, class: Class, word: &str| {
        let espeak = scripted(folder.path(), body);
        let failure = espeak.speak(&input("Hello.", "f2", "en"), &call()).await.unwrap_err();
        assert_eq!(failure.class, class, "{body}: {failure}");
        assert!(failure.message.contains(word), "{body}: {failure}");
    };
    check("echo broken data >&2; exit 1", Class::PermanentConfig, "broken data").await;
    check("kill -9 $$", Class::Transient, "signal").await;
    check("cat >/dev/null; exit 0", Class::PermanentInput, "said nothing").await;
    check("head -c 44 /dev/zero", Class::PermanentInput, "said nothing").await;
}

#[tokio::test]
async fn a_stalled_program_is_stopped_when_the_deadline_comes() {
    let folder = tempfile::tempdir().unwrap();
    let espeak = scripted(folder.path(), "exec sleep 1000");
    let call = Call { time_left: Duration::from_millis(100), ..call() };
    let failure = espeak.speak(&input("Hello.", "f2", "en"), &call).await.unwrap_err();
    assert_eq!(failure.class, Class::Timeout);
}

#[test]
fn a_missing_program_names_the_remedy() {
    let failure = not_started(&std::io::Error::from(std::io::ErrorKind::NotFound));
    assert_eq!(failure.class, Class::PermanentConfig);
    assert!(failure.message.contains("make setup"));
}

#[tokio::test]
async fn a_voice_that_the_program_lacks_is_found_at_start() {
    Espeak::find(&settings()).unwrap().check().await.unwrap();
    let wrong = Engine { voices: vec!["f2".into(), "nobody".into()], ..settings() };
    let error = Espeak::find(&wrong).unwrap().check().await.unwrap_err().to_string();
    assert!(error.contains("variant nobody;"), "{error}");
}
