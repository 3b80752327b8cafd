//! `podfleet loadtest providers`: simulated providers until Ctrl-C.

use loadtest::providers::{Ledger, Length, Provider, Settings};
use serde_json::json;

use crate::args::loadtest::Providers;
use crate::dev;
use crate::failure::usage;
use crate::output::{print, print_json, remark};

pub(crate) async fn run(options: Providers) -> anyhow::Result<()> {
    let settings = settings(&options).map_err(|error| usage(&error))?;
    let shutdown = dev::begin()?;
    let provider = Provider::bind(options.bind, settings).await.map_err(|error| usage(&error))?;
    if options.json {
        print_json(&json!({ "url": provider.url() }))?;
    } else {
        print(format_args!(
            "Simulated providers listen on {url}\n  speech  POST {url}/v1/audio/speech\n  chat    POST {url}/v1/chat/completions\n  \
             rules   GET, POST and DELETE {url}/rules\n  ledger  GET {url}/ledger",
            url = provider.url()
        ))?;
    }
    shutdown.cancelled().await;
    let ledger = provider.stop().await;
    remark(summary(&ledger));
    Ok(())
}

fn settings(options: &Providers) -> anyhow::Result<Settings> {
    let mut settings = match &options.rules {
        Some(file) => Settings::read(file)?,
        None if options.goals => Settings::performance_goals(),
        None => {
            let mut settings = Settings::default();
            settings.speech.length = Length::Natural;
            settings
        }
    };
    settings.key.clone_from(&options.api_key);
    Ok(settings)
}

fn summary(ledger: &Ledger) -> String {
    #[allow(clippy::cast_precision_loss)]
    let dollars = ledger.price_micros as f64 / 1e6;
    let (calls, peak) = (ledger.total, ledger.peak_in_flight);
    format!("{calls} calls, at most {peak} at a time, for ${dollars:.2} of simulated money")
}
