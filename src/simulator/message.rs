//! One request as it was received.

use std::borrow::Cow;

use bytes::Bytes;

/// Most header fields a request may have.
pub const MAX_FIELDS: usize = 128;

/// The bytes of a request, kept as they came; only a chunked body's framing is undone.
pub struct Message {
    head: Bytes,
    body: Bytes,
}

/// The same, taken apart.
pub struct Request<'m> {
    pub method: &'m str,
    /// Path and query.
    pub target: &'m str,
    pub body: &'m [u8],
    fields: Vec<httparse::Header<'m>>,
}

/// What stands in a header that may be sent once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'m> {
    Absent,
    Once(&'m [u8]),
    Repeated,
}

impl Message {
    pub fn new(head: Bytes, body: Bytes) -> Self {
        Self { head, body }
    }

    /// A copy of its own, to keep: the received one holds on to the whole buffer it was read into.
    pub fn compact(&self) -> Self {
        let mut body = Bytes::from([&self.head[..], &self.body[..]].concat());
        let head = body.split_to(self.head.len());
        Self { head, body }
    }

    pub fn body(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// None for a head that is not HTTP, which [`super::http`] never lets through.
    pub fn request(&self) -> Option<Request<'_>> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut fields);
        parsed.parse(&self.head).ok()?;
        Some(Request {
            method: parsed.method?,
            target: parsed.path?,
            body: &self.body,
            fields: parsed.headers.to_vec(),
        })
    }
}

impl<'m> Request<'m> {
    /// Every header in order, values trimmed.
    pub fn fields(&self) -> impl Iterator<Item = (&'m str, &'m [u8])> {
        self.fields.iter().map(|field| (field.name, field.value.trim_ascii()))
    }

    /// Names compare without regard to case.
    pub fn field(&self, name: &str) -> Field<'m> {
        let mut values = self.fields().filter(|(each, _)| each.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (None, _) => Field::Absent,
            (Some((_, value)), None) => Field::Once(value),
            (Some(_), Some(_)) => Field::Repeated,
        }
    }

    /// The header's value where it is there once and is text.
    pub fn text(&self, name: &str) -> Option<&'m str> {
        match self.field(name) {
            Field::Once(value) => std::str::from_utf8(value).ok(),
            Field::Absent | Field::Repeated => None,
        }
    }
}
