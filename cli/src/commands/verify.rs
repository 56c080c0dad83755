//! `verify`: the chain of one release, link by link.

use std::fmt::Write as _;

use drystone_client::{
    Snapshot,
    verify::{Chain, verify_file, verify_release},
};
use drystone_schemas::{Code, Problem};

use super::yank::release;
use crate::{
    args,
    context::{Context, named_package, read_limits},
    failure::Failure,
};

pub(super) async fn verify(args: &args::Verify, cx: &Context) -> Result<(), Failure> {
    let registry = cx.registry_here()?;
    let file = cx.path(args.target.as_ref());
    let chain = if file.is_file() {
        let snapshot = Snapshot::open(&registry, &cx.trust()?).await?;
        verify_file(&snapshot, &file, &read_limits(&registry).await).await?
    } else if args.target.contains('@') {
        let (name, version) = release(&args.target)?;
        let snapshot = Snapshot::open(&registry, &cx.trust()?).await?;
        let name = named_package(cx, &snapshot, name.as_str()).await?;
        verify_release(&snapshot, &name, &version, &read_limits(&registry).await).await?
    } else {
        let problem =
            Problem::new(Code::BadUsage, format!("`{}` is neither a file nor `NAME@VERSION`", args.target));
        return Err(problem.with_hint("name a version, or give the path of an archive").into());
    };
    if chain.yanked {
        cx.printer.warning("the release is yanked");
    }
    cx.printer.result(&chain, || text(&chain))
}

fn text(chain: &Chain) -> String {
    let mut text =
        format!("{} {}, published {} as event {}\n", chain.name, chain.vers, chain.published, chain.event);
    for link in &chain.links {
        let _ = writeln!(text, "  {:<14} {}", link.what, link.finding);
    }
    let _ = writeln!(text, "verified: every link holds, from the bytes to the key of `{}`", chain.origin);
    text
}
