//! Connections: how many there may be, and how long somebody may take to say what he wants.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections at a time; whoever comes then waits for one to end.
const MAX_CONNECTIONS: usize = 8_192;
/// For the head of a request, and between two requests on one connection.
const HEAD: Duration = Duration::from_secs(20);
/// Whoever does not take what is sent to him for so long has left: a paused player asks again for what it lacks.
const UNTAKEN: Duration = Duration::from_secs(120);
/// How long responses may go on after shutdown was asked for.
const LEAVING: Duration = Duration::from_secs(10);
/// After an error of the operating system, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until shutdown, and then finishes what is under way.
pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Some((stream, permit)) = next(&listener, &room, &shutdown).await {
        connections.spawn(serve(stream, router.clone(), shutdown.clone(), permit));
        // Those that have ended are let go of.
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LEAVING, finished).await.is_err() {
        tracing::warn!("responses that were still under way are cut off");
        connections.shutdown().await;
    }
    Ok(())
}

/// The next connection, once there is room for it. `None`: shutdown.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = shutdown.run_until_cancelled(room.clone().acquire_owned()).await?.ok()?;
    loop {
        match shutdown.run_until_cancelled(listener.accept()).await? {
            Ok((stream, _)) => {
                // Answers and events are small and go out at once, instead of waiting for more to fill a packet.
                stream.set_nodelay(true).ok();
                SockRef::from(&stream).set_tcp_user_timeout(Some(UNTAKEN)).ok();
                return Some((stream, permit));
            }
            // Its other end had enough before we took it.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be taken now");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    router: Router,
    shutdown: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let service = TowerToHyperService::new(router);
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = pin!(connection);
    // How a client leaves is its own affair.
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_takes_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _permit) =
            next(&listener, &Arc::new(Semaphore::new(1)), &CancellationToken::new()).await.unwrap();
        assert_eq!(SockRef::from(&stream).tcp_user_timeout().unwrap(), Some(UNTAKEN));
    }
}
