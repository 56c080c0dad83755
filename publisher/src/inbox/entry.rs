//! One entry of the inbox: an intent without its upload, as another process can plan it again. Pure.
//!
//! Invariant: an entry claims nothing that gives a right. It says which token asks for what; whether the token may is
//! read again by whoever takes it along, after head.

use std::sync::Arc;

use drystone_schemas::{AccountId, EventBody, EventId, Sha256Digest, VersionRecord};
use serde::{Deserialize, Serialize};

use crate::{
    Action, Intent,
    intent::{Caller, Rule, is_of_the_day},
};

/// The format that this code writes and reads.
const ENTRY_FORMAT: u32 = 1;
/// Seconds for which an entry may be taken along: less than a client waits for its answer.
pub(crate) const ENTRY_S_MAX: u64 = 25;
/// Seconds by which the clocks of two processes may differ: each is at most 60 away from the store's.
const CLOCKS_DIFFER_S_MAX: u64 = 120;

/// `inbox/<intent id>`: an intent whose commit lost the race for head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Version of this format; 1.
    v: u32,
    /// The intent, as the key names it.
    id: EventId,
    /// The token that asks, by its digest.
    token: Sha256Digest,
    /// Whose token it was when the entry was left.
    actor: AccountId,
    /// The garbage collector's number under which the objects were stored.
    pub(crate) fence: u64,
    /// When the entry is void, in seconds since 1970.
    expires: u64,
    /// What is asked for, in the words of the event that it would become.
    #[serde(flatten)]
    asks: EventBody,
}

/// Why an entry is not taken along.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// Its time is over: its owner asks for itself.
    #[error("it has expired")]
    Expired,
    /// A newer process wrote it, and one like it will take it.
    #[error("it has format {0}")]
    Newer(u32),
    /// It was not written by a publisher, or not as it is now.
    #[error("{0}")]
    Bad(String),
}

impl Entry {
    /// The entry for an intent; none for what only the process that was asked may do.
    pub(crate) fn of(intent: &Intent, actor: &AccountId, fence: u64, now_s: u64) -> Option<Self> {
        let Caller::Token(token) = &intent.caller else { return None };
        Some(Self {
            v: ENTRY_FORMAT,
            id: intent.id.clone(),
            token: *token,
            actor: actor.clone(),
            fence,
            expires: now_s + ENTRY_S_MAX,
            asks: asks(&intent.action)?,
        })
    }

    /// Reads the entry that lies under this name.
    pub(crate) fn parse(name: &str, bytes: &[u8], now_s: u64) -> Result<Self, Unfit> {
        #[derive(Deserialize)]
        struct Format {
            v: u32,
        }
        let bad = |e: serde_json::Error| Unfit::Bad(e.to_string());
        let Format { v } = serde_json::from_slice(bytes).map_err(bad)?;
        if v > ENTRY_FORMAT {
            return Err(Unfit::Newer(v));
        }
        let entry: Self = serde_json::from_slice(bytes).map_err(bad)?;
        if entry.v != ENTRY_FORMAT || entry.id.as_str() != name {
            return Err(Unfit::Bad(format!("it names the intent {} in format {}", entry.id, entry.v)));
        }
        if entry.expires > now_s + ENTRY_S_MAX + CLOCKS_DIFFER_S_MAX {
            return Err(Unfit::Bad("it would be good for longer than any entry is".into()));
        }
        if entry.expires <= now_s || !is_of_the_day(&entry.id, now_s) {
            return Err(Unfit::Expired);
        }
        Ok(entry)
    }

    /// The record and the archive that must be looked at first.
    pub(crate) fn record(&self) -> Option<(&Sha256Digest, &Sha256Digest)> {
        match &self.asks {
            EventBody::Publish { tarball, record, .. } => Some((record, tarball)),
            _ => None,
        }
    }

    /// The intent again, with the record that it names.
    pub(crate) fn intent(&self, record: Option<VersionRecord>) -> Result<Intent, Unfit> {
        let action = self.action(record).ok_or_else(|| Unfit::Bad("it asks for what nobody may".into()))?;
        let caller = Caller::Token(self.token);
        Ok(Intent { id: self.id.clone(), caller, action, objects: Vec::new() })
    }

    /// Whose token it was when the entry was left.
    pub(crate) fn actor(&self) -> &AccountId {
        &self.actor
    }

    fn action(&self, read: Option<VersionRecord>) -> Option<Action> {
        Some(match self.asks.clone() {
            EventBody::Publish { pkg, vers, tarball, record: digest, sigs } => {
                let record = read?;
                if (&record.name, &record.vers, record.tarball) != (&pkg, &vers, tarball) {
                    return None;
                }
                Action::Publish { record: Arc::new(record), digest, sigs }
            }
            EventBody::Yank { pkg, vers, reason } => Action::Yank { pkg, vers, reason },
            EventBody::Unyank { pkg, vers } => Action::Unyank { pkg, vers },
            EventBody::Deprecate { pkg, reason } => Action::Deprecate { pkg, reason },
            EventBody::Undeprecate { pkg } => Action::Undeprecate { pkg },
            EventBody::Delete { pkg, vers, code } => Action::Delete { pkg, vers, code },
            EventBody::OwnerAdd { pkg, account, role, exception } => {
                Action::OwnerAdd { pkg, account, role, exception }
            }
            EventBody::OwnerRemove { pkg, account, exception } => {
                Action::OwnerRemove { pkg, account, exception }
            }
            EventBody::AuthorKeyAdd { pkg, key } => Action::AuthorKeyAdd { pkg, key },
            EventBody::AuthorKeyRemove { pkg, key } => Action::AuthorKeyRemove { pkg, key },
            EventBody::Policy { pkg, threshold, keys, lock_hours, exception } => {
                Action::Policy { pkg, rule: Rule { threshold, keys, lock_hours, exception } }
            }
            EventBody::AliasSet { pkg, alias } => Action::AliasSet { alias, pkg },
            EventBody::AliasRemove { pkg, alias } => Action::AliasRemove { alias, pkg },
            EventBody::PublisherAdd { pkg, publisher } => {
                Action::PublisherAdd { pkg, publisher: Box::new(publisher) }
            }
            EventBody::PublisherRemove { pkg, publisher } => Action::PublisherRemove { pkg, publisher },
            // What only the operator does, at the machine, and what no entry asks for.
            _ => return None,
        })
    }
}

/// What an action asks for, as an event would say it.
fn asks(action: &Action) -> Option<EventBody> {
    Some(match action.clone() {
        Action::Publish { record, digest, sigs } => EventBody::Publish {
            pkg: record.name.clone(),
            vers: record.vers.clone(),
            tarball: record.tarball,
            record: digest,
            sigs,
        },
        Action::Yank { pkg, vers, reason } => EventBody::Yank { pkg, vers, reason },
        Action::Unyank { pkg, vers } => EventBody::Unyank { pkg, vers },
        Action::Deprecate { pkg, reason } => EventBody::Deprecate { pkg, reason },
        Action::Undeprecate { pkg } => EventBody::Undeprecate { pkg },
        Action::Delete { pkg, vers, code } => EventBody::Delete { pkg, vers, code },
        Action::OwnerAdd { pkg, account, role, exception } => {
            EventBody::OwnerAdd { pkg, account, role, exception }
        }
        Action::OwnerRemove { pkg, account, exception } => EventBody::OwnerRemove { pkg, account, exception },
        Action::AuthorKeyAdd { pkg, key } => EventBody::AuthorKeyAdd { pkg, key },
        Action::AuthorKeyRemove { pkg, key } => EventBody::AuthorKeyRemove { pkg, key },
        Action::Policy { pkg, rule: Rule { threshold, keys, lock_hours, exception } } => {
            EventBody::Policy { pkg, threshold, keys, lock_hours, exception }
        }
        Action::AliasSet { alias, pkg } => EventBody::AliasSet { pkg, alias },
        Action::AliasRemove { alias, pkg } => EventBody::AliasRemove { pkg, alias },
        Action::PublisherAdd { pkg, publisher } => EventBody::PublisherAdd { pkg, publisher: *publisher },
        Action::PublisherRemove { pkg, publisher } => EventBody::PublisherRemove { pkg, publisher },
        // The operator's; and what says in its event what only the commit knows: until when, and to whom.
        Action::Configure { .. }
        | Action::Trust { .. }
        | Action::TransferOffer { .. }
        | Action::TransferWithdraw { .. }
        | Action::TransferAccept { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use drystone_schemas::{DeleteCode, PackageName, Role, Version, canonical_json};

    use super::*;

    const ID: &str = "01K742R2DRAAAAAAAAAAAAAAAA";
    /// The second in which that id was made.
    const NOW_S: u64 = 1_760_000_999;

    fn intent(action: Action) -> Intent {
        let caller = Caller::Token(Sha256Digest::of(b"token"));
        Intent { id: EventId::new(ID).unwrap(), caller, action, objects: Vec::new() }
    }

    fn actor() -> AccountId {
        AccountId::new("acct:01K742R2DRAAAAAAAAAAAAAAAB").unwrap()
    }

    fn yank() -> Action {
        Action::Yank {
            pkg: PackageName::new("acme/http").unwrap(),
            vers: Version::new("1.0.0").unwrap(),
            reason: Some(Sha256Digest::of(b"why")),
        }
    }

    fn entry(action: Action) -> Entry {
        Entry::of(&intent(action), &actor(), 3, NOW_S).unwrap()
    }

    #[test]
    fn every_change_that_a_token_asks_for_reads_back() {
        let pkg = PackageName::new("acme/http").unwrap();
        let vers = Version::new("1.0.0").unwrap();
        let alias = drystone_schemas::Alias::new("http").unwrap();
        let (key, why) = (drystone_schemas::AuthorKey::ed25519(&[7; 32]), Sha256Digest::of(b"why"));
        let rule = Rule { threshold: 1, keys: [key.clone()].into(), lock_hours: 24, exception: Some(why) };
        let actions = [
            yank(),
            Action::Unyank { pkg: pkg.clone(), vers: vers.clone() },
            Action::Deprecate { pkg: pkg.clone(), reason: None },
            Action::Undeprecate { pkg: pkg.clone() },
            Action::Delete { pkg: pkg.clone(), vers, code: DeleteCode::Spam },
            Action::OwnerAdd { pkg: pkg.clone(), account: actor(), role: Role::Owner, exception: None },
            Action::OwnerRemove { pkg: pkg.clone(), account: actor(), exception: Some(why) },
            Action::AuthorKeyAdd { pkg: pkg.clone(), key: key.clone() },
            Action::AuthorKeyRemove { pkg: pkg.clone(), key },
            Action::Policy { pkg: pkg.clone(), rule },
            Action::AliasSet { alias: alias.clone(), pkg: pkg.clone() },
            Action::AliasRemove { alias, pkg: pkg.clone() },
            Action::PublisherRemove { pkg, publisher: actor() },
        ];
        for action in actions {
            let bytes = canonical_json(&entry(action.clone()));
            let read = Entry::parse(ID, &bytes, NOW_S).unwrap();
            assert_eq!(read, entry(action.clone()));
            let back = read.intent(None).unwrap();
            assert_eq!(back.action.digest(), action.digest());
            assert_eq!((back.id, back.caller), (intent(action.clone()).id, intent(action).caller));
        }
    }

    #[test]
    fn what_is_no_entry_is_told_apart() {
        let good = canonical_json(&entry(yank()));
        let with = |from: &str, to: &str| String::from_utf8(good.clone()).unwrap().replace(from, to);
        let bad = |text: String| matches!(Entry::parse(ID, text.as_bytes(), NOW_S), Err(Unfit::Bad(_)));
        assert!(bad(String::new()) && bad("{}".into()) && bad(with("yank", "yell")));
        assert!(bad(with(ID, "01K742R2DRBBBBBBBBBBBBBBBB")), "another id than its name");
        assert!(bad(with("\"v\":1", "\"v\":0")));
        assert!(bad(with(&(NOW_S + ENTRY_S_MAX).to_string(), "9999999999")), "good for ever");
        let newer = Entry::parse(ID, with("\"v\":1", "\"v\":2").as_bytes(), NOW_S);
        assert_eq!(newer, Err(Unfit::Newer(2)));
        assert!(Entry::parse(ID, &good, NOW_S + ENTRY_S_MAX - 1).is_ok());
        assert_eq!(Entry::parse(ID, &good, NOW_S + ENTRY_S_MAX), Err(Unfit::Expired));
    }

    #[test]
    fn what_only_the_operator_does_never_lies_in_the_inbox() {
        let operators = Intent { caller: Caller::Operator(actor()), ..intent(yank()) };
        assert_eq!(Entry::of(&operators, &actor(), 0, NOW_S), None);
        let settings = Arc::new(drystone_schemas::Settings::new("test", "http://registry.test"));
        assert_eq!(Entry::of(&intent(Action::Configure { settings }), &actor(), 0, NOW_S), None);
        let claimed = Entry { asks: EventBody::Config { config: Sha256Digest::of(b"") }, ..entry(yank()) };
        assert!(matches!(claimed.intent(None), Err(Unfit::Bad(_))));
    }

    #[test]
    fn an_id_of_the_day_before_has_expired() {
        let old = "01K6ZZZZZZAAAAAAAAAAAAAAAA";
        let id = EventId::new(old).unwrap();
        assert!(!is_of_the_day(&id, NOW_S));
        let entry = Entry { id, ..entry(yank()) };
        assert_eq!(Entry::parse(old, &canonical_json(&entry), NOW_S), Err(Unfit::Expired));
    }
}
