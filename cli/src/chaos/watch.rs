//! Somebody who only looks on: how much memory the roles take, and which podcasts have ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::world::{Roster, World, connect, first_child_of};

const LOOK: Duration = Duration::from_secs(1);
/// The database may be down; then the next look sees what this one has not.
const ANSWER: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The most that one process of a role has had in memory, in MiB.
    pub(super) peak_mib: BTreeMap<String, u64>,
    /// Podcasts that were completed or cancelled: they must stay so.
    pub(super) ended: BTreeMap<Uuid, String>,
}

pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Watch {
    pub(super) fn start(world: &World) -> Watch {
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), CancellationToken::new());
        let looking = look_on(seen.clone(), stop.clone(), world.roster(), world.servers.postgres.url());
        Watch { seen, stop, task: AbortOnDropHandle::new(tokio::spawn(looking)) }
    }

    pub(super) fn seen(&self) -> Seen {
        locked(&self.seen).clone()
    }

    pub(super) async fn stop(self) -> Seen {
        self.stop.cancel();
        // It ends with the look that it is taking.
        let _ = self.task.await;
        locked(&self.seen).clone()
    }
}

fn locked(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn look_on(seen: Arc<Mutex<Seen>>, stop: CancellationToken, roster: Roster, database_url: String) {
    while !stop.is_cancelled() {
        measure(&seen, &roster);
        if let Ok(Ok(ended)) = tokio::time::timeout(ANSWER, ended(&database_url)).await {
            locked(&seen).ended.extend(ended);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn measure(seen: &Mutex<Seen>, roster: &Roster) {
    let pids = roster.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (name, pid) in pids {
        let role = name.split('-').next().unwrap_or_default().to_owned();
        let mixer = if role == "collector" { first_child_of(pid) } else { None };
        for (role, pid) in [(role, Some(pid)), ("mixer".to_owned(), mixer)] {
            let Some(peak) = pid.and_then(peak_mib) else { continue };
            let most = locked(seen).peak_mib.get(&role).copied().unwrap_or_default();
            locked(seen).peak_mib.insert(role, most.max(peak));
        }
    }
}

/// The most that a process has had in memory so far.
fn peak_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
}

async fn ended(database_url: &str) -> anyhow::Result<Vec<(Uuid, String)>> {
    const SQL: &str = "select id, state from podcasts
                       where state in ('completed', 'cancelled') and finished_at > now() - interval '30 s'";
    let rows = connect(database_url).await?.query(SQL, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
