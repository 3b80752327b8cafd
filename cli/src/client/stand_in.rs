//! A server for tests that gives prepared answers, one a connection, and remembers what it was asked.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) struct StandIn {
    pub(crate) address: String,
    serving: JoinHandle<Vec<String>>,
}

impl StandIn {
    /// An empty answer closes the connection without one.
    pub(crate) async fn start(answers: Vec<String>) -> StandIn {
        // The HTTP client cannot be built without it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut connection, _) = listener.accept().await.unwrap();
                requests.push(read_request(&mut connection).await);
                connection.write_all(answer.as_bytes()).await.unwrap();
                connection.shutdown().await.ok();
            }
            requests
        });
        StandIn { address, serving }
    }

    /// What was asked, once every answer has been given.
    pub(crate) async fn requests(self) -> Vec<String> {
        self.serving.await.unwrap()
    }
}

/// Head and body, so that the client has no unsent data when the connection closes.
async fn read_request(connection: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        assert_ne!(connection.read_buf(&mut bytes).await.unwrap(), 0, "the request ended early");
    }
}
