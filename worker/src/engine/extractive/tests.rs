use std::time::Duration;

use common::class::Class;
use common::work::{Brief, ChapterPlan, ChapterRequest, Format, Pause, Speaker, Turn};
use futures_util::FutureExt;

use super::*;
use crate::text::{is_speakable, sections};

fn brief(language: &str, format: Format, target_minutes: Option<u16>) -> Brief {
    let speaker = |name: &str| Speaker { name: name.into(), voice: "f2".into(), role: None };
    let speakers = vec![speaker("A"), speaker("B")];
    Brief { title: None, topic: None, language: language.into(), format, target_minutes, speakers }
}

fn call() -> Call {
    Call::new("key", Duration::from_secs(60))
}

fn outline(source: Option<&str>, brief: Brief, titles: &[&str]) -> Result<OutlineResult, Failure> {
    let chapters =
        titles.iter().map(|title| ChapterRequest { title: (*title).into(), brief: None }).collect();
    let input = OutlineInput { brief, source: source.map(|text| TextRef::Inline(text.into())), chapters };
    Extractive::new().outline(&input, None, &call()).now_or_never().unwrap()
}

fn script(mut brief: Brief, title: &str, plan: &ChapterPlan, chapter: u16, chapters: u16) -> Vec<Turn> {
    brief.title = Some(title.into());
    let input =
        ScriptInput { brief, chapter, chapters, plan: plan.clone(), previous_title: None, next_title: None };
    Extractive::new().script(&input, None, &call()).now_or_never().unwrap().unwrap().turns
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

#[test]
fn a_long_source_without_headings_is_divided_at_paragraphs() {
    let paragraph = "This sentence has exactly seven words here. ".repeat(10);
    let source = vec![paragraph.trim(); 20].join("\n\n");
    let result = outline(Some(&source), brief("en", Format::Dialogue, None), &[]).unwrap();
    let titles: Vec<&str> = result.chapters.iter().map(|plan| plan.title.as_str()).collect();
    assert_eq!(titles, ["Part 1", "Part 2", "Part 3"]);
    for plan in &result.chapters {
        assert!((6..=7).contains(&text(plan).split("\n\n").count()));
    }
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
    let long = "Seven words are in this sentence here. ".repeat(60);
    let source = format!("# T\n\n## A\n\n{long}\n\n## B\n\n{long}{long}");
    let budgets = |minutes| {
        let result = outline(Some(&source), brief("en", Format::Dialogue, minutes), &[]).unwrap();
        result.chapters.iter().map(|plan| plan.budget).collect::<Vec<_>>()
    };
    assert_eq!(budgets(None), [0, 0]);
    assert_eq!(budgets(Some(60)), [0, 0]);
    assert_eq!(budgets(Some(3)), [190, 380]);
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
        turns.into_iter().map(|turn| (turn.speaker, turn.text, turn.pause)).collect::<Vec<_>>()
    };
    let line = |speaker, text: &str, pause| (speaker, text.to_owned(), pause);
    assert_eq!(
        said(Format::Dialogue, 0, 2),
        [
            line(0, "Tides.", Pause::Paragraph),
            line(0, "Why.", Pause::Paragraph),
            line(0, "One. Two. Three.", Pause::Sentence),
            line(0, "Four.", Pause::Turn),
            line(1, "Five.", Pause::Turn),
            line(0, "Sub.", Pause::Paragraph),
            line(0, "Six.", Pause::Chapter),
        ]
    );
    assert_eq!(
        said(Format::Monologue, 1, 2),
        [
            line(0, "Why.", Pause::Paragraph),
            line(0, "One. Two. Three.", Pause::Sentence),
            line(0, "Four.", Pause::Paragraph),
            line(0, "Five.", Pause::Paragraph),
            line(0, "Sub.", Pause::Paragraph),
            line(0, "Six.", Pause::Paragraph),
            line(0, "Thank you for listening.", Pause::Chapter),
        ]
    );
}

#[test]
fn a_budget_keeps_the_leads_in_order() {
    let plan = ChapterPlan {
        title: "T".into(),
        brief: String::new(),
        source: Some(TextRef::Inline(
            "Lead one here. More one.\n\nLead two here. More two.\n\nLead three here.".into(),
        )),
        budget: 11,
    };
    let turns = script(brief("en", Format::Monologue, None), "T", &plan, 0, 2);
    let said: Vec<&str> = turns.iter().map(|turn| turn.text.as_str()).collect();
    assert_eq!(said, ["T.", "Lead one here. More one.", "Lead two here.", "Lead three here."]);
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
