//! From tokens to values.

use std::{collections::BTreeSet, ops::Range};

use super::{
    DEPTH_MAX, Field, Node, Value, ZonError,
    lex::{Kind, Lexer, Token},
};

/// Parses a ZON text, strictly.
///
/// # Errors
///
/// The first thing that is wrong, with its place.
///
/// ```
/// let zon = drystone_archive::parse_zon(".{ .name = .http, .version = \"1.0.0\" } // ours\n").expect("it is ZON");
/// assert_eq!(zon.field("version").and_then(|field| field.node.text()), Some("1.0.0"));
/// assert_eq!(drystone_archive::parse_zon(".{\n  .a = ,\n}").expect_err("no value").to_string(), "line 2, column 8: a value is missing");
/// ```
pub fn parse_zon(text: &str) -> Result<Node, ZonError> {
    let mut lexer = Lexer::new(text);
    let ahead = lexer.next()?;
    let mut parser = Parser { text, lexer, ahead };
    let node = parser.value(0)?;
    match parser.ahead.kind {
        Kind::End => Ok(node),
        _ => parser.error(&parser.ahead.span, "something follows the value"),
    }
}

struct Parser<'t> {
    text: &'t str,
    lexer: Lexer<'t>,
    ahead: Token,
}

impl Parser<'_> {
    fn error<T>(&self, span: &Range<usize>, what: impl Into<String>) -> Result<T, ZonError> {
        Err(ZonError::at(self.text, span.start, what))
    }

    fn take(&mut self) -> Result<Token, ZonError> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.ahead, next))
    }

    fn eat(&mut self, kind: Kind) -> Result<Option<Token>, ZonError> {
        if self.ahead.kind == kind { self.take().map(Some) } else { Ok(None) }
    }

    fn slice(&self, token: &Token) -> &str {
        &self.text[token.span.clone()]
    }

    fn value(&mut self, depth: usize) -> Result<Node, ZonError> {
        let token = self.take()?;
        let start = token.span.start;
        let leaf = |value| Ok(Node { span: token.span.clone(), value });
        match token.kind {
            Kind::Dot => self.after_dot(start, depth),
            Kind::String => leaf(Value::String(self.unquote(&token.span, 1)?)),
            Kind::Char => {
                let bytes = self.unquote(&token.span, 1)?;
                let mut chars = std::str::from_utf8(&bytes).unwrap_or_default().chars();
                match (chars.next(), chars.next()) {
                    (Some(character), None) => leaf(Value::Char(character)),
                    _ => self.error(&token.span, "a character literal holds one character"),
                }
            }
            Kind::Number => leaf(self.number(&token.span, false)?),
            Kind::Minus => {
                let number = self.take()?;
                let span = start..number.span.end;
                match (number.kind, self.slice(&number)) {
                    (Kind::Number, _) => Ok(Node { value: self.number(&number.span, true)?, span }),
                    (Kind::Identifier, "inf") => Ok(Node { value: Value::Number("-inf".into()), span }),
                    _ => self.error(&number.span, "a number must follow `-`"),
                }
            }
            Kind::MultilineLine => self.multiline(&token),
            Kind::Identifier => match self.slice(&token) {
                "true" => leaf(Value::Bool(true)),
                "false" => leaf(Value::Bool(false)),
                "null" => leaf(Value::Null),
                word @ ("inf" | "nan") => leaf(Value::Number(word.to_owned())),
                word => self.error(&token.span, format!("`{word}` is no value; did you mean `.{word}`?")),
            },
            Kind::Keyword => {
                self.error(&token.span, format!("`{}` is a keyword, no value", self.slice(&token)))
            }
            Kind::End => self.error(&token.span, "the text ends where a value is missing"),
            _ => self.error(&token.span, "a value is missing"),
        }
    }

    fn after_dot(&mut self, start: usize, depth: usize) -> Result<Node, ZonError> {
        let token = self.take()?;
        match token.kind {
            Kind::OpenBrace if depth >= DEPTH_MAX => {
                self.error(&token.span, format!("values lie more than {DEPTH_MAX} deep"))
            }
            Kind::OpenBrace => self.braces(start, depth),
            Kind::Identifier => {
                let value = Value::EnumLiteral(self.slice(&token).to_owned());
                Ok(Node { span: start..token.span.end, value })
            }
            Kind::QuotedIdentifier => {
                let value = Value::QuotedEnumLiteral(self.quoted_name(&token)?);
                Ok(Node { span: start..token.span.end, value })
            }
            Kind::Keyword => {
                let word = self.slice(&token);
                self.error(
                    &token.span,
                    format!("`{word}` is a keyword; as a name it is written `@\"{word}\"`"),
                )
            }
            _ => self.error(&token.span, "`{` or a name must follow `.`"),
        }
    }

    /// What is between the braces, the first of which was taken.
    fn braces(&mut self, start: usize, depth: usize) -> Result<Node, ZonError> {
        let (mut fields, mut nodes) = (Vec::new(), Vec::new());
        let mut names = BTreeSet::new();
        loop {
            if let Some(close) = self.eat(Kind::CloseBrace)? {
                let value = if nodes.is_empty() { Value::Struct(fields) } else { Value::Tuple(nodes) };
                return Ok(Node { span: start..close.span.end, value });
            }
            // `.name` begins a field if `=` follows, and else is a value of its own.
            let first = self.ahead.span.clone();
            let node = self.value(depth + 1)?;
            let name = match &node.value {
                Value::EnumLiteral(name) | Value::QuotedEnumLiteral(name) => Some(name.clone()),
                _ => None,
            };
            if self.ahead.kind == Kind::Equals {
                let equals = self.take()?;
                let Some(name) = name else {
                    return self.error(&equals.span, "only a name such as `.name` can be set");
                };
                if !nodes.is_empty() {
                    return self.error(&first, "a list of values cannot have fields");
                }
                if !names.insert(name.clone()) {
                    return self.error(&first, format!("`.{}` is there twice", shown(&name)));
                }
                let value = self.value(depth + 1)?;
                fields.push(Field { span: first.start..value.span.end, name, node: value });
            } else if fields.is_empty() {
                nodes.push(node);
            } else {
                return self.error(&first, "`.name = value` is missing");
            }
            if self.eat(Kind::Comma)?.is_none() && self.ahead.kind != Kind::CloseBrace {
                return self.error(&self.ahead.span, "`,` or `}` is missing");
            }
        }
    }

    fn multiline(&mut self, first: &Token) -> Result<Node, ZonError> {
        let start = first.span.start;
        let mut end = first.span.end;
        let mut text = self.slice(first)[2..].to_owned();
        while let Some(line) = self.eat(Kind::MultilineLine)? {
            text.push('\n');
            text.push_str(&self.slice(&line)[2..]);
            end = line.span.end;
        }
        Ok(Node { span: start..end, value: Value::MultilineString(text) })
    }

    /// The name in `@"..."`.
    fn quoted_name(&self, token: &Token) -> Result<String, ZonError> {
        let bytes = self.unquote(&token.span, 2)?;
        match String::from_utf8(bytes) {
            Ok(name) if !name.is_empty() && !name.contains('\0') => Ok(name),
            _ => self.error(&token.span, "a name is UTF-8, is not empty, and holds no zero byte"),
        }
    }

    /// Undoes the escapes of a quoted text whose content begins `skip` bytes into it (`string_literal.parseWrite`).
    fn unquote(&self, span: &Range<usize>, skip: usize) -> Result<Vec<u8>, ZonError> {
        let (mut at, end) = (span.start + skip, span.end - 1);
        let mut out = Vec::with_capacity(end - at);
        while at < end {
            let byte = self.text.as_bytes()[at];
            if byte != b'\\' {
                out.push(byte);
                at += 1;
                continue;
            }
            let rest = &self.text[at + 1..end];
            let bad = |what: &str| Err(ZonError::at(self.text, at, what));
            let used = match rest.bytes().next() {
                Some(b'n') => (out.push(b'\n'), 1).1,
                Some(b'r') => (out.push(b'\r'), 1).1,
                Some(b't') => (out.push(b'\t'), 1).1,
                Some(quoted @ (b'\\' | b'\'' | b'"')) => (out.push(quoted), 1).1,
                Some(b'x') => {
                    let digits = rest.get(1..3).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
                    let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
                        return bad("two hex digits must follow `\\x`");
                    };
                    out.push(byte);
                    3
                }
                Some(b'u') => {
                    let digits = rest.strip_prefix("u{").and_then(|rest| rest.split_once('}'));
                    let digits = digits.map(|(digits, _)| digits);
                    let hex = |text: &&str| text.bytes().all(|b| b.is_ascii_hexdigit());
                    let Some(digits) = digits.filter(|text| !text.is_empty()).filter(hex) else {
                        return bad("hex digits in braces must follow `\\u`");
                    };
                    let scalar = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                    let Some(character) = scalar else {
                        return bad("the escape is no Unicode scalar value");
                    };
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    digits.len() + 3
                }
                _ => return bad("the escape is not known"),
            };
            at += 1 + used;
        }
        Ok(out)
    }

    /// A number (`number_literal`): whole ones that fit by value, others as written.
    fn number(&self, span: &Range<usize>, negative: bool) -> Result<Value, ZonError> {
        let text = &self.text[span.clone()];
        let sign = if negative { "-" } else { "" };
        let bad = || self.error(span, format!("`{}` is no number", shown(text)));
        let (digits, radix) = match text.get(..2) {
            Some("0x") => (&text[2..], 16),
            Some("0o") => (&text[2..], 8),
            Some("0b") => (&text[2..], 2),
            _ => (text, 10),
        };
        let underscores_apart = !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__");
        if digits.is_empty() || !underscores_apart {
            return bad();
        }
        let plain = digits.replace('_', "");
        if plain.chars().all(|digit| digit.is_digit(radix)) {
            if radix == 10 && plain.len() > 1 && plain.starts_with('0') {
                return self.error(span, "a number does not begin with zero");
            }
            if negative && plain.bytes().all(|digit| digit == b'0') {
                return self.error(span, "zero has no sign");
            }
            return Ok(match u64::from_str_radix(&plain, radix) {
                Ok(value) if !negative => Value::Integer(value),
                _ => Value::Number(format!("{sign}{text}")),
            });
        }
        // Only decimal numbers with a fraction or an exponent are taken; no manifest has others.
        let float = radix == 10 && plain.parse::<f64>().is_ok() && plain.contains(['.', 'e', 'E']);
        if float { Ok(Value::Number(format!("{sign}{text}"))) } else { bad() }
    }
}

/// A piece of the text for a message.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}
