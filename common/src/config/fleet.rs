use serde::{Deserialize, Serialize};

/// `[broker]`: RabbitMQ.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Broker {
    /// `PODFLEET__BROKER__URL` (or `…__URL_FILE`). Default `amqp://guest:guest@127.0.0.1:5672/%2f`.
    #[serde(skip_serializing)]
    pub url: String,
    /// `PODFLEET__BROKER__TIMEOUT_MS`: for a connection, a confirm, an ack or a close. Default 5000.
    pub timeout_ms: u64,
}

/// `[database]`: PostgreSQL.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `PODFLEET__DATABASE__URL` (or `…__URL_FILE`). Default `postgres://podfleet@127.0.0.1:5432/podfleet`.
    #[serde(skip_serializing)]
    pub url: String,
    /// `PODFLEET__DATABASE__MAX_CONNECTIONS`: of a producer process, at least 4 (fewer count as 4); a collector uses two. Default 8.
    pub max_connections: usize,
    /// `PODFLEET__DATABASE__TIMEOUT_MS`: to get a connection. A whole transaction gets as long, and at least 12 s; the server ends a
    /// statement after 10 s. Default 5000.
    pub timeout_ms: u64,
}

/// `[cache]`: Redis. Losing it costs time, never correctness.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// `PODFLEET__CACHE__URL` (or `…__URL_FILE`). Empty: no cache. Default `redis://127.0.0.1:6379/`.
    #[serde(skip_serializing)]
    pub url: String,
    /// `PODFLEET__CACHE__BUDGET_MS`: what one task may spend on waiting for it in all. Default 40, so that what a
    /// frozen Redis costs stays below 50 ms a task on a machine that is busy.
    pub budget_ms: u64,
}

/// `[blobs]`: the object store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Blobs {
    /// `PODFLEET__BLOBS__FOLDER`: a local folder that every role can reach. Default `.podfleet/blobs`.
    pub folder: String,
    /// `PODFLEET__BLOBS__SWEEP`: whether collectors remove blobs that no row needs: `on`, `dry` (they only say which), `off`.
    /// Default `on`.
    pub sweep: Sweep,
    /// `PODFLEET__BLOBS__KEEP_DAYS`: how long a blob stays that no row needs, since it was last used; at least 2. Default 7.
    pub keep_days: u32,
    /// `PODFLEET__BLOBS__SWEEP_SECONDS`: the time between two looks, at 1,000 files each. Default 60.
    pub sweep_seconds: u64,
    /// `PODFLEET__BLOBS__WAIT_SECONDS`: how long a task waits for room on a full disk before it counts as failed. Default 60.
    pub wait_seconds: u64,
    /// `PODFLEET__BLOBS__ERASE_SECONDS`: a blob of an erased podcast that nobody else needs goes when it was not used for this long; a task
    /// that has found it has as long until its result is recorded. Default 300.
    pub erase_seconds: u64,
}

/// What collectors do with blobs that no row needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sweep {
    #[default]
    On,
    Dry,
    Off,
}

/// `[producer]`: the HTTP API and the AMQP intake.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Producer {
    /// `PODFLEET__PRODUCER__BIND`: address and port of the API. Port 0 takes a free one. Default `127.0.0.1:8080`.
    pub bind: String,
    /// `PODFLEET__PRODUCER__MAX_IN_FLIGHT`: requests being accepted at once; more are answered 503. Default 1024.
    pub max_in_flight: usize,
    /// `PODFLEET__PRODUCER__MAX_WAITING`: accepted podcasts whose first task nobody has dispatched; while no dispatcher is heard of,
    /// requests beyond are answered 503, and those over AMQP stay in their queue. Default 10000.
    pub max_waiting: usize,
    /// `PODFLEET__PRODUCER__MAX_LISTENERS`: of this process, while their episodes are made (`…/audio?partial=true`), each with an
    /// encoder; more are answered 503. Default 16.
    pub max_listeners: usize,
    /// `PODFLEET__PRODUCER__PUBLIC_URL`: what clients reach the API by, for addresses in feeds, as in `https://podcasts.example.org`.
    /// Default none: http and the host that a request names.
    pub public_url: Option<String>,
    /// `PODFLEET__PRODUCER__PAGE_CONNECTIONS`: to the database, for the pages of the dashboard alone, besides `DATABASE__MAX_CONNECTIONS`; at
    /// least 1. Default 3.
    pub page_connections: usize,
    /// `PODFLEET__PRODUCER__PAGE_TIMEOUT_MS`: for one statement of a page, and for a page to get a connection; 100 to 2000. What takes
    /// longer is left out of the page, which says so. Default 2000.
    pub page_timeout_ms: u64,
    /// `PODFLEET__PRODUCER__ORDER`: whose work goes first: `work` (fair between tenants, short podcasts before long ones within
    /// bounds) or `arrival` (first come, first served). Work that finishes a podcast comes before work that begins another in
    /// both. Default `work`.
    pub order: Order,
}

/// What a podcast's place in the order of work is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Its tenant's share and its expected work: see [`crate::order`].
    #[default]
    Work,
    /// When it came.
    Arrival,
}

/// `[worker]`: how many tasks a worker process does at a time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Worker {
    /// `PODFLEET__WORKER__CONCURRENCY`: permits for each kind of task; an engine's own concurrency bounds it too. Default 4.
    pub concurrency: u16,
    /// `PODFLEET__WORKER__HEALTH_BIND`: `/livez`, `/readyz`, `/metrics`. Port 0 takes a free one. Default `127.0.0.1:0`.
    pub health_bind: String,
    /// `PODFLEET__WORKER__DRAIN_SECONDS`: how long tasks in hand may take after SIGTERM. Default 30.
    pub drain_seconds: u64,
}

/// `[collector]`: the writer of task state.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Collector {
    /// `PODFLEET__COLLECTOR__PARTITIONS`: queues of outcomes, by podcast id; the same for every role. Default 1.
    pub partitions: u16,
    /// `PODFLEET__COLLECTOR__SINGLE_ACTIVE`: one collector at a time takes from a queue, others stand by. Default true.
    pub single_active: bool,
    /// `PODFLEET__COLLECTOR__MIXERS`: mix and join tasks at a time, in a child process; 0 runs none here. Default 2.
    pub mixers: u16,
    /// `PODFLEET__COLLECTOR__LOST_AFTER_SECONDS`: a ticket sent so long ago, of an empty lane and in no worker's hands, is lost and
    /// sent again; at least 10. Default 30.
    pub lost_after_seconds: u32,
    /// `PODFLEET__COLLECTOR__HEALTH_BIND`: `/livez`, `/readyz`, `/metrics`. Port 0 takes a free one. Default `127.0.0.1:0`.
    pub health_bind: String,
}

/// `[telemetry]`: logs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// `PODFLEET__TELEMETRY__LOG`: filter, as in `info,lapin=warn`. Default `info`.
    pub log: String,
    /// `PODFLEET__TELEMETRY__JSON`: one JSON object a line instead of text. Default false.
    pub json: bool,
}

impl Default for Broker {
    fn default() -> Self {
        Broker { url: "amqp://guest:guest@127.0.0.1:5672/%2f".into(), timeout_ms: 5_000 }
    }
}

impl Broker {
    pub fn timeout(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.timeout_ms)
    }
}

impl Default for Database {
    fn default() -> Self {
        Database {
            url: "postgres://podfleet@127.0.0.1:5432/podfleet".into(),
            max_connections: 8,
            timeout_ms: 5_000,
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Cache { url: "redis://127.0.0.1:6379/".into(), budget_ms: 40 }
    }
}

impl Default for Blobs {
    fn default() -> Self {
        Blobs {
            folder: ".podfleet/blobs".into(),
            sweep: Sweep::On,
            keep_days: 7,
            sweep_seconds: 60,
            wait_seconds: 60,
            erase_seconds: 300,
        }
    }
}

impl Default for Producer {
    fn default() -> Self {
        Producer {
            bind: "127.0.0.1:8080".into(),
            max_in_flight: 1024,
            max_waiting: 10_000,
            max_listeners: 16,
            public_url: None,
            order: Order::Work,
            page_connections: 3,
            page_timeout_ms: 2_000,
        }
    }
}

impl Producer {
    pub fn page_timeout(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.page_timeout_ms)
    }
}

impl Default for Worker {
    fn default() -> Self {
        Worker { concurrency: 4, health_bind: "127.0.0.1:0".into(), drain_seconds: 30 }
    }
}

impl Default for Collector {
    fn default() -> Self {
        Collector {
            partitions: 1,
            single_active: true,
            mixers: 2,
            lost_after_seconds: 30,
            health_bind: "127.0.0.1:0".into(),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry { log: "info".into(), json: false }
    }
}
