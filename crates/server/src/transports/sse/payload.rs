//! The data of an event, as it follows the first `data: ` (RFC 8895 sections 5.1 and 9.5), shared by all streams.
//!
//! Invariant: joined with LF the lines are the body again, but for line breaks added between the tokens of a long JSON text, which do not
//! change what it says.
use alto::updates::sse::EVENT_END;
use bytes::Bytes;
use std::sync::Arc;

/// Lines are broken after so many bytes: "It is RECOMMENDED that an update stream server limit the lengths of data lines". 64 KiB: what
/// readers that take lines whole commonly allow.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Up to this size the lines are copied into one piece, which is sent with less work; above, the pieces are parts of the body. 256 KiB.
const JOINED_BYTES_MAX: usize = 256 << 10;
const NEXT_LINE: &[u8] = b"\ndata: ";

/// The pieces of an event after its head.
pub(crate) type Payload = Arc<[Bytes]>;

/// Of a body that is JSON text.
pub(crate) fn payload(body: &Bytes) -> Payload {
    payload_of_lines(body, &lines(body, LINE_BYTES_MAX))
}

fn payload_of_lines(body: &Bytes, lines: &[(usize, usize)]) -> Payload {
    if body.len() <= JOINED_BYTES_MAX {
        let mut joined = Vec::with_capacity(body.len() + lines.len() * NEXT_LINE.len() + EVENT_END.len());
        for (at, (start, end)) in lines.iter().enumerate() {
            if at > 0 {
                joined.extend_from_slice(NEXT_LINE);
            }
            joined.extend_from_slice(&body[*start..*end]);
        }
        joined.extend_from_slice(EVENT_END);
        return [Bytes::from(joined)].into();
    }
    let mut pieces = Vec::with_capacity(2 * lines.len());
    for (at, (start, end)) in lines.iter().enumerate() {
        if at > 0 {
            pieces.push(Bytes::from_static(NEXT_LINE));
        }
        pieces.push(body.slice(*start..*end));
    }
    pieces.push(Bytes::from_static(EVENT_END));
    pieces.into()
}

/// Where the lines of a JSON text are: broken at line breaks, which in JSON are only between tokens, and after the first comma between
/// tokens once a line has `bytes_max` bytes.
fn lines(text: &[u8], bytes_max: usize) -> Vec<(usize, usize)> {
    let mut lines = Vec::new();
    let (mut start, mut at) = (0, 0);
    // Most texts have one line and are short: one look over them for breaks.
    if text.len() <= bytes_max && !text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return vec![(0, text.len())];
    }
    while at < text.len() {
        match text[at] {
            b'"' => {
                at += 1;
                while at < text.len() && text[at] != b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'\n' | b'\r' => {
                lines.push((start, at));
                at += if text[at..].starts_with(b"\r\n") { 2 } else { 1 };
                start = at;
            }
            b',' if at - start >= bytes_max => {
                lines.push((start, at + 1));
                at += 1;
                start = at;
            }
            _ => at += 1,
        }
    }
    lines.push((start.min(text.len()), text.len()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(payload: &Payload) -> Vec<u8> {
        let mut stream = b"data: ".to_vec();
        payload.iter().for_each(|piece| stream.extend_from_slice(piece));
        let mut decoder = alto::updates::sse::Decoder::new(1 << 30);
        let mut messages = Vec::new();
        decoder.push(&stream, |message| messages.push(message)).unwrap();
        let [message] = &messages[..] else { panic!("one event, not {messages:?}") };
        message.data.clone()
    }

    #[test]
    fn lines_break_between_tokens_only() {
        for (text, bytes_max, want) in [
            // Section 9.5: no break that would change the meaning.
            (r#"{"a":1,"b":2}"#, 100, vec![r#"{"a":1,"b":2}"#]),
            (r#"{"a":1,"b":2}"#, 1, vec![r#"{"a":1,"#, r#""b":2}"#]),
            (r#"{"a,b":1,"c":2}"#, 1, vec![r#"{"a,b":1,"#, r#""c":2}"#]),
            (r#"{"a\",\"":1,"c":2}"#, 1, vec![r#"{"a\",\"":1,"#, r#""c":2}"#]),
            (r#"{"a\\":1,"c":2}"#, 1, vec![r#"{"a\\":1,"#, r#""c":2}"#]),
            ("{\n\"a\":1,\r\n\"b\":2\r}", 100, vec!["{", "\"a\":1,", "\"b\":2", "}"]),
            ("", 100, vec![""]),
        ] {
            let lines: Vec<&str> = lines(text.as_bytes(), bytes_max).into_iter().map(|(start, end)| &text[start..end]).collect();
            assert_eq!(lines, want, "{text}");
        }
    }

    #[test]
    fn large_bodies_are_not_copied() {
        let body = Bytes::from(format!("[{}1]", "1234567,".repeat(60_000)));
        let payload = payload(&body);
        let within = body.as_ptr_range();
        let shared: usize = payload.iter().filter(|piece| within.contains(&piece.as_ptr())).map(Bytes::len).sum();
        assert_eq!(shared, body.len());
        assert!(payload.iter().all(|piece| piece.len() <= LINE_BYTES_MAX + 8));
        let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&parsed(&payload)), value(&body));
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof!["[a-z,\\\\\"{}:\n\r ]{0,12}".prop_map(serde_json::Value::from), any::<i32>().prop_map(Into::into)];
        leaf.prop_recursive(3, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                prop::collection::btree_map("[a-z,\"]{0,4}", inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// RFC 8895 section 9.5: whatever the lines, a reader of event streams gets the same JSON.
        #[test]
        fn lines_keep_the_meaning(value in json(), bytes_max in 1..40usize, pretty: bool) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            let body = Bytes::from(text);
            let read = parsed(&payload_of_lines(&body, &lines(&body, bytes_max)));
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&read).unwrap(), value);
        }
    }
}
