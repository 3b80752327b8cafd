//! Chapters from a language model, as servers really answer: turn by turn, broken off, in the length they were asked for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::post;
use futures_util::{FutureExt, StreamExt, stream};
use loadtest::providers::{Provider, Settings};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fleet::{Fleet, Servers, Setup, until};

/// Words in each turn that the model writes.
const TURN_WORDS: usize = 20;

/// And syllables of each Korean one.
const TURN_SYLLABLES: usize = 55;

/// What is the matter with a model's scripts.
#[derive(Clone, Copy)]
enum Manner {
    Good,
    /// The first so many break off in the middle of their fifth turn; they are gone on with when the test says so.
    Broken(usize),
    /// Each stops after its first turn until the test says so.
    Slow,
}

/// A language model that does what it is told: chapters as the schema wants them, turns up to the length, numbered on.
struct Model {
    url: String,
    server: JoinHandle<std::io::Result<()>>,
    prompts: Arc<Mutex<Vec<String>>>,
    /// Whether scripts that broke off or stopped are gone on with, or wait.
    goes_on: watch::Sender<bool>,
}

impl Model {
    async fn start(manner: Manner) -> anyhow::Result<Model> {
        let (broken, slow) = match manner {
            Manner::Good => (0, false),
            Manner::Broken(scripts) => (scripts, false),
            Manner::Slow => (0, true),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let prompts: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, left) = (prompts.clone(), Arc::new(AtomicUsize::new(broken)));
        let (goes_on, may_go_on) = watch::channel(broken == 0 && !slow);
        let answer = move |axum::Json(body): axum::Json<Value>| {
            let prompt = body["messages"][1]["content"].as_str().unwrap_or_default().to_owned();
            seen.lock().expect("no panic").push(prompt.clone());
            let schema = &body["response_format"]["json_schema"];
            let response = if schema["name"] == "outline" {
                let korean =
                    body["messages"][0]["content"].as_str().is_some_and(|rules| rules.contains("Korean"));
                streamed(&outline(&schema["schema"]["properties"]["chapters"]["minItems"], korean), false)
            } else if slow {
                stopped(&script(&prompt), may_go_on.clone())
            } else {
                let take = |left: usize| left.checked_sub(1);
                let breaks = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
                streamed(&script(&prompt), breaks)
            };
            let mut may_go_on = may_go_on.clone();
            async move {
                if prompt.contains("written already") {
                    // Without the test there is nothing to wait for.
                    may_go_on.wait_for(|may| *may).await.ok();
                }
                response
            }
        };
        let routes = Router::new().route("/v1/chat/completions", post(answer));
        let server = tokio::spawn(axum::serve(listener, routes).into_future());
        Ok(Model { url, server, prompts, goes_on })
    }

    fn setup(&self, setup: Setup) -> Setup {
        setup
            .with("ENGINES__WRITER__TYPE", "openai")
            .with("ENGINES__WRITER__KINDS", "outline,script")
            .with("ENGINES__WRITER__URL", &self.url)
            .with("ENGINES__WRITER__MODEL", "model")
            .with("ENGINES__WRITER__PRICE_INPUT", "1")
            .with("ENGINES__WRITER__PRICE_OUTPUT", "2")
            .with("DEFAULTS__OUTLINE", "writer")
            .with("DEFAULTS__SCRIPT", "writer")
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn outline(count: &Value, korean: bool) -> String {
    let brief = if korean {
        "달이 바다에 하는 일을 이야기합니다."
    } else {
        "What the Moon does to the sea."
    };
    let chapter = |number: u64| {
        json!({"title": format!("Part {number}"), "brief": brief, "before": "", "after": "",
               "opens": "Speaker 1", "share": 1})
    };
    let chapters: Vec<Value> = (0..count.as_u64().unwrap_or(1)).map(chapter).collect();
    json!({"title": "Tides", "chapters": chapters}).to_string()
}

/// Turns up to the words that the prompt asks for, numbered on from the last one that it shows.
fn script(prompt: &str) -> String {
    let after = |mark: &str| {
        prompt.rsplit_once(mark).and_then(|(_, rest)| rest.split(' ').next()?.parse::<usize>().ok())
    };
    let korean = prompt.contains(" syllables");
    let length = after("about ").unwrap_or(200);
    let first = after("the tide number ").map_or(1, |last| last + 1);
    let count = (length / if korean { TURN_SYLLABLES } else { TURN_WORDS }).max(1);
    let turns: Vec<Value> = (first..first + count)
        .map(|number| {
            let text = if korean { korean_turn(number) } else { turn(number) };
            json!({"speaker": format!("Speaker {}", number % 2 + 1), "text": text})
        })
        .collect();
    json!({"turns": turns}).to_string()
}

fn turn(number: usize) -> String {
    format!(
        "It is said that the tide number {number} of this year rises a little higher because both of them pull together."
    )
}

fn korean_turn(number: usize) -> String {
    let day = ["월요일", "화요일", "수요일", "목요일", "금요일"][number % 5];
    let place = ["서해", "남해", "동해", "제주", "강화", "순천만", "태안"][number % 7];
    format!(
        "{place}의 갯벌은 {day}에도 하루에 두 번 숨을 쉬고, 바다는 달을 따라 천천히 들어왔다가 다시 나갑니다. 그래서 사람들은 물때를 기다립니다."
    )
}

type Event = Result<String, std::io::Error>;

fn streamed(text: &str, breaks: bool) -> Response {
    let text = if breaks { &text[..text.find("number 5 ").unwrap_or(text.len() / 2)] } else { text };
    let mut events = events(text);
    events.push(if breaks { Err(std::io::Error::other("the connection is gone")) } else { end() });
    Response::new(Body::from_stream(stream::iter(events)))
}

/// Stops after the first turn.
fn stopped(text: &str, mut may_go_on: watch::Receiver<bool>) -> Response {
    let (first, rest) = text.split_at(text.find("},").map_or(text.len(), |end| end + 1));
    let (first, mut rest) = (events(first), events(rest));
    rest.push(end());
    let waited = async move {
        // Without the test there is nothing to wait for.
        may_go_on.wait_for(|may| *may).await.ok();
        stream::iter(rest)
    };
    Response::new(Body::from_stream(stream::iter(first).chain(waited.flatten_stream())))
}

fn events(text: &str) -> Vec<Event> {
    let chars: Vec<char> = text.chars().collect();
    chars
        .chunks(40)
        .map(|chunk| json!({"choices": [{"delta": {"content": chunk.iter().collect::<String>()}}]}))
        .map(|event| Ok(format!("data: {event}\n\n")))
        .collect()
}

fn end() -> Event {
    let usage = json!({"choices": [{"delta": {}, "finish_reason": "stop"}],
                       "usage": {"prompt_tokens": 1000, "completion_tokens": 500}});
    Ok(format!("data: {usage}\n\ndata: [DONE]\n\n"))
}

async fn numbers(fleet: &Fleet, chapter: i32) -> anyhow::Result<Vec<usize>> {
    let sql = format!("select text from segments where chapter = {chapter} order by segment");
    let rows = fleet.query(&sql).await?;
    let number = |text: String| text.split_once("number ")?.1.split(' ').next()?.parse().ok();
    rows.iter().map(|row| number(row.get(0)).context("a numbered turn")).collect()
}

/// The first turn can be heard as soon as it is written, while the model has still to write all others: it does not go on
/// before the first audio is there.
pub(crate) async fn the_first_turn_is_heard_while_the_others_are_written(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let model = Model::start(Manner::Slow).await?;
    let tones = Provider::start(Settings::default()).await?;
    let setup = model.setup(Setup::default().with_speech_server(&tones.url()));
    let fleet = Fleet::start(servers, "streaming", setup).await?;
    let id = fleet.submit(&json!({"topic": "tides", "language": "en", "target_minutes": 8})).await?;
    let podcast = until("the first turn to be heard", async || {
        let podcast = fleet.podcast(&id).await?;
        ensure!(podcast["state"] == "running", "{podcast:#}");
        Ok(podcast["first_audio_ms"].is_number().then_some(podcast))
    })
    .await?;
    ensure!(podcast["progress"]["chapters_written"] == 0, "{podcast:#}");
    let said = fleet.query("select text from segments where chapter = 0").await?;
    ensure!(said.len() == 1 && said[0].get::<_, String>(0) == turn(1), "{said:?}");
    model.goes_on.send(true)?;
    fleet.completed(&id).await?;
    for chapter in 0..2 {
        let found = numbers(&fleet, chapter).await?;
        ensure!(found == (1..=found.len()).collect::<Vec<_>>() && found.len() >= 30, "{found:?}");
    }
    // Every turn, the first one too, was asked for in the same answer.
    ensure!(!model.prompts.lock().expect("no panic").iter().any(|prompt| prompt.contains("written already")));
    fleet.at_rest().await?;
    fleet.stop().await
}

/// The turns that came before a stream broke are spoken while it is asked again, and nothing is said twice.
pub(crate) async fn a_script_that_breaks_off_goes_on_where_it_stopped(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let model = Model::start(Manner::Broken(2)).await?;
    let tones = Provider::start(Settings::default()).await?;
    let setup = model.setup(Setup::default().with_speech_server(&tones.url()));
    let fleet = Fleet::start(servers, "writing", setup).await?;
    let id = fleet.submit(&json!({"topic": "tides", "language": "en", "target_minutes": 8})).await?;
    // What was finished before they broke off is spoken before the rest is written.
    let spoken = "select count(*) from attempts where kind = 'tts' and class = 'success'";
    fleet.until_count(spoken, |spoken| spoken >= 4).await?;
    model.goes_on.send(true)?;
    let podcast = fleet.completed(&id).await?;
    ensure!(podcast["title"] == "Tides", "{podcast:#}");
    for chapter in 0..2 {
        let found = numbers(&fleet, chapter).await?;
        let expected: Vec<usize> = (1..=found.len()).collect();
        ensure!(found == expected && found.len() >= 30, "chapter {chapter}: {found:?}");
    }
    let shown = |prompt: &String| prompt.contains("written already") && prompt.contains(&turn(4));
    ensure!(model.prompts.lock().expect("no panic").iter().filter(|prompt| shown(prompt)).count() == 2);
    // What broke off was paid for.
    ensure!(fleet.count("select count(*) from attempts where kind = 'script' and class = 'transient' and cost_micros > 0").await? == 2);
    // 1,000 tokens at 1 and 500 at 2, the outline's and the two whole answers'.
    ensure!(fleet.count("select count(*) from attempts where class = 'success' and cost_micros = 2000 and units = 1500").await? == 3);
    fleet.at_rest().await?;
    fleet.stop().await
}

pub(crate) async fn a_writer_that_is_gone_is_replaced_by_its_fallback(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let model = Model::start(Manner::Good).await?;
    let setup = model.setup(Setup::default()).with("ENGINES__WRITER__FALLBACK", "extractive");
    let fleet = Fleet::start(servers, "fallback", setup).await?;
    drop(model);
    let article = "# The tide\n\nThe moon pulls the sea. It does so twice a day.\n";
    let id = fleet.submit(&json!({"source": {"text": article}, "language": "en"})).await?;
    let podcast = fleet.completed(&id).await?;
    ensure!(podcast["title"] == "The tide", "{podcast:#}");
    ensure!(fleet.count("select count(*) from attempts where class <> 'success'").await? == 0);
    fleet.at_rest().await?;
    fleet.stop().await
}

/// How far an episode may be from the length asked for.
const TOLERANCE: f64 = 0.15;

/// An episode of so many minutes lasts that long.
async fn check_minutes(fleet: &Fleet, voice: &str, language: &str, asked: f64) -> anyhow::Result<()> {
    let request = json!({"topic": "tides", "language": language, "target_minutes": asked as u16});
    let podcast = fleet.completed(&fleet.submit(&request).await?).await?;
    let ms =
        podcast["episode"]["duration_ms"].as_f64().with_context(|| format!("a duration: {podcast:#}"))?;
    let off = ms / 60_000.0 / asked - 1.0;
    println!("  {voice}, {language}: {asked} minutes asked for, {:+.1} %", off * 100.0);
    ensure!(
        off.abs() <= TOLERANCE,
        "{voice}, {language}: {asked} minutes asked for, {:.2} spoken",
        ms / 60_000.0
    );
    Ok(())
}

/// Even the first episode of a voice that nobody has heard is as long as it was asked to be, although it is written faster than
/// it is spoken. A voice is heard once for that.
pub(crate) async fn episodes_get_their_length_from_what_speech_lasted(
    servers: &Arc<Servers>,
) -> anyhow::Result<()> {
    let model = Model::start(Manner::Good).await?;
    let fleet = Fleet::start(servers, "length", model.setup(Setup::default())).await?;
    for language in ["en", "ko"] {
        check_minutes(&fleet, "espeak", language, 4.0).await?;
    }
    fleet.stop().await?;
    // People speak 150 to 190 words a minute.
    for words_a_minute in [90, 130, 280] {
        let samples = move |text: &str| text.split_whitespace().count() * 24_000 * 60 / words_a_minute;
        let tones = Provider::start(Settings::default().samples_for(samples)).await?;
        let setup = model.setup(Setup::default().with_speech_server(&tones.url()));
        let fleet = Fleet::start(servers, "voice", setup).await?;
        let voice = format!("a voice of {words_a_minute} words a minute");
        for minutes in [8.0, 4.0] {
            check_minutes(&fleet, &voice, "en", minutes).await?;
        }
        let sample = |key: &Option<String>| key.as_ref().is_some_and(|key| key.contains("-voice"));
        let heard = tones.ledger().calls.iter().filter(|call| sample(&call.idempotency_key)).count();
        ensure!(heard == 1, "{voice} was heard {heard} times");
        fleet.at_rest().await?;
        fleet.stop().await?;
    }
    Ok(())
}
