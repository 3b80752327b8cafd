//! Voices that nobody has heard yet say a few sentences before an episode is written to a length: its first chapter cannot be
//! planned by what speech lasted otherwise.

use std::collections::BTreeSet;
use std::time::Duration;

use common::config::EngineType;
use common::wire::Ticket;
use common::work::{Brief, SpeechInput};
use futures_util::future::join_all;

use super::speaking::speak;
use super::speech_engine;
use crate::Env;
use crate::audio::SAMPLE_RATE;
use crate::engine::pace::VoiceName;
use crate::engine::{Bill, Call};
use crate::failure::Failure;
use crate::text::{chunks, is_speakable, primary, sections, speakable_units};

/// A plan does not wait longer for it.
const LONGEST: Duration = Duration::from_secs(20);
/// Of a source, where there is no sample in its language: some twenty seconds of speech.
const SAMPLE_CHARS: usize = 300;
/// How far a source is read for it.
const READ_CHARS: usize = 4_000;

/// Hears the voices of a podcast that are not known yet, each once, whoever asks. What it costs goes on the bill of `call`. A
/// voice that cannot be heard now is left at its usual pace: speech has its own task, which says what is wrong.
pub(super) async fn hear_voices(
    env: &Env,
    ticket: &Ticket,
    brief: &Brief,
    source: Option<&str>,
    call: &Call,
) {
    let engine = speech_engine(env, brief);
    let speaks = env.config.engines.get(engine).is_some_and(|engine| engine.r#type != EngineType::Noop);
    let Some(text) = sample(&brief.language, source).filter(|_| speaks && env.engines.has(engine)) else {
        return;
    };
    let voices: BTreeSet<&str> = brief.speakers.iter().map(|speaker| speaker.voice.as_str()).collect();
    let hearing = voices.into_iter().enumerate().map(|(place, voice)| {
        let input = SpeechInput {
            text: text.clone(),
            voice: voice.to_owned(),
            language: brief.language.clone(),
            take: 0,
        };
        let name = VoiceName::new(&env.config, engine, voice, &brief.language);
        async move { env.measured.hear(&name, say(env, ticket, engine, &input, place, call)).await }
    });
    join_all(hearing).await;
}

/// Units that were said, and the milliseconds that they took.
async fn say(
    env: &Env,
    ticket: &Ticket,
    engine: &str,
    input: &SpeechInput,
    place: usize,
    call: &Call,
) -> Result<(f64, u64), Failure> {
    let time_left = LONGEST.min(call.time_left / 4);
    let bill = Bill::default();
    let call_of_its_own =
        Call { bill: bill.clone(), ..Call::new(format!("{}-voice{place}", call.idempotency_key), time_left) };
    let ticket = Ticket { engine: engine.to_owned(), ..ticket.clone() };
    let spoken = tokio::time::timeout(time_left, speak(env, &ticket, engine, input, &call_of_its_own)).await;
    // The outline's units are another engine's: tokens.
    if !bill.price().is_nothing() {
        call.bill.add(0, bill.sum().1);
    }
    let spoken = spoken.unwrap_or_else(|_| Err(Failure::timeout("the voice was not heard in time")));
    if let Err(failure) = &spoken {
        tracing::info!(
            engine, voice = input.voice, error = %failure,
            "a voice could not be heard; its usual pace is taken"
        );
    }
    let samples = spoken?.prepared.samples;
    Ok((speakable_units(&input.text, &input.language), samples * 1_000 / u64::from(SAMPLE_RATE)))
}

/// Twenty seconds of plain prose in the language, with as few pauses in it as turns have: one of ours, else the source's first
/// sentences.
fn sample(language: &str, source: Option<&str>) -> Option<String> {
    let primary = primary(language);
    if let Some((_, text)) = SAMPLES.iter().find(|(known, _)| *known == primary) {
        return Some((*text).to_owned());
    }
    // Reading all of a long one takes seconds.
    let start: String = source?.chars().take(READ_CHARS).collect();
    let sections = sections(&start, language);
    let sentences = sections.iter().flat_map(|section| &section.paragraphs).flatten();
    let mut text = String::new();
    for sentence in sentences {
        text.push_str(sentence);
        text.push_str(crate::text::separator(language));
        if text.chars().count() >= SAMPLE_CHARS {
            break;
        }
    }
    chunks(&text, 2 * SAMPLE_CHARS).into_iter().next().filter(|text| is_speakable(text))
}

/// The first sentence of our sample in a language.
pub(crate) fn sample_sentence(language: &str) -> Option<&'static str> {
    let (_, text) = SAMPLES.iter().find(|(known, _)| *known == primary(language))?;
    let end = text
        .char_indices()
        .find(|(_, c)| matches!(c, '.' | '。'))
        .map_or(text.len(), |(at, c)| at + c.len_utf8());
    text.get(..end)
}

const SAMPLES: [(&str, &str); 11] = [
    (
        "en",
        "Every morning the harbour wakes before the town does. The boats come back from the open sea and their crews carry \
         boxes of fish across the wet stones while the gulls on the roofs hope that something will fall. By the time the shops \
         open most of the work is done, and until the evening it is quiet again.",
    ),
    (
        "ko",
        "항구는 마을보다 먼저 아침을 맞이합니다. 밤새 바다에 나갔던 배들이 하나둘 돌아오고, 사람들은 젖은 돌길을 따라 물고기 상자를 나릅니다. \
         지붕 위에서는 갈매기들이 무언가 떨어지기를 기다립니다. 가게들이 문을 열 무렵이면 일은 거의 끝나고, 저녁이 될 때까지 다시 조용해집니다.",
    ),
    (
        "ja",
        "港は町よりも早く朝を迎えます。夜のあいだ海に出ていた船が次々と戻り、人々は濡れた石畳の上を、魚の箱を運んで歩きます。\
         屋根の上ではカモメが、何か落ちてこないかと待っています。店が開くころには仕事はほとんど終わり、夕方までまた静かな時間が続きます。",
    ),
    (
        "zh",
        "港口总是比小镇更早醒来。夜里出海的船一艘接一艘地回来，人们踩着湿漉漉的石板路，搬运一箱箱的鱼。海鸥站在屋顶上，等着有什么东西掉下来。\
         等到商店开门的时候，活儿差不多已经干完了，直到傍晚，这里又恢复了安静。",
    ),
    (
        "de",
        "Der Hafen wacht jeden Morgen vor der Stadt auf. Die Boote kommen vom offenen Meer zurück, und ihre Mannschaften tragen \
         Kisten voller Fisch über die nassen Steine. Auf den Dächern warten die Möwen und hoffen, dass etwas herunterfällt. Wenn \
         die Läden öffnen, ist die meiste Arbeit getan, und bis zum Abend kehrt die Ruhe zurück.",
    ),
    (
        "fr",
        "Chaque matin, le port se réveille avant la ville. Les bateaux reviennent du large, et les équipages portent des caisses \
         de poisson sur les pierres mouillées. Les mouettes attendent sur les toits et espèrent que quelque chose va tomber. \
         Quand les boutiques ouvrent, presque tout le travail est fait, et le calme revient jusqu’au soir.",
    ),
    (
        "es",
        "Cada mañana el puerto se despierta antes que el pueblo. Los barcos vuelven de alta mar, y los marineros llevan cajas de \
         pescado sobre las piedras mojadas. Las gaviotas esperan en los tejados por si cae alguna cosa. Cuando abren las \
         tiendas, casi todo el trabajo está hecho, y la calma vuelve hasta la noche.",
    ),
    (
        "it",
        "Ogni mattina il porto si sveglia prima della città. Le barche tornano dal mare aperto, e gli equipaggi portano casse di \
         pesce sulle pietre bagnate. I gabbiani aspettano sui tetti e sperano che cada qualcosa. Quando aprono i negozi, quasi \
         tutto il lavoro è finito, e la calma ritorna fino a sera.",
    ),
    (
        "pt",
        "Todas as manhãs o porto acorda antes da cidade. Os barcos voltam do mar alto, e as tripulações levam caixas de peixe \
         sobre as pedras molhadas. As gaivotas esperam nos telhados, na esperança de que alguma coisa caia. Quando as lojas \
         abrem, quase todo o trabalho está feito, e a calma volta até à noite.",
    ),
    (
        "nl",
        "Elke ochtend wordt de haven eerder wakker dan de stad. De boten komen terug van zee, en de bemanning draagt kisten vis \
         over de natte stenen. Op de daken wachten de meeuwen en hopen dat er iets valt. Als de winkels opengaan, is het meeste \
         werk gedaan, en tot de avond keert de rust terug.",
    ),
    (
        "ru",
        "Каждое утро порт просыпается раньше города. Лодки возвращаются из открытого моря, и рыбаки несут ящики с рыбой по мокрым \
         камням. На крышах ждут чайки и надеются, что им что-нибудь достанется. Когда открываются магазины, почти вся работа \
         уже сделана, и до самого вечера снова становится тихо.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_about_twenty_seconds_of_their_language() {
        for (language, text) in SAMPLES {
            let minutes = speakable_units(text, language) / f64::from(common::config::usual_rate(language));
            assert!((0.2..0.5).contains(&minutes), "{language}: {minutes}");
            assert_eq!(sample(&format!("{language}-XX"), None).as_deref(), Some(text));
        }
    }

    #[test]
    fn other_languages_are_sampled_from_the_source() {
        let sentence = "Przypływ przychodzi dwa razy dziennie, bo Księżyc przyciąga morze. ";
        let source = format!("# Pływy\n\n{}", sentence.repeat(20));
        let text = sample("pl", Some(&source)).unwrap();
        assert!(text.starts_with("Przypływ") && (300..=600).contains(&text.chars().count()), "{text}");
        assert_eq!(sample("pl", None), None);
        assert_eq!(sample("pl", Some("…")), None);
    }
}
