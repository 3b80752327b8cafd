//! What makes two failures the same: class, kind, engine, and the message without what differs from case to case.

use crate::class::Class;

/// Longer messages are told apart by this many words.
const WORDS: usize = 80;

/// 16 hexadecimal digits. `about` is a kind of task, or what else the letter is about.
pub fn fingerprint(class: Class, about: &str, engine: Option<&str>, message: &str) -> String {
    let parts = [class.as_str(), about, engine.unwrap_or_default(), &normal(message)].join("\n");
    blake3::hash(parts.as_bytes()).to_hex()[..16].to_owned()
}

/// The message with `"…"` for what is quoted and `#` for every word that bears a digit: ids, addresses, times, counts.
pub fn normal(message: &str) -> String {
    let mut unquoted = String::with_capacity(message.len());
    for (index, piece) in message.split('"').enumerate() {
        // Every second piece is between quotes; a lone quote at the end quotes the rest.
        unquoted.push_str(if index % 2 == 0 { piece } else { " \"…\" " });
    }
    let words = unquoted.split_whitespace().take(WORDS);
    words
        .map(|word| if word.bytes().any(|byte| byte.is_ascii_digit()) { "#" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn print(message: &str) -> String {
        fingerprint(Class::Timeout, "tts", Some("tones"), message)
    }

    #[test]
    fn numbers_ids_and_quotations_do_not_make_a_new_cause() {
        let same = |a: &str, b: &str| assert_eq!(print(a), print(b), "{a} / {b}");
        same("no answer from 127.0.0.1:80 in 3s", "no answer from 127.0.0.1:81 in 5s");
        same("voice \"anna\" is unknown", "voice \"민지\" is unknown");
        same(
            "task 0190a000-0000-7000-8000-000000000000 died",
            "task 0190b000-0000-7000-8000-00000000000f died",
        );
        same("two  spaces", "two spaces");
        assert_ne!(print("no answer"), print("no route"));
    }

    #[test]
    fn class_kind_and_engine_do() {
        let base = print("no answer");
        assert_ne!(base, fingerprint(Class::Transient, "tts", Some("tones"), "no answer"));
        assert_ne!(base, fingerprint(Class::Timeout, "script", Some("tones"), "no answer"));
        assert_ne!(base, fingerprint(Class::Timeout, "tts", Some("espeak"), "no answer"));
        assert_ne!(base, fingerprint(Class::Timeout, "tts", None, "no answer"));
    }

    proptest! {
        #[test]
        fn a_normal_message_is_its_own_normal_form(message in "[a-z0-9 \"]{0,60}") {
            let once = normal(&message);
            prop_assert_eq!(normal(&once), once.clone());
            prop_assert!(!once.bytes().any(|byte| byte.is_ascii_digit()));
        }

        #[test]
        fn another_number_is_the_same_cause(number in any::<u64>(), other in any::<u64>()) {
            prop_assert_eq!(print(&format!("waited {number} ms")), print(&format!("waited {other} ms")));
        }
    }
}
