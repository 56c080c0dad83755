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

pub mod checks;
mod effects;
mod gate;
mod nginx;
mod package;
pub mod process;
pub mod raw;
mod registry;
pub mod sim;
mod stores;
pub mod zig;

pub use effects::{TestClock, TestEntropy};
pub use gate::Gate;
pub use nginx::Nginx;
pub use package::Pkg;
pub use registry::{Answer, TestRegistry, multipart_body};
pub use stores::{TestStore, every_store};
