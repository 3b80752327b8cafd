//! Machines whose clocks are ten minutes off. What must be fair between processes goes by the database's clock.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use loadtest::providers::{Provider, Settings};
use tokio::process::Command;

use crate::audio::expect_every_number_once;
use crate::fleet::{Fleet, Servers, Setup, numbered_article};

/// Shifts what a process believes to be the time of day. Its other clocks go on as they are, as on a machine that is set wrong.
const SHIFT: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, at);
    const char *seconds = getenv("CLOCK_SHIFT_SECONDS");
    if (clock == CLOCK_REALTIME && seconds) at->tv_sec += atol(seconds);
    return result;
}
"#;

async fn build_shift(folder: &Path) -> anyhow::Result<PathBuf> {
    let (source, library) = (folder.join("shift.c"), folder.join("shift.so"));
    std::fs::write(&source, SHIFT)?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl");
    ensure!(compiler.status().await?.success(), "the C compiler failed");
    Ok(library)
}

pub(crate) async fn clocks_may_be_wrong(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let settings =
        Settings::default().fail_first(3, 429, Some(Duration::from_secs(1))).fail_first(3, 500, None);
    let provider = Provider::start(settings).await?;
    let setup = Setup { producers: 0, workers: 0, collectors: 0, ..Setup::default() };
    let mut fleet = Fleet::start(
        servers,
        "clocks",
        setup.with_speech_server(&provider.url()).with("COLLECTOR__SINGLE_ACTIVE", false),
    )
    .await?;
    let library = build_shift(&fleet.folder).await?.display().to_string();
    let at = |seconds: &'static str| [("LD_PRELOAD", library.as_str()), ("CLOCK_SHIFT_SECONDS", seconds)];
    // Two of each that act on times, ten minutes early and ten minutes late.
    for shift in ["600", "-600"] {
        fleet.spawn("collector", &at(shift)).await?;
        fleet.spawn("worker", &at(shift)).await?;
    }
    fleet.spawn_producer(&at("600")).await?;
    let begun = Instant::now();
    let id = fleet.submit(&numbered_article(2, 8)).await?;
    fleet.completed(&id).await?;
    println!("  done in {:.1} s with clocks that are 20 minutes apart", begun.elapsed().as_secs_f64());
    expect_every_number_once(&fleet, &id).await?;
    let apart = fleet
        .count("select (extract(epoch from max(started_at) - min(started_at)) / 60)::bigint from attempts")
        .await?;
    ensure!(apart >= 19, "the clocks were not wrong: attempts began within {apart} minutes");
    // No storm: each refusal was one attempt, and none came before its time. No theft: nobody took what another was sending.
    let failed =
        fleet.count("select count(*) from attempts where class in ('throttled', 'transient')").await?;
    ensure!(failed == 6, "{failed} attempts failed instead of 6");
    ensure!(
        fleet.count("select count(*) from attempts where class = 'interrupted'").await? == 0,
        "a lease was taken away"
    );
    ensure!(provider.ledger().answers_by_text().values().all(|count| *count == 1), "paid once");
    fleet.at_rest().await?;
    fleet.stop().await
}
