//! Phrases that announce what matters, and words that lean on the sentence before.

use crate::text::primary;

/// A sentence that says so is likely to matter.
const TELLING: &[(&str, &[&str])] = &[
    (
        "en",
        &[
            "in short",
            "in conclusion",
            "to conclude",
            "in summary",
            "to sum up",
            "the key",
            "most important",
            "more important",
            "important point",
            "the main",
            "the point is",
            "the lesson",
            "the result is",
            "as a result",
            "the result",
            "found that",
            "shows that",
            "showed that",
            "proved",
            "it turned out",
            "turns out",
            "the reason",
            "therefore",
            "crucial",
            "essential",
            "significant",
            "surprising",
            "above all",
            "for the first time",
            "discovered",
            "concluded",
            "the answer",
            "what matters",
            "in the end",
            "decisive",
            "the secret",
            "the trick",
            "no one had",
            "never before",
        ],
    ),
    (
        "ko",
        &[
            "결론",
            "결국",
            "요컨대",
            "요약하면",
            "정리하면",
            "핵심",
            "중요한",
            "중요하다",
            "가장 큰",
            "무엇보다",
            "따라서",
            "그 결과",
            "밝혀졌다",
            "밝혀냈다",
            "밝혔다",
            "드러났다",
            "확인되었다",
            "확인됐다",
            "확인했다",
            "발견했다",
            "발견되었다",
            "뜻한다",
            "의미한다",
            "까닭은",
            "이유는",
            "비결",
            "처음으로",
            "최초",
            "놀라운",
            "놀랍게도",
            "보여 준다",
            "보여준다",
            "증명",
            "답은",
            "교훈",
            "결정적",
        ],
    ),
    (
        "de",
        &[
            "zusammenfassend",
            "wichtig",
            "entscheidend",
            "ergebnis",
            "kurz gesagt",
            "deshalb",
            "der grund",
            "zeigte",
            "fanden heraus",
            "zum ersten mal",
            "letztlich",
            "fazit",
        ],
    ),
    (
        "fr",
        &[
            "en résumé",
            "en conclusion",
            "important",
            "essentiel",
            "le résultat",
            "c’est pourquoi",
            "c'est pourquoi",
            "la raison",
            "montre que",
            "pour la première fois",
            "finalement",
            "découvert",
        ],
    ),
    (
        "es",
        &[
            "en resumen",
            "en conclusión",
            "importante",
            "esencial",
            "el resultado",
            "por eso",
            "la razón",
            "muestra que",
            "por primera vez",
            "al final",
            "descubri",
            "la clave",
        ],
    ),
    (
        "it",
        &[
            "in sintesi",
            "in conclusione",
            "importante",
            "essenziale",
            "il risultato",
            "per questo",
            "la ragione",
            "mostra che",
            "per la prima volta",
            "alla fine",
            "scoper",
        ],
    ),
    (
        "pt",
        &[
            "em resumo",
            "em conclusão",
            "importante",
            "essencial",
            "o resultado",
            "por isso",
            "a razão",
            "mostra que",
            "pela primeira vez",
            "no fim",
            "descobri",
        ],
    ),
    (
        "ja",
        &[
            "結論",
            "つまり",
            "要するに",
            "重要",
            "結果",
            "理由",
            "明らかに",
            "初めて",
            "発見",
            "最も",
            "からだ",
            "からである",
        ],
    ),
    ("zh", &["总之", "结论", "重要", "关键", "因此", "结果", "原因", "表明", "首次", "发现", "最终", "最大"]),
];

/// A sentence that begins so means something in the one before it.
const LEANING: &[(&str, &[&str])] = &[
    (
        "en",
        &[
            "however",
            "but ",
            "and ",
            "so ",
            "this ",
            "these ",
            "that ",
            "those ",
            "it ",
            "they ",
            "he ",
            "she ",
            "then ",
            "also",
            "moreover",
            "yet ",
            "still",
            "instead",
            "for example",
            "for instance",
            "thus",
            "such ",
            "his ",
            "her ",
            "their ",
            "its ",
            "both ",
            "neither ",
            "or ",
            "otherwise",
            "nor ",
            "there ",
            "another ",
            "the second",
            "the other",
            "the first",
        ],
    ),
    (
        "ko",
        &[
            "그러나",
            "하지만",
            "그리고",
            "그래서",
            "그런데",
            "이것",
            "이는",
            "그것",
            "이 ",
            "그 ",
            "이런",
            "그런",
            "이러한",
            "그러한",
            "또한",
            "또 ",
            "예를 들어",
            "이때",
            "그때",
            "이후",
            "그는",
            "그녀",
            "그들",
            "이들",
            "여기",
            "거기",
            "반면",
            "다만",
            "이처럼",
            "이렇게",
            "그렇게",
            "게다가",
            "둘째",
            "셋째",
            "그중",
            "이 때문",
        ],
    ),
    (
        "de",
        &[
            "aber",
            "doch",
            "und ",
            "dies",
            "das ",
            "er ",
            "sie ",
            "es ",
            "dann",
            "also ",
            "deshalb",
            "zum beispiel",
            "diese",
            "dennoch",
        ],
    ),
    (
        "fr",
        &[
            "mais",
            "et ",
            "cela",
            "ce ",
            "cette",
            "ces ",
            "il ",
            "elle ",
            "ils ",
            "puis",
            "donc",
            "par exemple",
            "cependant",
        ],
    ),
    (
        "es",
        &[
            "pero",
            "y ",
            "esto",
            "este",
            "esta",
            "él ",
            "ella",
            "entonces",
            "por ejemplo",
            "sin embargo",
            "además",
        ],
    ),
    ("ja", &["しかし", "そして", "それ", "これ", "だが", "また", "この", "その", "例えば", "彼"]),
    ("zh", &["但", "而", "这", "那", "他", "她", "它", "例如", "然而", "因此"]),
];

/// 0, or 1 for a sentence with a phrase that announces what matters; a second one adds little.
pub(super) fn telling_cue(sentence: &str, language: &str) -> f64 {
    let lower = sentence.to_lowercase();
    match of(TELLING, language).iter().filter(|cue| lower.contains(**cue)).count() {
        0 => 0.0,
        1 => 1.0,
        _ => 1.2,
    }
}

/// Whether the sentence begins with a word that points back.
pub(super) fn is_dangling(sentence: &str, language: &str) -> bool {
    let start: String =
        sentence.trim_start_matches(['"', '“', '‘', '\'', '(', '「']).chars().take(24).collect();
    let start = start.to_lowercase();
    // …기 때문이다: the reason for something that was said before.
    let reason =
        primary(language) == "ko" && sentence.trim_end_matches(['.', '”', '"']).ends_with("때문이다");
    reason || of(LEANING, language).iter().any(|word| start.starts_with(word))
}

fn of(table: &'static [(&str, &'static [&'static str])], language: &str) -> &'static [&'static str] {
    let primary = primary(language);
    table.iter().find(|(known, _)| *known == primary).map_or(&[], |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cues_follow_the_language() {
        assert!(telling_cue("In short, it works.", "en-GB") > 0.0);
        assert!(telling_cue("결국 답은 하나다.", "ko") > 1.0);
        assert!(telling_cue("In short, it works.", "xx") < 0.1);
        assert!(is_dangling("However, it fell.", "en") && !is_dangling("Tides fell.", "en"));
        assert!(is_dangling("“그러나 아니다.”", "ko") && !is_dangling("이야기가 끝났다.", "ko"));
        assert!(is_dangling("길이 막혔기 때문이다.", "ko"));
    }
}
