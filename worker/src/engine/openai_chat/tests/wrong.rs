//! Answers that are not what they should be.

use super::*;

/// Answers wrongly first, then as it should: what was wrong stands in the second question.
async fn check_repair(wrong: &str, finish: &'static str, words: &str, expected: &[usize]) {
    let bad = wrong.to_owned();
    let start = expected.len() - 4;
    let good = move |number: usize, _: &Value| {
        if number == 0 { streamed(&bad, finish) } else { streamed(&turns(start..start + 4), "stop") }
    };
    let (url, seen) = server(good).await;
    let found = write(&url, &chapter(0)).await.0.unwrap();
    assert_eq!(numbers(&found), expected, "{wrong}");
    let (body, _) = seen.lock().unwrap()[1].clone();
    let prompt = body["messages"][1]["content"].as_str().unwrap().to_owned();
    assert!(prompt.contains(words), "{prompt}");
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_wrong_answer_is_asked_again_with_what_was_wrong() {
    let all = [0, 1, 2, 3];
    check_repair("I cannot do that.", "stop", "no JSON object", &all).await;
    check_repair("", "stop", "it was empty", &all).await;
    check_repair("{\"chapters\": []}", "stop", "no list of turns", &all).await;
    check_repair("{\"turns\": []}", "stop", "no list of turns", &all).await;
    check_repair(
        "{\"turns\": [{\"speaker\": \"Zoe\", \"text\": \"Hi.\"}]}",
        "stop",
        "\"Zoe\", who is not one of Mina, Ben",
        &all,
    )
    .await;
    check_repair("{\"turns\": [{\"speaker\": \"Mina\"}]}", "stop", "does not fit the schema", &all).await;
    check_repair(
        "{\"turns\": [{\"speaker\": \"Mina\", \"text\": \"See https://a.b\"}]}",
        "stop",
        "an address",
        &all,
    )
    .await;
    let korean = "갯벌은 하루에 두 번 숨을 쉬고 바다는 달을 따라 천천히 움직입니다. 사람들은 그 곁에서 조개를 캐며 살아왔습니다.";
    let foreign = json!({"turns": [{"speaker": "Mina", "text": korean}]}).to_string();
    check_repair(&foreign, "stop", "it is in ko and must be in en", &all).await;
    let long = turns(0..2);
    let cut_off = &long[..long.len() - 20];
    check_repair(cut_off, "length", "cut off", &[0, 1, 2, 3, 4]).await;
}

#[tokio::test]
async fn what_never_ends_is_cut_off() {
    let endless = |chunk: String| {
        let first = "data: {\"choices\":[{\"delta\":{\"content\":\"{\\\"turns\\\":[\"}}]}\n\n".to_owned();
        let event = format!("data: {}\n\n", json!({"choices": [{"delta": {"content": chunk}}]}));
        let stream = futures_util::stream::iter([first])
            .chain(futures_util::stream::repeat(event))
            .map(Ok::<_, std::io::Error>);
        Response::new(Body::from_stream(stream))
    };
    use futures_util::StreamExt;
    let turn = json!({"speaker": "Mina", "text": sentence(1)}).to_string();
    for (chunk, words) in [
        ("\n".to_owned(), "repeated itself"),
        (format!("{turn},"), "repeated"),
        ("{\"speaker\": \"Mina\", \"text\": \"and then ".to_owned(), "repeated itself"),
    ] {
        let sent = chunk.clone();
        let (url, seen) = server(move |_, _| endless(sent.clone())).await;
        let failure = write(&url, &chapter(0)).await.0.unwrap_err();
        assert_eq!(failure.class, Class::Transient);
        assert!(failure.message.contains("answered 3 times") && failure.message.contains(words), "{failure}");
        assert_eq!(seen.lock().unwrap().len(), 3, "{chunk}");
    }
}

#[tokio::test]
async fn a_stall_in_the_middle_is_a_timeout_and_a_drip_ends() {
    use futures_util::StreamExt;
    let stalled = |_: usize, _: &Value| {
        let first = events(&["{\"turns\":".to_owned()], "stop").remove(0);
        let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(first)])
            .chain(futures_util::stream::pending());
        Response::new(Body::from_stream(stream))
    };
    let (url, _) = server(stalled).await;
    let failure = write(&url, &chapter(0)).await.0.unwrap_err();
    assert_eq!(failure.class, Class::Timeout);
    let dripping = |_: usize, _: &Value| {
        let stream = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, std::io::Error>(": still here\n"), ()))
        });
        Response::new(Body::from_stream(stream))
    };
    let (url, _) = server(dripping).await;
    let input = chapter(0);
    let call = Call::new("key", Duration::from_millis(400));
    let failure = engine(&url).script(&input, None, &call).await.unwrap_err();
    assert_eq!(failure.class, Class::Timeout);
    assert!(failure.message.contains("no whole answer"), "{failure}");
}
