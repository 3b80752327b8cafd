//! Requests for podcasts, as they come over HTTP and AMQP.

use common::request::{Fault, accept};

use crate::world;

/// Of each list no more entries are judged than it may have.
const MOST_FAULTS: usize = 400;

pub(crate) fn request(bytes: &[u8]) {
    let (config, now) = (world::config(), world::now());
    match accept(bytes, config, now, now) {
        Ok(accepted) => {
            let written = serde_json::to_vec(&accepted.request).unwrap_or_default();
            assert!(!has_nul(&written), "PostgreSQL keeps no NUL");
            let again = accept(&written, config, now, now);
            assert!(again.as_ref() == Ok(&accepted), "written and read again it is another: {again:?}");
            assert!(!accepted.brief.speakers.is_empty());
            assert!(accepted.deadline > now);
        }
        Err(faults) => refused(&faults),
    }
}

/// A refusal says something, and not without end.
pub(crate) fn refused(faults: &[Fault]) {
    assert!(!faults.is_empty() && faults.len() <= MOST_FAULTS, "{} faults", faults.len());
    for fault in faults {
        assert!(!fault.field.is_empty() && !fault.reason.is_empty() && !fault.remedy.is_empty(), "{fault:?}");
    }
}

/// Whether JSON holds a NUL, in any text or name.
pub(crate) fn has_nul(json: &[u8]) -> bool {
    let text = String::from_utf8_lossy(json);
    // A backslash before it, itself escaped, makes it plain text.
    text.match_indices("\\u0000").any(|(at, _)| {
        let before = text[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        before % 2 == 0
    })
}
