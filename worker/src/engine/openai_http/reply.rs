//! An answer as it comes, bounded in time and in bytes.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::Client;
use super::pool::Lease;
use crate::failure::Failure;

/// How long an error may go on.
const ERROR_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer with status 2xx, read piece by piece.
pub(crate) struct Reply<'a> {
    pub(super) client: &'a Client,
    pub(crate) lease: Lease<'a>,
    pub(super) response: reqwest::Response,
    pub(super) until: Instant,
    pub(super) read: u64,
    pub(super) most: u64,
    /// Its end shows that the server works.
    pub(super) good: bool,
}

impl Reply<'_> {
    /// The next piece, or nothing at the end. Bounded in time from piece to piece and in all, and in bytes.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let name = &self.client.name;
        let left = self.until.saturating_duration_since(Instant::now());
        let wait = self.client.idle.min(left);
        match tokio::time::timeout(wait, self.response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                self.read = self.read.saturating_add(chunk.len() as u64);
                if self.read > self.most {
                    let megabytes = self.most / (1024 * 1024);
                    return Err(Failure::transient(format!(
                        "engine {name} answered with more than {megabytes} MB"
                    )));
                }
                Ok(Some(chunk))
            }
            Ok(Ok(None)) => {
                if self.good {
                    self.lease.worked();
                }
                Ok(None)
            }
            Ok(Err(error)) => {
                self.lease.failed(Instant::now());
                Err(self.client.broken(error))
            }
            Err(_) => {
                self.lease.failed(Instant::now());
                let message = if wait < left {
                    format!("engine {name} stalled in the middle of its answer for {} ms", wait.as_millis())
                } else {
                    let total = self.client.total.as_millis();
                    format!("engine {name} gave no whole answer in the time it had (at most {total} ms)")
                };
                Err(Failure::timeout(message))
            }
        }
    }

    pub(crate) async fn whole(mut self) -> Result<Bytes, Failure> {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    /// As much as comes in time and within bounds.
    pub(super) async fn start(&mut self) -> Bytes {
        self.until = self.until.min(Instant::now() + ERROR_TIMEOUT);
        let mut bytes = BytesMut::new();
        while let Ok(Some(chunk)) = self.chunk().await {
            bytes.extend_from_slice(&chunk);
        }
        bytes.freeze()
    }
}
