//! `podfleet submit`

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use common::request::{MAX_SOURCE_BYTES, PodcastRequest, Source};
use serde_json::Value;
use uuid::Uuid;

use super::download;
use super::show::place;
use crate::args::podcasts::Submit;
use crate::client::Client;
use crate::client::follow::follow;
use crate::client::shapes::{Accepted, Podcast};
use crate::failure::Failure;
use crate::output::{clock, own_name, print, print_json, remark};
use crate::progress::Board;

pub(crate) async fn run(options: Submit) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let as_json = options.server.json;
    let key = options.idempotency_key.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
    let request = request(&options)?;
    // Found out now, and not when the episode is finished.
    if let Some(path) = options.output.as_deref().filter(|path| !download::folder_of(path).is_dir()) {
        return Err(
            Failure::Usage(format!("cannot write {}: there is no such folder", path.display())).into()
        );
    }
    let answer = client.submit(&request, &key).await?;
    let accepted: Accepted = serde_json::from_value(answer.clone()).context("reading the server's answer")?;
    if !(options.wait || options.output.is_some()) {
        return if as_json { print_json(&answer) } else { tell(&client, &accepted) };
    }
    if !as_json {
        tell(&client, &accepted)?;
    }
    let waited = wait(&client, accepted.id, &name(&options), &Board::new()).await;
    if waited.is_err() && !as_json {
        remark(format_args!("see `{} show {}` for what was tried", own_name(), accepted.id));
    }
    let (answer, podcast) = waited?;
    let saved = match &options.output {
        Some(path) => {
            Some(download::save(&client, &format!("/v1/podcasts/{}/audio", accepted.id), path).await?)
        }
        None => None,
    };
    if as_json {
        return print_json(&answer);
    }
    let length = podcast.duration().map(clock).unwrap_or_default();
    let place = saved.map_or_else(
        || format!("fetch it with `{} download {}`", own_name(), accepted.id),
        |path| format!("saved as {path}"),
    );
    print(format_args!("{} ({length}) is ready; {place}", podcast.title()))
}

fn tell(client: &Client, accepted: &Accepted) -> anyhow::Result<()> {
    if accepted.replayed {
        remark("this was submitted before under the same key; here it is");
    }
    if let Some(queued) = &accepted.queued {
        remark(format_args!("it waits for its turn: {}", place(queued)));
    }
    print(format_args!("{}  {}/v1/podcasts/{}", accepted.id, client.address(), accepted.id))
}

/// Shows progress until the podcast is finished; anything but a finished episode is an error. Returns the podcast as the
/// server tells it, and as it is understood. It is called `name` until it has a title.
pub(crate) async fn wait(
    client: &Client,
    id: Uuid,
    name: &str,
    board: &Board,
) -> anyhow::Result<(Value, Podcast)> {
    let mut line = board.line(name);
    let ended = follow(client, id, |_, event| {
        line.update(event);
        Ok(())
    })
    .await;
    if let Err(error) = ended {
        line.end("lost sight of it");
        return Err(error);
    }
    let value = client.get(&format!("/v1/podcasts/{id}")).await?;
    let podcast: Podcast = serde_json::from_value(value.clone()).context("reading the server's answer")?;
    line.end(&podcast.state);
    if podcast.state == "completed" {
        Ok((value, podcast))
    } else {
        Err(unsuccessful(&podcast, value).into())
    }
}

/// Why there is no episode.
pub(crate) fn unsuccessful(podcast: &Podcast, value: Value) -> Failure {
    let message = match &podcast.failure {
        Some(failure) => format!("{} failed while at {failure}", podcast.title()),
        None if podcast.state == "cancelled" => format!("{} was cancelled", podcast.title()),
        None => format!("{} is {}", podcast.title(), podcast.state),
    };
    Failure::Podcast { message, podcast: value }
}

fn name(options: &Submit) -> String {
    options.title.clone().unwrap_or_else(|| options.file.display().to_string())
}

fn request(options: &Submit) -> anyhow::Result<PodcastRequest> {
    Ok(PodcastRequest {
        title: options.title.clone(),
        source: Some(Source { text: Some(read(&options.file)?), url: None }),
        language: options.language.clone(),
        format: options.format,
        target_minutes: options.minutes,
        speakers: options.speakers.clone(),
        priority: options.priority,
        deadline_seconds: options.deadline,
        ..PodcastRequest::default()
    })
}

/// The text, which is refused here when the server would refuse it for its size.
fn read(file: &Path) -> anyhow::Result<String> {
    let (name, input): (String, Box<dyn Read>) = if file == Path::new("-") {
        ("standard input".into(), Box::new(std::io::stdin().lock()))
    } else {
        let opened = std::fs::File::open(file);
        let opened =
            opened.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", file.display())))?;
        (file.display().to_string(), Box::new(opened))
    };
    let mut bytes = Vec::new();
    input
        .take(MAX_SOURCE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Usage(format!("cannot read {name}: {error}")))?;
    Ok(text(&name, bytes)?)
}

fn text(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    if bytes.len() > MAX_SOURCE_BYTES {
        return Err(Failure::Usage(format!("{name} is larger than {MAX_SOURCE_BYTES} bytes; split it")));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::Usage(format!("{name} is not UTF-8 text; convert it, for example with iconv"))
    })?;
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    if text.trim().is_empty() {
        return Err(Failure::Usage(format!("{name} is empty; give it a text to make a podcast of")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_utf8_not_empty_and_not_too_long() {
        let refused = |bytes: &[u8], reason: &str| {
            let error = text("notes.md", bytes.to_vec()).unwrap_err().to_string();
            assert!(error.starts_with("notes.md ") && error.contains(reason), "{error}");
        };
        refused(b"", "empty");
        refused(b" \n", "empty");
        refused(&[0xff, 0xfe], "UTF-8");
        refused(&vec![b'a'; MAX_SOURCE_BYTES + 1], "larger than");
        assert_eq!(text("notes.md", "\u{feff}바다".into()).unwrap(), "바다");
    }

    #[test]
    fn a_failed_podcast_tells_why() {
        let value = json!({
            "id": Uuid::nil(), "state": "failed", "title": "Tides", "created_at": "2026-01-01T00:00:00Z",
            "failure": { "class": "permanent_config", "stage": "tts", "message": "espeak-ng was not found" }
        });
        let podcast: Podcast = serde_json::from_value(value.clone()).unwrap();
        let message = unsuccessful(&podcast, value).to_string();
        assert_eq!(message, "Tides failed while at tts: espeak-ng was not found (permanent_config)");
    }
}
