//! Tests of the crate from outside: hostile archives, properties, inspection, and real packages where there are some.

mod cache;
mod hostile;
mod inspection;
mod properties;
