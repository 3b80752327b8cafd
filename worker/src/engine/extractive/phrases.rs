//! The few words that the source does not have: an opening, what leads from chapter to chapter, a closing, and names for
//! chapters without a heading. `#` stands for a title or a number.

use crate::text::primary;

/// What to say in one language.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phrases {
    language: &'static str,
    /// Title of what stands before the first heading.
    pub(super) introduction: &'static str,
    part: &'static str,
    /// Begins the episode, with its title.
    opening: &'static str,
    /// Begins the first chapter, with its title, when it has one of its own.
    first: &'static str,
    /// Lead to the next chapter, with its title; by turns, so that they do not tire.
    next: [&'static str; 3],
    /// Leads to the last of several chapters.
    last: &'static str,
    /// Ends the episode, with its title.
    closing: &'static str,
}

#[rustfmt::skip]
const PHRASES: &[Phrases] = &[
    Phrases { language: "en", introduction: "Introduction", part: "Part #", opening: "Welcome. Today: #", first: "Let us begin: #",
        next: ["Next: #", "Let us go on: #", "And now: #"], last: "Finally: #", closing: "That was “#”. Thank you for listening." },
    Phrases { language: "ko", introduction: "들어가며", part: "#부", opening: "안녕하세요. 오늘의 이야기, #", first: "먼저, #",
        next: ["다음 이야기, #", "이어서, #", "이번에는, #"], last: "마지막으로, #", closing: "지금까지 “#” 이야기였습니다. 들어 주셔서 고맙습니다." },
    Phrases { language: "ja", introduction: "はじめに", part: "第#部", opening: "こんにちは。今日のテーマは、#", first: "まずは、#",
        next: ["続いて、#", "次は、#", "では、#"], last: "最後に、#", closing: "「#」をお届けしました。お聞きいただき、ありがとうございました。" },
    Phrases { language: "zh", introduction: "引言", part: "第#部分", opening: "大家好。今天的主题：#", first: "首先：#",
        next: ["接下来：#", "下面：#", "然后：#"], last: "最后：#", closing: "以上就是“#”。感谢收听。" },
    Phrases { language: "de", introduction: "Einleitung", part: "Teil #", opening: "Willkommen. Heute: #", first: "Beginnen wir: #",
        next: ["Weiter geht es: #", "Als Nächstes: #", "Und nun: #"], last: "Zum Schluss: #", closing: "Das war „#“. Danke fürs Zuhören." },
    Phrases { language: "fr", introduction: "Introduction", part: "Partie #", opening: "Bienvenue. Aujourd’hui : #", first: "Commençons : #",
        next: ["Ensuite : #", "Poursuivons : #", "Et maintenant : #"], last: "Pour finir : #", closing: "C’était « # ». Merci de votre écoute." },
    Phrases { language: "es", introduction: "Introducción", part: "Parte #", opening: "Bienvenidos. Hoy: #", first: "Empecemos: #",
        next: ["A continuación: #", "Sigamos: #", "Y ahora: #"], last: "Por último: #", closing: "Esto fue «#». Gracias por escuchar." },
    Phrases { language: "it", introduction: "Introduzione", part: "Parte #", opening: "Benvenuti. Oggi: #", first: "Cominciamo: #",
        next: ["Proseguiamo: #", "Ora: #", "E adesso: #"], last: "Infine: #", closing: "Era «#». Grazie per l’ascolto." },
    Phrases { language: "pt", introduction: "Introdução", part: "Parte #", opening: "Bem-vindos. Hoje: #", first: "Comecemos: #",
        next: ["A seguir: #", "Continuemos: #", "E agora: #"], last: "Por fim: #", closing: "Foi “#”. Obrigado por ouvir." },
    Phrases { language: "nl", introduction: "Inleiding", part: "Deel #", opening: "Welkom. Vandaag: #", first: "We beginnen: #",
        next: ["Verder: #", "Nu: #", "Dan: #"], last: "Tot slot: #", closing: "Dat was “#”. Bedankt voor het luisteren." },
    Phrases { language: "ru", introduction: "Введение", part: "Часть #", opening: "Здравствуйте. Сегодня: #", first: "Начнём: #",
        next: ["Далее: #", "Продолжим: #", "А теперь: #"], last: "И наконец: #", closing: "Это был выпуск «#». Спасибо, что слушали." },
];

impl Phrases {
    /// The phrases of a language (BCP 47), or none for one that is not listed: its titles are said alone.
    pub(super) fn of(language: &str) -> Option<Phrases> {
        let primary = primary(language);
        PHRASES.iter().find(|phrases| phrases.language == primary).copied()
    }
}

/// The episode's first words.
pub(super) fn opening(language: &str, title: &str) -> String {
    fill(Phrases::of(language).map(|phrases| phrases.opening), title)
}

/// The words that lead to chapter `chapter` (from 0) of `chapters`.
pub(super) fn transition(language: &str, title: &str, chapter: u16, chapters: u16) -> String {
    let phrase = Phrases::of(language).map(|phrases| match chapter {
        0 => phrases.first,
        _ if chapter + 1 == chapters && chapters > 2 => phrases.last,
        _ => phrases.next[usize::from(chapter - 1) % phrases.next.len()],
    });
    fill(phrase, title)
}

/// The episode's last words; none in a language that is not listed.
pub(super) fn closing(language: &str, title: &str) -> Option<String> {
    let title = title.trim_end_matches(['.', '。']);
    Phrases::of(language).map(|phrases| fill(Some(phrases.closing), title))
}

/// The title of the nth part (from 1) of a source without headings.
pub(super) fn part_title(language: &str, number: usize) -> String {
    fill(Some(Phrases::of(language).map_or("#", |phrases| phrases.part)), &number.to_string())
}

fn fill(phrase: Option<&str>, title: &str) -> String {
    phrase.unwrap_or("#").replacen('#', title, 1)
}
