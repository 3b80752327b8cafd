//! Chapters of the length that was asked for.

use super::*;

/// Total units of a chapter of 200 whose answers have these many turns of ten words.
async fn length(answers: &'static [usize]) -> (u32, usize) {
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
    let fits = |total: u32| (180..=220).contains(&total);
    assert_eq!(length(&[20]).await, (200, 1));
    let (total, asked) = length(&[8, 9, 6]).await;
    assert!(fits(total) && asked == 3, "{total} after {asked}: too short is gone on with");
    let (total, asked) = length(&[19, 1]).await;
    assert_eq!((total, asked), (190, 1), "near enough is not asked about");
    let (total, asked) = length(&[28, 6]).await;
    assert!(fits(total) && asked == 2, "{total} after {asked}: too long is asked for an end");
    let (total, asked) = length(&[28, 30]).await;
    assert!(fits(total) && asked == 2, "{total} after {asked}: and is trimmed if it does not come");
    let (total, asked) = length(&[400, 7]).await;
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
