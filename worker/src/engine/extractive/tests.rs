use common::class::Class;
use common::work::{Brief, ChapterPlan, ChapterRequest, Format, Pace, Pause, Place, Speaker, Turn};

use super::*;
use crate::text::{is_speakable, sections};

fn brief(language: &str, format: Format, target_minutes: Option<u16>) -> Brief {
    let speaker = |name: &str| Speaker { name: name.into(), voice: "f2".into(), role: None };
    let speakers = vec![speaker("A"), speaker("B")];
    let engines = common::config::Config::load(None).unwrap().engines;
    let per_minute = engines.get("espeak").unwrap().rate(language);
    let pace = Pace { per_minute, ..Pace::default() };
    Brief { title: None, topic: None, language: language.into(), format, target_minutes, speakers, pace }
}

fn outline(source: Option<&str>, brief: Brief, titles: &[&str]) -> Result<OutlineResult, Failure> {
    let chapters =
        titles.iter().map(|title| ChapterRequest { title: (*title).into(), brief: None }).collect();
    let input = OutlineInput { brief, source: source.map(|text| TextRef::Inline(text.into())), chapters };
    outlined(&input, None)
}

fn script(mut brief: Brief, title: &str, plan: &ChapterPlan, chapter: u16, chapters: u16) -> Vec<Turn> {
    brief.title = Some(title.into());
    let input =
        ScriptInput { brief, chapter, chapters, plan: plan.clone(), previous_title: None, next_title: None };
    scripted(&input, None).unwrap().turns
}

fn text(plan: &ChapterPlan) -> &str {
    inline(plan.source.as_ref()).unwrap()
}

/// Title, and each chapter as `title: text`.
fn check_outline(source: &str, requested: &[&str], title: &str, chapters: &[&str]) {
    let result = outline(Some(source), brief("en", Format::Dialogue, None), requested).unwrap();
    let found: Vec<String> = result
        .chapters
        .iter()
        .map(|plan| format!("{}: {}", plan.title, text(plan).replace("\n\n", " / ")))
        .collect();
    assert_eq!(found, chapters, "{source}");
    assert_eq!(result.title, title, "{source}");
}

#[test]
fn chapters_follow_headings() {
    check_outline("# T\n\n## A\n\nOne.\n\n## B\n\nTwo.", &[], "T", &["A: One.", "B: Two."]);
    check_outline("# T\n\nIntro.\n\n## A\n\nOne.", &[], "T", &["Introduction: Intro.", "A: One."]);
    check_outline("# T\n\nOne.\n\nTwo.", &[], "T", &["T: One. / Two."]);
    check_outline("# A\n\nOne.\n\n# B\n\nTwo.", &[], "A", &["A: One.", "B: Two."]);
    check_outline(
        "# T\n\n## A\n\n### Sub\n\nOne.\n\n## Empty\n\n## B\n\nTwo.",
        &[],
        "T",
        &["A: ### Sub / One.", "B: Two."],
    );
    check_outline("Just one sentence.", &[], "Just one sentence", &["Just one sentence: Just one sentence."]);
}

#[test]
fn requested_chapters_take_their_headings_or_share_the_rest() {
    let source = "# T\n\n## A\n\nOne.\n\n## B\n\nTwo.\n\n## C\n\nThree.";
    check_outline(source, &["b", " a "], "T", &["b: Two.", " a : One."]);
    check_outline(source, &["X", "B", "Y"], "T", &["X: ### A / One.", "B: Two.", "Y: ### C / Three."]);
    check_outline("One. Two. Three. Four.", &["X", "Y"], "One", &["X: One. / Two.", "Y: Three. / Four."]);
    let failure = outline(Some("One."), brief("en", Format::Dialogue, None), &["X", "Y"]).unwrap_err();
    assert_eq!(failure.class, Class::PermanentInput);
    assert!(failure.message.contains("\"Y\""), "{failure}");
}

/// Four topics of five paragraphs each, and no heading.
#[test]
fn a_long_source_without_headings_is_divided_where_its_topic_shifts() {
    let topics = [
        "The tide follows the moon and the sea rises on the coast.",
        "Bread dough needs flour, yeast and a warm oven.",
        "A violin string vibrates and its wood carries the sound.",
        "Glaciers grind rock and carve wide valleys of ice.",
    ];
    let paragraph = |topic: &str| [topic; 12].join(" ");
    let source: Vec<String> = topics.iter().flat_map(|topic| vec![paragraph(topic); 5]).collect();
    let result = outline(Some(&source.join("\n\n")), brief("en", Format::Dialogue, None), &[]).unwrap();
    let titles: Vec<&str> = result.chapters.iter().map(|plan| plan.title.as_str()).collect();
    assert_eq!(titles, ["Part 1", "Part 2", "Part 3", "Part 4"]);
    for (plan, topic) in result.chapters.iter().zip(topics) {
        assert_eq!(text(plan).matches(topic).count(), 60, "{}", plan.title);
    }
    // What is told of it in two minutes needs no chapters.
    let result = outline(Some(&source.join("\n\n")), brief("en", Format::Dialogue, Some(2)), &[]).unwrap();
    assert_eq!(result.chapters.len(), 1);
}

#[test]
fn one_long_paragraph_is_divided_too() {
    let source: String =
        (0..200).map(|n| format!("Sentence {n} of the paragraph has a few words. ")).collect();
    let result = outline(Some(&source), brief("en", Format::Dialogue, None), &[]).unwrap();
    assert!(result.chapters.len() > 1);
    let all: String = result.chapters.iter().map(|plan| text(plan).to_owned() + " ").collect();
    assert!((0..200).all(|n| all.contains(&format!("Sentence {n} of"))));
}

#[test]
fn there_are_never_more_than_thirty_chapters() {
    let source: String = (0..100).map(|n| format!("## H{n}\n\nSentence {n} is here.\n\n")).collect();
    let result = outline(Some(&source), brief("en", Format::Dialogue, None), &[]).unwrap();
    assert_eq!(result.chapters.len(), 30);
    let all: String = result.chapters.iter().map(|plan| text(plan).to_owned() + " ").collect();
    for n in 0..100 {
        assert!(all.contains(&format!("Sentence {n} is")), "{n}");
    }
}

#[test]
fn what_cannot_be_told_is_refused() {
    for (source, word) in
        [(None, "source text"), (Some(""), "nothing"), (Some("```\ncode\n```\n\n…"), "nothing")]
    {
        let failure = outline(source, brief("en", Format::Dialogue, None), &[]).unwrap_err();
        assert_eq!(failure.class, Class::PermanentInput);
        assert!(failure.message.contains(word), "{failure}");
    }
}

#[test]
fn budgets_share_the_target_by_size() {
    let sentences = |count: usize| -> String {
        (0..count).map(|n| format!("This is sentence number {n} about thing {n} of the many. ")).collect()
    };
    let source = format!("# T\n\n## A\n\n{}\n\n## B\n\n{}", sentences(40), sentences(80));
    let budgets = |minutes| {
        let result = outline(Some(&source), brief("en", Format::Dialogue, minutes), &[]).unwrap();
        result.chapters.iter().map(|plan| plan.budget).collect::<Vec<_>>()
    };
    assert_eq!(budgets(None), [0, 0]);
    assert_eq!(budgets(Some(60)), [0, 0]);
    let [a, b] = budgets(Some(3))[..] else { panic!("two chapters") };
    assert!((150..=220).contains(&a) && (310..=400).contains(&b), "{a} {b}");
    assert_eq!(budgets(Some(1)).len(), 2);
}

#[test]
fn few_minutes_are_not_spent_on_titles() {
    let chapter = |n: usize| {
        format!("## H{n}\n\n{}\n\n", "A sentence of some length stands here and goes on. ".repeat(20))
    };
    let source: String = (0..12).map(chapter).collect();
    let result = outline(Some(&source), brief("en", Format::Dialogue, Some(1)), &[]).unwrap();
    assert_eq!(result.chapters.len(), 3);
}

#[test]
fn speakers_take_turns_at_paragraphs() {
    let plan = ChapterPlan {
        title: "Why".into(),
        brief: String::new(),
        source: Some(TextRef::Inline("One. Two. Three. Four.\n\nFive.\n\n### Sub\n\nSix.".into())),
        budget: 0,
    };
    let said = |format, chapter, chapters| {
        let turns = script(brief("en", format, None), "Tides", &plan, chapter, chapters);
        turns.into_iter().map(|turn| (turn.speaker, turn.text, turn.pause, turn.place)).collect::<Vec<_>>()
    };
    let line = |speaker, text: &str, pause, place| (speaker, text.to_owned(), pause, place);
    assert_eq!(
        said(Format::Dialogue, 0, 2),
        [
            line(0, "Welcome. Today: Tides.", Pause::Turn, Place::Opening),
            line(1, "Let us begin: Why.", Pause::Turn, Place::Transition),
            line(0, "One. Two. Three.", Pause::Sentence, Place::Body),
            line(0, "Four.", Pause::Turn, Place::Body),
            line(1, "Five.", Pause::Turn, Place::Body),
            line(0, "Sub.", Pause::Paragraph, Place::Transition),
            line(0, "Six.", Pause::Chapter, Place::Body),
        ]
    );
    assert_eq!(
        said(Format::Monologue, 1, 2),
        [
            line(0, "Next: Why.", Pause::Paragraph, Place::Transition),
            line(0, "One. Two. Three.", Pause::Sentence, Place::Body),
            line(0, "Four.", Pause::Paragraph, Place::Body),
            line(0, "Five.", Pause::Paragraph, Place::Body),
            line(0, "Sub.", Pause::Paragraph, Place::Transition),
            line(0, "Six.", Pause::Paragraph, Place::Body),
            line(0, "That was “Tides”. Thank you for listening.", Pause::Chapter, Place::Closing),
        ]
    );
}

#[test]
fn the_writers_own_words_are_in_the_articles_language() {
    let plan = |title: &str, text: &str| ChapterPlan {
        title: title.into(),
        brief: String::new(),
        source: Some(TextRef::Inline(text.into())),
        budget: 0,
    };
    let said = |language: &str, chapter, plan: &ChapterPlan| {
        let turns = script(brief(language, Format::Dialogue, None), "T", plan, chapter, 3);
        turns.into_iter().map(|turn| turn.text).collect::<Vec<_>>()
    };
    let korean = plan("소금", "배추를 절인다.");
    assert_eq!(said("ko-KR", 1, &korean), ["다음 이야기, 소금.", "배추를 절인다."]);
    assert_eq!(said("ko", 2, &korean)[0], "마지막으로, 소금.");
    assert_eq!(said("ko", 2, &korean)[2], "지금까지 “T” 이야기였습니다. 들어 주셔서 고맙습니다.");
    assert_eq!(said("ja", 1, &plan("潮", "潮が満ちる。"))[0], "続いて、潮。");
    assert_eq!(
        said("de", 0, &plan("Salz", "Es ist Salz."))[..2],
        ["Willkommen. Heute: T.", "Beginnen wir: Salz."]
    );
    assert_eq!(said("xx", 1, &plan("Yy", "Zz zz."))[0], "Yy.");
}

/// Every sentence of the samples is said once, in order, and no segment is too long.
#[test]
fn samples_are_told_whole() {
    for (language, source) in [
        ("en", include_str!("../../../../samples/tides.md")),
        ("ko", include_str!("../../../../samples/kimchi.md")),
    ] {
        let result = outline(Some(source), brief(language, Format::Dialogue, None), &[]).unwrap();
        let count = u16::try_from(result.chapters.len()).unwrap();
        let turns: Vec<Turn> = (0..count)
            .zip(&result.chapters)
            .flat_map(|(n, plan)| {
                script(brief(language, Format::Dialogue, None), &result.title, plan, n, count)
            })
            .collect();
        let said = turns.iter().map(|turn| turn.text.as_str()).collect::<Vec<_>>().join(" ");
        let mut from = 0;
        for sentence in
            sections(source, language).into_iter().flat_map(|section| section.paragraphs).flatten()
        {
            let at = said[from..].find(&sentence).unwrap_or_else(|| panic!("not said: {sentence}"));
            from += at + sentence.len();
        }
        for turn in turns {
            assert!(turn.text.chars().count() <= 300 && is_speakable(&turn.text), "{}", turn.text);
        }
    }
}

/// Texts that would take hours if anything were done for every pair of their parts. Minutes for all of them, as a bound, would
/// already be a defect.
#[test]
fn hostile_texts_take_no_longer_than_others() {
    let large = |piece: &str| piece.repeat(50_000 / piece.len());
    for piece in [
        "[",
        "<table><td>",
        "<a b=\"",
        "https://a.b ",
        "a@b.c ",
        "1/1/",
        "1-1.",
        "“a.” ",
        "»a. ",
        "\"a.\" ",
        "A b. ",
        "x ",
        "가",
        "&",
        "&a;",
        "**",
        "> ",
        "- a\n",
        "# A\n\nB c d e.\n\n",
        "Foo 1 is here. ",
        "<p>a</p>",
        "<ul><li>",
        "a\n\n",
        "1.1.1 ",
        "$1 ",
        "`",
        "``a",
        "。",
        "…",
    ] {
        let begun = std::time::Instant::now();
        for source in [large(piece), format!("<html><body>{}", large(piece))] {
            // What has nothing to say is refused; that is an answer too.
            let _ = outline(Some(&source), brief("en", Format::Dialogue, Some(30)), &[]);
        }
        assert!(begun.elapsed().as_secs() < 60, "{piece}: {:?}", begun.elapsed());
    }
}

mod six_texts;
