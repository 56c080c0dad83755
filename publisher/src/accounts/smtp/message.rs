//! A message as it goes over the wire (RFC 5322, RFC 2045, RFC 2047). Pure.
//!
//! Invariant: whatever a text says, it cannot make a header, or end the message: the body is base 64, and so is a subject that is not
//! plain.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;

use crate::accounts::{Email, Mail};

/// Characters of a line of base 64 (RFC 2045 section 6.8).
const LINE_CHARS: usize = 76;
/// Bytes of a text in one encoded word: with the name of the header before it, a line has at most 76 characters (RFC 2047 section 2).
const WORD_BYTES: usize = 39;
/// Longest subject that is written as it is.
const PLAIN_CHARS_MAX: usize = 200;

/// The message, with every line ended.
pub(super) fn render(mail: &Mail, from: &Email, id: &str, now_s: u64) -> String {
    let at = Timestamp::from_second(i64::try_from(now_s).unwrap_or_default()).unwrap_or_default();
    let date = at.strftime("%a, %d %b %Y %H:%M:%S +0000");
    let domain = from.as_str().rsplit('@').next().unwrap_or_default();
    let (from, to, subject) = (from.as_str(), mail.to.as_str(), subject(&mail.subject));
    let mut text = format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: <{id}@{domain}>\r\n\
         Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n"
    );
    let body = STANDARD.encode(mail.text.replace("\r\n", "\n").replace('\n', "\r\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_CHARS));
        text.push_str(line);
        text.push_str("\r\n");
        rest = after;
    }
    text
}

fn subject(text: &str) -> String {
    let plain = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) && !text.contains("=?");
    if plain && text.len() <= PLAIN_CHARS_MAX {
        return text.to_owned();
    }
    let mut words = vec![String::new()];
    for c in text.chars() {
        if words.last().is_some_and(|word| word.len() + c.len_utf8() > WORD_BYTES) {
            words.push(String::new());
        }
        words.last_mut().expect("there is a first word").push(c);
    }
    let words = words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
    words.collect::<Vec<_>>().join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(subject: &str, text: &str) -> Mail {
        Mail { to: Email::new("ann@example.org").unwrap(), subject: subject.into(), text: text.into() }
    }

    fn rendered(mail: &Mail) -> String {
        render(
            mail,
            &Email::new("registry@example.com").unwrap(),
            "01K742R2DRAAAAAAAAAAAAAAAA",
            1_760_000_999,
        )
    }

    #[test]
    fn a_message_is_as_it_was_agreed() {
        assert_eq!(
            rendered(&mail("test: is this address yours?", "Hello ann,\n\n.\n")),
            "From: <registry@example.com>\r\nTo: <ann@example.org>\r\nSubject: test: is this address yours?\r\n\
             Date: Thu, 09 Oct 2025 09:09:59 +0000\r\nMessage-ID: <01K742R2DRAAAAAAAAAAAAAAAA@example.com>\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8gYW5uLA0KDQouDQo=\r\n"
        );
    }

    #[test]
    fn no_text_makes_a_header_or_ends_the_message() {
        let long = "żółta łódź podwodna ".repeat(20);
        for hostile in ["x\r\nBcc: eve@example.org", "\r\n.\r\nQUIT", "=?utf-8?B?eA==?=", &long] {
            let text = rendered(&mail(hostile, hostile));
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.lines().all(|line| line.len() <= 78 && !line.starts_with("Bcc")), "{head}");
            assert!(body.lines().all(|line| line.len() <= 76 && !line.starts_with('.')), "{body}");
            assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{text:?}");
            let decoded = STANDARD.decode(body.replace("\r\n", "")).unwrap();
            assert_eq!(
                String::from_utf8(decoded).unwrap().replace("\r\n", "\n"),
                hostile.replace("\r\n", "\n")
            );
            let words = head.split("=?utf-8?B?").skip(1).map(|word| word.split("?=").next().unwrap());
            let subject: Vec<u8> = words.flat_map(|word| STANDARD.decode(word).unwrap()).collect();
            assert_eq!(String::from_utf8(subject).unwrap(), hostile);
        }
    }
}
