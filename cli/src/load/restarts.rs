//! Roles that are told to leave, or killed, one after another while users go on: what an upgrade and an unlucky week look like.

use std::time::Duration;

use loadtest::probe::Process;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Between two of them.
const PERIOD: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(200);
const ROLES: [&str; 4] = ["producer", "worker", "collector", "mixer"];

pub(super) struct Restarts {
    stop: CancellationToken,
    striking: JoinHandle<usize>,
}

impl Restarts {
    pub(super) fn start(seed: u64, apis: Vec<String>) -> Restarts {
        let stop = CancellationToken::new();
        Restarts { striking: tokio::spawn(strike_on(seed, apis, stop.clone())), stop }
    }

    /// How many there were.
    pub(super) async fn stop(self) -> anyhow::Result<usize> {
        self.stop.cancel();
        Ok(self.striking.await?)
    }
}

async fn strike_on(seed: u64, apis: Vec<String>, stop: CancellationToken) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut strikes = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = stop.cancelled() => return strikes,
        }
        // As whoever rolls out an upgrade would: the next one goes when the last one is back.
        tokio::select! {
            () = until_ready(&apis) => {}
            () = stop.cancelled() => return strikes,
        }
        let role = ROLES[strikes % ROLES.len()];
        let of_role: Vec<Process> =
            Process::all().into_iter().filter(|process| process.role == role).collect();
        let Some(process) = random.choice(&of_role) else { continue };
        let signal =
            if (strikes / ROLES.len()).is_multiple_of(2) { Signal::SIGTERM } else { Signal::SIGKILL };
        // It may have ended by itself a moment ago.
        if kill(Pid::from_raw(process.pid.cast_signed()), signal).is_ok() {
            strikes += 1;
        }
    }
}

async fn until_ready(apis: &[String]) {
    let client = reqwest::Client::new();
    for api in apis {
        let ready = async || {
            let get = client.get(format!("{api}/readyz")).timeout(Duration::from_secs(2));
            get.send().await.is_ok_and(|answer| answer.status() == 200)
        };
        while !ready().await {
            tokio::time::sleep(POLL).await;
        }
    }
}
