//! Freshness, witnesses and the root of trust, on the side of the registry.

mod chain;
mod freshness;
mod witnesses;
