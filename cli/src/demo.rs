//! `podfleet demo`: two episodes, one English and one Korean, from nothing to MP3.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use common::request::{PodcastRequest, Source};
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::args::Demo;
use crate::client::Client;
use crate::client::shapes::{Accepted, Podcast};
use crate::command::download::{file_name, save};
use crate::command::submit::wait;
use crate::dev;
use crate::failure::Failure;
use crate::fleet::Options;
use crate::output::{clock, columns, from_here, print, print_json, remark};
use crate::progress::Board;

/// In the program, so that it works in any folder.
const SAMPLES: [&str; 2] = [include_str!("../../samples/tides.md"), include_str!("../../samples/kimchi.md")];

/// Seconds after which a sample will not be finished any more.
const DEADLINE: u64 = 30 * 60;

/// The end of each part's address, and of its file's name.
const PARTS: [(&str, &str); 6] = [
    ("audio", "mp3"),
    ("transcript.vtt", "vtt"),
    ("transcript.srt", "srt"),
    ("transcript.txt", "txt"),
    ("transcript.json", "transcript.json"),
    ("chapters.json", "chapters.json"),
];

pub(crate) async fn run(config: Option<&Path>, options: Demo) -> anyhow::Result<()> {
    let begun = Instant::now();
    let shutdown = dev::begin()?;
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("cannot make the folder {}", options.out.display()))?;
    let board = Board::new();
    let again = options.data.join("blobs").is_dir();
    let data = from_here(&options.data);
    let fleet =
        Options { data: options.data, port: 0, producers: 1, workers: 1, collectors: 1, external: false };
    let fleet = dev::start(config, &fleet, &board, &shutdown).await?;
    let ready = begun.elapsed();
    let client = Client::at(&fleet.api, None)?;
    let made = tokio::select! {
        made = make_all(&client, &options.out, &board) => Ok(made),
        error = fleet.hopeless() => Err(error),
        () = shutdown.cancelled() => Err(Failure::Interrupted.into()),
    };
    let logs = from_here(&fleet.logs);
    let stopped = {
        let _waiting = board.waiting("stopping everything");
        fleet.stop().await
    };
    let (made, errors): (Vec<_>, Vec<_>) = made?.into_iter().partition(Result::is_ok);
    let made: Vec<Made> = made.into_iter().flatten().collect();
    tell(&made, ready, begun.elapsed(), options.json)?;
    if again && !options.json {
        remark(format_args!("Speech of an earlier run was used again; remove {data} to start from nothing"));
    }
    match errors.into_iter().find_map(Result::err) {
        Some(error) => Err(error.context(format!("not every episode was made; the logs are in {logs}"))),
        None => stopped,
    }
}

/// An episode with its files.
#[derive(Debug)]
struct Made {
    podcast: Podcast,
    files: Vec<String>,
    took: Duration,
}

async fn make_all(client: &Client, out: &Path, board: &Board) -> Vec<anyhow::Result<Made>> {
    join_all(SAMPLES.map(|text| make(client, text, out, board))).await
}

async fn make(client: &Client, text: &str, out: &Path, board: &Board) -> anyhow::Result<Made> {
    let begun = Instant::now();
    let request = PodcastRequest {
        source: Some(Source { text: Some(text.to_owned()), url: None }),
        deadline_seconds: Some(DEADLINE),
        ..PodcastRequest::default()
    };
    let answer = client.submit(&request, &Uuid::new_v4().to_string()).await?;
    let accepted: Accepted = serde_json::from_value(answer).context("reading the server's answer")?;
    let (_, podcast) = wait(client, accepted.id, heading(text), board).await?;
    let took = begun.elapsed();
    let name = file_name(podcast.title.as_deref().unwrap_or_default());
    let mut files = Vec::new();
    for (part, ending) in PARTS {
        let path: PathBuf = out.join(format!("{name}.{ending}"));
        files.push(save(client, &format!("/v1/podcasts/{}/{part}", podcast.id), &path).await?);
    }
    Ok(Made { podcast, files, took })
}

/// The text's first line.
fn heading(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
}

fn tell(made: &[Made], ready: Duration, total: Duration, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let podcasts: Vec<_> = made.iter().map(to_json).collect();
        return print_json(&json!({
            "podcasts": podcasts, "ready_seconds": ready.as_secs_f64(), "total_seconds": total.as_secs_f64(),
        }));
    }
    if made.is_empty() {
        return Ok(());
    }
    let header = ["EPISODE", "LENGTH", "LOUDNESS", "TRUE PEAK", "MADE IN"];
    print(columns(&header, made.iter().map(row).collect()))?;
    print("")?;
    for file in made.iter().flat_map(|made| &made.files) {
        print(file)?;
    }
    remark(format_args!(
        "\n{:.0} s in all, {:.0} s of them to start the servers",
        total.as_secs_f64(),
        ready.as_secs_f64()
    ));
    Ok(())
}

fn row(made: &Made) -> Vec<String> {
    let episode = made.podcast.episode.clone().unwrap_or_default();
    vec![
        made.podcast.title().to_owned(),
        made.podcast.duration().map(clock).unwrap_or_default(),
        episode.lufs.map(|lufs| format!("{lufs:.1} LUFS")).unwrap_or_default(),
        episode.true_peak_dbtp.map(|peak| format!("{peak:.1} dBTP")).unwrap_or_default(),
        format!("{:.1} s", made.took.as_secs_f64()),
    ]
}

fn to_json(made: &Made) -> serde_json::Value {
    let episode = made.podcast.episode.clone().unwrap_or_default();
    json!({
        "id": made.podcast.id,
        "title": made.podcast.title,
        "duration_ms": made.podcast.duration().map(|length| length.as_millis()),
        "lufs": episode.lufs,
        "true_peak_dbtp": episode.true_peak_dbtp,
        "made_in_seconds": made.took.as_secs_f64(),
        "files": made.files,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_requests_that_can_be_accepted() {
        for (text, language) in SAMPLES.iter().zip(["en", "ko"]) {
            assert!(
                text.starts_with("# ") && !heading(text).is_empty(),
                "a sample's title is its first heading"
            );
            assert_eq!(common::request::detect_language(text), language);
        }
    }

    #[test]
    fn a_row_shows_what_was_measured() {
        let podcast = serde_json::from_value(json!({
            "id": Uuid::nil(), "state": "completed", "title": "김치는 왜 시어질까", "created_at": "2026-01-01T00:00:00Z",
            "duration_ms": 125_000, "episode": { "lufs": -16.02, "true_peak_dbtp": -1.48 }
        }))
        .unwrap();
        let made = Made { podcast, files: Vec::new(), took: Duration::from_millis(8_340) };
        assert_eq!(row(&made), ["김치는 왜 시어질까", "2:05", "-16.0 LUFS", "-1.5 dBTP", "8.3 s"]);
    }
}
