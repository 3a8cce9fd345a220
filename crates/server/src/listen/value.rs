//! Where one JSON value ends (RFC 8259), without understanding it.

/// Follows one value through pieces of text. What is no JSON is found by who reads it; here it only has to end somewhere, or not.
#[derive(Debug, Default)]
pub(super) struct Value {
    depth: usize,
    begun: bool,
    in_string: bool,
    escaped: bool,
}

impl Value {
    /// Whether the value is complete with this piece: an object, an array or a string. Of a bare number that cannot be told.
    pub(super) fn feed(&mut self, piece: &[u8]) -> bool {
        for byte in piece {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => {
                    self.in_string = !self.in_string;
                    self.begun = true;
                }
                _ if self.in_string => {}
                b'{' | b'[' => {
                    self.depth += 1;
                    self.begun = true;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.begun && self.depth == 0 && !self.in_string {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_where_it_ends() {
        for (text, end) in [
            (r#"{"a":1}"#, Some(7)),
            (r#"  {"a":[{}, "}"], "b":"\"}"}  "#, Some(28)),
            (r#"{"a":"\\"}x"#, Some(10)),
            (r#"["\u005d"]"#, Some(10)),
            (r#""text""#, Some(6)),
            (r#"{"a":1"#, None),
            (r#"{"a":"}"#, None),
            ("12", None),
            ("", None),
        ] {
            let mut value = Value::default();
            let found = text.bytes().position(|byte| value.feed(&[byte])).map(|at| at + 1);
            assert_eq!(found, end, "{text}");
            assert_eq!(Value::default().feed(text.as_bytes()), end.is_some(), "{text}");
        }
    }
}
