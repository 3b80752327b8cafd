//! `podfleet cancel`

use crate::args::One;
use crate::client::Client;
use crate::output::{print, print_json};

pub(crate) async fn run(options: One) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let answer = client.delete(&format!("/v1/podcasts/{}", options.id)).await?;
    if options.server.json {
        return print_json(&answer);
    }
    print(format_args!("{} is cancelled; what is being worked on ends by itself", options.id))
}
