//! `org create`, `show`, `invite`, `join`, `remove`, `team`.

use std::fmt::Write as _;

use drystone_client::{ClientError, Registry};
use drystone_schemas::{Member, OrgResponse, Role, WriteResponse};

use super::{session, yank::told};
use crate::{
    args::{self, OrgVerb, RoleArg, TeamVerb},
    context::Context,
    failure::Failure,
};

pub(super) async fn org(args: &args::Org, cx: &Context) -> Result<(), Failure> {
    let stored = cx.registry_here()?;
    let Some(username) = &args.username else { return act(&stored, &args.verb, cx).await };
    let signed_in = session::session(username, args.code.as_deref(), stored.base(), cx).await?;
    let done = act(&signed_in, &args.verb, cx).await;
    signed_in.sign_out().await?;
    done
}

async fn act(registry: &Registry, verb: &OrgVerb, cx: &Context) -> Result<(), Failure> {
    let change: Result<WriteResponse, ClientError> = match verb {
        OrgVerb::Create(args) => return show(&registry.make_org(&args.name).await?, cx),
        OrgVerb::Show(args) => return show(&registry.org(&args.name).await?, cx),
        OrgVerb::Invite(args) => {
            let role = match args.role {
                RoleArg::Owner => Role::Owner,
                RoleArg::Collaborator => Role::Collaborator,
            };
            registry.set_member(&args.name, &args.login, role).await
        }
        OrgVerb::Join(args) => registry.join_org(&args.name).await,
        OrgVerb::Remove(args) => registry.remove_member(&args.name, &args.login).await,
        OrgVerb::Team(TeamVerb::Create(args)) => registry.make_team(&args.org, &args.team).await,
        OrgVerb::Team(TeamVerb::Delete(args)) => registry.end_team(&args.org, &args.team).await,
        OrgVerb::Team(TeamVerb::Add(args)) => registry.add_to_team(&args.org, &args.team, &args.login).await,
        OrgVerb::Team(TeamVerb::Remove(args)) => {
            registry.remove_from_team(&args.org, &args.team, &args.login).await
        }
    };
    told(cx, &change?, None)
}

fn show(org: &OrgResponse, cx: &Context) -> Result<(), Failure> {
    let line = |text: &mut String, member: &Member, invited: &str| {
        let role = match member.role {
            Role::Owner => "owner",
            Role::Collaborator => "collaborator",
        };
        let _ = writeln!(text, "{} ({role}{invited})", member.username);
    };
    cx.printer.result(org, || {
        let mut text = format!("{} {}\n", org.name, org.id);
        org.members.iter().for_each(|member| line(&mut text, member, ""));
        org.invited.iter().for_each(|member| line(&mut text, member, ", invited"));
        for team in &org.teams {
            let _ = writeln!(text, "{}/{}: {}", org.name, team.name, team.members.join(", "));
        }
        text
    })
}
