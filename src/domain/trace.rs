use std::fmt;

/// The trace that a caller says its request belongs to (W3C Trace Context): a claim, which nothing is decided upon.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 32]);

impl TraceId {
    /// From the one `traceparent` header of a request: version, trace, parent and flags, with `-` between. What a
    /// later version adds behind them is not looked at (<https://www.w3.org/TR/trace-context/#versioning-of-traceparent>).
    pub fn from_traceparent(header: &[u8]) -> Option<Self> {
        let (known, more) = header.split_at_checked(55)?;
        let mut fields = known.split(|b| *b == b'-');
        let (version, trace, parent, flags) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let hex = |field: &[u8], length| field.len() == length && field.iter().all(|b| is_hex(*b));
        let id = |field: &[u8], length| hex(field, length) && field.iter().any(|b| *b != b'0');
        let ends = match version {
            b"ff" => false,
            b"00" => more.is_empty(),
            _ => more.first().is_none_or(|b| *b == b'-'),
        };
        let good = hex(version, 2) && id(trace, 32) && id(parent, 16) && hex(flags, 2) && ends;
        good.then(|| Self(trace.try_into().expect("32 digits")))
    }

    /// 32 hexadecimal digits in lower case.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

/// Upper case is no trace of W3C's.
fn is_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_traceparent_is_taken_as_w3c_has_it_or_not_at_all() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let (parent, nought) = ("00f067aa0ba902b7", "0".repeat(32));
        for (row, header, taken) in [
            ("as it is", format!("00-{trace}-{parent}-01"), true),
            ("not sampled", format!("00-{trace}-{parent}-00"), true),
            ("flags to come", format!("00-{trace}-{parent}-ff"), true),
            ("a later version", format!("cc-{trace}-{parent}-01"), true),
            (
                "a later version that says more",
                format!("cc-{trace}-{parent}-01-what-the-future-brings"),
                true,
            ),
            ("a later version that says more at once", format!("cc-{trace}-{parent}-01.what"), false),
            ("more than this version says", format!("00-{trace}-{parent}-01-x"), false),
            ("an end that says nothing", format!("00-{trace}-{parent}-01-"), false),
            ("no version", format!("ff-{trace}-{parent}-01"), false),
            ("a version of other digits", format!("0x-{trace}-{parent}-01"), false),
            ("a version in upper case", format!("CC-{trace}-{parent}-01"), false),
            ("a trace in upper case", format!("00-{}-{parent}-01", trace.to_uppercase()), false),
            ("a trace of nought", format!("00-{nought}-{parent}-01"), false),
            ("a trace too short", format!("00-{}-{parent}a-01", &trace[1..]), false),
            ("a trace of other digits", format!("00-{}g-{parent}-01", &trace[1..]), false),
            ("a parent of nought", format!("00-{trace}-{}-01", &nought[16..]), false),
            ("a parent of other digits", format!("00-{trace}-{}.-01", &parent[1..]), false),
            ("flags of other digits", format!("00-{trace}-{parent}-0g"), false),
            ("flags too short", format!("00-{trace}-{parent}-1"), false),
            ("another sign between", format!("00_{trace}_{parent}_01"), false),
            ("spaces", format!(" 00-{trace}-{parent}-01"), false),
            ("a list", format!("00-{trace}-{parent}-01,00-{trace}-{parent}-01"), false),
            ("beyond ASCII", format!("00-{}ä-{parent}-01", &trace[2..]), false),
            ("nothing", String::new(), false),
        ] {
            let told = TraceId::from_traceparent(header.as_bytes());
            assert_eq!(told.as_ref().map(TraceId::as_str), taken.then_some(trace), "{row}: {header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_more_than_it_can_take(header in prop::collection::vec(any::<u8>(), 0..80), dashes: bool) {
            let mut header = header;
            for at in [2, 35, 52] {
                if let Some(b) = header.get_mut(at).filter(|_| dashes) { *b = b'-'; }
            }
            if let Some(id) = TraceId::from_traceparent(&header) {
                prop_assert!(header.windows(32).any(|part| part == id.as_str().as_bytes()));
            }
        }
    }
}
