//! `owner list`, `owner add`, `owner remove`, `owner transfer`.

use std::fmt::Write as _;

use drystone_client::{ClientError, Registry, Snapshot};
use drystone_schemas::{OwnersResponse, PackageName, Role, rfc3339};
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
            let response =
                registry.add_owners(&name, args.logins.clone(), role, args.exception.clone()).await?;
            told(cx, &response, Some(&format!("drystone owner remove {name} {}", args.logins.join(" "))))
        }
        args::Owner::Remove(args) => {
            let name = package_name(&args.package)?;
            let response = registry.remove_owners(&name, args.logins.clone(), args.exception.clone()).await?;
            told(cx, &response, Some(&format!("drystone owner add {name} {}", args.logins.join(" "))))
        }
        args::Owner::Transfer(args) => transfer(cx, &registry, args).await,
    }
}

async fn transfer(cx: &Context, registry: &Registry, args: &args::Transfer) -> Result<(), Failure> {
    match args {
        args::Transfer::Offer(args) => {
            let name = package_name(&args.package)?;
            let response = registry.offer_transfer(&name, &args.to).await?;
            told(cx, &response, Some(&format!("drystone owner transfer withdraw {name}")))
        }
        args::Transfer::Accept(args) => {
            told(cx, &registry.accept_transfer(&package_name(&args.package)?).await?, None)
        }
        args::Transfer::Withdraw(args) => {
            told(cx, &registry.withdraw_transfer(&package_name(&args.package)?).await?, None)
        }
    }
}

/// One owner, with the login where the registry's API tells it.
#[derive(Serialize)]
struct Listed {
    account: String,
    login: Option<String>,
    /// None for one who goes, or who is offered the package.
    role: Option<Role>,
    /// When it takes force, where it waits for a time-lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Until when they can take the package over, where it is offered to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    offered_until: Option<String>,
}

/// Who the owners are is proved by the document; what they are called only the API knows.
async fn list(cx: &Context, registry: &Registry, name: &PackageName) -> Result<(), Failure> {
    let snapshot = Snapshot::open(registry, &cx.trust()?).await?;
    let mut document =
        snapshot.document(name).await?.ok_or_else(|| ClientError::PackageNotFound { name: name.clone() })?;
    document.ripen(cx.effects.clock.now_unix_s());
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
            role: Some(owner.role),
            from: None,
            offered_until: None,
        })
        .chain(document.pending_owners.iter().map(|change| Listed {
            account: change.account.to_string(),
            login: login(&change.account),
            role: change.role,
            from: Some(rfc3339(change.from)),
            offered_until: None,
        }))
        .chain(document.transfer.iter().map(|offer| Listed {
            account: offer.to.to_string(),
            login: login(&offer.to),
            role: None,
            from: Some(rfc3339(offer.from)).filter(|_| offer.from > offer.time),
            offered_until: Some(rfc3339(offer.until)),
        }))
        .collect();
    cx.printer.result(&owners, || {
        owners.iter().fold(String::new(), |mut text, owner| {
            let role = match owner.role {
                Some(Role::Owner) => "owner",
                Some(Role::Collaborator) => "collaborator",
                None if owner.offered_until.is_some() => "offered the package",
                None => "no owner",
            };
            let login = owner.login.as_deref().unwrap_or(&owner.account);
            let from = owner.from.as_ref().map_or_else(String::new, |from| format!(" from {from} on"));
            let until = owner.offered_until.as_ref();
            let until = until.map_or_else(String::new, |until| format!(", until {until}"));
            let _ = writeln!(text, "{login} ({role}{from}{until})");
            text
        })
    })
}
