//! A source that is an address: the page is fetched when its outline begins, not when the request is accepted.

use std::time::Duration;

use common::class::Class;
use common::config;
use common::outbound::{Address, NotAllowed, Outbound};
use common::request::MAX_SOURCE_BYTES;
use encoding_rs::{Encoding, UTF_8};
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::failure::Failure;

const MAX_REDIRECTS: usize = 5;
/// What the reader of texts understands.
const READABLE: [&str; 4] = ["text/html", "application/xhtml+xml", "text/markdown", "text/plain"];
/// How far into a page its own word for its characters is looked for, as browsers do.
const PRESCAN: usize = 1_024;

/// The text of a page: HTML, Markdown or plain.
pub(crate) async fn fetch(
    outbound: &Outbound,
    settings: &config::Outbound,
    url: &str,
) -> Result<String, Failure> {
    let limit = settings.timeout();
    tokio::time::timeout(limit, follow(outbound, settings, url)).await.unwrap_or_else(|_| {
        Err(Failure::timeout(format!("the source's address did not answer within {limit:?}")))
    })
}

async fn follow(outbound: &Outbound, settings: &config::Outbound, url: &str) -> Result<String, Failure> {
    let refused = |bad: common::outbound::Bad| {
        Failure::permanent_input(format!(
            "the source's address cannot be used: {}. {}",
            bad.reason, bad.remedy
        ))
    };
    let mut address = Address::parse(url, settings).map_err(refused)?;
    for _ in 0..=MAX_REDIRECTS {
        let asked = outbound.get(&address).header(ACCEPT, READABLE.join(", "));
        let answer = asked.send().await.map_err(unreachable)?;
        if !answer.status().is_redirection() {
            return read(answer).await;
        }
        let location =
            answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        address = address.join(location, settings).map_err(refused)?;
    }
    Err(Failure::permanent_input(format!(
        "the source's address leads on and on, more than {MAX_REDIRECTS} times"
    )))
}

async fn read(mut answer: Response) -> Result<String, Failure> {
    check_status(&answer)?;
    let content_type = answer
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    check_type(&content_type)?;
    let announced = answer.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut body = Vec::with_capacity(announced.min(MAX_SOURCE_BYTES));
    while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
        if announced.max(body.len() + piece.len()) > MAX_SOURCE_BYTES {
            let message = format!(
                "the page at the source's address is larger than {MAX_SOURCE_BYTES} bytes. Send the article's text as source.text"
            );
            return Err(Failure::permanent_input(message));
        }
        body.extend_from_slice(&piece);
    }
    decode(&body, &content_type)
}

/// What the server says of itself may change; what it says of the address does not.
fn check_status(answer: &Response) -> Result<(), Failure> {
    let status = answer.status();
    let message = format!("the source's address answers {status}");
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::TOO_MANY_REQUESTS => {
            let retry_after =
                answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let failure = Failure::new(Class::Throttled, message);
            Err(Failure { retry_after: retry_after.map(Duration::from_secs), ..failure })
        }
        StatusCode::REQUEST_TIMEOUT => Err(Failure::transient(message)),
        status if status.is_server_error() => Err(Failure::transient(message)),
        _ => Err(Failure::permanent_input(message)),
    }
}

fn check_type(content_type: &str) -> Result<(), Failure> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if READABLE.contains(&essence.as_str()) {
        return Ok(());
    }
    let found =
        if essence.is_empty() { "does not say what it is".to_owned() } else { format!("is {essence:?}") };
    Err(Failure::permanent_input(format!(
        "the page at the source's address {found}; only HTML, Markdown and plain text can be read"
    )))
}

/// By a byte order mark, by the header, by what the page says of itself, else as UTF-8.
fn decode(body: &[u8], content_type: &str) -> Result<String, Failure> {
    let named = Encoding::for_bom(body)
        .map(|(encoding, _)| encoding)
        .or_else(|| Encoding::for_label(parameter(content_type)?.as_bytes()))
        .or_else(|| Encoding::for_label(of_page(body)?.as_bytes()))
        .unwrap_or(UTF_8);
    let (text, _, broken) = named.decode(body);
    if broken && text.chars().filter(|c| *c == '\u{fffd}').count() * 50 > text.chars().count() {
        let name = named.name();
        return Err(Failure::permanent_input(format!(
            "the page at the source's address is not {name}, as it should be"
        )));
    }
    // No text has one, and PostgreSQL keeps none.
    let text = text.replace('\0', "");
    if text.trim().is_empty() {
        return Err(Failure::permanent_input("the page at the source's address is empty"));
    }
    Ok(text)
}

/// `charset` of a Content-Type.
fn parameter(content_type: &str) -> Option<String> {
    content_type.split(';').skip(1).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'']);
        name.trim().eq_ignore_ascii_case("charset").then(|| value.to_owned())
    })
}

/// `<meta charset=…>`, or the `charset=` of its older form.
fn of_page(body: &[u8]) -> Option<String> {
    let start = String::from_utf8_lossy(&body[..body.len().min(PRESCAN)]).to_ascii_lowercase();
    let (_, rest) = start.split_once("<meta").and_then(|(_, rest)| rest.split_once("charset"))?;
    let value = rest.trim_start().strip_prefix('=')?.trim_start().trim_start_matches(['"', '\'']);
    Some(value.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_:".contains(*c)).collect())
}

/// A name that resolves to where nobody may reach stays so; everything else may be over in a while.
fn unreachable(error: reqwest::Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<NotAllowed>() {
            return Failure::permanent_input(format!("the source's address cannot be used: {refused}"));
        }
        cause = inner.source();
    }
    let error = error.without_url();
    if error.is_timeout() {
        return Failure::timeout("the source's address did not answer in time").because(error);
    }
    Failure::transient("the source's address cannot be reached").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_in_its_own_characters() {
        let check = |body: &[u8], content_type: &str, expected: &str| {
            assert_eq!(decode(body, content_type).unwrap(), expected, "{content_type}");
        };
        check("조수".as_bytes(), "text/plain", "조수");
        check(b"\xef\xbb\xbfa", "text/plain; charset=euc-kr", "a");
        // EUC-KR, as many Korean pages still are.
        check(b"\xc1\xb6\xbc\xf6", "text/html; charset=\"EUC-KR\"", "조수");
        let page =
            [b"<html><META content='text/html; charset=ks_c_5601-1987'>".as_slice(), b"\xc1\xb6\xbc\xf6"]
                .concat();
        assert!(decode(&page, "text/html").unwrap().ends_with("조수"));
        let page = [b"<meta charset=utf-8>".as_slice(), "é".as_bytes()].concat();
        assert!(decode(&page, "text/html").unwrap().ends_with('é'));
        check(b"caf\xe9", "text/plain; charset=latin1", "café");
        check(b"a\0b", "text/plain; charset=nonsense", "ab");
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert!(decode(&[0xff; 100], "text/plain").is_err());
        assert!(decode(b" \n", "text/plain").is_err());
        for good in ["text/html", "TEXT/HTML; charset=utf-8", "text/markdown", "text/plain;charset=x"] {
            assert!(check_type(good).is_ok(), "{good}");
        }
        for bad in ["", "application/pdf", "image/svg+xml", "text/css", "application/json"] {
            assert!(check_type(bad).is_err(), "{bad}");
        }
    }
}
