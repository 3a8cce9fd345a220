//! A JSON Patch on its way out, written as text: what the changes of maps are made with.
use crate::json;
use std::fmt::Display;

/// The operations so far.
pub(super) struct Operations {
    out: Vec<u8>,
}

impl Operations {
    pub(super) fn new() -> Self {
        Self { out: vec![b'['] }
    }

    pub(super) fn remove(&mut self, path: impl Display) {
        self.open("remove", path);
        self.out.push(b'}');
    }

    /// The value is to be written to what this returns, then comes [`Self::close`].
    pub(super) fn open_value(&mut self, op: &str, path: impl Display) -> &mut Vec<u8> {
        self.open(op, path);
        self.out.extend_from_slice(b",\"value\":");
        &mut self.out
    }

    pub(super) fn close(&mut self) {
        self.out.push(b'}');
    }

    pub(super) fn value(&mut self, op: &str, path: impl Display, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.open_value(op, path));
        self.close();
    }

    /// An operation on a member two levels down, whose names need no escape in JSON and none in a pointer; without a value: `remove`.
    pub(super) fn cell(&mut self, op: &str, path: [&[u8]; 3], write: Option<impl FnOnce(&mut Vec<u8>)>) {
        self.begin(op);
        let out = &mut self.out;
        out.push(b'"');
        for name in path {
            out.push(b'/');
            out.extend_from_slice(name);
        }
        out.push(b'"');
        if let Some(write) = write {
            out.extend_from_slice(b",\"value\":");
            write(out);
        }
        out.push(b'}');
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Takes back what was written since.
    pub(super) fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.out.push(b']');
        self.out
    }

    fn open(&mut self, op: &str, path: impl Display) {
        self.begin(op);
        json::write_text(&mut self.out, path);
    }

    fn begin(&mut self, op: &str) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        self.out.extend_from_slice(b"{\"op\":\"");
        self.out.extend_from_slice(op.as_bytes());
        self.out.extend_from_slice(b"\",\"path\":");
    }
}
