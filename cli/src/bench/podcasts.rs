//! One podcast with the latencies of the performance goals: in sequence, on the fleet, and what is lost in between.

use loadtest::providers::{Latency, Settings};
use loadtest::report::{Measured, median};
use loadtest::scenario::{self, request};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Results;
use crate::load::baseline::{SPEECH, in_sequence};
use crate::load::one::{self, One};
use crate::load::stage::{Setup, Stage};

/// Podcasts of which the median counts.
const TIMES: usize = 3;

pub(super) async fn measure(
    seed: u64,
    results: &mut Results,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    // A source that is longer than what the provider needs to remember a prompt: the outline is asked first and has it read.
    let with_source: Vec<Value> = (1..=TIMES).map(|number| with_source(&request(number))).collect();
    let mut forgetful = scenario::providers(seed, 1.0);
    forgetful.chat.prompt_cache.saves = 0.0;
    // Everything is written at once, so that nothing but the speech is waited for.
    let bodies: Vec<Value> = (1..=TIMES).map(request).collect();
    let mut at_once = scenario::providers(seed, 1.0);
    (at_once.chat.first_token, at_once.chat.whole) = (Latency::NONE, None);
    // These wait for their providers nearly all of the time, and for themselves: they do not disturb each other.
    let (sequence, cached, uncached, spoken) = tokio::try_join!(
        in_sequence(seed, shutdown),
        made(scenario::providers(seed, 1.0), false, &with_source, shutdown),
        made(forgetful, false, &with_source, shutdown),
        made(at_once, true, &bodies, shutdown),
    )?;
    let alone = made(scenario::providers(seed, 1.0), true, &bodies, shutdown).await?;
    let of = |value: fn(&One) -> f64| median(&alone.iter().map(value).collect::<Vec<_>>());
    let completed = of(|one| one.completed);
    results.value("sequence_s", sequence.whole);
    results.set("podcast_s", Measured::value(completed).against(sequence.whole));
    results.set("scripts_s", Measured::value(of(|one| one.scripts)).against(sequence.scripts));
    results.value("coordination_percent", of(|one| 100.0 * (one.completed - one.providers) / one.providers));
    results.value("first_audio_beyond_s", of(|one| one.first_audio - one.providers_first));
    results.value("ending_beyond_s", of(|one| one.ending));

    let scripts = |all: &[One]| median(&all.iter().map(|one| one.scripts).collect::<Vec<_>>());
    let asked = |all: &[One]| all.iter().map(|one| one.asked).collect::<Vec<_>>();
    results.raw.insert("asked".to_owned(), json!({"cached": asked(&cached), "uncached": asked(&uncached)}));
    results.set("scripts_cached_s", Measured::value(scripts(&cached)).against(scripts(&uncached)));

    let speech: Vec<f64> = spoken.iter().map(|one| one.speech).collect();
    results.set("speech_s", Measured::value(median(&speech)).against(sequence.speech));

    let farm =
        "there is no such farm here; what the fleet adds to a provider's own time is the row of coordination";
    results.why_not("scripts_farm_s", farm);
    results.why_not("speech_farm_s", farm);
    results.bars(
        "One podcast of 5 chapters and 25 segments",
        "s",
        Some(12.0),
        &[
            ("everything in sequence", sequence.whole),
            ("on the fleet", completed.unwrap_or(0.0)),
            ("the providers' own longest chain", of(|one| one.providers).unwrap_or(0.0)),
            ("on the fleet: to first audio", of(|one| one.first_audio).unwrap_or(0.0)),
        ],
    );
    let raw = |all: &[One]| all.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>();
    results.raw.insert(
        "podcasts".to_owned(),
        json!({"sequence": format!("{sequence:?}"), "alone": raw(&alone), "cached": raw(&cached), "uncached": raw(&uncached), "spoken": raw(&spoken)}),
    );
    Ok(())
}

async fn made(
    providers: Settings,
    outline_given: bool,
    bodies: &[Value],
    shutdown: &CancellationToken,
) -> anyhow::Result<Vec<One>> {
    let setup = Setup {
        outline_given,
        producers: 1,
        workers: 1,
        collectors: 1,
        speech: SPEECH,
        mixers: 5,
        ..Setup::default()
    };
    let stage = Stage::start(&setup, providers, shutdown).await?;
    let mut all = Vec::new();
    // Another podcast first: it opens connections, and has the voices heard that nobody has heard before.
    let mut outcome = one::make(&stage, &request(0)).await.map(drop);
    for body in bodies {
        match one::make(&stage, body).await {
            Ok(one) => all.push(one),
            Err(error) => outcome = Err(error),
        }
    }
    stage.stop(outcome.is_ok()).await?;
    outcome.map(|()| all)
}

fn with_source(body: &Value) -> Value {
    let sentence = "The tide comes in and goes out again, and nobody on the long beach has ever seen it wait for anyone. ";
    let mut body = body.clone();
    body["source"] = json!({"text": sentence.repeat(80)});
    // So long that the writer keeps to it within a sentence: it is never asked again.
    body["target_minutes"] = json!(6);
    body
}
