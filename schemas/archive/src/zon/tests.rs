use proptest::prelude::*;

use super::*;

fn value(text: &str) -> Value {
    parse_zon(text).unwrap_or_else(|error| panic!("{text}: {error}")).value
}

fn fault(text: &str) -> String {
    parse_zon(text).expect_err(text).to_string()
}

#[test]
fn every_kind_of_value() {
    use Value::*;
    for (text, expected) in [
        (".foo", EnumLiteral("foo".into())),
        (".@\"a b\"", QuotedEnumLiteral("a b".into())),
        (r#""a\n\r\t\\\'\"\x41\u{1F600}é""#, String("a\n\r\t\\'\"A😀é".into())),
        (r#""\xff""#, String(vec![0xff])),
        ("\\\\one \\n\n   // between\n  \\\\two", MultilineString("one \\n\ntwo".into())),
        ("18446744073709551615", Integer(u64::MAX)),
        ("18446744073709551616", Number("18446744073709551616".into())),
        ("0xFFff_0001", Integer(0xffff_0001)),
        ("0b1_0", Integer(2)),
        ("0o17", Integer(15)),
        ("-5", Number("-5".into())),
        ("1.5e-3", Number("1.5e-3".into())),
        ("-inf", Number("-inf".into())),
        ("'a'", Char('a')),
        (r"'\''", Char('\'')),
        ("'\\u{e9}'", Char('é')),
        ("true", Bool(true)),
        ("null", Null),
        (".{}", Struct(vec![])),
        ("\u{feff}.{ }", Struct(vec![])),
        (" //// a plain comment\r\n.x // end", EnumLiteral("x".into())),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
    let Tuple(nodes) = value(".{ 1, .a, .{}, }") else { panic!("it is a tuple") };
    assert_eq!(nodes.len(), 3);
}

#[test]
fn fields_know_where_they_lie() {
    let text = ".{\n    .a = .b, // c\n    .@\"d e\" = .{ \"f\" },\n}\n";
    let node = parse_zon(text).unwrap();
    let spans: Vec<&str> = node.fields().unwrap().iter().map(|field| &text[field.span.clone()]).collect();
    assert_eq!(spans, [".a = .b", ".@\"d e\" = .{ \"f\" }"]);
    assert_eq!(&text[node.span.clone()], text.trim_end());
    assert_eq!(place(text, node.field("d e").unwrap().span.start), (3, 5));
}

#[test]
fn faults_have_a_place() {
    for (text, expected) in [
        ("", "line 1, column 1: the text ends where a value is missing"),
        (".{ .a = 1 .b = 2 }", "line 1, column 11: `,` or `}` is missing"),
        (".{ .a = 1, .a = 2 }", "line 1, column 12: `.a` is there twice"),
        (".{ .a = 1, .@\"a\" = 2 }", "line 1, column 12: `.a` is there twice"),
        (".{ .a = 1, 2 }", "line 1, column 12: `.name = value` is missing"),
        (".{ 2, .a = 1 }", "line 1, column 7: a list of values cannot have fields"),
        (".{ 1 = 2 }", "line 1, column 6: only a name such as `.name` can be set"),
        (".{}\n.{}", "line 2, column 1: something follows the value"),
        (".{ .a = b }", "line 1, column 9: `b` is no value; did you mean `.b`?"),
        (".{ .error = 1 }", "line 1, column 5: `error` is a keyword; as a name it is written `@\"error\"`"),
        ("\"a\n\"", "line 1, column 1: the quote is not closed on its line"),
        ("\"a\tb\"", "line 1, column 3: a control character is not allowed in a comment or string"),
        ("// a\u{1}\n1", "line 1, column 5: a control character is not allowed in a comment or string"),
        ("/// doc\n1", "line 1, column 1: a documentation comment documents nothing here"),
        ("//! doc\n1", "line 1, column 1: a documentation comment documents nothing here"),
        (r#""\q""#, "line 1, column 2: the escape is not known"),
        (r#""\x4""#, "line 1, column 2: two hex digits must follow `\\x`"),
        (r#""\u{d800}""#, "line 1, column 2: the escape is no Unicode scalar value"),
        (r#""\u{}""#, "line 1, column 2: hex digits in braces must follow `\\u`"),
        ("'ab'", "line 1, column 1: a character literal holds one character"),
        ("''", "line 1, column 1: a character literal holds one character"),
        ("007", "line 1, column 1: a number does not begin with zero"),
        ("1__0", "line 1, column 1: `1__0` is no number"),
        ("0x", "line 1, column 1: `0x` is no number"),
        ("1.2.3", "line 1, column 1: `1.2.3` is no number"),
        ("-0", "line 1, column 2: zero has no sign"),
        ("1 + 1", "line 1, column 3: `+` has no place here"),
        ("@import(\"x\")", "line 1, column 1: `@` has no place here"),
        (".{ .a = 1", "line 1, column 10: `,` or `}` is missing"),
        (".", "line 1, column 2: `{` or a name must follow `.`"),
        (".@\"\"", "line 1, column 2: a name is UTF-8, is not empty, and holds no zero byte"),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}1{}", ".{".repeat(depth), "}".repeat(depth));
    assert!(parse_zon(&nested(DEPTH_MAX)).is_ok());
    assert!(fault(&nested(DEPTH_MAX + 1)).contains("deep"));
    assert!(parse_zon(&".{".repeat(500_000)).is_err());
}

proptest! {
    #[test]
    fn any_text_is_a_value_or_a_fault_inside_it(text in "[.{}=,@\"'a-z0-9_ \\\\/\n-]{0,60}") {
        match parse_zon(&text) {
            Ok(node) => prop_assert!(node.span.end <= text.len()),
            Err(error) => prop_assert!(error.line <= text.lines().count() + 1),
        }
    }

    #[test]
    fn any_string_reads_back(text: String) {
        let quoted: String = text.chars().map(|c| format!("\\u{{{:x}}}", u32::from(c))).collect();
        prop_assert_eq!(value(&format!("\"{quoted}\"")), Value::String(text.into_bytes()));
    }
}
