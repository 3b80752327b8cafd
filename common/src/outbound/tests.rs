use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn settings(allow: &[&str]) -> config::Outbound {
    let allow = allow.iter().map(|network| network.parse().unwrap()).collect();
    config::Outbound { allow, ..config::Outbound::default() }
}

#[test]
fn an_address_is_judged_as_it_is_written() {
    let none = settings(&[]);
    for good in [
        "https://example.org/a?b=c#d",
        "https://example.org:443/",
        " https://한국.example/ ",
        "https://1.1.1.1/",
        "https://[2606:4700:4700::1111]/",
    ] {
        assert!(Address::parse(good, &none).is_ok(), "{good}");
    }
    for bad in [
        "",
        "example.org",
        "/etc/passwd",
        "file:///etc/passwd",
        "ftp://example.org/",
        "gopher://example.org/",
        "data:text/plain,x",
        "https://",
        "https://user@example.org/",
        "https://user:password@example.org/",
        "https://1.1.1.1@127.0.0.1/",
        "http://example.org/",
        "https://example.org:8443/",
        "https://example.org:22/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://0/",
        "https://１２７.０.０.１/",
        "https://127。0。0。1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:7f00:1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fd00:ec2::254]/",
        &format!("https://example.org/{}", "a".repeat(MAX_LENGTH)),
    ] {
        assert!(Address::parse(bad, &none).is_err(), "{bad}");
    }
    let listed = settings(&["10.1.0.0/16"]);
    for good in ["http://10.1.2.3:8080/", "https://10.1.2.3/", "http://intranet.example/", "https://1.1.1.1/"]
    {
        assert!(Address::parse(good, &listed).is_ok(), "{good}");
    }
    for bad in ["http://10.2.0.1/", "http://1.1.1.1/", "http://127.0.0.1/"] {
        assert!(Address::parse(bad, &listed).is_err(), "{bad}");
    }
}

#[test]
fn where_a_redirect_leads_is_judged_again() {
    let none = settings(&[]);
    let page = Address::parse("https://example.org/a/b", &none).unwrap();
    let at = |location: &str| page.join(location, &none).map(|address| address.as_str().to_owned());
    assert_eq!(at("../c?d").unwrap(), "https://example.org/c?d");
    assert_eq!(at("//www.example.org/").unwrap(), "https://www.example.org/");
    for bad in
        ["https://169.254.169.254/latest/", "//127.0.0.1/", "http://example.org/", "file:///etc/passwd"]
    {
        assert!(at(bad).unwrap_err().reason.contains("leads"), "{bad}");
    }
}

/// Answers each lookup with the next of the lists, and the last one from then on.
fn scripted(answers: &[&[&str]]) -> Lookup {
    let answers: Vec<Vec<IpAddr>> =
        answers.iter().map(|list| list.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
    let next = Mutex::new(0);
    Arc::new(move |_| {
        let mut next = next.lock().unwrap();
        let answer = answers[(*next).min(answers.len() - 1)].clone();
        *next += 1;
        Box::pin(async move { Ok(answer) })
    })
}

/// A server on this machine that says hello to everybody; and how often it did.
async fn server() -> (SocketAddr, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::new(Mutex::new(0));
    let count = served.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            *count.lock().unwrap() += 1;
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, served)
}

fn is_not_allowed(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<NotAllowed>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[tokio::test]
async fn a_name_that_resolves_to_this_machine_is_not_connected() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (address, served) = server().await;
    // Port 443 is nobody's here: what is refused is refused before anything is connected.
    let listed = settings(&["10.0.0.0/8"]);
    for answers in [&["127.0.0.1"][..], &["::1", "::ffff:127.0.0.1"], &["169.254.169.254", "0.0.0.0"], &[]] {
        let outbound = Outbound::with_lookup(&listed, scripted(&[answers])).unwrap();
        for url in
            ["https://rebound.example/".to_owned(), format!("http://rebound.example:{}/", address.port())]
        {
            let error = outbound.get(&Address::parse(&url, &listed).unwrap()).send().await.unwrap_err();
            assert!(is_not_allowed(&error), "{url} {answers:?}: {error:?}");
        }
    }
    assert_eq!(*served.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_gains_nothing() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (address, served) = server().await;
    let listed = settings(&["127.0.0.2/32", "127.0.0.1/32"]);
    let url = format!("http://rebound.example:{}/", address.port());
    let target = Address::parse(&url, &listed).unwrap();
    // First what is allowed, then what is not: each connection is to what was judged for it.
    let outbound = Outbound::with_lookup(&listed, scripted(&[&["127.0.0.1"], &["127.0.0.3"]])).unwrap();
    let answer = outbound.get(&target).send().await.unwrap();
    assert_eq!(answer.status(), 302, "a redirect is not followed");
    assert!(is_not_allowed(&outbound.get(&target).send().await.unwrap_err()));
    assert_eq!(*served.lock().unwrap(), 1);
    // Of several addresses only those that are allowed are tried.
    let outbound = Outbound::with_lookup(&listed, scripted(&[&["127.0.0.9", "127.0.0.1"]])).unwrap();
    outbound.get(&target).send().await.unwrap();
    assert_eq!(*served.lock().unwrap(), 2);
}

#[tokio::test]
async fn a_lookup_that_fails_is_an_error() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let none = settings(&[]);
    let lookup: Lookup = Arc::new(|_| Box::pin(async { Err(io::Error::other("no such name")) }));
    let outbound = Outbound::with_lookup(&none, lookup).unwrap();
    let error = outbound.get(&Address::parse("https://x.example/", &none).unwrap()).send().await.unwrap_err();
    assert!(error.is_connect() && !is_not_allowed(&error));
}
