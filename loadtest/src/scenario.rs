//! Load as users make it: an open model, in which requests arrive when they do, however slow the answers are.
//!
//! Read in this order: [`arrivals`] (who asks for what, when), [`article`] (what is asked for), [`submit`] (over HTTP and AMQP), [`watch`]
//! (over server-sent events and WebSockets), [`mod@drive`] (all of it), [`mod@figures`] (what it came to).

pub mod arrivals;
mod article;
mod drive;
mod figures;
mod submit;
mod watch;

use std::time::Duration;

pub use article::{providers, request};
pub use drive::{Course, Ended, Fleet, Ran, drive};
pub use figures::{Observed, figures};
pub use watch::follow;

/// How much is asked for, of what, and how soon it should be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub name: &'static str,
    pub users: u32,
    pub requests_per_minute: f64,
    /// A podcast should be finished within this, at the 95th percentile.
    pub done_within: Duration,
    pub minutes: f64,
    /// Articles that requests choose from, the most popular most often (Zipf, exponent 1). `None`: every request is about another.
    pub articles: Option<usize>,
    /// The outline is there before anybody asks, as the performance goals have it; else a model plans.
    pub outline_given: bool,
    /// Chapters of a podcast, and how many of a hundred podcasts have so many.
    pub chapters: &'static [(u8, usize)],
    /// Words of a turn; eight take some four seconds.
    pub words: usize,
    /// Worker processes, and the segments that each has spoken at a time.
    pub workers: u16,
    pub speech: u16,
    /// Roles are killed or told to leave, one after another, while it lasts.
    pub restarts: bool,
    /// Pages of the dashboard that are open while it lasts.
    pub pages: u16,
    /// Everything is so many times as fast as it would be: the providers, and the arrivals.
    pub faster: f64,
}

/// The scenarios of the performance goals, one for caches, and one for the order of work.
pub const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "light",
        users: 10,
        requests_per_minute: 5.0,
        done_within: Duration::from_secs(20),
        ..STEADY
    },
    Scenario {
        name: "medium",
        users: 50,
        requests_per_minute: 20.0,
        done_within: Duration::from_secs(30),
        ..STEADY
    },
    Scenario {
        name: "heavy",
        users: 100,
        requests_per_minute: 50.0,
        done_within: Duration::from_secs(45),
        ..STEADY
    },
    Scenario {
        name: "soak",
        users: 50,
        requests_per_minute: 20.0,
        done_within: Duration::from_secs(30),
        minutes: 30.0,
        restarts: true,
        ..STEADY
    },
    // Enough requests that most of them are about something that was asked for before; nobody has to wait for the providers.
    Scenario {
        name: "cache",
        users: 100,
        requests_per_minute: 30.0,
        done_within: Duration::from_secs(45),
        minutes: 20.0,
        articles: Some(200),
        outline_given: false,
        // As many as two cores can mix.
        faster: 12.0,
        ..STEADY
    },
    // Podcasts of very different lengths, more of them than can be spoken for a while: who goes first is felt.
    Scenario {
        name: "order",
        users: 50,
        requests_per_minute: 16.0,
        done_within: Duration::from_secs(600),
        minutes: 10.0,
        chapters: &[(80, 2), (20, 20)],
        // Short, so that nobody waits for the mix.
        words: 3,
        workers: 1,
        speech: 6,
        faster: 10.0,
        ..STEADY
    },
];

const STEADY: Scenario = Scenario {
    name: "",
    users: 1,
    requests_per_minute: 1.0,
    done_within: Duration::from_secs(60),
    minutes: 5.0,
    articles: None,
    outline_given: true,
    chapters: &[(100, 5)],
    words: 8,
    workers: 2,
    speech: 32,
    restarts: false,
    pages: 0,
    faster: 1.0,
};

impl Scenario {
    pub fn named(name: &str) -> Option<Scenario> {
        SCENARIOS.into_iter().find(|scenario| scenario.name == name)
    }

    /// How long requests arrive.
    pub fn lasts(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0 / self.faster)
    }
}
