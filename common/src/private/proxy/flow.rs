//! One direction of a connection through the proxy.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};

use super::Fault;

const CHUNK: usize = 16 * 1024;
/// How many chunks may be under way in a delay: the product of a delay and a throughput.
const DELAYED: usize = 256;

pub(super) struct Flow<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    /// What was read and when it may be written.
    waiting: VecDeque<(Instant, Bytes)>,
    /// Under a limited bandwidth: nothing is written before this.
    free_at: Instant,
    carried: u64,
    ended: bool,
    passed_end_on: bool,
    hung_up: bool,
}

#[derive(PartialEq, Eq)]
pub(super) enum Step {
    Done,
    Broken,
}

impl<'a> Flow<'a> {
    pub(super) fn new(from: ReadHalf<'a>, to: WriteHalf<'a>) -> Self {
        Flow {
            from,
            to,
            waiting: VecDeque::new(),
            free_at: Instant::now(),
            carried: 0,
            ended: false,
            passed_end_on: false,
            hung_up: false,
        }
    }

    pub(super) fn start_counting(&mut self) {
        self.carried = 0;
    }

    /// Bytes written since counting started.
    pub(super) fn carried(&self) -> u64 {
        self.carried
    }

    /// Tells the receiver that nothing more comes; what does come is thrown away.
    pub(super) async fn hang_up(&mut self) {
        if !self.hung_up && !self.passed_end_on {
            let _ = self.to.shutdown().await;
        }
        self.hung_up = true;
        self.waiting.clear();
    }

    pub(super) fn is_over(&self) -> bool {
        self.passed_end_on || self.hung_up && self.ended
    }

    /// Reads once or writes once, whichever is possible first. Safe to drop at any await.
    pub(super) async fn step(&mut self, fault: Fault) -> Step {
        if self.ended && self.waiting.is_empty() {
            self.passed_end_on = true;
            return done(self.to.shutdown().await);
        }
        // Without a delay nothing is taken ahead, so that a slow receiver slows its sender down.
        let room = if matches!(fault, Fault::Delay { .. }) { DELAYED } else { 1 };
        let due = self.waiting.front().map_or(self.free_at, |(due, _)| (*due).max(self.free_at));
        let (from, to) = (&self.from, &self.to);
        tokio::select! {
            ready = from.readable(), if !self.ended && self.waiting.len() < room => match ready {
                Ok(()) => self.read(fault),
                Err(_) => Step::Broken,
            },
            ready = async { sleep_until(due).await; to.writable().await }, if !self.waiting.is_empty() => match ready {
                Ok(()) => self.write(fault),
                Err(_) => Step::Broken,
            },
        }
    }

    fn read(&mut self, fault: Fault) -> Step {
        let mut chunk = [0; CHUNK];
        match self.from.try_read(&mut chunk) {
            Ok(0) => self.ended = true,
            Ok(_) if self.hung_up => {}
            Ok(length) => {
                let last = self.waiting.back().map(|(due, _)| *due);
                let due = Instant::now() + delay(fault);
                // Never before what came earlier, whatever the jitter says.
                let due = last.map_or(due, |last| due.max(last));
                self.waiting.push_back((due, Bytes::copy_from_slice(&chunk[..length])));
            }
            Err(error) => return done(Err(error)),
        }
        Step::Done
    }

    fn write(&mut self, fault: Fault) -> Step {
        let Some((_, chunk)) = self.waiting.front_mut() else { return Step::Done };
        let most = allowed(fault, self.carried).min(chunk.len());
        match self.to.try_write(&chunk[..most]) {
            Ok(length) => {
                chunk.advance(length);
                if chunk.is_empty() {
                    self.waiting.pop_front();
                }
                self.carried += length as u64;
                if let Fault::Bandwidth(bytes_per_s) = fault {
                    let took = Duration::from_secs_f64(length as f64 / bytes_per_s.max(1) as f64);
                    self.free_at = self.free_at.max(Instant::now()) + took;
                }
                Step::Done
            }
            Err(error) => done(Err(error)),
        }
    }
}

/// How many bytes may be written now.
fn allowed(fault: Fault, carried: u64) -> usize {
    let most = match fault {
        Fault::BlackholeAfter(bytes) | Fault::Truncate(bytes) => bytes.saturating_sub(carried),
        // Twenty times a second, so that the flow is even.
        Fault::Bandwidth(bytes_per_s) => (bytes_per_s / 20).max(1),
        _ => u64::MAX,
    };
    usize::try_from(most).unwrap_or(usize::MAX)
}

fn delay(fault: Fault) -> Duration {
    match fault {
        Fault::Delay { ms, jitter_ms } => Duration::from_millis(ms + fastrand::u64(0..=jitter_ms)),
        _ => Duration::ZERO,
    }
}

fn done(outcome: io::Result<()>) -> Step {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Step::Broken,
        _ => Step::Done,
    }
}
