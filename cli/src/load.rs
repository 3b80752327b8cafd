//! `podfleet loadtest run`: a fleet of real processes on private servers, simulated providers, and users who submit and watch.
//!
//! Read in this order: [`stage`] (the fleet and its providers), [`restarts`] (what is killed during a soak), [`pages`] (the dashboard, kept
//! open), [`one`] (a podcast that is alone), [`baseline`] (the same in sequence).

pub(crate) mod baseline;
pub(crate) mod one;
mod pages;
mod restarts;
pub(crate) mod stage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use common::config::Order;
use jiff::Timestamp;
use loadtest::probe::{Broker, Machine, Sampler, Usage};
use loadtest::report::{Document, Figure, page};
use loadtest::scenario::arrivals::arrivals;
use loadtest::scenario::{self, Course, Ended, Observed, Ran, Scenario};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::args::loadtest::Run;
use crate::dev;
use crate::failure::Failure;
use crate::output::{columns, from_here, print, print_json, remark};
use pages::Pages;
use restarts::Restarts;
use stage::{Setup, Stage};

/// A podcast that takes so many times as long as it should has failed.
const PATIENCE: f64 = 6.0;
const LEAST_PATIENCE: Duration = Duration::from_secs(240);
/// Counters of the servers lag behind by this.
const SETTLED: Duration = Duration::from_secs(6);

pub(crate) async fn run(options: Run) -> anyhow::Result<()> {
    let shutdown = dev::begin()?;
    let document = if options.scenario == "baseline" {
        baseline::run(options.seed, &shutdown).await?
    } else {
        let mut scenario = Scenario::named(&options.scenario).context("a scenario of this name")?;
        scenario.minutes = options.minutes.unwrap_or(scenario.minutes);
        scenario.faster = options.faster.unwrap_or(scenario.faster);
        scenario.articles = options.articles.or(scenario.articles);
        check(&scenario)?;
        scenario.workers = options.workers.unwrap_or(scenario.workers);
        scenario.speech = options.speech.unwrap_or(scenario.speech);
        scenario.pages = options.pages;
        measure(&scenario, options.seed, options.order, &shutdown).await?
    };
    let file = options
        .output
        .unwrap_or_else(|| PathBuf::from("out/loadtest").join(format!("{}.json", options.scenario)));
    write(&document, &file)?;
    if options.json {
        print_json(&serde_json::to_value(&document)?)?;
    } else {
        print(table(&document.results))?;
        remark(format_args!(
            "\n{}\nThe same in {}, with plots beside it",
            document.machine,
            from_here(&file)
        ));
    }
    Ok(())
}

fn check(scenario: &Scenario) -> anyhow::Result<()> {
    let fault = |field: &str, given: f64, range: &str| {
        Err(Failure::Usage(format!("--{field} is {given}; give {range}")).into())
    };
    if !(0.01..=10_000.0).contains(&scenario.minutes) {
        return fault("minutes", scenario.minutes, "0.01 to 10000");
    }
    if !(0.1..=1_000.0).contains(&scenario.faster) {
        return fault("faster", scenario.faster, "0.1 to 1000");
    }
    match scenario.articles {
        Some(0) => fault("articles", 0.0, "1 or more"),
        _ => Ok(()),
    }
}

/// The report and its page.
pub(crate) fn write(document: &Document, file: &Path) -> anyhow::Result<()> {
    document.write(file)?;
    let beside = file.with_extension("html");
    std::fs::write(&beside, page(document)).with_context(|| format!("cannot write {}", beside.display()))
}

pub(crate) fn table(figures: &[Figure]) -> String {
    let header = ["WHAT", "VALUE", "REFERENCE", "RATIO", "GOAL", ""];
    columns(&header, figures.iter().map(Figure::cells).collect())
}

/// Runs a scenario on a stage of its own.
pub(crate) async fn measure(
    scenario: &Scenario,
    seed: u64,
    order: Order,
    shutdown: &CancellationToken,
) -> anyhow::Result<Document> {
    let machine = Machine::now();
    let planned = arrivals(scenario, seed);
    let minutes = scenario.lasts().as_secs_f64() / 60.0;
    remark(format_args!("{}: {} requests in {minutes:.1} minutes", scenario.name, planned.len()));
    let setup = Setup {
        outline_given: scenario.outline_given,
        workers: scenario.workers,
        speech: scenario.speech,
        order,
        ..Setup::default()
    };
    let described = setup.describe();
    let mut providers = scenario::providers(seed, scenario.faster);
    providers.chat.writing.words = scenario.words;
    let stage = Stage::start(&setup, providers, shutdown).await?;
    let watched = watch(&stage, scenario, seed, shutdown, async || {
        let should = scenario.done_within.div_f64(scenario.faster).mul_f64(PATIENCE).max(LEAST_PATIENCE);
        scenario::drive(&stage.address(), &planned, should).await
    })
    .await;
    let well =
        |(ran, ..): &(Ran, Observed, Behind)| ran.courses.iter().all(|course| trouble(course).is_none());
    stage.stop(watched.as_ref().is_ok_and(well)).await?;
    let (ran, observed, behind) = watched?;
    let troubles: Vec<&str> = ran.courses.iter().filter_map(trouble).take(5).collect();
    for trouble in &troubles {
        remark(trouble);
    }
    Ok(Document {
        scenario: scenario.name.to_owned(),
        seed,
        at: Timestamp::now(),
        version: common::process::VERSION.to_owned(),
        machine: machine.after(behind.others_cores),
        setup: json!({
            "requests_per_minute": scenario.requests_per_minute, "users": scenario.users, "minutes": scenario.minutes,
            "faster": scenario.faster, "articles": scenario.articles, "pages": scenario.pages, "optimised": !cfg!(debug_assertions), "fleet": described,
        }),
        results: scenario::figures(scenario, &planned, &ran, &observed),
        details: json!({
            "processes": observed.usages, "database": observed.database, "broker": behind.broker,
            "statements": behind.statements, "troubles": troubles, "series": series(&ran), "bars": bars(&observed.usages),
        }),
    })
}

/// What only the details of a report need.
struct Behind {
    others_cores: f64,
    broker: Broker,
    statements: Vec<loadtest::probe::Statement>,
}

/// Looks at processes and servers while `work` runs.
async fn watch(
    stage: &Stage,
    scenario: &Scenario,
    seed: u64,
    shutdown: &CancellationToken,
    work: impl AsyncFnOnce() -> anyhow::Result<Ran>,
) -> anyhow::Result<(Ran, Observed, Behind)> {
    let database = stage.database()?;
    let management = stage.management_url()?;
    let (rows_before, broker_before) = (database.totals().await?, Broker::now(&management).await?);
    let sampler = Sampler::start();
    let restarts = scenario.restarts.then(|| Restarts::start(seed, stage.fleet.apis.clone()));
    let pages = Pages::open(scenario.pages, &stage.fleet.apis);
    let ran = tokio::select! {
        ran = work() => ran,
        error = stage.fleet.hopeless() => Err(error),
        () = shutdown.cancelled() => Err(Failure::Interrupted.into()),
    };
    let restarted = match restarts {
        Some(restarts) => restarts.stop().await?,
        None => 0,
    };
    let page_renewals = pages.close().await;
    let (usages, others_cores) = sampler.stop().await?;
    let ran = ran?;
    tokio::time::sleep(SETTLED).await;
    let broker = Broker::now(&management).await?.since(broker_before);
    let observed = Observed {
        rows: database.courses().await?,
        usages,
        cache: database.cache_hits().await?,
        segments_while_arriving: database.segments_between(ran.from, ran.to).await?,
        database: database.totals().await?.since(rows_before),
        published: broker.published,
        restarts: restarted,
        page_renewals,
    };
    Ok((ran, observed, Behind { others_cores, broker, statements: database.statements().await? }))
}

fn trouble(course: &Course) -> Option<&str> {
    match &course.ended {
        Ended::Not(reason) => Some(reason),
        Ended::Completed(_) => None,
    }
}

fn series(ran: &Ran) -> Value {
    let took: Vec<f64> = ran
        .courses
        .iter()
        .filter_map(|course| match course.ended {
            Ended::Completed(took) => Some(took.as_secs_f64()),
            Ended::Not(_) => None,
        })
        .collect();
    let over_http = ran.courses.iter().filter(|course| course.is_over_http());
    let answers: Vec<f64> =
        over_http.filter_map(|course| Some(course.answered?.as_secs_f64() * 1000.0)).collect();
    json!([
        {"name": "Time to completion: share of the podcasts that were done by then", "unit": "s", "values": took},
        {"name": "Time to the 202: share of the requests that were answered by then", "unit": "ms", "values": answers},
    ])
}

fn bars(usages: &[Usage]) -> Value {
    let of = |value: fn(&Usage) -> f64| -> Vec<Value> {
        let watched = usages.iter().filter(|usage| usage.seconds > 3.0 && value(usage) >= 0.5);
        watched.map(|usage| json!([format!("{} {}", usage.role, usage.pid), value(usage)])).collect()
    };
    json!([
        {"title": "Processor time of each process", "unit": "% of a core", "goal": 70.0, "bars": of(|usage| usage.cpu_percent)},
        {"title": "Memory of each process, at most", "unit": "MB", "bars": of(|usage| usage.memory_mb)},
    ])
}
