//! ZON, Zig's object notation, as far as manifests use it.
//!
//! Owns: the values, where each lies in the text, and errors with line and column. Does not own: what a manifest must
//! say. Source: `lib/std/zig/{tokenizer,Parse,string_literal,number_literal}.zig` of Zig 0.17.0; Zig parses the manifest
//! as an expression and only then asks what it is, so that more is read there than here: anything but values is refused.
//!
//! Invariant: what is accepted here, every version of Zig since 0.14 reads as the same values. Names that are there twice,
//! of which Zig takes the last, are refused. Nesting is bounded by [`DEPTH_MAX`], and the caller bounds the text.

mod lex;
mod parse;

use std::ops::Range;

pub use parse::parse_zon;

/// Deepest nesting of `.{ }`.
pub const DEPTH_MAX: usize = 32;

/// A value and its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What it is.
    pub value: Value,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `.{ .a = 1 }`, and `.{}`.
    Struct(Vec<Field>),
    /// `.{ 1, 2 }`.
    Tuple(Vec<Node>),
    /// `.name`, written without quotes.
    EnumLiteral(String),
    /// `.@"name"`.
    QuotedEnumLiteral(String),
    /// `"text"`; escapes may make it any bytes.
    String(Vec<u8>),
    /// Lines of `\\text`.
    MultilineString(String),
    /// A number that is no negative one and fits, if it is whole.
    Integer(u64),
    /// Any other number, as written.
    Number(String),
    /// `'a'`.
    Char(char),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The field from its dot to the end of its value.
    pub span: Range<usize>,
    /// Its name.
    pub name: String,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// The fields of a struct.
    pub fn fields(&self) -> Option<&[Field]> {
        if let Value::Struct(fields) = &self.value { Some(fields) } else { None }
    }

    /// The field of this name, if it is a struct that has one.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields()?.iter().find(|field| field.name == name)
    }

    /// The text of a string that is UTF-8.
    pub fn text(&self) -> Option<&str> {
        if let Value::String(bytes) = &self.value { std::str::from_utf8(bytes).ok() } else { None }
    }
}

/// A text that is not ZON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct ZonError {
    /// From 1.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

impl ZonError {
    pub(crate) fn at(text: &str, offset: usize, what: impl Into<String>) -> Self {
        let (line, column) = place(text, offset);
        Self { line, column, what: what.into() }
    }
}

/// Line and column of an offset, both from 1; the column counts bytes, as Zig does.
pub(crate) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    (line, before.len() - start + 1)
}

#[cfg(test)]
mod tests;
