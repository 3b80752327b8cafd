//! Shapes of small texts from outside.

/// 1 to 255 visible ASCII characters: what an idempotency key may be, over HTTP as over AMQP.
pub(crate) fn is_idempotency_key(key: &str) -> bool {
    (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// W3C trace context, version 00: `00-<32 hex>-<16 hex>-<2 hex>`, where neither id is all zeros.
pub(crate) fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else { return false };
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let zeros = |part: &str| part.bytes().all(|b| b == b'0');
    version == "00" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2) && !zeros(trace) && !zeros(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_ascii() {
        assert!(is_idempotency_key("order-17/a"));
        assert!(is_idempotency_key(&"x".repeat(255)));
        for key in ["", "a b", "가", "a\n", &"x".repeat(256)] {
            assert!(!is_idempotency_key(key), "{key:?}");
        }
    }

    #[test]
    fn trace_contexts_have_their_shape() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(good));
        for bad in [
            "",
            "00",
            &good.replace("4bf9", "4BF9"),
            &good[..54],
            &good.replace("00f067aa0ba902b7", "0000000000000000"),
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
