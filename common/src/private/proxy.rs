//! A TCP proxy that makes a network bad on purpose: slow, silent, broken off.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

mod flow;

use flow::{Flow, Step};

/// What happens to the connections through a [`FaultProxy`]. "Each way" counts bytes since the fault was set or, for a
/// newer connection, since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    #[default]
    Pass,
    /// Everything arrives later, each way, by `ms` and up to `jitter_ms` more. Order is kept, throughput too.
    Delay { ms: u64, jitter_ms: u64 },
    /// Connections are accepted, stay open, and nothing passes: the other side's machine is gone. Bytes already sent
    /// wait, and arrive when the fault ends, as after a healed partition.
    Blackhole,
    /// As [`Fault::Blackhole`], for both ways, once so many bytes have passed one way.
    BlackholeAfter(u64),
    /// Connections are reset, new ones as soon as they are accepted.
    Reset,
    /// The client sees the end of the stream at once; what it sends still arrives. Not undone by a later fault.
    HalfClose,
    /// At most so many bytes a second, each way.
    Bandwidth(u64),
    /// The connection is closed in an orderly way once so many bytes have passed one way: a message cut short.
    Truncate(u64),
}

/// Listens on a free port of 127.0.0.1 and passes connections on to `upstream`. Dropping it ends it and them.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    orders: watch::Sender<Orders>,
    /// Owns every connection's task, so that ending it ends them.
    accepting: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Orders {
    fault: Fault,
    /// Counts calls of `cut_all`.
    cut: u64,
}

impl Orders {
    fn must_reset(self, cut: u64) -> bool {
        self.cut != cut || self.fault == Fault::Reset
    }
}

impl FaultProxy {
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let (orders, received) = watch::channel(Orders::default());
        let accepting = AbortOnDropHandle::new(tokio::spawn(accept(listener, upstream, received)));
        Ok(FaultProxy { addr, orders, accepting })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes what happens, to existing connections and to new ones.
    pub fn set(&self, fault: Fault) {
        // Everybody is told even when nothing changes: the same fault set again starts counting bytes anew.
        self.orders.send_modify(|orders| orders.fault = fault);
    }

    /// Resets every connection there is now. New ones are treated as [`FaultProxy::set`] says.
    pub fn cut_all(&self) {
        self.orders.send_modify(|orders| orders.cut += 1);
    }

    /// Ends it and returns when its port is closed and all its connections are.
    pub async fn stop(self) {
        self.accepting.abort();
        let _ = self.accepting.await;
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, orders: watch::Receiver<Orders>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    // Read here, not in the task: a cut that comes before the task first runs is meant for it too.
                    let cut = orders.borrow().cut;
                    connections.spawn(serve(client, upstream, cut, orders.clone()));
                }
                // Out of file descriptors, for example: others will close.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut client: TcpStream, upstream: SocketAddr, cut: u64, mut orders: watch::Receiver<Orders>) {
    // As long as nothing passes, the server behind does not even see the connection.
    let decided = orders.wait_for(|orders| orders.fault != Fault::Blackhole || orders.cut != cut).await;
    let refuse = decided.map_or(true, |orders| orders.must_reset(cut));
    // Nobody listening behind is treated alike: a reset is the nearest thing to a refused connection.
    let server = if refuse { None } else { TcpStream::connect(upstream).await.ok() };
    let Some(mut server) = server else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    if pass(&mut client, &mut server, cut, orders).await == End::Reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

async fn pass(
    client: &mut TcpStream,
    server: &mut TcpStream,
    cut: u64,
    mut orders: watch::Receiver<Orders>,
) -> End {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let mut there = Flow::new(from_client, to_server);
    let mut back = Flow::new(from_server, to_client);
    loop {
        let now = *orders.borrow_and_update();
        if now.must_reset(cut) {
            return End::Reset;
        }
        there.start_counting();
        back.start_counting();
        if now.fault == Fault::HalfClose {
            back.hang_up().await;
        }
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return End::Closed },
            end = carry(&mut there, &mut back, now.fault) => return end,
        }
    }
}

/// Moves bytes both ways until the connection ends. It can be dropped at any await: nothing is lost.
async fn carry(there: &mut Flow<'_>, back: &mut Flow<'_>, fault: Fault) -> End {
    loop {
        let most = there.carried().max(back.carried());
        match fault {
            Fault::Blackhole => std::future::pending().await,
            Fault::BlackholeAfter(bytes) if most >= bytes => std::future::pending().await,
            Fault::Truncate(bytes) if most >= bytes => {
                // Not simply closed: bytes still unread would turn that into a reset, which can overtake what was sent.
                there.hang_up().await;
                back.hang_up().await;
            }
            _ => {}
        }
        let step = tokio::select! {
            step = there.step(fault), if !there.is_over() => step,
            step = back.step(fault), if !back.is_over() => step,
            else => return End::Closed,
        };
        if step == Step::Broken {
            return End::Reset;
        }
    }
}

#[cfg(test)]
mod tests;
