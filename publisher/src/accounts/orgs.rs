//! Organisations: accounts without a password, for which their members act.
//!
//! Owns: members and invitations. Does not own: what an organisation may do to a package; it is an owner like any other, and
//! a member may do there what both the package's entry and the membership allow.
//!
//! Two records say who is a member: the organisation's, which knows its last owner, and the member's own, which is what a
//! commit reads after head. Invariant: the member's own never says more than the organisation's said when it was
//! acknowledged; what is taken away is taken there first, and head is fenced before that is acknowledged.

use std::collections::BTreeMap;

use drystone_schemas::{AccountId, Code, Login, Member, OrgResponse, Problem, Role, layout, rfc3339};
use drystone_storage::{Key, new_ulid};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{AccountRecord, record::AuditKind, sign_up::check_login, teams::TeamRecord};
use crate::{
    Refusal, Service, Token,
    limits::{NEW_TOKENS, subject_of},
    service::Core,
    swap::{self, Change},
    vault,
};

/// Most members of an organisation, and most organisations of an account.
const MEMBERS_MAX: usize = 500;

/// `orgs/<ulid>`: who belongs to an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OrgRecord {
    /// Version of this format; 1.
    v: u32,
    members: BTreeMap<AccountId, Membership>,
    /// Who may join, and as what.
    invited: BTreeMap<AccountId, Role>,
    /// Its teams, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) teams: BTreeMap<String, TeamRecord>,
}

/// A member, as the organisation knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Membership {
    role: Role,
    /// It is being removed: it counts no more, and its own record may still say otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    leaving: bool,
}

impl OrgRecord {
    pub(super) fn role_of(&self, account: &AccountId) -> Option<Role> {
        self.members.get(account).filter(|member| !member.leaving).map(|member| member.role)
    }

    /// Under which ids somebody acts who belongs to it: its own, and those of its teams.
    fn ids(&self, own: &AccountId) -> Vec<AccountId> {
        self.teams.values().map(|team| team.id.clone()).chain([own.clone()]).collect()
    }

    /// Takes somebody out of every team.
    fn leave_teams(&mut self, member: &AccountId) {
        for team in self.teams.values_mut() {
            team.members.remove(member);
        }
    }

    /// Whether an owner stays when this one is not one any more.
    fn keeps_an_owner(&self, but: &AccountId) -> bool {
        let stays = |(id, member): (&AccountId, &Membership)| {
            id != but && !member.leaving && member.role == Role::Owner
        };
        self.members.iter().any(stays)
    }
}

/// `member-of/<ulid>`: what an account may do for which organisations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberRecord {
    /// Version of this format; 1.
    v: u32,
    /// By the organisation's account.
    pub(crate) orgs: BTreeMap<AccountId, Role>,
}

/// What somebody wants of an organisation.
enum Wish {
    /// An owner gives a member another role, or invites somebody.
    Set(Role),
    /// An owner removes somebody, or a member leaves.
    Remove,
}

/// Who asks, and for which organisation.
pub(super) struct Asked {
    pub(super) by: AccountId,
    admin: bool,
    pub(super) org: AccountRecord,
}

impl Asked {
    /// Refuses whoever does not own the organisation, as it is now.
    pub(super) fn may_govern(&self, there: &OrgRecord) -> Result<(), Refusal> {
        if self.admin || there.role_of(&self.by) == Some(Role::Owner) {
            return Ok(());
        }
        let detail = format!("only an owner of `{}` may do this", self.org.login);
        Err(Refusal::new(Problem::new(Code::NotAnOwner, detail).fact("account", &self.by)))
    }
}

impl Service {
    /// Whoever may govern: a session, or an administrator's token.
    async fn governor(&self, by: &Token) -> Result<(AccountId, bool), Refusal> {
        let record = self.admit(by).await?;
        if record.session.is_none() && !record.is_admin() {
            return Err(Refusal::code(Code::SessionNeeded, "tokens of tools may not govern organisations"));
        }
        Ok((record.account.clone(), record.is_admin()))
    }

    pub(super) async fn asked(&self, by: &Token, org: &str) -> Result<Asked, Refusal> {
        let (by, admin) = self.governor(by).await?;
        Ok(Asked { by, admin, org: self.org(org).await? })
    }

    async fn org(&self, name: &str) -> Result<AccountRecord, Refusal> {
        let shown: String = name.chars().take(64).collect();
        let there = vault::find_account(&*self.core.store.vault, name).await?;
        there.filter(|account| account.org && account.team_of.is_none()).ok_or_else(|| {
            Refusal::code(Code::AccountNotFound, format!("there is no organisation `{shown}`"))
        })
    }

    /// Makes an organisation, owned by whoever asks.
    pub(crate) async fn make_org(&self, by: &Token, name: &str) -> Result<OrgResponse, Refusal> {
        let core = &*self.core;
        let (by, _) = self.governor(by).await?;
        let login = check_login(name.trim()).map_err(Refusal::new)?;
        core.take_shared(NEW_TOKENS, &subject_of(&by)).await?;
        let taken = || {
            let problem = Problem::new(Code::LoginTaken, format!("the login `{login}` is taken"));
            Refusal::new(problem.fact("username", &login))
        };
        core.check_free(&login, Some(&by)).await?.ok_or_else(taken)?;
        let vault = &*core.store.vault;
        let id = AccountId::new(format!("acct:{}", new_ulid(&*core.clock, &*core.entropy)))
            .expect("a new ULID makes an account id");
        let account = AccountRecord {
            org: true,
            ..AccountRecord::new(id.clone(), login.clone(), core.clock.now_unix_s())
        };
        let owner = Membership { role: Role::Owner, leaving: false };
        let org = OrgRecord {
            v: 1,
            members: BTreeMap::from([(by.clone(), owner)]),
            invited: BTreeMap::new(),
            teams: BTreeMap::new(),
        };
        vault::create(vault, layout::account(&id), &account).await?;
        swap::update(core, layout::org(&id), |_: Option<OrgRecord>| Ok(Change::Write(org.clone(), ())))
            .await?;
        core.join(&by, &id, Role::Owner).await?;
        if !vault::create(vault, layout::login(&login), &id).await? {
            core.leave(&by, std::slice::from_ref(&id)).await?;
            for key in [layout::org(&id), layout::account(&id)] {
                vault.delete(&Key::new(key).map_err(Refusal::internal)?).await?;
            }
            return Err(taken());
        }
        core.note(&id, AuditKind::Registered, None).await?;
        self.org_response(&account, true).await
    }

    /// An organisation, with its members if whoever asks is one.
    pub(crate) async fn show_org(&self, by: Option<&Token>, name: &str) -> Result<OrgResponse, Refusal> {
        let org = self.org(name).await?;
        let inside = match by {
            None => false,
            Some(by) => {
                let record = self.admit(by).await?;
                let there = swap::look::<OrgRecord>(&self.core, layout::org(&org.id)).await?;
                record.is_admin() || there.is_some_and(|org| org.role_of(&record.account).is_some())
            }
        };
        self.org_response(&org, inside).await
    }

    /// Invites somebody, or gives a member another role.
    pub(crate) async fn set_member(
        &self,
        by: &Token,
        org: &str,
        member: &str,
        role: Role,
    ) -> Result<String, Refusal> {
        self.change_member(by, org, member, Wish::Set(role)).await
    }

    /// Removes a member or an invitation; or leaves.
    pub(crate) async fn remove_member(&self, by: &Token, org: &str, member: &str) -> Result<String, Refusal> {
        self.change_member(by, org, member, Wish::Remove).await
    }

    async fn change_member(
        &self,
        by: &Token,
        org: &str,
        member: &str,
        wish: Wish,
    ) -> Result<String, Refusal> {
        let core = &*self.core;
        let asked = self.asked(by, org).await?;
        let org = &asked.org;
        let member = self.person(member).await?;
        let (now, ids) = swap::update(core, layout::org(&org.id), |there: Option<OrgRecord>| {
            let mut there = there.ok_or_else(|| Refusal::internal("an organisation has no record"))?;
            if asked.by != member.id || !matches!(wish, Wish::Remove) {
                asked.may_govern(&there)?;
            }
            let now = decide(&mut there, org, &member.id, &wish)?;
            let ids = there.ids(&org.id);
            Ok(Change::Write(there, (now, ids)))
        })
        .await?;
        match now {
            Now::Invited => {}
            Now::Member(role) => self.act_for(&member.id, &org.id, role).await?,
            Now::Leaving => {
                core.leave(&member.id, &ids).await?;
                swap::update(core, layout::org(&org.id), |there: Option<OrgRecord>| {
                    let mut there =
                        there.ok_or_else(|| Refusal::internal("an organisation has no record"))?;
                    there.members.retain(|id, member_| *id != member.id || !member_.leaving);
                    Ok(Change::Write(there, ()))
                })
                .await?;
            }
        }
        core.note(&org.id, AuditKind::MembersChanged, None).await?;
        core.note(&member.id, AuditKind::MembersChanged, None).await?;
        core.committer.fence().await?;
        let (login, org) = (&member.login, &org.login);
        Ok(match now {
            Now::Invited => format!("`{login}` may join `{org}`"),
            Now::Member(_) => format!("`{login}` has another role in `{org}`"),
            Now::Leaving => format!("`{login}` is no member of `{org}`"),
        })
    }

    /// Takes an invitation.
    pub(crate) async fn join_org(&self, by: &Token, org: &str) -> Result<String, Refusal> {
        let core = &*self.core;
        let Asked { by, org, .. } = self.asked(by, org).await?;
        let role = swap::update(core, layout::org(&org.id), |there: Option<OrgRecord>| {
            let mut there = there.ok_or_else(|| Refusal::internal("an organisation has no record"))?;
            // Repeated after it broke off, it goes on.
            if let Some(role) = there.role_of(&by) {
                return Ok(Change::Leave(role));
            }
            let detail = format!("nobody has invited the account to `{}`", org.login);
            let role = there.invited.remove(&by).ok_or_else(|| Refusal::code(Code::NotInvited, detail))?;
            there.members.insert(by.clone(), Membership { role, leaving: false });
            Ok(Change::Write(there, role))
        })
        .await?;
        self.act_for(&by, &org.id, role).await?;
        core.note(&by, AuditKind::MembersChanged, None).await?;
        Ok(format!("you are a member of `{}`", org.login))
    }

    /// Lets a member act, unless they were removed meanwhile: whoever removes them has not seen what is written here.
    async fn act_for(&self, member: &AccountId, org: &AccountId, role: Role) -> Result<(), Refusal> {
        let core = &*self.core;
        core.join(member, org, role).await?;
        let now = swap::look::<OrgRecord>(core, layout::org(org)).await?;
        if now.is_none_or(|now| now.role_of(member).is_none()) {
            core.leave(member, std::slice::from_ref(org)).await?;
            core.committer.fence().await?;
        }
        Ok(())
    }

    /// Somebody who can be a member.
    pub(super) async fn person(&self, text: &str) -> Result<AccountRecord, Refusal> {
        let found = vault::find_account(&*self.core.store.vault, text).await?;
        let found = found.filter(|account| !account.org && account.closed.is_none());
        let shown: String = text.chars().take(64).collect();
        found.ok_or_else(|| Refusal::code(Code::AccountNotFound, format!("there is no account `{shown}`")))
    }

    async fn org_response(&self, account: &AccountRecord, inside: bool) -> Result<OrgResponse, Refusal> {
        let core = &*self.core;
        let org = swap::look::<OrgRecord>(core, layout::org(&account.id)).await?;
        let org = org.filter(|_| inside);
        let (mut members, mut invited, mut teams) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(org) = org {
            let there = org.members.iter().filter(|(_, member)| !member.leaving);
            members = core.members(there.map(|(id, member)| (id, member.role))).await?;
            invited = core.members(org.invited.iter().map(|(id, role)| (id, *role))).await?;
            teams = core.teams(&org).await?;
        }
        Ok(OrgResponse {
            id: account.id.clone(),
            name: account.login.to_string(),
            created_at: rfc3339(account.created),
            members,
            invited,
            teams,
        })
    }
}

/// What a member is after a change.
#[derive(Clone, Copy)]
enum Now {
    Invited,
    Member(Role),
    Leaving,
}

/// Changes the organisation's record; pure.
fn decide(
    org: &mut OrgRecord,
    account: &AccountRecord,
    member: &AccountId,
    wish: &Wish,
) -> Result<Now, Refusal> {
    let is_owner = org.role_of(member) == Some(Role::Owner);
    let stays_owner = matches!(wish, Wish::Set(Role::Owner));
    if is_owner && !stays_owner && !org.keeps_an_owner(member) {
        let detail = format!("`{}` would have no owner left", account.login);
        return Err(Refusal::code(Code::LastOwner, detail));
    }
    let is_full = org.members.len() + org.invited.len() >= MEMBERS_MAX;
    match (wish, org.members.get_mut(member)) {
        (Wish::Set(role), Some(there)) if !there.leaving => {
            there.role = *role;
            Ok(Now::Member(*role))
        }
        (Wish::Set(_), _) if is_full => {
            let detail = format!("`{}` has {MEMBERS_MAX} members and invitations", account.login);
            Err(Refusal::code(Code::NotInvited, detail))
        }
        (Wish::Set(role), _) => {
            org.invited.insert(member.clone(), *role);
            Ok(Now::Invited)
        }
        (Wish::Remove, there) => {
            if let Some(there) = there {
                there.leaving = true;
            }
            org.leave_teams(member);
            org.invited.remove(member);
            Ok(Now::Leaving)
        }
    }
}

impl Core {
    /// Lets an account act for an organisation.
    pub(super) async fn join(&self, member: &AccountId, org: &AccountId, role: Role) -> Result<(), Refusal> {
        swap::update(self, layout::member_of(member), |there: Option<MemberRecord>| {
            let mut there = there.unwrap_or_default();
            if there.orgs.len() >= MEMBERS_MAX && !there.orgs.contains_key(org) {
                let detail = format!("the account belongs to {MEMBERS_MAX} organisations");
                return Err(Refusal::code(Code::NotInvited, detail));
            }
            there.v = 1;
            there.orgs.insert(org.clone(), role);
            Ok(Change::Write(there, ()))
        })
        .await
    }

    /// Lets it no longer. Without a fence.
    pub(super) async fn leave(&self, member: &AccountId, orgs: &[AccountId]) -> Result<(), Refusal> {
        swap::update(self, layout::member_of(member), |there: Option<MemberRecord>| {
            let mut there = there.unwrap_or_default();
            let before = there.orgs.len();
            there.orgs.retain(|org, _| !orgs.contains(org));
            let was = there.orgs.len() < before;
            Ok(if was { Change::Write(there, ()) } else { Change::Leave(()) })
        })
        .await
    }

    /// Lets an account that goes act for nobody. An organisation whose last owner goes has none until the operator acts.
    pub(super) async fn leave_all(&self, member: &AccountId) -> Result<(), Refusal> {
        let there = swap::look::<MemberRecord>(self, layout::member_of(member)).await?.unwrap_or_default();
        for org in there.orgs.keys() {
            self.leave(member, std::slice::from_ref(org)).await?;
            swap::update(self, layout::org(org), |there: Option<OrgRecord>| {
                let Some(mut there) = there else { return Ok(Change::Leave(())) };
                let was = there.members.remove(member).is_some();
                there.leave_teams(member);
                Ok(if was { Change::Write(there, ()) } else { Change::Leave(()) })
            })
            .await?;
        }
        Ok(())
    }

    pub(super) async fn members(
        &self,
        of: impl Iterator<Item = (&AccountId, Role)>,
    ) -> Result<Vec<Member>, Refusal> {
        let reads = of.map(async |(id, role)| {
            let account = vault::read_account(&*self.store.vault, id).await?;
            let username = account.map_or_else(|| id.to_string(), |account| account.login.into());
            Ok::<_, Refusal>(Member { id: id.clone(), username, role })
        });
        try_join_all(reads.collect::<Vec<_>>()).await
    }

    /// Whether nobody has a login, and nobody but this account has packages under it.
    pub(super) async fn check_free(
        &self,
        login: &Login,
        by: Option<&AccountId>,
    ) -> Result<Option<()>, Refusal> {
        let vault = &*self.store.vault;
        let gone = self.keys().await?.hash("login", login.as_str());
        if vault::read::<u64>(vault, layout::login_gone(&gone)).await?.is_some() {
            return Ok(None);
        }
        let scope: Option<vault::ScopeRecord> = vault::read(vault, layout::scope(login.as_str())).await?;
        Ok(scope.is_none_or(|scope| Some(&scope.account) == by).then_some(()))
    }
}
