//! Tokens of ZON.
//!
//! Invariant: a token's range lies inside the text, and tokens do not overlap.

use std::ops::Range;

use super::ZonError;

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dot,
    OpenBrace,
    CloseBrace,
    Comma,
    Equals,
    Minus,
    /// A bare identifier that is no keyword.
    Identifier,
    /// `@"..."`
    QuotedIdentifier,
    /// A word that Zig keeps to itself.
    Keyword,
    String,
    /// One line of `\\...`, without its newline.
    MultilineLine,
    Char,
    Number,
    End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Range<usize>,
}

/// Keywords of any version of Zig since 0.13 (`Token.keywords`): none of them is a name in all versions.
const KEYWORDS: [&str; 49] = [
    "addrspace",
    "align",
    "allowzero",
    "and",
    "anyframe",
    "anytype",
    "asm",
    "async",
    "await",
    "break",
    "callconv",
    "catch",
    "comptime",
    "const",
    "continue",
    "defer",
    "else",
    "enum",
    "errdefer",
    "error",
    "export",
    "extern",
    "fn",
    "for",
    "if",
    "inline",
    "linksection",
    "noalias",
    "noinline",
    "nosuspend",
    "opaque",
    "or",
    "orelse",
    "packed",
    "pub",
    "resume",
    "return",
    "struct",
    "suspend",
    "switch",
    "test",
    "threadlocal",
    "try",
    "union",
    "unreachable",
    "usingnamespace",
    "var",
    "volatile",
    "while",
];

pub(super) struct Lexer<'t> {
    pub(super) text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        // As Zig does, a byte order mark is skipped.
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, at }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn error<T>(&self, at: usize, what: impl Into<String>) -> Result<T, ZonError> {
        Err(ZonError::at(self.text, at, what))
    }

    /// The next token; at the end of the text, `End` for ever.
    pub(super) fn next(&mut self) -> Result<Token, ZonError> {
        self.skip_blanks()?;
        let start = self.at;
        let Some(first) = self.byte(start) else {
            return Ok(Token { kind: Kind::End, span: start..start });
        };
        let single = |kind| (kind, start + 1);
        let (kind, end) = match first {
            b'.' => single(Kind::Dot),
            b'{' => single(Kind::OpenBrace),
            b'}' => single(Kind::CloseBrace),
            b',' => single(Kind::Comma),
            b'=' => single(Kind::Equals),
            b'-' => single(Kind::Minus),
            b'"' => (Kind::String, self.quoted(start, b'"')?),
            b'\'' => (Kind::Char, self.quoted(start, b'\'')?),
            b'@' if self.byte(start + 1) == Some(b'"') => {
                (Kind::QuotedIdentifier, self.quoted(start + 1, b'"')?)
            }
            b'\\' if self.byte(start + 1) == Some(b'\\') => (Kind::MultilineLine, self.line_end(start)?),
            b'0'..=b'9' => (Kind::Number, self.number_end(start)),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let rest = &self.text.as_bytes()[start..];
                let len = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
                let word = &self.text[start..start + len];
                let kind = if KEYWORDS.contains(&word) { Kind::Keyword } else { Kind::Identifier };
                (kind, start + len)
            }
            _ => {
                let character = self.text[start..].chars().next().unwrap_or_default();
                return self.error(start, format!("`{}` has no place here", character.escape_debug()));
            }
        };
        self.at = end;
        Ok(Token { kind, span: start..end })
    }

    /// Skips white space and comments.
    fn skip_blanks(&mut self) -> Result<(), ZonError> {
        loop {
            match self.byte(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                Some(b'/') if self.byte(self.at + 1) == Some(b'/') => {
                    let rest = &self.text[self.at..];
                    // Four slashes are a plain comment again.
                    let documentation = rest.starts_with("///") && !rest.starts_with("////");
                    if documentation || rest.starts_with("//!") {
                        return self.error(self.at, "a documentation comment documents nothing here");
                    }
                    self.at = self.line_end(self.at)?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// The end of the line, without its newline; control characters are refused as Zig does.
    fn line_end(&self, start: usize) -> Result<usize, ZonError> {
        let rest = &self.text.as_bytes()[start..];
        let end = start + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = &self.text.as_bytes()[start..end];
        let last_is_return = end < self.text.len() && line.last() == Some(&b'\r');
        let plain = &line[..line.len() - usize::from(last_is_return)];
        match plain.iter().position(|byte| byte.is_ascii_control()) {
            Some(at) => self.error(start + at, "a control character is not allowed in a comment or string"),
            None => Ok(start + plain.len()),
        }
    }

    /// The end of a quoted text, after its closing quote.
    fn quoted(&self, open: usize, quote: u8) -> Result<usize, ZonError> {
        let mut at = open + 1;
        loop {
            match self.byte(at) {
                None | Some(b'\n') => return self.error(open, "the quote is not closed on its line"),
                Some(byte) if byte == quote => return Ok(at + 1),
                // What follows the backslash cannot close the quote; what it means is looked at later.
                Some(b'\\') if self.byte(at + 1).is_some_and(|next| !next.is_ascii_control()) => at += 2,
                Some(byte) if byte.is_ascii_control() => {
                    return self.error(at, "a control character is not allowed in a comment or string");
                }
                Some(_) => at += 1,
            }
        }
    }

    /// The end of what may be a number: letters, digits, `_`, one fraction, and a sign behind an exponent.
    fn number_end(&self, start: usize) -> usize {
        let mut at = start;
        loop {
            let here = self.byte(at);
            let next_is_digit = || self.byte(at + 1).is_some_and(|b| b.is_ascii_alphanumeric());
            let exponent = at > start && matches!(self.byte(at - 1), Some(b'e' | b'E' | b'p' | b'P'));
            match here {
                Some(b) if b.is_ascii_alphanumeric() || b == b'_' => at += 1,
                Some(b'.') if next_is_digit() => at += 1,
                Some(b'-' | b'+') if exponent && next_is_digit() => at += 1,
                _ => return at,
            }
        }
    }
}
