//! What the tests share: a registry in this process, packages to publish, and ways to ask.
//!
//! ```no_run
//! # async fn example() {
//! use drystone_tests::{Pkg, TestRegistry};
//!
//! let registry = TestRegistry::new().await;
//! let answer = registry.publish(&Pkg::new("acme/http", "1.0.0")).await;
//! assert_eq!(answer.status, 201);
//! # }
//! ```

pub mod bucket;
pub mod chaos;
pub mod checks;
pub mod corpus;
pub mod deployment;
mod effects;
mod gate;
pub mod issuer;
mod mail;
mod package;
pub mod process;
pub mod raw;
mod registry;
pub mod runtime;
pub mod sim;
mod stores;
pub mod synthetic;
mod virtual_time;
pub mod web;
pub mod zig;

pub use effects::{TestClock, TestEntropy};
pub use gate::Gate;
pub use mail::TestMailer;
pub use package::Pkg;
pub use registry::{Answer, TestRegistry, ask_router, multipart_body, publish_request};
pub use stores::{TestStore, every_store};
pub use virtual_time::{VirtualClock, in_virtual_time};
