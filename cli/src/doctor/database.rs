//! PostgreSQL: what it promises of what it has committed, and how fast.

use std::time::{Duration, Instant};

use common::config::Database;
use common::store::{self, Store, health};
use jiff::Timestamp;

use super::{Findings, middle_ms};

/// Commits that are timed.
const COMMITS: usize = 20;
/// A clock that is off by more makes logs hard to read; leases and deadlines go by the database's.
const CLOCK: Duration = Duration::from_secs(2);

pub(super) async fn look(database: &Database, found: &mut Findings) {
    let remedy =
        "Start PostgreSQL, or set PODFLEET__DATABASE__URL to postgres://user:password@host:port/database";
    let store = match Store::new(database, "doctor", 1) {
        Ok(store) => store,
        Err(error) => return found.failed("connection", &error, "nothing is accepted", remedy),
    };
    match store.run(async |client| health::look(client).await).await {
        Ok(health) => settings(&health, found),
        Err(error) => return found.failed("connection", &error, "nothing is accepted", remedy),
    }
    match store.run(async |client| health::fleet(client).await).await {
        Ok(fleet) => roles(&fleet, found),
        Err(error) if store::code(&error).is_some() => {
            let means = "producers, collectors and `podfleet migrate` bring it up to date";
            found.note("schema", "there is none, or an older one", means);
        }
        Err(error) => found.failed("schema", &error, "it could not be read", "Look at the server's log"),
    }
    commits(&store, found).await;
}

fn settings(health: &health::Health, found: &mut Findings) {
    let version = health.version_number / 10_000;
    if version >= 14 {
        found.ok("version", health.version.clone(), "it is new enough");
    } else {
        found.bad(
            "version",
            health.version.clone(),
            "statements of the fleet need 14",
            "Upgrade to 14 or newer",
        );
    }
    if health.in_recovery {
        let remedy = "Name the primary in PODFLEET__DATABASE__URL";
        found.bad("role", "a standby", "nothing can be written here", remedy);
    }
    for (name, on, lost) in [
        ("fsync", health.fsync, "a crash of the machine may leave a database that cannot be read"),
        ("full_page_writes", health.full_page_writes, "a crash of the machine may leave torn pages"),
        (
            "synchronous_commit",
            health.synchronous_commit,
            "the fleet asks for it in each session, so it does not matter",
        ),
    ] {
        match (on, name) {
            (true, _) => found.ok(name, "on", "what is committed survives a crash of the machine"),
            (false, "synchronous_commit") => found.note(name, "off", lost),
            (false, _) => {
                found.bad(name, "off", lost, "Turn it on in postgresql.conf, unless this is for tests");
            }
        }
    }
    if health.data_checksums {
        found.ok("data checksums", "on", "a disk that corrupts data is noticed");
    } else {
        found.note(
            "data checksums",
            "off",
            "a disk that corrupts data is not noticed; `pg_checksums --enable` turns them on",
        );
    }
    let free = health.max_connections - health.connections;
    let means = "a producer takes 8 and 3 for its pages, a collector 2, a worker none";
    if free >= 20 {
        found.ok("connections", format!("{free} of {} are free", health.max_connections), means);
    } else {
        found.note("connections", format!("only {free} of {} are free", health.max_connections), means);
    }
    let apart = Timestamp::now().duration_since(health.now).unsigned_abs();
    let told = format!("{:.1} s apart from this machine's", apart.as_secs_f64());
    let means = "leases and deadlines go by the database's";
    if apart <= CLOCK { found.ok("clock", told, means) } else { found.note("clock", told, means) }
}

fn roles(fleet: &health::Fleet, found: &mut Findings) {
    if fleet.pending_migrations == 0 {
        found.ok("schema", "up to date", "this build knows all of it");
    } else {
        let told = format!("{} migrations are to come", fleet.pending_migrations);
        found.note("schema", told, "producers, collectors and `podfleet migrate` bring it up to date");
    }
    let told = format!(
        "{} publish, {} workers were heard of within a minute, {} keys open",
        fleet.publishers, fleet.workers, fleet.keys
    );
    if fleet.publishers == 0 {
        found.note("fleet", told, "neither a collector nor a busy producer runs on this database now");
    } else {
        found.ok("fleet", told, "somebody dispatches work");
    }
}

/// Each of them is on the disk when it has ended; none leaves anything behind.
async fn commits(store: &Store, found: &mut Findings) {
    let timed = store
        .run(async |client| {
            let mut took = Vec::with_capacity(COMMITS);
            for _ in 0..COMMITS {
                let began = Instant::now();
                health::commit(client).await?;
                took.push(began.elapsed());
            }
            Ok(middle_ms(took))
        })
        .await;
    match timed {
        Ok(ms) if ms < 20.0 => found.ok(
            "commits",
            format!("{ms:.1} ms, the middle one of {COMMITS}"),
            "many requests and outcomes share one, so this bounds nothing else",
        ),
        Ok(ms) => found.note(
            "commits",
            format!("{ms:.0} ms, the middle one of {COMMITS}"),
            "a slow disk: each request is answered no sooner than that",
        ),
        Err(error) => found.failed(
            "commits",
            &error,
            "it cannot be written",
            "Give the user the right to write, and make room on the disk",
        ),
    }
}
