//! Teams: named parts of an organisation that can be owner or collaborator of a package.
//!
//! Owns: which teams an organisation has, and who is in them. Does not own: what a team may do to a package; it is an owner like
//! any other, written `ORG/TEAM`, and whoever is in it may do there what the package's entry says.
//!
//! A team is an account without a login, under an id of its own, because that is what the log names; so commits look at teams
//! as they look at organisations. Invariants: only a member of the organisation is in a team, and leaves it with the
//! organisation; what is taken away is taken before it is acknowledged, and head is fenced after that.

use std::collections::BTreeSet;

use drystone_schemas::{AccountId, Code, Login, Role, Team, layout};
use drystone_storage::new_ulid;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{AccountRecord, orgs::OrgRecord, record::AuditKind, sign_up::check_login};
use crate::{
    Refusal, Service, Token,
    limits::{NEW_TOKENS, subject_of},
    service::Core,
    swap::{self, Change},
    vault,
};

/// Most teams of an organisation.
const TEAMS_MAX: usize = 50;

/// A team, as its organisation knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TeamRecord {
    /// Under which the log names it.
    pub(super) id: AccountId,
    pub(super) members: BTreeSet<AccountId>,
}

fn no_record() -> Refusal {
    Refusal::internal("an organisation has no record")
}

fn no_team(org: &AccountRecord, team: &str) -> Refusal {
    let shown: String = team.chars().take(64).collect();
    Refusal::code(Code::AccountNotFound, format!("`{}` has no team `{shown}`", org.login))
}

impl Service {
    /// Makes a team. One of that name that is there already stays as it is.
    pub(crate) async fn make_team(&self, by: &Token, org: &str, team: &str) -> Result<String, Refusal> {
        let core = &*self.core;
        let asked = self.asked(by, org).await?;
        let name = check_login(team.trim()).map_err(Refusal::new)?;
        core.take_shared(NEW_TOKENS, &subject_of(&asked.by)).await?;
        let there = swap::look::<OrgRecord>(core, layout::org(&asked.org.id)).await?.ok_or_else(no_record)?;
        asked.may_govern(&there)?;
        let made = format!("`{}/{name}` is a team", asked.org.login);
        if there.teams.contains_key(name.as_str()) {
            return Ok(made);
        }
        let id = AccountId::new(format!("acct:{}", new_ulid(&*core.clock, &*core.entropy)))
            .expect("a new ULID makes an account id");
        // The account first: an id that an organisation names has one. An account that none names is nobody's.
        let account = AccountRecord {
            org: true,
            team_of: Some(asked.org.id.clone()),
            ..AccountRecord::new(id.clone(), name.clone(), core.clock.now_unix_s())
        };
        vault::create(&*core.store.vault, layout::account(&id), &account).await?;
        swap::update(core, layout::org(&asked.org.id), |there: Option<OrgRecord>| {
            let mut there = there.ok_or_else(no_record)?;
            asked.may_govern(&there)?;
            if there.teams.contains_key(name.as_str()) {
                return Ok(Change::Leave(()));
            }
            if there.teams.len() >= TEAMS_MAX {
                let detail = format!("`{}` has {TEAMS_MAX} teams", asked.org.login);
                return Err(Refusal::code(Code::NotInvited, detail));
            }
            let team = TeamRecord { id: id.clone(), members: BTreeSet::new() };
            there.teams.insert(name.to_string(), team);
            Ok(Change::Write(there, ()))
        })
        .await?;
        core.note(&asked.org.id, AuditKind::MembersChanged, None).await?;
        Ok(made)
    }

    /// Dissolves a team: nobody acts as it any more. Packages that name it keep it as an owner that nobody is.
    pub(crate) async fn end_team(&self, by: &Token, org: &str, team: &str) -> Result<String, Refusal> {
        let core = &*self.core;
        let asked = self.asked(by, org).await?;
        let change = |there: Option<OrgRecord>| {
            let there = there.ok_or_else(no_record)?;
            asked.may_govern(&there)?;
            let found = there.teams.get(team).cloned();
            Ok(Change::Leave(found.ok_or_else(|| no_team(&asked.org, team))?))
        };
        let TeamRecord { id, members } = swap::update(core, layout::org(&asked.org.id), change).await?;
        let all = [id.clone()];
        try_join_all(members.iter().map(|member| core.leave(member, &all))).await?;
        // Whoever came in meanwhile is in the record that goes now.
        let late = swap::update(core, layout::org(&asked.org.id), |there: Option<OrgRecord>| {
            let mut there = there.ok_or_else(no_record)?;
            let gone = there.teams.remove(team).map(|gone| gone.members).unwrap_or_default();
            Ok(Change::Write(there, gone))
        })
        .await?;
        try_join_all(late.iter().map(|member| core.leave(member, &all))).await?;
        core.note(&asked.org.id, AuditKind::MembersChanged, None).await?;
        core.committer.fence().await?;
        Ok(format!("`{}` has no team `{team}`", asked.org.login))
    }

    /// Puts a member of the organisation into a team.
    pub(crate) async fn add_to_team(
        &self,
        by: &Token,
        org: &str,
        team: &str,
        member: &str,
    ) -> Result<String, Refusal> {
        let core = &*self.core;
        let asked = self.asked(by, org).await?;
        let member = self.person(member).await?;
        let id = swap::update(core, layout::org(&asked.org.id), |there: Option<OrgRecord>| {
            let mut there = there.ok_or_else(no_record)?;
            asked.may_govern(&there)?;
            if there.role_of(&member.id).is_none() {
                let detail = format!("`{}` is no member of `{}`", member.login, asked.org.login);
                return Err(Refusal::code(Code::NotInvited, detail));
            }
            let found = there.teams.get_mut(team).ok_or_else(|| no_team(&asked.org, team))?;
            found.members.insert(member.id.clone());
            let id = found.id.clone();
            Ok(Change::Write(there, id))
        })
        .await?;
        // A member of a team may do whatever the package's entry for the team says.
        core.join(&member.id, &id, Role::Owner).await?;
        // Whoever was removed meanwhile was removed before this took force, or sees it.
        let now = swap::look::<OrgRecord>(core, layout::org(&asked.org.id)).await?;
        let is_in = |team: &TeamRecord| team.id == id && team.members.contains(&member.id);
        if !now.is_some_and(|org| org.teams.values().any(is_in)) {
            core.leave(&member.id, &[id]).await?;
            core.committer.fence().await?;
        }
        core.note(&member.id, AuditKind::MembersChanged, None).await?;
        Ok(format!("`{}` is in `{}/{team}`", member.login, asked.org.login))
    }

    /// Takes somebody out of a team; or leaves it.
    pub(crate) async fn remove_from_team(
        &self,
        by: &Token,
        org: &str,
        team: &str,
        member: &str,
    ) -> Result<String, Refusal> {
        let core = &*self.core;
        let asked = self.asked(by, org).await?;
        let member = self.person(member).await?;
        let id = swap::update(core, layout::org(&asked.org.id), |there: Option<OrgRecord>| {
            let mut there = there.ok_or_else(no_record)?;
            if asked.by != member.id {
                asked.may_govern(&there)?;
            }
            let found = there.teams.get_mut(team).ok_or_else(|| no_team(&asked.org, team))?;
            let was = found.members.remove(&member.id);
            let id = found.id.clone();
            Ok(if was { Change::Write(there, id) } else { Change::Leave(id) })
        })
        .await?;
        // Also where the record said so already: a removal that broke off is finished by whoever repeats it.
        core.leave(&member.id, &[id]).await?;
        core.note(&member.id, AuditKind::MembersChanged, None).await?;
        core.committer.fence().await?;
        Ok(format!("`{}` is not in `{}/{team}`", member.login, asked.org.login))
    }
}

impl Core {
    /// The teams of an organisation, for its members.
    pub(super) async fn teams(&self, org: &OrgRecord) -> Result<Vec<Team>, Refusal> {
        let teams = org.teams.iter().map(async |(name, team)| {
            let members = self.members(team.members.iter().map(|id| (id, Role::Owner))).await?;
            let members = members.into_iter().map(|member| member.username).collect();
            Ok::<_, Refusal>(Team { id: team.id.clone(), name: name.clone(), members })
        });
        try_join_all(teams.collect::<Vec<_>>()).await
    }

    /// The team that is written `ORG/TEAM`.
    pub(crate) async fn find_team(&self, org: &str, team: &str) -> Result<Option<AccountRecord>, Refusal> {
        let vault = &*self.store.vault;
        let (Ok(_), Some(org)) = (Login::new(team), vault::find_account(vault, org).await?) else {
            return Ok(None);
        };
        let there = swap::look::<OrgRecord>(self, layout::org(&org.id)).await?;
        match there.and_then(|there| there.teams.get(team).map(|team| team.id.clone())) {
            Some(id) => vault::read_account(vault, &id).await,
            None => Ok(None),
        }
    }

    /// What an account is called where people read it: its login, or `ORG/TEAM`.
    pub(crate) async fn shown_as(&self, id: &AccountId) -> Result<String, Refusal> {
        let vault = &*self.store.vault;
        let Some(account) = vault::read_account(vault, id).await? else { return Ok(id.to_string()) };
        let Some(org) = &account.team_of else { return Ok(account.login.into()) };
        let org = vault::read_account(vault, org).await?;
        let org = org.map_or_else(|| id.to_string(), |org| org.login.into());
        Ok(format!("{org}/{}", account.login))
    }
}
