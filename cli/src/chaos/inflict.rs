//! How each fault is done, and taken back.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use common::private::{Fault as NetworkFault, FaultProxy};
use common::topology::{DEAD_QUEUE, Lane, REQUESTS_QUEUE, epoch_queue, lane_queue, outcomes_queue_name};
use common::work::Kind;
use loadtest::providers::Rule;
use nix::sys::signal::{Signal, kill};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::fault::{Fault, Link, Queue, Resource, Target};
use super::load::Orders;
use super::messages;
use super::world::{Mixer, World};

/// What a fault came to.
pub(super) enum Came {
    Over,
    /// It goes on until it is taken back.
    Lasts {
        target: Target,
        lasts: Duration,
    },
    /// There was nothing to do it to.
    Missed,
    /// A process will crash when it passes its point.
    Awaited,
}

/// What it takes to do something to somebody.
pub(super) struct Hand<'a> {
    pub(super) random: &'a mut fastrand::Rng,
    pub(super) world: &'a mut World,
    /// Members that are frozen already.
    pub(super) spared: &'a [String],
    pub(super) copied: &'a mut BTreeMap<Uuid, usize>,
    pub(super) orders: &'a Orders,
}

impl Hand<'_> {
    pub(super) async fn begin(&mut self, fault: Fault) -> anyhow::Result<Came> {
        let world = &mut *self.world;
        match fault {
            Fault::Killed(role) => return self.signal(role, Signal::SIGKILL).await,
            Fault::Frozen(role) => return self.signal(role, Signal::SIGSTOP).await,
            Fault::Ended(role) => return self.signal(role, Signal::SIGTERM).await,
            Fault::MixerKilled => return self.signal_mixer(Signal::SIGKILL),
            Fault::MixerFrozen => return self.signal_mixer(Signal::SIGSTOP),
            Fault::MixerEnded => return self.signal_mixer(Signal::SIGTERM),
            Fault::Crash(point) => return self.arm(point).await,
            Fault::BrokerKilled => world.servers.rabbitmq.restart().await?,
            Fault::BrokerRestarted => {
                world.servers.rabbitmq.stop().await?;
                world.servers.rabbitmq.restart().await?;
            }
            Fault::BrokerWiped => {
                world.servers.rabbitmq.kill().await?;
                world.servers.rabbitmq.wipe().await?;
                world.servers.rabbitmq.restart().await?;
            }
            Fault::BrokerAlarmed(resource) => {
                alarm(world, resource, true).await?;
                return Ok(self.lasts(Target::Broker, 500, 5000));
            }
            Fault::Deleted(queue) => return self.delete(queue).await,
            Fault::DatabaseKilled => {
                world.servers.postgres.kill().await?;
                return Ok(self.lasts(Target::Database, 0, 3000));
            }
            Fault::DatabaseRestarted => {
                world.servers.postgres.stop().await?;
                return Ok(self.lasts(Target::Database, 0, 3000));
            }
            Fault::CacheKilled => {
                world.servers.redis.kill().await?;
                return Ok(self.lasts(Target::Cache, 0, 3000));
            }
            Fault::CacheFlushed => flush(&world.servers.redis.url()).await?,
            Fault::CacheFrozen => {
                world.servers.redis.pause();
                return Ok(self.lasts(Target::Cache, 500, 6000));
            }
            Fault::NetworkCut(link) => network(world, link).cut_all(),
            Fault::Network(link, kind) => {
                network(world, link).set(kind);
                return Ok(self.lasts(Target::Link(link), 1000, 8000));
            }
            Fault::Provider(misbehaviour) => {
                let times = self.random.u64(3..12);
                world.provider.running()?.add_rules(vec![Rule::new(misbehaviour).times(times)])?;
                return Ok(self.lasts(Target::Provider, 1000, 4000));
            }
            Fault::ProviderCrashed => {
                world.provider.stop().await;
                return Ok(self.lasts(Target::Provider, 200, 3000));
            }
            Fault::Messages(mischief) => {
                return messages::meddle(world, mischief, self.random, self.copied).await;
            }
        }
        Ok(Came::Over)
    }

    fn lasts(&mut self, target: Target, low_ms: u64, high_ms: u64) -> Came {
        Came::Lasts { target, lasts: Duration::from_millis(self.random.u64(low_ms..=high_ms)) }
    }

    fn victim(&mut self, role: &str, whom: impl Fn(&World, &str) -> bool) -> Option<String> {
        let world = &*self.world;
        let members = world.members(role).into_iter();
        let free: Vec<String> =
            members.filter(|name| !self.spared.contains(name) && whom(world, name)).collect();
        self.random.choice(free)
    }

    async fn signal(&mut self, role: &str, signal: Signal) -> anyhow::Result<Came> {
        let Some(victim) = self.victim(role, |_, _| true) else { return Ok(Came::Missed) };
        if signal == Signal::SIGTERM {
            self.world.end(&victim).await?;
            return Ok(Came::Over);
        }
        if signal == Signal::SIGKILL {
            self.world.kill(&victim).await?;
            return Ok(Came::Over);
        }
        self.world.signal(&victim, signal)?;
        Ok(match signal {
            Signal::SIGSTOP => self.lasts(Target::Member(victim), 1000, 9000),
            _ => Came::Over,
        })
    }

    fn signal_mixer(&mut self, signal: Signal) -> anyhow::Result<Came> {
        let Some(collector) = self.victim("collector", |_, _| true) else { return Ok(Came::Missed) };
        let Some(Mixer { pid }) = self.world.mixer_of(&collector)? else { return Ok(Came::Missed) };
        kill(pid, signal).context("a signal to a mixing process")?;
        Ok(match signal {
            Signal::SIGSTOP => self.lasts(Target::Member(collector), 1000, 9000),
            _ => Came::Over,
        })
    }

    /// A fresh process that aborts at the point when it passes it, while other things go on.
    async fn arm(&mut self, point: &'static str) -> anyhow::Result<Came> {
        let role = point.split('.').next().context("a role")?;
        let Some(victim) = self.victim(role, World::is_unarmed) else { return Ok(Came::Missed) };
        let nth = self.random.u8(1..=3);
        self.world.arm(&victim, point, nth).await?;
        Ok(Came::Awaited)
    }

    async fn delete(&mut self, queue: Queue) -> anyhow::Result<Came> {
        let world = &*self.world;
        let name = match queue {
            Queue::Lane => lane_queue(self.random.choice(Kind::ALL).context("a kind")?, Lane::Normal),
            Queue::EmptyLane => return self.delete_empty_lane().await,
            Queue::Outcomes => outcomes_queue_name(0, 1),
            Queue::Requests => REQUESTS_QUEUE.to_owned(),
            Queue::Dead => DEAD_QUEUE.to_owned(),
            Queue::Epoch => {
                let row = world.database().await?.query_one("select epoch from fleet", &[]).await?;
                epoch_queue(row.get(0))
            }
        };
        world.servers.rabbitmq.delete_queue("/", &name).await?;
        Ok(Came::Over)
    }

    /// Low priority is this fault's own: nobody else asks for it, so between two such requests the first lane of it is empty.
    async fn delete_empty_lane(&mut self) -> anyhow::Result<Came> {
        if self.orders.are_open() {
            return Ok(Came::Missed);
        }
        let used = "select exists (select from tasks where kind = 'outline' and lane = 'low'
                                   and state in ('ready', 'scheduled', 'dispatched'))";
        if self.world.database().await?.query_one(used, &[]).await?.get(0) {
            return Ok(Came::Missed);
        }
        self.world.servers.rabbitmq.delete_queue("/", &lane_queue(Kind::Outline, Lane::Low)).await?;
        self.orders.order();
        Ok(Came::Over)
    }
}

/// Takes back what lasts.
pub(super) async fn undo(world: &mut World, fault: Fault, target: &Target) -> anyhow::Result<()> {
    match (fault, target) {
        (Fault::MixerFrozen, Target::Member(collector)) => {
            if let Some(Mixer { pid }) = world.mixer_of(collector)? {
                // It may have died with its collector meanwhile.
                kill(pid, Signal::SIGCONT).ok();
            }
            Ok(())
        }
        (_, Target::Member(name)) => world.signal(name, Signal::SIGCONT),
        (Fault::BrokerAlarmed(resource), _) => alarm(world, resource, false).await,
        (_, Target::Link(link)) => {
            network(world, *link).set(NetworkFault::Pass);
            Ok(())
        }
        (_, Target::Broker | Target::Database) => world.raise_servers().await,
        (Fault::CacheFrozen, _) => {
            world.servers.redis.resume();
            Ok(())
        }
        (_, Target::Cache) => world.raise_servers().await,
        (_, Target::Provider) => world.provider.restore().await,
    }
}

async fn alarm(world: &World, resource: Resource, on: bool) -> anyhow::Result<()> {
    match resource {
        Resource::Memory => world.servers.rabbitmq.set_memory_alarm(on).await,
        Resource::Disk => world.servers.rabbitmq.set_disk_alarm(on).await,
    }
}

fn network(world: &World, link: Link) -> &FaultProxy {
    match link {
        Link::Broker => &world.broker_network,
        Link::Database => &world.database_network,
        Link::Cache => &world.cache_network,
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
