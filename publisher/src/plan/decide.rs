//! The decision on one intent: an event, an answer without one, or a refusal. Pure.

use std::collections::BTreeMap;

use drystone_index_builder::{
    AliasState, Draft, Touched, project, project_config, project_plain, vais_index_file, vais_package,
};
use drystone_log::{
    SignedTrust, TrustError,
    commit::{EventDraft, PlainFile, Round, StateFile},
};
use drystone_schemas::{
    AccountId, Code, EventBody, IndexLine, PUBLISHERS_MAX, PackageDocument, PackageName, Problem, Role,
    Sha256Digest, Version, canonical_json, layout,
};

use super::{AliasShard, Desk, alias, authors, cargo_name, hints, package_key, quota, scope, transfer};
use crate::{
    Action, Done, Intent, Refusal,
    intent::{Answer, Caller},
    vault::DoneRecord,
};

/// How old an intent may be when it is decided, in seconds. Ids are at most a day old when they arrive, and outcomes are
/// kept for seven: a process that slept longer than this must not do again what was done.
const DECIDED_AFTER_S_MAX: u64 = 2 * 24 * 3_600;

/// What becomes of an intent in this batch.
pub(crate) enum Decision {
    /// This event, if the commit succeeds; then `Done` with its position.
    Commit(Box<EventDraft>),
    /// Nothing needs to be committed.
    Answer(Answer),
}

/// Where in the log the next event would lie.
pub(crate) struct Place<'a> {
    pub(crate) seq: u64,
    pub(crate) time: u64,
    pub(crate) origin: &'a str,
    pub(crate) log_key: &'a str,
    /// Tokens made before this time are void.
    pub(crate) auth_epoch: u64,
}

impl<'a> Place<'a> {
    /// The place after those that the batch has taken.
    pub(crate) fn next(round: &'a Round, taken: u64) -> Self {
        Self {
            seq: round.head.size() + taken,
            time: round.time,
            origin: &round.head.origin,
            log_key: &round.head.log_key,
            auth_epoch: round.head.auth_epoch,
        }
    }
}

/// Decides one intent, and changes the desk as its event would change the registry.
pub(crate) fn decide(desk: &mut Desk, intent: &Intent, place: &Place<'_>) -> Decision {
    match try_decide(desk, intent, place) {
        Ok(decision) => decision,
        Err(refusal) => Decision::Answer(Err(refusal)),
    }
}

fn try_decide(desk: &mut Desk, intent: &Intent, place: &Place<'_>) -> Result<Decision, Refusal> {
    if let Some(done) = desk.done.get(intent.id.as_str()) {
        return if done.intent == intent.action.digest() {
            Ok(Decision::Answer(Ok(Done { seq: Some(done.seq), already: false, proof: None })))
        } else {
            let detail = format!("the idempotency key `{}` was used for another request", intent.id);
            Err(Refusal::new(Problem::new(Code::IntentReused, detail).fact("seq", done.seq)))
        };
    }
    if place.time.saturating_sub(intent.id.unix_ms() / 1_000) > DECIDED_AFTER_S_MAX {
        let detail = format!("`{}` waited too long: whether it was done already is not known", intent.id);
        return Err(Refusal::code(Code::InvalidIntentId, detail));
    }
    // What time alone has changed since the package's last event: an owner whose time-lock has run out is one.
    let key = intent.action.package().map(package_key);
    if let Some(package) = key.and_then(|key| desk.packages.get_mut(&key)?.value.as_mut()) {
        package.document.ripen(place.time);
    }
    let actor = authorise(desk, intent, place)?;
    if intent.action.exception().is_some() && !actor.admin {
        return Err(Refusal::code(Code::ExceptionRefused, Code::ExceptionRefused.title()));
    }
    let body = match check(desk, &intent.action, &actor, place)? {
        Checked::Event(body) => body,
        Checked::Already(seq) => {
            return Ok(Decision::Answer(Ok(Done { seq, already: true, proof: None })));
        }
    };
    let done = DoneRecord { v: 1, seq: place.seq, intent: intent.action.digest() };
    let mut draft = EventDraft {
        id: intent.id.clone(),
        actor: actor.account.clone(),
        body,
        files: Vec::new(),
        plain: Vec::new(),
        immutable: Vec::new(),
        private: Vec::new(),
        done: canonical_json(&done).into(),
    };
    let used =
        if actor.counted { Some(quota::used(desk, &intent.action, &draft.actor, place)?) } else { None };
    fill(desk, &intent.action, &mut draft, place)?;
    if let (Some(used), Some(party)) = (used, desk.parties.get_mut(&draft.actor)) {
        party.quota.value = used;
        let (key, bytes) = (layout::quota(&draft.actor), canonical_json(&party.quota.value));
        let seen = party.quota.seen.get(&key).cloned();
        draft.private.push(PlainFile { key, bytes, seen });
        draft.private.extend(scope::claim(desk, &intent.action, &draft.actor, place));
    }
    // The same id again in this batch is a repetition, as it is in a later one.
    desk.done.insert(intent.id.to_string(), done);
    Ok(Decision::Commit(Box::new(draft)))
}

/// Who acts, and with which rights beyond those of an owner.
pub(super) struct Actor {
    pub(super) account: AccountId,
    pub(super) admin: bool,
    /// The bearer counts against quotas.
    counted: bool,
    /// The organisations that it acts for, and as what.
    pub(super) orgs: BTreeMap<AccountId, Role>,
}

impl Actor {
    /// What it may do for a package: the most that its own entry, or that of an organisation and the membership there, allow.
    fn role_in(&self, document: &PackageDocument) -> Option<Role> {
        let by_orgs = self.orgs.iter().filter_map(|(org, role)| Some(document.role_of(org)?.min(*role)));
        let by_trust = document.publisher(&self.account).map(|_| Role::Collaborator);
        by_orgs.chain(document.role_of(&self.account)).chain(by_trust).max()
    }
}

fn authorise(desk: &Desk, intent: &Intent, place: &Place<'_>) -> Result<Actor, Refusal> {
    let digest = match &intent.caller {
        Caller::Operator(account) => {
            let orgs = BTreeMap::new();
            return Ok(Actor { account: account.clone(), admin: true, counted: false, orgs });
        }
        Caller::Account(account) => {
            let orgs = BTreeMap::new();
            return Ok(Actor { account: account.clone(), admin: false, counted: false, orgs });
        }
        Caller::Token(digest) => digest,
    };
    let token = desk.tokens.get(digest).and_then(Option::as_ref);
    let token = token.ok_or_else(|| Refusal::code(Code::TokenInvalid, Code::TokenInvalid.title()))?;
    token.refuse_if_void(place.auth_epoch)?;
    if token.expires.is_some_and(|expires| expires <= place.time) {
        return Err(Refusal::code(Code::TokenExpired, format!("the token `{}` has expired", token.name)));
    }
    let exists = intent.action.package().is_some_and(|name| {
        desk.packages.get(&package_key(name)).is_some_and(|package| package.value.is_some())
    });
    let scope = intent.action.scope(exists);
    if !token.allows(scope) {
        let problem = Problem::new(
            Code::TokenScope,
            format!("the token `{}` lacks the scope `{}`", token.name, scope.as_str()),
        )
        .fact("scope", scope.as_str());
        return Err(Refusal::new(problem));
    }
    if let Some(package) = intent.action.package().filter(|package| !token.covers(package)) {
        let patterns: Vec<String> = token.packages.iter().map(ToString::to_string).collect();
        let detail = format!("the token `{}` is not for `{package}`", token.name);
        let problem = Problem::new(Code::TokenPattern, detail).fact("packages", patterns.join(", "));
        return Err(Refusal::new(problem));
    }
    if let (Some(upload), Action::Publish { record, .. }) = (&token.upload, &intent.action)
        && (&upload.vers, upload.tarball) != (&record.vers, record.tarball)
    {
        let problem =
            Problem::new(Code::TokenBound, format!("the token is for {} with another archive", upload.vers));
        return Err(Refusal::new(problem.fact("vers", &upload.vers).fact("sha256", upload.tarball.hex())));
    }
    let admin = token.is_admin();
    let orgs = desk.parties.get(&token.account).map(|party| party.orgs.clone()).unwrap_or_default();
    Ok(Actor { account: token.account.clone(), admin, counted: !admin, orgs })
}

pub(super) enum Checked {
    Event(EventBody),
    /// Things are so already, since this position in the log.
    Already(Option<u64>),
}

fn check(desk: &Desk, action: &Action, actor: &Actor, place: &Place<'_>) -> Result<Checked, Refusal> {
    let event = |body| Ok(Checked::Event(body));
    match action {
        Action::Publish { .. } => check_publish(desk, action, actor, place),
        Action::Yank { pkg, vers, reason } => {
            let (document, line) = release(desk, pkg, vers)?;
            require(document, actor, Role::Collaborator)?;
            if line.yanked && (reason.is_none() || line.yank_reason == *reason) {
                return Ok(Checked::Already(Some(line.seq)));
            }
            event(EventBody::Yank { pkg: line.name.clone(), vers: line.vers.clone(), reason: *reason })
        }
        Action::Unyank { pkg, vers } => {
            let (document, line) = release(desk, pkg, vers)?;
            require(document, actor, Role::Collaborator)?;
            if !line.yanked {
                return Ok(Checked::Already(Some(line.seq)));
            }
            event(EventBody::Unyank { pkg: line.name.clone(), vers: line.vers.clone() })
        }
        Action::Deprecate { pkg, reason } => {
            let document = package(desk, pkg)?;
            require(document, actor, Role::Owner)?;
            match &document.deprecated {
                Some(there) if reason.is_none() || there.reason == *reason => {
                    Ok(Checked::Already(Some(there.seq)))
                }
                _ => event(EventBody::Deprecate { pkg: document.name.clone(), reason: *reason }),
            }
        }
        Action::Undeprecate { pkg } => {
            let document = package(desk, pkg)?;
            require(document, actor, Role::Owner)?;
            if document.deprecated.is_none() {
                return Ok(Checked::Already(None));
            }
            event(EventBody::Undeprecate { pkg: document.name.clone() })
        }
        Action::Delete { pkg, vers, code } => match release(desk, pkg, vers) {
            Ok((_, line)) => {
                event(EventBody::Delete { pkg: line.name.clone(), vers: line.vers.clone(), code: *code })
            }
            Err(refusal) if refusal.problems[0].code == Code::VersionDeleted => Ok(Checked::Already(None)),
            Err(refusal) => Err(refusal),
        },
        Action::OwnerAdd { pkg, account, role, exception } => {
            let document = package(desk, pkg)?;
            require(document, actor, Role::Owner)?;
            if let Some(done) = already_so(document, account, Some(*role), exception.is_some()) {
                return Ok(done);
            }
            if *role != Role::Owner {
                keep_an_owner(document, account)?;
            }
            event(EventBody::OwnerAdd {
                pkg: document.name.clone(),
                account: account.clone(),
                role: *role,
                exception: *exception,
            })
        }
        Action::OwnerRemove { pkg, account, exception } => {
            let document = package(desk, pkg)?;
            require(document, actor, Role::Owner)?;
            let at_once = exception.is_some() || *account == actor.account;
            if let Some(done) = already_so(document, account, None, at_once) {
                return Ok(done);
            }
            keep_an_owner(document, account)?;
            event(EventBody::OwnerRemove {
                pkg: document.name.clone(),
                account: account.clone(),
                exception: *exception,
            })
        }
        Action::TransferOffer { pkg, to } => {
            let document = package(desk, pkg)?;
            require(document, actor, Role::Owner)?;
            transfer::offer(document, to, place)
        }
        Action::TransferWithdraw { pkg } => {
            let document = package(desk, pkg)?;
            if !transfer::is_offered_to(document, actor) {
                require(document, actor, Role::Owner)?;
            }
            transfer::withdraw(document)
        }
        Action::TransferAccept { pkg } => transfer::accept(package(desk, pkg)?, actor, place),
        Action::AuthorKeyAdd { pkg, key } => {
            let document = package(desk, pkg)?;
            require(document, actor, Role::Owner)?;
            authors::add_key(document, key)
        }
        Action::AuthorKeyRemove { pkg, key } => {
            let document = package(desk, pkg)?;
            require(document, actor, Role::Owner)?;
            authors::remove_key(document, key)
        }
        Action::Policy { pkg, rule } => {
            let document = package(desk, pkg)?;
            require(document, actor, Role::Owner)?;
            authors::rule(document, rule, place)
        }
        Action::AliasSet { alias, pkg } => {
            let document = package(desk, pkg)?;
            require(document, actor, Role::Owner)?;
            match alias::check_set(desk, alias, document, actor.admin)? {
                alias::Set::Event(body) => event(body),
                alias::Set::Already(seq) => Ok(Checked::Already(Some(seq))),
            }
        }
        Action::AliasRemove { alias, pkg } => {
            let target = alias::target(desk, alias);
            let target = target.filter(|target| target.package.canonical() == pkg.canonical());
            let missing = || Refusal::code(Code::AliasNotFound, format!("there is no alias `{alias}`"));
            let target = target.ok_or_else(missing)?;
            require(package(desk, pkg)?, actor, Role::Owner)?;
            event(EventBody::AliasRemove { pkg: target.package.clone(), alias: alias.clone() })
        }
        Action::PublisherAdd { pkg, publisher } => {
            let document = package(desk, pkg)?;
            require(document, actor, Role::Owner)?;
            if document.publishers.iter().any(|other| other.is_same_as(publisher)) {
                return Ok(Checked::Already(None));
            }
            if document.publishers.len() >= PUBLISHERS_MAX {
                let problem = Problem::new(Code::PublisherLimit, Code::PublisherLimit.title());
                return Err(Refusal::new(problem.fact("publishers_max", PUBLISHERS_MAX)));
            }
            event(EventBody::PublisherAdd { pkg: document.name.clone(), publisher: (**publisher).clone() })
        }
        Action::PublisherRemove { pkg, publisher } => {
            let document = package(desk, pkg)?;
            require(document, actor, Role::Owner)?;
            if document.publisher(publisher).is_none() {
                return Ok(Checked::Already(None));
            }
            event(EventBody::PublisherRemove { pkg: document.name.clone(), publisher: publisher.clone() })
        }
        Action::Configure { settings } => {
            if **settings == *desk.settings {
                return Ok(Checked::Already(None));
            }
            event(EventBody::Config { config: Sha256Digest::of(&settings.to_bytes()) })
        }
        Action::Trust { document } => check_trust(desk, document),
    }
}

/// Whether a document is the next one of the root of trust. That it is in force now, and its policy fits, was checked when it
/// came in.
fn check_trust(desk: &Desk, document: &SignedTrust) -> Result<Checked, Refusal> {
    let next = document.unverified();
    let verdict = match &desk.trust {
        Some(there) if there == document => return Ok(Checked::Already(None)),
        Some(there) => document.succeed(there.unverified()),
        None => document.begin().and_then(|first| match first.version {
            1 => Ok(first),
            found => Err(TrustError::WrongVersion { expected: 1, found }),
        }),
    };
    verdict.map_err(|e| Refusal::code(Code::TrustRefused, e.to_string()))?;
    Ok(Checked::Event(EventBody::Trust {
        version: next.version,
        document: Sha256Digest::of(&document.to_bytes()),
        policy: next.policy,
    }))
}

/// Whether an account has this role, or will have it once a time-lock runs out; a change that skips the lock is another one.
fn already_so(
    document: &PackageDocument,
    account: &AccountId,
    role: Option<Role>,
    at_once: bool,
) -> Option<Checked> {
    match document.pending_owners.iter().find(|change| change.account == *account) {
        Some(waiting) if waiting.role == role && !at_once => Some(Checked::Already(Some(waiting.seq))),
        Some(_) => None,
        None => (document.role_of(account) == role).then_some(Checked::Already(None)),
    }
}

fn check_publish(desk: &Desk, action: &Action, actor: &Actor, place: &Place<'_>) -> Result<Checked, Refusal> {
    let Action::Publish { record, digest, sigs } = action else { unreachable!("only called for a publish") };
    // The archive may have been inspected under older settings than those in force.
    if !desk.settings.formats.contains(&record.format) {
        let detail = format!("this registry takes no packages of the format `{}`", record.format);
        return Err(Refusal::new(Problem::new(Code::FormatDisabled, detail).fact("format", record.format)));
    }
    cargo_name::check(record).map_err(Refusal::new)?;
    let body = EventBody::Publish {
        pkg: record.name.clone(),
        vers: record.vers.clone(),
        tarball: record.tarball,
        record: *digest,
        sigs: sigs.clone(),
    };
    let Some(state) =
        desk.packages.get(&package_key(&record.name)).and_then(|package| package.value.as_ref())
    else {
        scope::check(desk, &record.name, actor)?;
        alias::check_new_package(desk, &record.name)?;
        authors::check_release(None, record, sigs, place)?;
        return Ok(Checked::Event(body));
    };
    let document = &state.document;
    if document.name != record.name {
        let detail = format!("`{}` is taken by `{}`", record.name, document.name);
        return Err(Refusal::new(Problem::new(Code::NameCollision, detail).fact("existing", &document.name)));
    }
    require(document, actor, Role::Collaborator)?;
    let Some(line) = state.index.find(&record.vers) else {
        authors::check_release(Some(document), record, sigs, place)?;
        return Ok(Checked::Event(body));
    };
    if let Some(code) = line.deleted {
        let detail = format!("`{}` {} was taken down ({})", line.name, line.vers, code.as_str());
        return Err(Refusal::code(Code::VersionDeleted, detail));
    }
    if line.vers == record.vers && line.cksum == record.tarball.hex() {
        return Ok(Checked::Already(Some(line.published)));
    }
    let detail = if line.vers == record.vers {
        format!("`{}` {} exists with other bytes", line.name, line.vers)
    } else {
        format!(
            "`{}` {} exists as {}: build metadata does not make another version",
            line.name, record.vers, line.vers
        )
    };
    let problem = Problem::new(Code::VersionExists, detail)
        .fact("existing_sha256", &line.cksum)
        .fact("uploaded_sha256", record.tarball.hex())
        .fact("existing_seq", line.published);
    Err(Refusal::new(problem))
}

fn package<'a>(desk: &'a Desk, name: &PackageName) -> Result<&'a PackageDocument, Refusal> {
    let state = desk.packages.get(&package_key(name)).and_then(|package| package.value.as_ref());
    let missing = || Refusal::code(Code::PackageNotFound, format!("there is no package `{name}`"));
    Ok(&state.ok_or_else(missing)?.document)
}

fn release<'a>(
    desk: &'a Desk,
    name: &PackageName,
    version: &Version,
) -> Result<(&'a PackageDocument, &'a IndexLine), Refusal> {
    let document = package(desk, name)?;
    let state = desk.packages[&package_key(name)].value.as_ref().expect("the package was found just now");
    let missing =
        || Refusal::code(Code::VersionNotFound, format!("`{}` has no version {version}", document.name));
    let line = state.index.find(version).ok_or_else(missing)?;
    match line.deleted {
        Some(code) => {
            let detail = format!("`{}` {} was taken down ({})", line.name, line.vers, code.as_str());
            Err(Refusal::code(Code::VersionDeleted, detail))
        }
        None => Ok((document, line)),
    }
}

fn require(document: &PackageDocument, actor: &Actor, role: Role) -> Result<(), Refusal> {
    let held = actor.role_in(document);
    if actor.admin || held.is_some_and(|held| held >= role) {
        return Ok(());
    }
    let detail = match held {
        Some(_) => format!("a collaborator of `{}` may not do this", document.name),
        None => format!("the account may not act for `{}`", document.name),
    };
    let owners: Vec<&str> = document.owners.iter().map(|owner| owner.account.as_str()).collect();
    let problem = Problem::new(Code::NotAnOwner, detail)
        .fact("account", &actor.account)
        .fact("owners", owners.join(", "))
        .with_hint(format!("ask an owner to run `drystone owner add {} ACCOUNT`", document.name));
    Err(Refusal::new(problem))
}

fn keep_an_owner(document: &PackageDocument, leaving: &AccountId) -> Result<(), Refusal> {
    if document.has_other_owner(leaving) {
        Ok(())
    } else {
        Err(Refusal::code(Code::LastOwner, format!("`{}` would have no owner left", document.name)))
    }
}

/// Projects the event onto the desk, and puts the files that follow into the draft.
fn fill(desk: &mut Desk, action: &Action, draft: &mut EventDraft, place: &Place<'_>) -> Result<(), Refusal> {
    if let Action::Configure { settings } = action {
        let files = project_config(place.seq, place.origin, place.log_key, settings);
        draft.plain = files.into_iter().map(PlainFile::unseen).collect();
        desk.settings = settings.clone();
        return Ok(());
    }
    if let Action::Trust { document } = action {
        let key = layout::trust(document.unverified().version);
        draft.immutable.push(PlainFile::unseen((key, document.to_bytes())));
        desk.trust = Some((**document).clone());
        return Ok(());
    }
    let record = if let Action::Publish { record, .. } = action { Some(&**record) } else { None };
    let key = action.package().map(package_key).unwrap_or_default();
    let shard = action.alias().map(|alias| alias.shard().to_owned());
    let package =
        desk.packages.get_mut(&key).ok_or_else(|| Refusal::internal("a package is not on the desk"))?;
    let aliases = shard.as_ref().map(|shard| {
        let on_desk =
            desk.aliases.get(shard).map(|shard| (shard.value.map.clone(), shard.value.history.clone()));
        let (shard, history) = on_desk.unwrap_or_default();
        AliasState {
            shard,
            history,
            all: desk.all_aliases.as_ref().map(|all| all.value.clone()).unwrap_or_default(),
        }
    });
    let mut touched = Touched { package: package.value.take(), aliases };
    let event = Draft { seq: place.seq, time: place.time, actor: &draft.actor, body: &draft.body };
    let files = match project(&mut touched, &event, record, &desk.settings) {
        Ok(files) => files,
        Err(error) => {
            // What is left on the desk is not a state; later intents of the batch must not build on it.
            desk.packages.remove(&key);
            return Err(Refusal::internal(error));
        }
    };
    package.value = touched.package;
    let mut seen = package.seen.clone();
    if let (Some(shard), Some(AliasState { shard: map, history, all })) = (shard, touched.aliases) {
        let on_desk = desk.aliases.entry(shard).or_default();
        on_desk.value = AliasShard { map, history };
        seen.extend(on_desk.seen.clone());
        let on_desk = desk.all_aliases.get_or_insert_default();
        on_desk.value = all;
        seen.extend(on_desk.seen.clone());
    }
    if let Some(state) = &package.value {
        let mut plain = project_plain(state, &draft.body, place.seq, &desk.settings);
        if let Some(all) = desk.vais_index.as_mut().filter(|_| state.document.name.owner().is_none()) {
            all.insert(key, vais_package(state, &desk.settings));
            plain.extend(vais_index_file(all));
        }
        let with_tag = |(key, bytes)| PlainFile { seen: seen.get(&key).cloned(), key, bytes };
        draft.plain = plain.into_iter().map(with_tag).collect();
        if let Some(record) = record {
            draft.plain.extend(hints::file(&mut desk.hints, state, &record.vers, place.seq));
        }
    }
    draft.files = files
        .into_iter()
        .map(|file| StateFile {
            seen: seen.get(&file.key).cloned(),
            class: file.class,
            state_key: file.state_key,
            key: file.key,
            bytes: file.bytes,
        })
        .collect();
    Ok(())
}
