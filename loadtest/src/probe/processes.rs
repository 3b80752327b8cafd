//! Processor time and memory of this process and of everything that it has started, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_millis(500);
/// Of the times in `/proc`, on every architecture that Podfleet runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process that is running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// `producer`, `worker`, `mixer`, `collector`, `rabbitmq`, `postgres`, `redis`, or the program's name.
    pub role: String,
}

/// What one process came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Usage {
    pub pid: u32,
    pub role: String,
    /// Of one core, while it was watched.
    pub cpu_percent: f64,
    /// The most that was resident, in MiB.
    pub memory_mb: f64,
    pub seconds: f64,
}

/// Watches until it is stopped.
#[derive(Debug)]
pub struct Sampler {
    stop: CancellationToken,
    watching: JoinHandle<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    seen: BTreeMap<u32, Seen>,
    others_cores: f64,
}

#[derive(Debug)]
struct Seen {
    role: String,
    first: (Instant, u64),
    last: (Instant, u64),
    most_kib: u64,
}

impl Sampler {
    pub fn start() -> Sampler {
        let stop = CancellationToken::new();
        Sampler { watching: tokio::spawn(watch(stop.clone())), stop }
    }

    /// What every process came to, and how many cores others used meanwhile.
    pub async fn stop(self) -> anyhow::Result<(Vec<Usage>, f64)> {
        self.stop.cancel();
        let watched = self.watching.await?;
        let usages = watched.seen.into_iter().map(|(pid, seen)| seen.usage(pid)).collect();
        Ok((usages, watched.others_cores))
    }
}

impl Process {
    /// This process and all below it.
    pub fn all() -> Vec<Process> {
        let mut found = Vec::new();
        let mut waiting = vec![std::process::id()];
        while let Some(pid) = waiting.pop() {
            waiting.extend(children(pid));
            if let Some(role) = role(pid) {
                found.push(Process { pid, role });
            }
        }
        found
    }
}

async fn watch(stop: CancellationToken) -> Watched {
    let mut watched = Watched::default();
    let started = (Instant::now(), busy_ticks());
    loop {
        watched.look();
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = stop.cancelled() => break,
        }
    }
    watched.look();
    let ours: u64 = watched.seen.values().map(|seen| seen.last.1.saturating_sub(seen.first.1)).sum();
    let all = busy_ticks().saturating_sub(started.1);
    watched.others_cores =
        all.saturating_sub(ours) as f64 / TICKS_PER_SECOND / started.0.elapsed().as_secs_f64().max(1e-9);
    watched
}

impl Watched {
    fn look(&mut self) {
        for Process { pid, role } in Process::all() {
            let Some(ticks) = ticks(pid) else { continue };
            let now = (Instant::now(), ticks);
            let seen =
                self.seen.entry(pid).or_insert_with(|| Seen { role, first: now, last: now, most_kib: 0 });
            seen.last = now;
            seen.most_kib = seen.most_kib.max(resident_kib(pid));
        }
    }
}

impl Seen {
    fn usage(self, pid: u32) -> Usage {
        let seconds = self.last.0.duration_since(self.first.0).as_secs_f64();
        let used = self.last.1.saturating_sub(self.first.1) as f64 / TICKS_PER_SECOND;
        Usage {
            pid,
            role: self.role,
            cpu_percent: if seconds > 0.0 { 100.0 * used / seconds } else { 0.0 },
            memory_mb: self.most_kib as f64 / 1024.0,
            seconds,
        }
    }
}

fn children(pid: u32) -> Vec<u32> {
    // Children are listed by the thread that started them.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

fn role(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<String> =
        line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    name(&words)
}

fn name(words: &[String]) -> Option<String> {
    // PostgreSQL and Redis write what they do behind their names.
    let program = words.first()?.rsplit('/').next()?.split([':', ' ']).next()?;
    Some(match program {
        "" => return None,
        "podfleet" => match words.get(1).map(String::as_str) {
            Some("worker") if words.iter().any(|word| word.contains("mix")) => "mixer",
            Some(role @ ("producer" | "worker" | "collector")) => role,
            _ => "load and providers",
        }
        .to_owned(),
        "beam.smp" => "rabbitmq".to_owned(),
        "redis-server" => "redis".to_owned(),
        other => other.to_owned(),
    })
}

/// Processor time so far, in ticks.
fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, blanks and brackets included.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// Of the whole machine.
fn busy_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .map(|line| line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect())
        .unwrap_or_default();
    // user, nice, system, irq, softirq
    [0, 1, 2, 5, 6].iter().filter_map(|place| fields.get(*place)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_named_by_what_they_do() {
        let check = |line: &str, role: Option<&str>| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(name(&words).as_deref(), role, "{line}");
        };
        check("/x/target/release/podfleet worker --concurrency 4", Some("worker"));
        check("/x/podfleet worker --tasks mix,join --parent 7", Some("mixer"));
        assert_eq!(name(&["redis-server 127.0.0.1:6379".to_owned()]).as_deref(), Some("redis"));
        check("/x/podfleet collector", Some("collector"));
        check("podfleet loadtest run light", Some("load and providers"));
        check("postgres: podfleet podfleet 127.0.0.1(5) idle", Some("postgres"));
        check("/usr/lib/erlang/erts/bin/beam.smp -W w", Some("rabbitmq"));
        check("", None);
    }

    #[tokio::test]
    async fn work_and_memory_are_seen() {
        let sampler = Sampler::start();
        let held = vec![1u8; 32 << 20];
        let started = Instant::now();
        let mut sum = 0u64;
        while started.elapsed() < Duration::from_millis(700) {
            sum = sum.wrapping_add(held.iter().map(|byte| u64::from(*byte)).sum::<u64>());
            tokio::task::yield_now().await;
        }
        let (usages, others) = sampler.stop().await.unwrap();
        let own = usages.iter().find(|usage| usage.pid == std::process::id()).unwrap();
        assert!(own.cpu_percent > 5.0 && own.memory_mb > 32.0, "{own:?} {sum}");
        assert!(others >= 0.0);
    }
}
