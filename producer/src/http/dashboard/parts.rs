//! The figures of a page, read one after the other over one connection. One that the database does not tell in time is left out, and the
//! page says so in its place: the rest is worth as much without it.

use std::time::{Duration, Instant};

use deadpool_postgres::Object;

pub(super) struct Parts<'a> {
    client: &'a mut Object,
    /// After this nothing more is begun.
    until: Instant,
}

impl Parts<'_> {
    /// Two figures may be late, each by the bound of a statement; whoever waits for a page does not wait for a third.
    pub(super) fn new(client: &mut Object, statement: Duration) -> Parts<'_> {
        Parts { client, until: Instant::now() + statement * 2 }
    }

    /// `None`: it could not be had. An error: nothing can be had over this connection any more.
    pub(super) async fn read<T>(
        &mut self,
        what: &'static str,
        work: impl AsyncFnOnce(&mut Object) -> anyhow::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        if Instant::now() >= self.until {
            return Ok(None);
        }
        match work(self.client).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.client.is_closed() => Err(error),
            Err(error) => {
                tracing::warn!(what, error = format!("{error:#}"), "a page goes without one of its figures");
                Ok(None)
            }
        }
    }
}
