//! An answer of `/v1/chat/completions` as it comes: server-sent events, or one JSON object from a server that does not stream.

use serde_json::Value;

use crate::failure::Failure;

/// Longest line of an event stream, and longest JSON answer.
const MAX_LINE: usize = 1024 * 1024;
const MAX_JSON: usize = 8 * 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Content(String),
    /// `finish_reason`.
    Finish(String),
    Usage(Usage),
    /// `[DONE]`.
    Done,
    /// `{"error": …}`.
    Error(Value),
}

/// Tokens as the server counted them; `cached` are among `prompt`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) prompt: u64,
    pub(super) completion: u64,
    pub(super) cached: u64,
}

#[derive(Debug, Default)]
pub(super) struct Decoder {
    buffer: Vec<u8>,
    data: String,
    form: Option<Form>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Events,
    Json,
    Page,
}

impl Decoder {
    /// The events that are complete with these bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Failure> {
        self.buffer.extend_from_slice(bytes);
        if self.form.is_none() {
            self.form = form(&self.buffer);
            if self.form.is_some() && self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.buffer.drain(..BYTE_ORDER_MARK.len());
            }
        }
        let mut events = Vec::new();
        if self.form == Some(Form::Events) {
            let mut buffer = std::mem::take(&mut self.buffer);
            let mut used = 0;
            while let Some(length) = buffer[used..].iter().position(|byte| *byte == b'\n') {
                self.line(&buffer[used..=used + length], &mut events);
                used += length + 1;
            }
            buffer.drain(..used);
            self.buffer = buffer;
        }
        let most = if self.form == Some(Form::Json) { MAX_JSON } else { MAX_LINE };
        if self.buffer.len() + self.data.len() > most {
            return Err(Failure::transient("answered with a line without end"));
        }
        Ok(events)
    }

    /// What is left at the end.
    pub(super) fn finish(mut self) -> Result<Vec<Event>, Failure> {
        let mut events = Vec::new();
        match self.form {
            None => return Err(Failure::transient("answered 200 with nothing in it")),
            Some(Form::Page) => {
                return Err(Failure::transient("answered 200 with a web page in place of a completion"));
            }
            Some(Form::Json) => {
                let answer: Value = serde_json::from_slice(&self.buffer)
                    .map_err(|_| Failure::transient("answered 200 with JSON that is cut off or broken"))?;
                read(&answer, &mut events);
                events.push(Event::Done);
            }
            Some(Form::Events) => {
                let line = std::mem::take(&mut self.buffer);
                self.line(&line, &mut events);
                self.take_data(&mut events);
            }
        }
        Ok(events)
    }

    /// One line of an event stream (HTML standard, 9.2). Comments keep the connection alive; an event ends with a blank line,
    /// but some servers forget that: a line that is whole JSON by itself is taken at once. Data of several lines waits for its end:
    /// read again with every line, a megabyte of it would take hours.
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) {
        let line = String::from_utf8_lossy(line);
        if line.trim().is_empty() {
            self.take_data(events);
            self.data.clear();
        } else if let Some(data) = line.trim_end_matches(['\r', '\n']).strip_prefix("data:") {
            let is_first = self.data.is_empty();
            self.data.push_str(data);
            if is_first {
                self.take_data(events);
            }
        }
    }

    /// What the data says, if it is whole.
    fn take_data(&mut self, events: &mut Vec<Event>) {
        let whole = self.data.trim();
        if whole == "[DONE]" {
            events.push(Event::Done);
        } else if let Ok(value) = serde_json::from_str::<Value>(whole) {
            read(&value, events);
        } else {
            return;
        }
        self.data.clear();
    }
}

fn form(start: &[u8]) -> Option<Form> {
    if BYTE_ORDER_MARK.starts_with(start) {
        return None;
    }
    let text = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start);
    match text.trim_ascii_start().first()? {
        b'{' | b'[' => Some(Form::Json),
        b'<' => Some(Form::Page),
        _ => Some(Form::Events),
    }
}

/// A chunk or a whole completion: their fields differ only in `delta` and `message`.
fn read(value: &Value, events: &mut Vec<Event>) {
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        events.push(Event::Error(error.clone()));
        return;
    }
    if let Some(choice) = value.get("choices").and_then(|choices| choices.get(0)) {
        let message = choice.get("delta").or_else(|| choice.get("message"));
        if let Some(text) = message.and_then(|message| message.get("content")).map(content)
            && !text.is_empty()
        {
            events.push(Event::Content(text));
        }
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            events.push(Event::Finish(reason.to_owned()));
        }
    }
    if let Some(usage) = value.get("usage").filter(|usage| usage.is_object()) {
        let count = |value: Option<&Value>| value.and_then(Value::as_u64).unwrap_or(0);
        let details = usage.get("prompt_tokens_details");
        events.push(Event::Usage(Usage {
            prompt: count(usage.get("prompt_tokens")),
            completion: count(usage.get("completion_tokens")),
            cached: count(details.and_then(|details| details.get("cached_tokens"))),
        }));
    }
}

/// Text, or a list of parts with text.
fn content(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], step: usize) -> Result<Vec<Event>, Failure> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for chunk in bytes.chunks(step) {
            events.extend(decoder.push(chunk)?);
        }
        events.extend(decoder.finish()?);
        Ok(events)
    }

    fn text(text: &str) -> Event {
        Event::Content(text.into())
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let stream = "\u{feff}: hello\r\n\r\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
            event: message\ndata:{\"choices\":[{\"delta\":{\"content\":\"안녕\"},\"finish_reason\":null}]}\n\n\
            data: {\"choices\":[{\"delta\":{\ndata: \"content\":\" x\"},\"finish_reason\":\"stop\"}]}\n\n\
            data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n\
            data: [DONE]\n\n";
        let usage = Usage { prompt: 9, completion: 3, cached: 4 };
        let expected =
            [text("안녕"), text(" x"), Event::Finish("stop".into()), Event::Usage(usage), Event::Done];
        for step in [1, 2, 7, 4096] {
            assert_eq!(decode(stream.as_bytes(), step).unwrap(), expected, "{step}");
        }
    }

    #[test]
    fn a_server_that_does_not_stream_is_read_as_well() {
        let answer =
            br#" {"choices":[{"message":{"content":[{"type":"text","text":"a"}]},"finish_reason":"length"}],
                          "usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
        let usage = Usage { prompt: 1, completion: 2, cached: 0 };
        let expected = [text("a"), Event::Finish("length".into()), Event::Usage(usage), Event::Done];
        assert_eq!(decode(answer, 5).unwrap(), expected);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_answer() {
        let (event, json) =
            (r#"{"choices":[{"delta":{"content":"a"}}]}"#, r#"{"choices":[{"message":{"content":"a"}}]}"#);
        for step in [1, 2, 3, 4096] {
            let events = decode(format!("\u{feff}data: {event}\n\n").as_bytes(), step).unwrap();
            assert_eq!(events, [text("a")], "{step}");
            let events = decode(format!("\u{feff}{json}").as_bytes(), step).unwrap();
            assert_eq!(events, [text("a"), Event::Done], "{step}");
        }
    }

    #[test]
    fn what_is_no_completion_is_a_failure() {
        for (body, words) in [("", "nothing"), ("<html>", "web page"), ("{\"choices\":[", "cut off")] {
            let failure = decode(body.as_bytes(), 3).err().unwrap();
            assert!(failure.message.contains(words), "{failure}");
        }
        let found = decode(br#"data: {"error":{"message":"boom","code":500}}"#, 9).unwrap();
        assert!(matches!(&found[..], [Event::Error(error)] if error["message"] == "boom"));
    }

    /// The first is 120,000 lines of one event, the second as many lines of nothing in one piece: read in a time that grows with
    /// the square of their number, each would take minutes.
    #[test]
    fn many_lines_take_no_longer_than_their_bytes() {
        let started = std::time::Instant::now();
        let many = format!("data:[\n{}data:0]\n\n", "data:0,\n".repeat(120_000));
        assert_eq!(decode(many.as_bytes(), 4096).unwrap(), []);
        let mut blank = vec![b'\n'; 1_000_000];
        blank.insert(0, b':');
        assert_eq!(decode(&blank, blank.len()).unwrap(), []);
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut decoder = Decoder::default();
        let chunk = vec![b'x'; 1024 * 1024];
        let failed = (0..20).find_map(|_| decoder.push(&chunk).err());
        assert!(failed.is_some_and(|failure| failure.message.contains("without end")));
    }
}
