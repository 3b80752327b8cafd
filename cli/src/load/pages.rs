//! Pages of the dashboard that people have open while the fleet works: as a browser does, each is loaded, renewed by its stream, and
//! connects again when that ends.

use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const RECONNECT: Duration = Duration::from_secs(1);
const RENEWAL: &str = "event: parts";

pub(super) struct Pages {
    stop: CancellationToken,
    open: JoinSet<u64>,
}

impl Pages {
    /// So many of the page `/now`, spread over the producers.
    pub(super) fn open(count: u16, apis: &[String]) -> Pages {
        let stop = CancellationToken::new();
        let mut open = JoinSet::new();
        for api in apis.iter().cycle().take(usize::from(count)) {
            let (api, stop) = (api.clone(), stop.clone());
            open.spawn(async move {
                let mut renewals = 0;
                tokio::select! {
                    () = keep_open(&api, &mut renewals) => {}
                    () = stop.cancelled() => {}
                }
                renewals
            });
        }
        Pages { stop, open }
    }

    /// How often they were renewed.
    pub(super) async fn close(self) -> u64 {
        self.stop.cancel();
        self.open.join_all().await.into_iter().sum()
    }
}

async fn keep_open(api: &str, renewals: &mut u64) {
    loop {
        // A producer that was restarted: the browser connects again.
        if let Err(error) = look(api, renewals).await {
            tracing::debug!(error = format!("{error:#}"), "a page lost its producer");
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn look(api: &str, renewals: &mut u64) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    client.get(format!("{api}/now")).send().await?.error_for_status()?.bytes().await?;
    let live = client.get(format!("{api}/now/live")).header("accept", "text/event-stream");
    let mut stream = live.send().await?.error_for_status()?.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.context("the page's stream broke")?;
        *renewals += String::from_utf8_lossy(&chunk).matches(RENEWAL).count() as u64;
    }
    Ok(())
}
