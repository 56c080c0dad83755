//! Cases made by hand, one for each rule and for where rules meet.

use crate::{
    cargo::{Tally, compare},
    notation::Case,
};

/// Requirements: every operator, missing numbers, zeros, pre-releases, build metadata.
const REQUIREMENTS: &[&str] = &[
    "> a ^1.1\na 1.0.0\na 1.1.0\na 1.9.3\na 2.0.0",
    "> a ^0.1.1\na 0.1.0\na 0.1.1\na 0.1.7\na 0.2.0",
    "> a ^0.0.2\na 0.0.1\na 0.0.2\na 0.0.3",
    "> a ^0\na 0.0.1\na 0.1.0\na 0.9.0\na 1.0.0",
    "> a ^0.0\na 0.0.1\na 0.0.4\na 0.1.0",
    "> a ~1.1\na 1.1.0\na 1.1.9\na 1.2.0",
    "> a ~1\na 1.0.0\na 1.7.0\na 2.0.0",
    "> a ~0.1.1\na 0.1.0\na 0.1.2\na 0.2.0",
    "> a =1.1.0\na 1.0.0\na 1.1.0\na 1.2.0",
    "> a =1.1\na 1.1.0\na 1.1.4\na 1.2.0",
    "> a >=1.1\na 1.0.0\na 1.1.0\na 3.2.0",
    "> a >1.1.0\na 1.1.0\na 1.1.1",
    "> a >1.1\na 1.1.0\na 1.1.1\na 1.2.0",
    "> a <1.1\na 1.0.9\na 1.1.0\na 0.3.0",
    "> a <=1.1\na 1.0.9\na 1.1.7\na 1.2.0",
    "> a >=1.1,<1.3\na 1.0.0\na 1.2.9\na 1.3.0",
    "> a *\na 0.1.0\na 1.0.0\na 2.0.0-rc.1",
    "> a 1.*\na 1.0.0\na 1.8.0\na 2.0.0",
    "> a 1.2.*\na 1.2.0\na 1.2.8\na 1.3.0",
    "> a ^1.0.0-rc.1\na 1.0.0-rc.1\na 1.0.0-rc.2\na 0.9.0",
    "> a ^1.0.0-rc.1\na 1.0.0-rc.1\na 1.0.0\na 1.1.0-rc.1",
    "> a *\na 1.0.0-rc.1",
    "> a =1.0.0-rc.1\na 1.0.0-rc.1\na 1.0.0",
    "> a ^1.1\na 1.1.0+build.7\na 1.0.0",
    "> a ^3\na 1.0.0\na 2.0.0",
    "> a ^1\nb 1.0.0",
];

/// One package several times: side by side, shared, or not at all.
const SEVERAL: &[&str] = &[
    "> a ^1; a ^2\na 1.0.0\na 2.0.0",
    "> a ^1; a =1.1.0\na 1.0.0\na 1.1.0\na 1.2.0",
    "> a =1.0.0; a =1.1.0\na 1.0.0\na 1.1.0",
    "> a ^0.1; a ^0.2\na 0.1.5\na 0.2.5",
    "> a =0.0.1; a =0.0.2\na 0.0.1\na 0.0.2",
    "> a *; b *\na 1.0.0 | c ^1\nb 1.0.0 | c ^2\nc 1.0.0\nc 1.4.0\nc 2.0.0",
    "> a *; b *\na 1.0.0 | c ^1.2\nb 1.0.0 | c <1.4\nc 1.0.0\nc 1.3.0\nc 1.4.0",
    "> a *\na 1.0.0 | c >=1,<3\nc 1.0.0\nc 2.0.0\nc 3.0.0",
    "> a *; b *\na 1.0.0 | c >=1,<3\nb 1.0.0 | c =2.0.0\nc 1.0.0\nc 2.0.0\nc 2.1.0",
    "> a *; b *\na 1.0.0 | c >=1\nb 1.0.0 | c =1.0.0\nc 1.0.0\nc 2.0.0",
    "> a *; b *\na 1.0.0 | c >=1,<3\nb 1.0.0 | c =2.1.0-rc.1\nc 1.0.0\nc 2.0.0\nc 2.1.0-rc.1",
    "> a *\na 1.0.0 | c >=0.1,<0.4\nc 0.1.0\nc 0.2.0\nc 0.3.0 | yanked",
    "> a ^1; b ^1\na 1.0.0 | b ^2\nb 1.0.0\nb 2.0.0",
    "> a *\na 2.0.0 | a ^1\na 1.0.0",
];

/// What happens when the newest does not do.
const BACKTRACKING: &[&str] = &[
    "> a *; b *\na 1.1.0 | c =1.1.0\na 1.0.0 | c =1.0.0\nb 1.0.0 | c =1.0.0\nc 1.0.0\nc 1.1.0",
    "> a *\na 1.1.0 | b ^9\na 1.0.0\nb 1.0.0",
    "> a *\na 1.1.0 | nothing ^1\na 1.0.0",
    "> a *\na 1.1.0 | b *\na 1.0.0\nb 1.0.0 | c ^2\nc 1.0.0",
    "> a *; b *\na 1.2.0 | c ^1.2\na 1.1.0 | c ^1.1\nb 1.2.0 | c <1.2\nb 1.1.0\nc 1.1.0\nc 1.2.0",
    "> a *; b *\na 1.0.0 | c =1.0.0\nb 1.0.0 | c =1.1.0\nc 1.0.0\nc 1.1.0",
    "> a ^1\na 1.0.0 | b ^1\nb 1.0.0 | c ^1\nb 0.9.0\nc 2.0.0",
    "> a *; d *\na 1.1.0 | b *\na 1.0.0\nb 1.0.0 | c =1.1.0\nc 1.0.0\nc 1.1.0\nd 1.0.0 | c =1.0.0",
];

/// Yanked releases, and those that need a newer compiler.
const SET_BACK: &[&str] = &[
    "> a *\na 1.0.0\na 1.1.0 | yanked",
    "> a ^1.1\na 1.0.0\na 1.1.0 | yanked",
    "> a *\na 1.0.0 | yanked",
    "> a *\na 1.0.0\na 1.1.0 | rust 1.99",
    "> a *\na 1.0.0 | rust 1.99",
    "> a *\na 1.0.0 | rust 1.60\na 1.1.0 | rust 1.85\na 1.2.0 | rust 1.85.1",
    "> a *\na 1.0.0 | b *\nb 1.0.0\nb 2.0.0 | rust 1.99",
    "> a >=1,<3\na 1.0.0\na 2.0.0 | rust 1.99\na 2.1.0 | rust 1.100",
    "> a *\na 1.0.0 | rust 1.99\na 1.1.0 | rust 1.99 | yanked",
    "> a ^1.1\na 1.0.0\na 1.1.0 | rust 1.99",
];

/// Features: plain, default, of dependencies, of renamed ones, weak, and by `dep:`.
const FEATURES: &[&str] = &[
    "> a *\na 1.0.0 | b? ^1 | default: b\nb 1.0.0",
    "> a * -d\na 1.0.0 | b? ^1 | default: b\nb 1.0.0",
    "> a * +b\na 1.0.0 | b? ^1\nb 1.0.0",
    "> a *\na 1.0.0 | b? ^1\nb 1.0.0",
    "> a * +tls\na 1.0.0 | b? ^1 | tls: dep:b\nb 1.0.0",
    "> a * +b\na 1.0.0 | b? ^1 | tls: dep:b\nb 1.0.0",
    "> a * +fast\na 1.0.0\na 0.9.0 | fast:",
    "> a * +fast\na 1.1.0\na 1.0.0 | fast:",
    "> a * +fast\na 1.0.0",
    "> a * +fast\na 1.0.0 | b ^1 | fast: b/quick\nb 1.0.0 | c? ^1 | quick: c\nc 1.0.0",
    "> a * +fast\na 1.0.0 | b? ^1 | fast: b/quick\nb 1.0.0 | c? ^1 | quick: c\nc 1.0.0",
    "> a * +fast\na 1.0.0 | b? ^1 | fast: b?/quick\nb 1.0.0 | c? ^1 | quick: c\nc 1.0.0",
    "> a * +fast +b\na 1.0.0 | b? ^1 | fast: b?/quick\nb 1.0.0 | c? ^1 | quick: c\nc 1.0.0",
    "> a * +fast\na 1.0.0 | b? ^1 | fast: b/quick | tls: dep:b\nb 1.0.0 | quick:",
    "> a * +fast\na 1.0.0 | b ^1 | fast: b/quick\nb 1.0.0 | quick:\nb 1.1.0",
    "> a *\na 1.0.0 | b ^1 +quick\nb 1.0.0 | quick:\nb 1.1.0",
    "> a *; c *\na 1.0.0 | b ^1 +x\nc 1.0.0 | b ^1 +y\nb 1.0.0 | d? ^1; e? ^1 | x: d | y: e\nd 1.0.0\ne 1.0.0",
    "> a *; c *\na 1.0.0 | b ^1 +x\nc 1.0.0 | b ^2 +y\nb 1.0.0 | d? ^1; e? ^1 | x: d | y: e\nb 2.0.0 | d? ^1; e? ^1 | x: d | y: e\nd 1.0.0\ne 1.0.0",
    "> a *\na 1.0.0 | b ^1 as:bee; c? ^1 as:sea | default: sea\nb 1.0.0\nc 1.0.0",
    "> a * +x\na 1.0.0 | b ^1 as:one; b ^2 as:two | x: one/f two/f\nb 1.0.0 | c? ^1 | f: c\nb 2.0.0 | d? ^1 | f: d\nc 1.0.0\nd 1.0.0",
    "> a * +x\na 1.0.0 | x: y | y: z | z: dep:b | b? ^1\nb 1.0.0",
    "> a *\na 1.0.0 | b ^1 -d\nb 1.0.0 | c? ^1 | default: c\nc 1.0.0",
    "> a *; b * -d\na 1.0.0 | b ^1\nb 1.0.0 | c? ^1 | default: c\nc 1.0.0",
    "> a * +default\na 1.0.0\na 1.1.0 | default:",
    "> a * -d +default\na 1.0.0 | b? ^1 | default: b\nb 1.0.0",
    "> a * +x\na 1.0.0 | b? ^1 for:unix; b? ^2 for:windows | x: b\nb 1.0.0\nb 2.0.0",
    "> a *\na 1.0.0 | b ^1 for:unix; c ^1 build; d ^1 dev\nb 1.0.0\nc 1.0.0\nd 1.0.0",
    "> a * +x\na 1.0.0 | t ^1 dev | x: t/f\nt 1.0.0 | f:",
    "> a *\na 1.0.0 | c >=1,<3 +f\nc 1.0.0 | f:\nc 2.0.0",
    "> a *\na 1.0.0 | c >=1,<3 +f\nc 1.0.0 | d? ^1 | f: d\nc 2.0.0 | e? ^1 | f: e\nd 1.0.0\ne 1.0.0",
    "> a * +x\na 1.0.0 | c >=1,<3 | x: c/f\nc 1.0.0 | d? ^1 | f: d\nc 2.0.0\nd 1.0.0",
    "> a * +x\na 1.0.0 | b? ^1 | x: dep:b b/f\nb 1.0.0 | f:",
    "> a * +b\na 1.0.0 | b? ^1 | b: dep:b\nb 1.0.0",
    "> a * +x\na 1.1.0 | b? ^9 | x: b\na 1.0.0 | x:\nb 1.0.0",
    "> a *\na 1.1.0 | b? ^9 | x: b\na 1.0.0 | x:\nb 1.0.0",
];

/// Native libraries, which only one package may link.
const LINKS: &[&str] = &[
    "> a *; b *\na 1.0.0 | links z\nb 1.0.0 | links z",
    "> a *; b *\na 1.0.0 | links z\nb 1.1.0 | links z\nb 1.0.0",
    "> a ^1; a ^2\na 1.0.0 | links z\na 2.0.0 | links z",
    "> a *; b *\na 1.0.0 | z ^1\nb 1.0.0 | z ^2\nb 0.9.0 | z ^1\nz 1.0.0 | links z\nz 2.0.0 | links z",
    "> a *\na 1.0.0 | z >=1\nz 1.0.0 | links z\nz 2.0.0 | links z",
    "> a *; b *\na 1.0.0 | z >=1\nb 1.0.0 | z ^1\nz 1.0.0 | links z\nz 2.0.0 | links z",
    "> a *; b *\na 1.0.0 | links y\nb 1.0.0 | links z",
];

/// Cycles, which cargo finds in the end and takes for an error.
const CYCLES: &[&str] = &[
    "> a *\na 1.0.0 | b *\nb 1.0.0 | a *",
    "> a *\na 1.0.0 | b *\nb 1.0.0 | a * dev",
    "> a *\na 1.0.0 | b *\nb 1.0.0 | a =0.9.0\na 0.9.0",
    "> a *\na 1.0.0 | b *\nb 1.0.0 | c? * | x: c\nc 1.0.0 | a *",
];

#[test]
fn cases_made_by_hand_agree_with_cargo() {
    let all = [REQUIREMENTS, SEVERAL, BACKTRACKING, SET_BACK, FEATURES, LINKS, CYCLES];
    let texts = all.into_iter().flatten().enumerate();
    let cases: Vec<Case> = texts.map(|(at, text)| Case::new(&format!("h{at}-"), text)).collect();
    assert!(cases.len() >= 100, "{}", cases.len());
    let Tally { equal, accepted, unreadable, impossible } = compare(&cases);
    assert_eq!((accepted + unreadable, equal + impossible), (0, cases.len()));
    assert!(impossible < 30, "{impossible}");
}
