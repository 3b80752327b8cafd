//! `podfleet cancel`

use anyhow::Context;
use serde_json::json;

use crate::args::Cancel;
use crate::client::Client;
use crate::client::shapes::Podcast;
use crate::failure::Failure;
use crate::output::{print, print_json};

pub(crate) async fn run(options: Cancel) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let path = format!("/v1/podcasts/{}", options.id);
    if options.dry_run {
        let shown = client.get(&path).await?;
        let podcast: Podcast = serde_json::from_value(shown).context("reading the server's answer")?;
        return trial(&podcast, options.server.json);
    }
    let answer = client.delete(&path).await?;
    if options.server.json {
        return print_json(&answer);
    }
    print(format_args!("{} is cancelled; what is being worked on ends by itself", options.id))
}

fn trial(podcast: &Podcast, as_json: bool) -> anyhow::Result<()> {
    if podcast.is_finished() {
        let told =
            format!("it is {}, so there is nothing to cancel; `podfleet erase` removes it", podcast.state);
        return Err(Failure::Broken(told).into());
    }
    if as_json {
        return print_json(&json!({ "dry_run": true, "would_cancel": podcast.id, "stage": podcast.stage }));
    }
    let progress = podcast.progress;
    print(format_args!(
        "would cancel {}, at {}, with {} of {} segments spoken; nothing has happened",
        podcast.title(),
        podcast.stage,
        progress.segments_done,
        progress.segments_total
    ))
}
