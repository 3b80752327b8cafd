//! What is done to the fleet. One seed decides about all of it: the order of the faults, whom they hit, and how long they last.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use common::amqp;
use common::config::Broker;
use common::crash;
use common::private::Fault as NetworkFault;
use common::topology::{Lane, REQUESTS_QUEUE, lane_queue, outcomes_queue_name};
use common::work::Kind;
use lapin::options::{BasicGetOptions, BasicNackOptions};
use loadtest::providers::{Misbehaviour, Rule};
use nix::sys::signal::{Signal, kill};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::world::World;
use crate::failure::Failure;
use crate::output::remark;

/// Work must flow again this long after a fault is over.
pub(super) const RESUMED: Duration = Duration::from_secs(15);
/// A process that is to crash at a point must pass it within this.
const CRASH: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Killed(&'static str),
    Frozen(&'static str),
    Ended(&'static str),
    MixerKilled,
    Crash(&'static str),
    BrokerKilled,
    BrokerWiped,
    BrokerAlarmed,
    LaneDeleted,
    OutcomesDeleted,
    DatabaseKilled,
    CacheKilled,
    CacheFlushed,
    CacheFrozen,
    Network(Link, NetworkFault),
    NetworkCut(Link),
    Provider(Misbehaviour),
    ProviderCrashed,
    Duplicated,
    Garbage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Broker,
    Database,
    Cache,
}

/// Every fault there is.
fn deck() -> Vec<Fault> {
    const ROLES: [&str; 3] = ["producer", "collector", "worker"];
    const LINKS: [Link; 3] = [Link::Broker, Link::Database, Link::Cache];
    let slow = NetworkFault::Delay { ms: 150, jitter_ms: 100 };
    let mut deck = vec![
        Fault::MixerKilled,
        Fault::BrokerKilled,
        Fault::BrokerWiped,
        Fault::BrokerAlarmed,
        Fault::LaneDeleted,
        Fault::OutcomesDeleted,
        Fault::DatabaseKilled,
        Fault::CacheKilled,
        Fault::CacheFlushed,
        Fault::CacheFrozen,
        Fault::Provider(Misbehaviour::Throttled),
        Fault::Provider(Misbehaviour::ServerError),
        Fault::Provider(Misbehaviour::StallBefore),
        Fault::Provider(Misbehaviour::ResetMiddle),
        Fault::Provider(Misbehaviour::TruncatedAudio),
        Fault::Provider(Misbehaviour::Html),
        Fault::ProviderCrashed,
        Fault::Duplicated,
        Fault::Garbage,
    ];
    deck.extend(
        ROLES.into_iter().flat_map(|role| [Fault::Killed(role), Fault::Frozen(role), Fault::Ended(role)]),
    );
    deck.extend(crash::POINTS.iter().map(|point| Fault::Crash(point)));
    deck.extend(LINKS.into_iter().flat_map(|link| {
        [Fault::NetworkCut(link), Fault::Network(link, NetworkFault::Blackhole), Fault::Network(link, slow)]
    }));
    deck
}

impl Fault {
    fn name(self) -> String {
        match self {
            Fault::Killed(role) => format!("{role} killed"),
            Fault::Frozen(role) => format!("{role} frozen"),
            Fault::Ended(role) => format!("{role} ended"),
            Fault::MixerKilled => "mixer killed".into(),
            Fault::Crash(point) => format!("crash {point}"),
            Fault::BrokerKilled => "broker killed".into(),
            Fault::BrokerWiped => "broker wiped".into(),
            Fault::BrokerAlarmed => "broker alarmed".into(),
            Fault::LaneDeleted => "lane deleted".into(),
            Fault::OutcomesDeleted => "outcomes deleted".into(),
            Fault::DatabaseKilled => "database killed".into(),
            Fault::CacheKilled => "cache killed".into(),
            Fault::CacheFlushed => "cache flushed".into(),
            Fault::CacheFrozen => "cache frozen".into(),
            Fault::NetworkCut(link) => format!("{link:?} cut off").to_lowercase(),
            Fault::Network(link, NetworkFault::Blackhole) => format!("{link:?} silent").to_lowercase(),
            Fault::Network(link, _) => format!("{link:?} slow").to_lowercase(),
            Fault::Provider(misbehaviour) => format!("provider {}", misbehaviour.name()),
            Fault::ProviderCrashed => "provider crashed".into(),
            Fault::Duplicated => "messages duplicated".into(),
            Fault::Garbage => "messages garbage".into(),
        }
    }

    /// Malformed messages are input, not faults.
    fn counts(self) -> bool {
        self != Fault::Garbage
    }
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    pub(super) faults: BTreeMap<String, u32>,
    /// Faults that could not be done, because what they need was not there: no message to duplicate, say.
    pub(super) missed: BTreeMap<String, u32>,
    /// By fault that was alone: the longest time until work flowed again.
    pub(super) resumed_ms: BTreeMap<String, u64>,
}

pub(super) struct Nemesis {
    random: fastrand::Rng,
    /// Every fault that may happen.
    faults: Vec<Fault>,
    deck: Vec<Fault>,
    done: Done,
}

impl Nemesis {
    /// With `only`, no faults but those that have one of these words in their names.
    pub(super) fn new(seed: u64, only: &[String]) -> anyhow::Result<Nemesis> {
        let wanted =
            |fault: &Fault| only.is_empty() || only.iter().any(|word| fault.name().contains(word.as_str()));
        let faults: Vec<Fault> = deck().into_iter().filter(wanted).collect();
        if faults.is_empty() {
            let names: Vec<String> = deck().into_iter().map(Fault::name).collect();
            return Err(
                Failure::Usage(format!("no fault is called so; there are: {}", names.join(", "))).into()
            );
        }
        let random = fastrand::Rng::with_seed(seed);
        Ok(Nemesis { random, faults, deck: Vec::new(), done: Done::default() })
    }

    pub(super) fn done(self) -> Done {
        self.done
    }

    /// One fault, from a deck that is shuffled anew when every fault has had its turn. Alone, it is waited for until work flows.
    pub(super) async fn strike(&mut self, world: &mut World, alone: bool) -> anyhow::Result<()> {
        if self.deck.is_empty() {
            self.deck = self.faults.clone();
            self.random.shuffle(&mut self.deck);
        }
        let Some(fault) = self.deck.pop() else { return Ok(()) };
        let name = fault.name();
        let happened = self.inflict(world, fault).await.with_context(|| name.clone())?;
        world.respawn(None).await?;
        let over = Instant::now();
        if !happened {
            *self.done.missed.entry(name).or_default() += 1;
            return Ok(());
        }
        if fault.counts() {
            *self.done.faults.entry(name.clone()).or_default() += 1;
        }
        if alone {
            let took = until_work_flows(world, over).await?;
            let longest = self.done.resumed_ms.entry(name.clone()).or_default();
            *longest = (*longest).max(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
            remark(format!("{name}: work flowed again after {:.1} s", took.as_secs_f64()));
        } else {
            remark(&name);
            tokio::time::sleep(self.between(100, 1500)).await;
        }
        Ok(())
    }

    fn between(&mut self, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_millis(self.random.u64(low_ms..=high_ms))
    }

    fn victim(&mut self, world: &World, role: &str) -> anyhow::Result<String> {
        let members = world.members(role);
        self.random.choice(members).with_context(|| format!("no {role}"))
    }

    /// Does it, and takes it back. `false` when there was nothing to do it to.
    async fn inflict(&mut self, world: &mut World, fault: Fault) -> anyhow::Result<bool> {
        match fault {
            Fault::Killed(role) => {
                let victim = self.victim(world, role)?;
                world.signal(&victim, Signal::SIGKILL)?;
                tokio::time::sleep(self.between(0, 1500)).await;
            }
            Fault::Frozen(role) => {
                let victim = self.victim(world, role)?;
                world.signal(&victim, Signal::SIGSTOP)?;
                tokio::time::sleep(self.between(1000, 9000)).await;
                world.signal(&victim, Signal::SIGCONT)?;
            }
            Fault::Ended(role) => {
                let victim = self.victim(world, role)?;
                world.end(&victim).await?;
            }
            Fault::MixerKilled => {
                let collector = self.victim(world, "collector")?;
                let Some(mixer) = world.mixer_of(&collector)? else { return Ok(false) };
                kill(mixer, Signal::SIGKILL).context("killing a mixing process")?;
            }
            Fault::Crash(point) => return self.crash(world, point).await,
            Fault::BrokerKilled | Fault::BrokerWiped => {
                world.servers.rabbitmq.kill().await?;
                if fault == Fault::BrokerWiped {
                    world.servers.rabbitmq.wipe().await?;
                }
                world.servers.rabbitmq.restart().await?;
            }
            Fault::BrokerAlarmed => {
                world.servers.rabbitmq.set_memory_alarm(true).await?;
                tokio::time::sleep(self.between(500, 5000)).await;
                world.servers.rabbitmq.set_memory_alarm(false).await?;
            }
            Fault::LaneDeleted => {
                let kind = self.random.choice(Kind::ALL).context("a kind")?;
                world.servers.rabbitmq.delete_queue("/", &lane_queue(kind, Lane::Normal)).await?;
            }
            Fault::OutcomesDeleted => {
                world.servers.rabbitmq.delete_queue("/", &outcomes_queue_name(0, 1)).await?;
            }
            Fault::DatabaseKilled => {
                world.servers.postgres.kill().await?;
                tokio::time::sleep(self.between(0, 3000)).await;
                world.servers.postgres.restart().await?;
            }
            Fault::CacheKilled => {
                world.servers.redis.kill().await?;
                tokio::time::sleep(self.between(0, 3000)).await;
                world.servers.redis.restart().await?;
            }
            Fault::CacheFlushed => flush(&world.servers.redis.url()).await?,
            Fault::CacheFrozen => {
                world.servers.redis.pause();
                tokio::time::sleep(self.between(500, 6000)).await;
                world.servers.redis.resume();
            }
            Fault::NetworkCut(link) => network(world, link).cut_all(),
            Fault::Network(link, kind) => {
                network(world, link).set(kind);
                tokio::time::sleep(self.between(1000, 8000)).await;
                network(world, link).set(NetworkFault::Pass);
            }
            Fault::Provider(misbehaviour) => {
                let times = self.random.u64(3..12);
                world.provider()?.add_rules(vec![Rule::new(misbehaviour).times(times)])?;
                tokio::time::sleep(self.between(1000, 4000)).await;
                world.provider()?.clear_rules();
            }
            Fault::ProviderCrashed => {
                world.stop_provider().await;
                tokio::time::sleep(self.between(200, 3000)).await;
                world.start_provider().await?;
            }
            Fault::Duplicated => return duplicate(world).await,
            Fault::Garbage => garbage(world, &mut self.random).await?,
        }
        Ok(true)
    }

    /// A fresh process that aborts at the point when it passes it.
    async fn crash(&mut self, world: &mut World, point: &'static str) -> anyhow::Result<bool> {
        let role = point.split('.').next().context("a role")?;
        let victim = self.victim(world, role)?;
        world.end(&victim).await?;
        let wish = format!("{point}:{}", self.random.u8(1..=3));
        world.respawn(Some((&victim, "PODFLEET_CRASH_AT", &wish))).await?;
        let crashed = world.ends_within(&victim, CRASH).await?;
        if !crashed {
            world.end(&victim).await?;
        }
        Ok(crashed)
    }
}

fn network(world: &World, link: Link) -> &common::private::FaultProxy {
    match link {
        Link::Broker => &world.broker_network,
        Link::Database => &world.database_network,
        Link::Cache => &world.cache_network,
    }
}

/// The time from the end of a fault until a task succeeds that was started after it.
async fn until_work_flows(world: &World, over: Instant) -> anyhow::Result<Duration> {
    const SQL: &str = "select exists (select from attempts where class = 'success' and recorded_at > now() - $1::float8 * interval '1 s')";
    let database = world.database().await?;
    loop {
        let elapsed = over.elapsed();
        if database.query_one(SQL, &[&elapsed.as_secs_f64()]).await?.get(0) || elapsed > 4 * RESUMED {
            return Ok(elapsed);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn flush(url: &str) -> anyhow::Result<()> {
    let url = reqwest::Url::parse(url).context("the cache's address")?;
    let address = (url.host_str().context("a host")?, url.port().context("a port")?);
    let mut stream = TcpStream::connect(address).await?;
    let password = url.password().unwrap_or_default();
    stream.write_all(format!("AUTH {password}\r\nFLUSHALL\r\nQUIT\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    anyhow::ensure!(answer.matches("+OK").count() == 3, "the cache was not flushed: {answer}");
    Ok(())
}

fn broker(world: &World) -> Broker {
    Broker { url: world.servers.rabbitmq.url(), ..Broker::default() }
}

/// Takes a message that waits, puts a copy behind it, and the message back: it is there twice, and out of order.
async fn duplicate(world: &World) -> anyhow::Result<bool> {
    let broker = broker(world);
    let connection = amqp::connect(&broker, "nemesis").await?;
    let channel = amqp::confirming_channel(&connection, broker.timeout()).await?;
    let mut queues = vec![outcomes_queue_name(0, 1)];
    queues.extend(Kind::ALL.map(|kind| lane_queue(kind, Lane::Normal)));
    let started = Instant::now();
    let mut duplicated = false;
    while !duplicated && started.elapsed() < Duration::from_secs(5) {
        for queue in &queues {
            let Some(got) = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await?
            else {
                continue;
            };
            let properties = amqp::persistent_json();
            let copy =
                amqp::publish(&channel, "", queue, &got.delivery.data, properties, broker.timeout()).await?;
            amqp::confirmed(copy, broker.timeout()).await?;
            got.delivery.acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await?;
            duplicated = true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    amqp::close(&connection, broker.timeout()).await;
    Ok(duplicated)
}

async fn garbage(world: &World, random: &mut fastrand::Rng) -> anyhow::Result<()> {
    let broker = broker(world);
    let connection = amqp::connect(&broker, "nemesis").await?;
    let channel = amqp::confirming_channel(&connection, broker.timeout()).await?;
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(1000).collect();
    let bodies: [&[u8]; 5] = [&noise, b"", b"{}", b"[{\"v\":99}]", b"[[[[[[1"];
    let mut queues = vec![outcomes_queue_name(0, 1), REQUESTS_QUEUE.to_owned()];
    queues.extend(Kind::ALL.map(|kind| lane_queue(kind, Lane::Low)));
    for (queue, body) in queues.iter().zip(bodies.iter().cycle()) {
        let confirm =
            amqp::publish(&channel, "", queue, body, amqp::persistent_json(), broker.timeout()).await?;
        amqp::confirmed(confirm, broker.timeout()).await?;
    }
    amqp::close(&connection, broker.timeout()).await;
    Ok(())
}
