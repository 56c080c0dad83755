//! Archives to test with: right ones, hostile ones, and random ones that are nearly right.
//!
//! Owns: the bytes of archives whose every field can lie ([`raw`]), the named cases ([`cases`]), archives that follow
//! from any bytes ([`shape`]), and what readers see in an archive ([`listing`]). Does not own: who tests what with them.

pub mod cases;
pub mod listing;
pub mod raw;
pub mod shape;
