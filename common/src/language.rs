//! Which language a text is in.

use std::collections::BTreeMap;

use whatlang::{Detector, Lang};

/// What is looked at: more decides nothing new.
const SAMPLE_CHARS: usize = 4_000;

/// A shorter text has too few letters for their statistics; its little words decide.
const SHORT_CHARS: usize = 120;

/// The languages that are told apart, with words that are frequent in one and rare in the others.
const LANGUAGES: &[(Lang, &str, &str)] = &[
    (
        Lang::Eng,
        "en",
        "the and of to is in that it was for are with this you have not what who how why from they be we on my your do does did hello",
    ),
    (
        Lang::Deu,
        "de",
        "der die das und ist nicht ein eine zu den mit von für auf wir ich sie es im dem wie warum was auch sind hat werden haben über guten morgen",
    ),
    (
        Lang::Fra,
        "fr",
        "le la les et est des une un du que qui dans pour pas sur avec ce il elle nous vous je au aux sont pourquoi comment cette bonjour l'eau",
    ),
    (
        Lang::Spa,
        "es",
        "el la los las y es de que en un una por con para no se su lo del al como más qué está son pero muy hola cómo",
    ),
    (
        Lang::Ita,
        "it",
        "il lo la gli le e è di che un una per con non si del della nel sono come più perché questo anche dei alla ciao",
    ),
    (
        Lang::Por,
        "pt",
        "o a os as e é de que um uma para com não se do da em no na por mais como são você muito ao pelo isso olá",
    ),
    (
        Lang::Nld,
        "nl",
        "de het een en van is niet dat op te zijn met voor ik wij hij ook aan er maar wat waarom hoe deze naar goedemorgen",
    ),
    (Lang::Swe, "sv", "och är att det som en på för med av inte jag vi den till har om ett varför hur"),
    (Lang::Dan, "da", "og er at det som en på til med af ikke jeg vi den har et hvorfor hvordan hvad"),
    (Lang::Nob, "nb", "og er å det som en på til med av ikke jeg vi den har et hvorfor hvordan hva"),
    (Lang::Pol, "pl", "i w jest nie się na to z że do jak dlaczego co są dla od"),
    (Lang::Ces, "cs", "a je se na to že v s z do jak proč co jsou pro není"),
    (Lang::Fin, "fi", "ja on ei se että hän ovat mutta kun niin miksi miten mitä olen"),
    (Lang::Hun, "hu", "a az és nem hogy egy is van ez miért hogyan mit de"),
    (Lang::Ron, "ro", "și este nu în de la un o cu care pe sunt pentru din ce cum"),
    (Lang::Tur, "tr", "ve bir bu da de için ne çok değil neden nasıl ile mi gibi"),
    (Lang::Ind, "id", "dan yang di ini itu tidak dengan untuk dari adalah ke apa mengapa bagaimana pada"),
    (Lang::Vie, "vi", "và là của không có được một cho người này những trong các tại sao"),
    (Lang::Ell, "el", "και το η ο είναι δεν που για με να τι γιατί"),
    (Lang::Rus, "ru", "и в не на что это как он она мы я с по почему есть для был"),
    (Lang::Ukr, "uk", "і в не на що це як він вона ми я з по чому є для був та"),
    (Lang::Kor, "ko", ""),
    (Lang::Jpn, "ja", ""),
    (Lang::Cmn, "zh", ""),
];

/// The language of a text (primary BCP 47 tag): by its letters where they tell, which decides for Korean, Japanese and
/// Chinese however short the text is; else by statistics, and for a short text by its little words. `en` when nothing
/// tells. Markup, addresses and code are not looked at, but a page's own `lang` decides what statistics leave open.
pub fn detect_language(text: &str) -> &'static str {
    let declared = declared(text);
    let sample = prose(text);
    if let Some(found) = by_script(&sample) {
        return found;
    }
    let words = by_words(&sample);
    if sample.chars().count() < SHORT_CHARS
        && let Some(found) = words
    {
        return found;
    }
    let allowed = LANGUAGES.iter().map(|(lang, ..)| *lang).collect();
    match Detector::with_allowlist(allowed).detect(&sample) {
        Some(found) if found.is_reliable() => tag(found.lang()),
        // A few words can be of many languages: a guess would refuse them for a language that nobody asked for.
        _ => declared.or(words).unwrap_or("en"),
    }
}

fn by_script(sample: &str) -> Option<&'static str> {
    let letters = sample.chars().filter(|c| c.is_alphabetic()).count().max(1);
    let count = |low: char, high: char| sample.chars().filter(|c| (low..=high).contains(c)).count();
    if count('\u{AC00}', '\u{D7A3}') * 4 > letters {
        Some("ko")
    } else if count('\u{3040}', '\u{30FF}') * 8 > letters {
        Some("ja")
    } else if count('\u{4E00}', '\u{9FFF}') * 3 > letters {
        Some("zh")
    } else {
        None
    }
}

/// The language of a sentence, if its little words leave no doubt: two at least that only this language has, or as much in shared
/// ones, and twice as many as of any other.
pub fn certain_by_words(sentence: &str) -> Option<&'static str> {
    let points = points_by_words(sentence);
    let (best, most) = points.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(tag, most)| (*tag, *most))?;
    let alone = points.iter().all(|(tag, other)| *tag == best || *other * 2.0 <= most);
    (alone && most >= 2.0).then_some(best)
}

/// The language whose frequent words the text has most of, if no other has as many.
fn by_words(sample: &str) -> Option<&'static str> {
    let points = points_by_words(sample);
    let (best, most) = points.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(tag, most)| (*tag, *most))?;
    let alone = points.iter().all(|(tag, other)| *tag == best || *other < most);
    (alone && most >= 0.5).then_some(best)
}

/// How many of each language's frequent words a text has. Words that several share count less.
fn points_by_words(sample: &str) -> BTreeMap<&'static str, f64> {
    let lower = sample.to_lowercase();
    let mut points: BTreeMap<&'static str, f64> = BTreeMap::new();
    for word in lower.split(|c: char| !(c.is_alphabetic() || c == '\'')).filter(|word| !word.is_empty()) {
        let known = |words: &str| words.split(' ').any(|known| known == word);
        let owners: Vec<&'static str> =
            LANGUAGES.iter().filter(|(_, _, words)| known(words)).map(|(_, tag, _)| *tag).collect();
        for owner in &owners {
            *points.entry(owner).or_default() += 1.0 / owners.len() as f64;
        }
    }
    // Letters that one of these languages has and the others have not.
    for (letters, tag) in [
        ("ñ¿¡", "es"),
        ("ß", "de"),
        ("ãõ", "pt"),
        ("œ", "fr"),
        ("ışğ", "tr"),
        ("łżś", "pl"),
        ("řěů", "cs"),
        ("őű", "hu"),
        ("șț", "ro"),
        ("ìò", "it"),
    ] {
        if lower.contains(|c| letters.contains(c)) {
            *points.entry(tag).or_default() += 0.6;
        }
    }
    points
}

fn tag(lang: Lang) -> &'static str {
    LANGUAGES.iter().find(|(known, ..)| *known == lang).map_or("en", |(_, tag, _)| tag)
}

/// `<html lang="fr-CA">`
fn declared(text: &str) -> Option<&'static str> {
    let start = text.find("<html")?;
    let element = &text[start..start + text[start..].find('>')?];
    let value = element.split("lang=").nth(1)?.trim_start_matches(['"', '\'']);
    let primary: String = value.chars().take_while(char::is_ascii_alphabetic).collect();
    LANGUAGES.iter().map(|(_, tag, _)| *tag).find(|tag| tag.eq_ignore_ascii_case(&primary))
}

/// The first characters of the text without tags, scripts, code and addresses.
fn prose(text: &str) -> String {
    let mut sample = String::new();
    let mut taken = 0;
    let mut rest = text;
    let mut push = |piece: &str| {
        for word in piece
            .split_whitespace()
            .filter(|word| !word.contains("://") && !word.contains('@') && !word.starts_with("www."))
        {
            if taken < SAMPLE_CHARS {
                taken += word.chars().count() + 1;
                sample.push_str(word);
                sample.push(' ');
            }
        }
        taken < SAMPLE_CHARS
    };
    loop {
        let code = rest.find("```");
        let element = rest.match_indices('<').map(|(at, _)| at).find(|at| {
            rest[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!'))
        });
        let Some(at) = [code, element].into_iter().flatten().min() else { break };
        if !push(&rest[..at]) {
            return sample;
        }
        let from = &rest[at..];
        let end = if code == Some(at) {
            from[3..].find("```").map(|end| end + 6)
        } else {
            let raw = ["script", "style"]
                .into_iter()
                .find(|name| from.get(1..=name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)));
            match raw {
                Some(name) => from.find(&format!("</{name}")).map(|end| end + name.len() + 2),
                None => from.find('>').map(|end| end + 1),
            }
        };
        rest = end.and_then(|end| from.get(end..)).unwrap_or("");
    }
    push(rest);
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_little_words_of_a_sentence_are_certain_or_say_nothing() {
        let check =
            |text: &str, expected: Option<&str>| assert_eq!(certain_by_words(text), expected, "{text}");
        check("The tide comes in and goes out again.", Some("en"));
        check("Die Flut kommt und geht, das ist nicht neu.", Some("de"));
        check("La marea sube y baja, y nadie la espera en el mar.", Some("es"));
        check("Tide tables", None);
        check("The Hague", None);
    }

    #[test]
    fn languages_are_recognised_long_and_short() {
        let mut wrong = String::new();
        for (text, language) in [
            ("The tide rises and falls twice a day because of the moon.", "en"),
            ("Why is the sky blue?", "en"),
            ("Hello there", "en"),
            ("GPU", "en"),
            ("", "en"),
            ("GPU 클러스터의 전력은 3.5MW이다.", "ko"),
            ("안녕", "ko"),
            ("潮の満ち引きは月の引力で起こります。", "ja"),
            ("こんにちは", "ja"),
            ("潮汐由月球引力引起。", "zh"),
            ("你好", "zh"),
            ("Die Gezeiten entstehen durch die Anziehungskraft des Mondes auf die Erde.", "de"),
            ("Warum ist der Himmel blau?", "de"),
            ("Guten Morgen", "de"),
            ("Les marées sont causées par l'attraction de la Lune et du Soleil.", "fr"),
            ("Pourquoi le ciel est-il bleu ?", "fr"),
            ("Bonjour à tous", "fr"),
            ("Las mareas se deben a la atracción de la Luna y del Sol.", "es"),
            ("¿Por qué el cielo es azul?", "es"),
            ("Le maree sono causate dall'attrazione della Luna e del Sole.", "it"),
            ("Perché il cielo è blu?", "it"),
            ("As marés são causadas pela atração da Lua e do Sol.", "pt"),
            ("Por que o céu é azul?", "pt"),
            ("Waarom is de lucht blauw?", "nl"),
            ("Почему небо голубое?", "ru"),
            ("Чому небо блакитне і що це?", "uk"),
            ("Varför är himlen blå?", "sv"),
            ("Dlaczego niebo jest niebieskie?", "pl"),
            ("Gökyüzü neden mavi ve bu ne?", "tr"),
            (
                "<html><head><style>body { color: red; margin: the and of to }</style></head><body><nav class=\"the-nav\">\
              <a href=\"/the/and/of\">소식</a></nav><p>바다는 하루에 두 번.</p></body></html>",
                "ko",
            ),
            ("<html lang=\"fr-CA\"><p>Coucou Montréal</p></html>", "fr"),
            (
                "```\nlet the = and(of); // is it in that\n```\nDer Hund und die Katze. https://the-and-of.example/that/is",
                "de",
            ),
        ] {
            let found = detect_language(text);
            if found != language {
                wrong.push_str(&format!("\n{text}: {found}, not {language}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_language(text in "(<[a-z/!]{0,3}|```|>|[a-z가é ]{0,5}|script){0,20}") {
            proptest::prop_assert!(!detect_language(&text).is_empty());
        }
    }
}
