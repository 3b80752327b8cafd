//! What a dead letter means, and what to do about it, in plain words.

use super::Source;
use crate::class::Class;

/// One or two sentences for whoever reads the letter.
pub fn advice(source: Source, class: Class) -> &'static str {
    match (source, class) {
        (Source::Message, _) => {
            "The message could not be used as it is. A request can be edited and replayed; or tell its sender, and discard it."
        }
        (_, Class::Expired) => {
            "Time ran out before the podcast was finished. A replay gives it the time again that it was given when it was asked for."
        }
        (_, Class::Transient) => {
            "The engine failed again and again. When it is well again, replay; what is finished stays."
        }
        (_, Class::Timeout) => {
            "The engine did not answer in time, again and again. When it is well again, replay; what is finished stays."
        }
        (_, Class::Throttled) => {
            "The engine asked to wait more often than a task may be made to wait. Replay when its quota allows, slowly."
        }
        (_, Class::Interrupted) => {
            "Whatever ran this task was killed each time, also when it ran alone: its input is suspected. Look at the payload; \
             edit and replay, or discard."
        }
        (_, Class::PermanentInput) => {
            "This input cannot succeed as it is. Edit and replay, or discard and ask for the podcast anew."
        }
        (_, Class::PermanentConfig) => {
            "The engine cannot work as it is configured. Repair the configuration, then replay."
        }
        (_, Class::Success | Class::Returned | Class::Parked | Class::Unsupported) => {
            "Replay it; if it comes back, look at the workers' logs."
        }
    }
}
