//! `owner list`, `owner add`, `owner remove`.

use std::fmt::Write as _;

use drystone_client::{ClientError, Registry, Snapshot};
use drystone_schemas::{OwnersResponse, PackageName, Role};
use serde::Serialize;

use super::yank::told;
use crate::{
    args::{self, RoleArg},
    context::{Context, package_name},
    failure::Failure,
};

pub(super) async fn owner(args: &args::Owner, cx: &Context) -> Result<(), Failure> {
    let registry = cx.registry_here()?;
    match args {
        args::Owner::List(args) => list(cx, &registry, &package_name(&args.package)?).await,
        args::Owner::Add(args) => {
            let name = package_name(&args.package)?;
            let role = match args.role {
                RoleArg::Owner => Role::Owner,
                RoleArg::Collaborator => Role::Collaborator,
            };
            let response = registry.add_owners(&name, args.logins.clone(), role).await?;
            told(cx, &response, Some(&format!("drystone owner remove {name} {}", args.logins.join(" "))))
        }
        args::Owner::Remove(args) => {
            let name = package_name(&args.package)?;
            let response = registry.remove_owners(&name, args.logins.clone()).await?;
            told(cx, &response, Some(&format!("drystone owner add {name} {}", args.logins.join(" "))))
        }
    }
}

/// One owner, with the login where the registry's API tells it.
#[derive(Serialize)]
struct Listed {
    account: String,
    login: Option<String>,
    role: Role,
}

/// Who the owners are is proved by the document; what they are called only the API knows.
async fn list(cx: &Context, registry: &Registry, name: &PackageName) -> Result<(), Failure> {
    let snapshot = Snapshot::open(registry, &cx.trust()?).await?;
    let document =
        snapshot.document(name).await?.ok_or_else(|| ClientError::PackageNotFound { name: name.clone() })?;
    let named = registry.owners(&document.name).await;
    if let Err(error) = &named {
        cx.printer.detail(&format!("logins are not known: {error}"));
    }
    let named = named.unwrap_or(OwnersResponse { users: vec![] });
    let login = |account: &drystone_schemas::AccountId| {
        named.users.iter().find(|owner| owner.account == *account).map(|owner| owner.login.clone())
    };
    let owners: Vec<Listed> = document
        .owners
        .iter()
        .map(|owner| Listed {
            account: owner.account.to_string(),
            login: login(&owner.account),
            role: owner.role,
        })
        .collect();
    cx.printer.result(&owners, || {
        owners.iter().fold(String::new(), |mut text, owner| {
            let role = match owner.role {
                Role::Owner => "owner",
                Role::Collaborator => "collaborator",
            };
            let login = owner.login.as_deref().unwrap_or(&owner.account);
            let _ = writeln!(text, "{login} ({role})");
            text
        })
    })
}
