//! The verbs: one module for each family, one function for each verb.
//!
//! Owns the dispatch. A command reads its arguments, calls the library, and hands results to the printer.

mod alias;
mod cache;
mod cargo;
mod edit;
mod explain;
mod import;
mod info;
mod init;
mod install;
mod key;
mod org;
mod outdated;
mod owner;
mod publish;
mod search;
mod second_factor;
mod session;
mod tree;
mod trust_publisher;
mod verify;
mod yank;
mod zig;

use crate::{admin, args::Command, context::Context, failure::Failure, maintain, serve, trust, witness};

/// Runs a verb.
pub async fn run(command: Command, cx: &Context) -> Result<(), Failure> {
    match command {
        Command::Init(args) => init::init(&args, cx).await,
        Command::Login(args) => session::login(&args, cx).await,
        Command::Logout(args) => session::logout(&args, cx).await,
        Command::Auth(args) => session::auth(&args, cx).await,
        Command::Publish(args) => publish::publish(&args, cx).await,
        Command::Import(args) => import::import(&args, cx).await,
        Command::Info(args) => info::info(&args, cx).await,
        Command::Search(args) => search::search(&args, cx).await,
        Command::Add(args) if args.zig => zig::add(&args, cx).await,
        Command::Add(args) => edit::add(&args, cx).await,
        Command::Remove(args) => edit::remove(&args, cx).await,
        Command::Install(args) => install::install(&args, cx).await,
        Command::Fetch(args) => install::fetch(&args, cx).await,
        Command::Vendor(args) => install::vendor(&args, cx).await,
        Command::Lock(args) => install::lock(&args, cx).await,
        Command::Update(args) => install::update(&args, cx).await,
        Command::Tree(args) => tree::tree(&args, cx).await,
        Command::Why(args) => tree::why(&args, cx).await,
        Command::Outdated(args) => outdated::outdated(&args, cx).await,
        Command::Yank(args) => yank::yank(&args, cx).await,
        Command::Unyank(args) => yank::unyank(&args, cx).await,
        Command::Deprecate(args) => yank::deprecate(&args, cx).await,
        Command::Undeprecate(args) => yank::undeprecate(&args, cx).await,
        Command::Owner(args) => owner::owner(&args, cx).await,
        Command::Key(args) => key::key(&args, cx).await,
        Command::TrustPublisher(args) => trust_publisher::trust_publisher(&args, cx).await,
        Command::CiToken(args) => trust_publisher::ci_token(&args, cx).await,
        Command::Org(args) => org::org(&args, cx).await,
        Command::Alias(args) => alias::alias(&args, cx).await,
        Command::Verify(args) => verify::verify(&args, cx).await,
        Command::Cargo(args) => cargo::cargo(&args, cx).await,
        Command::Cache(args) => cache::cache(&args, cx).await,
        Command::Explain(args) => explain::explain(&args, cx),
        Command::Serve(args) => serve::run(args, cx).await,
        Command::Admin(args) => admin::run(args, cx).await,
        Command::Trust(args) => trust::run(args, cx),
        Command::Witness(args) => witness::run(args, cx).await,
        Command::Maintain(args) => maintain::run(args, cx).await,
    }
}
