//! What a request for a file says of the bytes that it wants: tags, ranges and encodings. Pure.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderValue, header};

/// Whether `If-None-Match` names this tag, by weak comparison (RFC 9110 sections 8.8.3.2 and 13.1.2).
pub(super) fn names_tag(headers: &HeaderMap, etag: &str) -> bool {
    let opaque = |tag: &'_ str| -> usize { if tag.starts_with("W/") { 2 } else { 0 } };
    let Some(asked) = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let etag = &etag[opaque(etag)..];
    asked.split(',').map(str::trim).any(|tag| tag == "*" || &tag[opaque(tag)..] == etag)
}

/// Whether a body may be answered in gzip (RFC 9110 section 12.5.3): it is named, and not liked less than none.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity) = (0.0, 0.0);
    for item in headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()) {
        for coding in item.split(',') {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = weight.trim().strip_prefix("q=").map_or(1.0, |q| q.parse().unwrap_or(0.0_f32));
            match name.trim() {
                name if name.eq_ignore_ascii_case("gzip") => gzip = weight,
                name if name.eq_ignore_ascii_case("identity") => identity = weight,
                _ => {}
            }
        }
    }
    gzip > 0.0 && gzip >= identity
}

/// `If-Range` takes strong tags only (RFC 9110 section 13.1.5); a date never matches.
pub(super) fn if_range_holds(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|value| value.as_bytes() == etag.as_bytes())
}

/// What a `Range` header comes to for a file of this length.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RangeAsked {
    /// Not a single byte range: served whole, which is always allowed.
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// Reads a single byte range (RFC 9110 section 14.1.2).
pub(super) fn parse_range(value: &HeaderValue, len: u64) -> RangeAsked {
    let spec = value.to_str().ok().and_then(|text| text.trim().strip_prefix("bytes="));
    let Some((first, last)) = spec.filter(|spec| !spec.contains(',')).and_then(|spec| spec.split_once('-'))
    else {
        return RangeAsked::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (first.trim().is_empty(), number(first), last.trim().is_empty(), number(last)) {
        (true, _, false, Some(suffix)) if suffix > 0 && len > 0 => {
            RangeAsked::Part(len.saturating_sub(suffix)..len)
        }
        (true, _, false, Some(_)) => RangeAsked::Unsatisfiable,
        (false, Some(first), true, _) if first < len => RangeAsked::Part(first..len),
        (false, Some(first), false, Some(last)) if first <= last && first < len => {
            RangeAsked::Part(first..len.min(last.saturating_add(1)))
        }
        (false, Some(first), ..) if first >= len => RangeAsked::Unsatisfiable,
        _ => RangeAsked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn ranges() {
        let parse = |text: &str| parse_range(&HeaderValue::from_str(text).unwrap(), 100);
        assert_eq!(parse("bytes=0-9"), RangeAsked::Part(0..10));
        assert_eq!(parse("bytes=90-"), RangeAsked::Part(90..100));
        assert_eq!(parse("bytes=90-900"), RangeAsked::Part(90..100));
        assert_eq!(parse("bytes=-10"), RangeAsked::Part(90..100));
        assert_eq!(parse("bytes=-1000"), RangeAsked::Part(0..100));
        assert_eq!(parse("bytes=100-"), RangeAsked::Unsatisfiable);
        assert_eq!(parse("bytes=-0"), RangeAsked::Unsatisfiable);
        for whole in ["bytes=0-1,5-6", "lines=0-1", "bytes=5-1", "bytes=a-b", "bytes=-"] {
            assert_eq!(parse(whole), RangeAsked::Whole, "{whole}");
        }
    }

    #[test]
    fn tags_compare_weakly() {
        let asked = headers(header::IF_NONE_MATCH, "\"x\", W/\"abc\"");
        assert!(names_tag(&asked, "W/\"abc\"") && names_tag(&asked, "\"abc\"") && names_tag(&asked, "\"x\""));
        assert!(!names_tag(&asked, "\"abcd\"") && !names_tag(&asked, "\"\""));
        assert!(names_tag(&headers(header::IF_NONE_MATCH, "*"), "\"x\""));
        assert!(!names_tag(&HeaderMap::new(), "\"x\""));
    }

    #[test]
    fn gzip_is_for_those_who_name_it() {
        let takes = |value| takes_gzip(&headers(header::ACCEPT_ENCODING, value));
        for value in ["gzip", "deflate, gzip", "br;q=1, GZIP;q=0.5", "gzip;q=1, identity"] {
            assert!(takes(value), "{value}");
        }
        for value in ["", "br", "gzip;q=0", "gzip;q=x", "gzip;q=0.5, identity", "identity"] {
            assert!(!takes(value), "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
