//! Plans of chapters.

use super::*;

fn outline_answer(count: usize, title: &str) -> String {
    let chapter = |number: usize| {
        json!({"title": format!("Part {number}"), "brief": "The Moon pulls at the sea.", "before": "It is wet.",
               "after": "The Sun.", "opens": "Ben", "share": if number == 0 { 50 } else { 25 }})
    };
    json!({"title": title, "chapters": (0..count).map(chapter).collect::<Vec<_>>()}).to_string()
}

fn outline_input(minutes: u16, chapters: &[&str], source: Option<&str>) -> OutlineInput {
    let chapters =
        chapters.iter().map(|title| ChapterRequest { title: (*title).into(), brief: None }).collect();
    let brief = Brief { title: None, target_minutes: Some(minutes), ..brief("en") };
    OutlineInput { brief, source: source.map(|text| TextRef::Inline(text.into())), chapters }
}

#[tokio::test]
async fn an_outline_carries_lengths_and_what_connects_chapters() {
    let (url, seen) = server(|_, _| streamed(&outline_answer(3, "All about tides"), "stop")).await;
    let input = outline_input(10, &[], Some("The tide rises twice a day."));
    let call = call();
    let outline = engine(&url).outline(&input, Some("The tide rises twice a day."), &call).await.unwrap();
    assert_eq!(outline.title, "All about tides");
    assert_eq!(outline.chapters.iter().map(|chapter| chapter.budget).collect::<Vec<_>>(), [950, 475, 475]);
    let brief = &outline.chapters[1].brief;
    assert!(
        ["It tells: The Moon", "What it hands over: The Sun.", "opened by: Ben"]
            .iter()
            .all(|part| brief.contains(part))
    );
    assert_eq!(outline.chapters[2].source, input.source);
    assert_eq!(call.bill.sum().0, 120);
    let outline_body = seen.lock().unwrap()[0].0.clone();
    // The beginning is the same for outline and scripts, so that servers can keep it.
    let (url, seen) = server(|_, _| streamed(&turns(0..4), "stop")).await;
    let input = chapter(0);
    engine(&url).script(&input, Some("The tide rises twice a day."), &call).await.unwrap();
    let script_body = seen.lock().unwrap()[0].0.clone();
    assert_eq!(outline_body["messages"][0], script_body["messages"][0]);
    let start = |body: &Value| {
        let prompt = body["messages"][1]["content"].as_str().unwrap();
        prompt[..prompt.find("</source>").unwrap()].to_owned()
    };
    assert_eq!(start(&outline_body), start(&script_body));
}

#[tokio::test]
async fn a_wrong_outline_is_asked_again_and_titles_asked_for_stay() {
    let answer = |number: usize, _: &Value| match number {
        0 => streamed(&outline_answer(5, "Five"), "stop"),
        1 => streamed("{\"title\": \"No chapters\"}", "stop"),
        _ => streamed(&outline_answer(2, "Two"), "stop"),
    };
    let (url, seen) = server(answer).await;
    let input = outline_input(10, &["First", "Second"], None);
    let outline = engine(&url).outline(&input, None, &call()).await.unwrap();
    assert_eq!(
        outline.chapters.iter().map(|chapter| chapter.title.as_str()).collect::<Vec<_>>(),
        ["First", "Second"]
    );
    let seen = seen.lock().unwrap().clone();
    let prompt = |number: usize| seen[number].0["messages"][1]["content"].as_str().unwrap().to_owned();
    assert!(prompt(1).contains("5 chapters instead of 2"), "{}", prompt(1));
    assert!(prompt(2).contains("missing field"), "{}", prompt(2));
    let (url, seen2) = server(|_, _| streamed("nothing", "stop")).await;
    let failure = engine(&url).outline(&input, None, &call()).await.unwrap_err();
    assert_eq!((failure.class, seen2.lock().unwrap().len()), (Class::Transient, 3));
}

#[tokio::test]
async fn a_source_longer_than_the_models_context_is_shared_among_the_chapters() {
    let paragraph =
        |number: usize| format!("Paragraph {number} begins here. {}", sentence(number).repeat(40));
    let source: String = (0..60).map(|number| format!("{}\n\n", paragraph(number))).collect();
    let answer = |_: usize, body: &Value| {
        let schema = &body["response_format"]["json_schema"]["schema"]["properties"]["chapters"];
        streamed(&outline_answer_titled(schema["minItems"].as_u64().unwrap() as usize), "stop")
    };
    fn outline_answer_titled(count: usize) -> String {
        outline_answer(count, "Long")
    }
    let (url, seen) = server(answer).await;
    let settings = serde_json::json!({"type": "openai", "kinds": "outline,script", "url": url, "model": "m",
                                      "context_tokens": 14_000, "max_output_tokens": 4_000});
    let engine = OpenAiChat::new("writer", &serde_json::from_value(settings).unwrap()).unwrap();
    let outline =
        engine.outline(&outline_input(10, &[], Some(&source)), Some(&source), &call()).await.unwrap();
    let parts: Vec<&str> = outline
        .chapters
        .iter()
        .map(|chapter| match &chapter.source {
            Some(TextRef::Inline(text)) => text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(parts.len() >= 4, "{}", parts.len());
    assert!(parts[0].contains("Paragraph 0 begins") && !parts[0].contains("Paragraph 59 begins"));
    assert!(parts[parts.len() - 1].contains("Paragraph 59 begins"));
    assert!(parts.iter().all(|part| Weight::Tokens.of(part) <= 10_000));
    let prompt = seen.lock().unwrap()[0].0["messages"][1]["content"].as_str().unwrap().to_owned();
    assert!(Weight::Tokens.of(&prompt) < 10_000, "{}", Weight::Tokens.of(&prompt));
}

/// The reason goes into the next prompt.
#[test]
fn a_plan_that_does_not_fit_is_told_in_bounded_words() {
    let input = outline_input(10, &[], None);
    let answer = json!({"title": "Tides", "chapters": "no list ".repeat(10_000)}).to_string();
    let reason = fuzzing::plan(&input, &[answer], 2).unwrap_err();
    assert!(reason.contains("does not fit the schema: invalid type"), "{reason}");
    assert!(reason.chars().count() < 400, "{} characters", reason.chars().count());
}

#[test]
fn what_nobody_says_and_no_database_keeps_is_taken_out_of_a_plan() {
    let input = outline_input(10, &["Spring", "Neap"], None);
    let chapter = json!({"title": "A\0", "brief": "The \0Moon\u{1} pulls.", "before": "It\0 is wet.", "after": "The\tSun.",
               "opens": "Ben", "share": 50});
    let answer = json!({"title": "Ti\0des", "chapters": [chapter, chapter]}).to_string();
    let plan = fuzzing::plan(&input, &[answer], 2).unwrap();
    assert_eq!(plan.title, "Tides");
    for chapter in &plan.chapters {
        assert!(!chapter.brief.chars().any(|c| c.is_control() && c != '\n'), "{:?}", chapter.brief);
        assert!(chapter.brief.contains("It tells: The Moon pulls."), "{:?}", chapter.brief);
        assert!(chapter.brief.contains("The Sun."), "{:?}", chapter.brief);
    }
}
