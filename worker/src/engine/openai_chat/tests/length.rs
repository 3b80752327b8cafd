//! Chapters of the length that was asked for.

use super::*;

/// Total units of a chapter of 200 whose answers have these many turns of ten words.
async fn length(answers: &'static [usize]) -> (f64, usize) {
    let next = Arc::new(Mutex::new(0));
    let answer = move |number: usize, _: &Value| {
        let mut next = next.lock().unwrap();
        let count = answers.get(number).copied().unwrap_or(1);
        let first = *next;
        *next += count;
        streamed(&turns(first..first + count), "stop")
    };
    let (url, seen) = server(answer).await;
    let found = write(&url, &chapter(200)).await.0.unwrap();
    let total = found.iter().map(|turn| speakable_units(&turn.text, "en")).sum();
    let asked = seen.lock().unwrap().len();
    (total, asked)
}

#[tokio::test]
async fn a_chapter_gets_its_length() {
    let fits = |total: f64| (180.0..=220.0).contains(&total);
    let (total, asked) = length(&[20]).await;
    assert!(fits(total) && asked == 1, "{total} after {asked}");
    let (total, asked) = length(&[8, 9, 6]).await;
    assert!(fits(total) && asked == 3, "{total} after {asked}: too short is gone on with");
    let (total, asked) = length(&[19, 1]).await;
    assert!(
        total < 195.0 && fits(total) && asked == 1,
        "{total} after {asked}: near enough is not asked about"
    );
    let (total, asked) = length(&[28, 10]).await;
    assert!(fits(total) && asked == 2, "{total} after {asked}: too long is asked for an end");
    let (total, asked) = length(&[28, 30]).await;
    assert!(fits(total) && asked == 2, "{total} after {asked}: and is trimmed if it does not come");
    let (total, asked) = length(&[400, 10]).await;
    assert!(fits(total) && asked == 2, "{total} after {asked}: far too long is not even read");
}

#[tokio::test]
async fn a_chapter_that_is_gone_on_with_says_goodbye_once() {
    let answer = |number: usize, _: &Value| {
        let mut said: Value = serde_json::from_str(&turns(number * 10..number * 10 + 10)).unwrap();
        said["turns"][9]["text"] =
            "Thank you for listening, and goodbye until next week, dear friends.".into();
        streamed(&said.to_string(), "stop")
    };
    let (url, _) = server(answer).await;
    let found = write(&url, &chapter(200)).await.0.unwrap();
    let goodbyes: Vec<usize> = found
        .iter()
        .enumerate()
        .filter(|(_, turn)| turn.text.contains("goodbye"))
        .map(|(place, _)| place)
        .collect();
    assert_eq!(goodbyes, [found.len() - 1]);
    // The end stays when the middle has to go.
    let (url, _) = server(move |number, _| {
        let mut said: Value = serde_json::from_str(&turns(number * 40..number * 40 + 28)).unwrap();
        said["turns"][27]["text"] =
            "Thank you for listening, and goodbye until next week, dear friends.".into();
        streamed(&said.to_string(), "stop")
    })
    .await;
    let found = write(&url, &chapter(200)).await.0.unwrap();
    assert!(found.len() <= 22 && found.last().unwrap().text.contains("goodbye"), "{}", found.len());
}

#[tokio::test]
async fn the_length_follows_what_speech_really_lasts() {
    let (url, seen) = server(|number, _| streamed(&turns(number * 100..number * 100 + 10), "stop")).await;
    // 95 words a minute are half of what is usual: half as many fill the time.
    let call = Call { pace: Pace::fixed(95.0), ..call() };
    let input = chapter(200);
    let rest = engine(&url).script(&input, None, &call).await.unwrap();
    assert_eq!(call.draft.given().len() + rest.turns.len(), 10);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].0["messages"][1]["content"].as_str().unwrap().contains("about 100 words"));
}

#[tokio::test]
async fn a_chapter_is_planned_again_by_what_its_beginning_lasted() {
    use futures_util::FutureExt;
    let cache =
        common::cache::Cache::new(&common::config::Cache { url: String::new(), budget_ms: 50 }).unwrap();
    let measured = crate::engine::pace::Measured::new(cache);
    let voice = crate::engine::pace::VoiceName {
        engine: "e".into(),
        identity: String::new(),
        voice: "v".into(),
        language: "en".into(),
    };
    let pace = Pace::of(measured.clone(), vec![voice.clone()], 0);
    // While the first answer comes, its beginning is spoken: at half the pace that was guessed.
    let answer = move |number: usize, _: &Value| {
        if number == 0 {
            for _ in 0..6 {
                measured.observe(&voice, 95.0, 60_000).now_or_never().unwrap();
            }
            return streamed(&turns(0..20), "stop");
        }
        streamed(&turns(50..52), "stop")
    };
    let (url, seen) = server(answer).await;
    let call = Call { pace, ..call() };
    let input = chapter(200);
    let rest = engine(&url).script(&input, None, &call).await.unwrap();
    let total: f64 =
        call.draft.given().iter().chain(&rest.turns).map(|turn| speakable_units(&turn.text, "en")).sum();
    assert!((90.0..=120.0).contains(&total), "{total} instead of 100");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2, "it is asked for an end");
    assert!(seen[1].0["messages"][1]["content"].as_str().unwrap().contains("about 20 words"));
}

#[tokio::test]
async fn a_chapter_that_is_always_cut_off_ends_when_it_is_long_enough() {
    let answer = |number: usize, _: &Value| {
        let whole = turns(number * 100..number * 100 + 8);
        streamed(&whole[..whole.len() - 30], "length")
    };
    let (url, seen) = server(answer).await;
    let found = write(&url, &chapter(200)).await.0.unwrap();
    let total: f64 = found.iter().map(|turn| speakable_units(&turn.text, "en")).sum();
    assert!((180.0..=235.0).contains(&total), "{total}");
    assert_eq!(seen.lock().unwrap().len(), 4, "the fourth answer is asked for an end alone");
    assert_eq!(found.last().unwrap().pause, Pause::Chapter);
}
