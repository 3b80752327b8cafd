//! The few words that the source does not have: names for chapters without a heading, and a last line.

use crate::text::primary;

/// What to say in one language.
pub(super) struct Phrases {
    /// Title of what stands before the first heading.
    pub(super) introduction: &'static str,
    /// Said at the very end of an episode.
    pub(super) closing: &'static str,
    part: &'static str,
}

impl Phrases {
    /// The phrases of a language (BCP 47), or none of its own for one that is not listed.
    pub(super) fn of(language: &str) -> Option<Phrases> {
        let (introduction, part, closing) = match primary(language).as_str() {
            "en" => ("Introduction", "Part #", "Thank you for listening."),
            "ko" => ("들어가며", "#부", "들어 주셔서 고맙습니다."),
            "ja" => ("はじめに", "第#部", "お聞きいただき、ありがとうございました。"),
            "zh" => ("引言", "第#部分", "感谢收听。"),
            "de" => ("Einleitung", "Teil #", "Danke fürs Zuhören."),
            "fr" => ("Introduction", "Partie #", "Merci de votre écoute."),
            "es" => ("Introducción", "Parte #", "Gracias por escuchar."),
            "it" => ("Introduzione", "Parte #", "Grazie per l'ascolto."),
            "pt" => ("Introdução", "Parte #", "Obrigado por ouvir."),
            "nl" => ("Inleiding", "Deel #", "Bedankt voor het luisteren."),
            "ru" => ("Введение", "Часть #", "Спасибо, что слушали."),
            _ => return None,
        };
        Some(Phrases { introduction, closing, part })
    }
}

/// The title of the nth part (from 1) of a source without headings.
pub(super) fn part_title(language: &str, number: usize) -> String {
    let number = number.to_string();
    Phrases::of(language).map_or_else(|| number.clone(), |phrases| phrases.part.replace('#', &number))
}
