//! `alias set`, `alias remove`, `alias resolve`.

use drystone_client::Snapshot;
use drystone_schemas::{Code, ResolveResponse};

use super::yank::told;
use crate::{
    args,
    context::{self, Context, package_name},
    failure::Failure,
};

pub(super) async fn alias(args: &args::Alias, cx: &Context) -> Result<(), Failure> {
    let registry = cx.registry_here()?;
    match args {
        args::Alias::Set(args) => {
            let (alias, package) = (context::alias(&args.alias)?, package_name(&args.package)?);
            let response = registry.set_alias(&alias, &package).await?;
            told(cx, &response, Some(&format!("drystone alias remove {alias}")))
        }
        args::Alias::Remove(args) => {
            let response = registry.remove_alias(&context::alias(&args.alias)?).await?;
            told(cx, &response, None)
        }
        args::Alias::Resolve(args) => {
            let alias = context::alias(&args.alias)?;
            let snapshot = Snapshot::open(&registry, &cx.trust()?).await?;
            let package = snapshot.alias(&alias).await?;
            let full_name = package.ok_or_else(|| {
                Failure::new(Code::AliasNotFound, format!("`{alias}` is no alias of any package"))
            })?;
            let answer = ResolveResponse { full_name, resolved: true };
            cx.printer.result(&answer, || format!("{}\n", answer.full_name))
        }
    }
}
