//! Clients: what they ask for, how they repeat it, and what they conclude.

use std::sync::Arc;

use axum::{body::Body, http::Request};
use drystone_publisher::Token;
use drystone_schemas::{EventId, Sha256Digest};
use drystone_storage::new_ulid;

use super::{
    base::{Base, LOGINS, NEW, OLD, Person, VERSIONS},
    clock::SimClock,
    fleet::{Fleet, Process, Reply},
    oracle::{Asked, Meaning, UNKNOWN},
    rng::Rng,
    scheduler::Sim,
};
use crate::{TestEntropy, multipart_body};

/// How often a client repeats before it leaves a request open.
const TRIES_MAX: usize = 4;

/// One thing to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Publish one of two variants of a release.
    Publish {
        /// Package.
        name: &'static str,
        /// Version.
        vers: &'static str,
        /// Which bytes.
        variant: u8,
    },
    /// Yank a release.
    Yank {
        /// Package.
        name: &'static str,
        /// Version.
        vers: &'static str,
    },
    /// Take a yank back.
    Unyank {
        /// Package.
        name: &'static str,
        /// Version.
        vers: &'static str,
    },
    /// Add an owner.
    OwnerAdd {
        /// Package.
        name: &'static str,
        /// Who.
        login: &'static str,
    },
    /// Remove an owner.
    OwnerRemove {
        /// Package.
        name: &'static str,
        /// Who.
        login: &'static str,
    },
    /// Offer a package.
    TransferOffer {
        /// Package.
        name: &'static str,
        /// To whom.
        login: &'static str,
    },
    /// Take a package over.
    TransferAccept {
        /// Package.
        name: &'static str,
    },
    /// Take an offer back.
    TransferWithdraw {
        /// Package.
        name: &'static str,
    },
    /// Let a short name mean a package.
    AliasSet {
        /// Package.
        name: &'static str,
        /// Short name.
        alias: &'static str,
    },
    /// Let it mean nothing.
    AliasRemove {
        /// Short name.
        alias: &'static str,
    },
    /// Revoke the token of an account, as the operator.
    Revoke {
        /// Whose.
        person: usize,
    },
    /// Put settings in force, as the operator.
    Configure {
        /// Which.
        variant: u8,
    },
}

impl Ask {
    /// Something that fits a run; contention is wanted, so there is little to choose from.
    pub(super) fn any(rng: &mut Rng) -> Self {
        let name = *rng.pick(&OLD);
        let vers = *rng.pick(&VERSIONS);
        let login = *rng.pick(&LOGINS);
        let alias = *rng.pick(&["h", "j"]);
        let variant = rng.below(2) as u8;
        match rng.below(28) {
            0..8 => Self::Publish { name, vers, variant },
            8..11 => Self::Publish { name: NEW[rng.below(3) as usize], vers: VERSIONS[0], variant },
            11..14 => Self::Yank { name, vers: VERSIONS[0] },
            14..17 => Self::Unyank { name, vers: VERSIONS[0] },
            17 => Self::OwnerAdd { name, login },
            18 => Self::OwnerRemove { name, login },
            19..21 => Self::AliasSet { name, alias },
            21 => Self::AliasRemove { alias },
            22 => Self::Revoke { person: 1 },
            24 => Self::TransferOffer { name, login },
            25 | 26 => Self::TransferAccept { name },
            27 => Self::TransferWithdraw { name },
            _ => Self::Configure { variant },
        }
    }

    fn tarball(&self) -> Option<Sha256Digest> {
        let Self::Publish { name, vers, variant } = self else { return None };
        Some(Base::get().archive(name, vers, *variant).1)
    }

    /// The request that asks for it; none for what only the operator does at the machine.
    fn request(&self, id: &EventId, token: &str) -> Option<Request<Body>> {
        let (method, path, body) = match self {
            Self::Publish { name, vers, variant } => {
                let (content_type, body) = multipart_body(None, &Base::get().archive(name, vers, *variant).0);
                let request = Request::post("/api/v1/packages")
                    .header("content-type", content_type)
                    .header("content-length", body.len());
                let request = request.header("authorization", format!("Bearer {token}"));
                let request = request.header("idempotency-key", id.as_str()).body(Body::from(body));
                return Some(request.expect("a test's request is a request"));
            }
            Self::Yank { name, vers } => ("POST", format!("packages/{name}/{vers}/yank"), None),
            Self::Unyank { name, vers } => ("POST", format!("packages/{name}/{vers}/unyank"), None),
            Self::OwnerAdd { name, login } => {
                ("PUT", format!("packages/{name}/owners"), Some(serde_json::json!({ "users": [login] })))
            }
            Self::OwnerRemove { name, login } => {
                ("DELETE", format!("packages/{name}/owners"), Some(serde_json::json!({ "users": [login] })))
            }
            Self::TransferOffer { name, login } => {
                ("PUT", format!("packages/{name}/transfer"), Some(serde_json::json!({ "to": login })))
            }
            Self::TransferAccept { name } => ("POST", format!("packages/{name}/transfer/accept"), None),
            Self::TransferWithdraw { name } => ("DELETE", format!("packages/{name}/transfer"), None),
            Self::AliasSet { name, alias } => {
                ("PUT", format!("aliases/{alias}"), Some(serde_json::json!({ "package": name })))
            }
            Self::AliasRemove { alias } => ("DELETE", format!("aliases/{alias}"), None),
            Self::Revoke { .. } | Self::Configure { .. } => return None,
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"))
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", id.as_str());
        let body = body.map_or_else(Body::empty, |body: serde_json::Value| Body::from(body.to_string()));
        Some(request.body(body).expect("a test's request is a request"))
    }
}

/// A request that was made and may have to be repeated.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) ask: Ask,
    pub(super) id: EventId,
    pub(super) person: usize,
}

/// A client of the registry.
pub(super) struct Client {
    sim: Arc<Sim>,
    fleet: Arc<Fleet>,
    rng: Rng,
    number: u64,
    person: usize,
}

impl Client {
    /// A client with a number of its own, which has the token of a person.
    pub(super) fn new(sim: &Arc<Sim>, fleet: &Arc<Fleet>, rng: Rng, number: u64, person: usize) -> Self {
        Self { sim: sim.clone(), fleet: fleet.clone(), rng, number, person }
    }

    /// Makes a request with a new id.
    pub(super) fn open(&self, ask: Ask) -> Open {
        let clock = SimClock { sim: self.sim.clone(), pid: 0 };
        let seed = self.rng.clone().next_u64() ^ self.number << 32;
        let id = new_ulid(&clock, &TestEntropy::seeded(seed));
        Open { ask, id: EventId::new(id).expect("a new ULID is a ULID"), person: self.person }
    }

    /// Asks for some things, one after the other; answers with what stayed open.
    pub(super) async fn work(mut self, asks: u64) -> Vec<Open> {
        let mut left_open = Vec::new();
        for _ in 0..asks {
            self.sim.turn("to think").await;
            let ask = Ask::any(&mut self.rng);
            self.rng.next_u64();
            let open = self.open(ask);
            if !self.pursue(&open).await {
                left_open.push(open);
            } else if self.rng.once_in(6) {
                // A message that arrives twice.
                self.pursue(&open).await;
            }
            if self.rng.once_in(3)
                && let Some(open) = left_open.pop()
                && !self.pursue(&open).await
            {
                left_open.push(open);
            }
        }
        left_open
    }

    /// Asks until there is an answer; `false` if it gave up before.
    pub(super) async fn pursue(&mut self, open: &Open) -> bool {
        for _ in 0..TRIES_MAX {
            let place = self.rng.below(self.fleet.len() as u64) as usize;
            let impatient = self.rng.once_in(12);
            if let Some(process) = self.fleet.at(place).await {
                match self.try_once(&process, open, impatient).await {
                    Meaning::Success | Meaning::Refusal => return true,
                    Meaning::Unknown => {}
                }
            }
            if self.rng.once_in(4) {
                return false;
            }
            self.sim.turn("to repeat").await;
        }
        false
    }

    /// Asks one process once.
    pub(super) async fn try_once(&self, process: &Process, open: &Open, impatient: bool) -> Meaning {
        let person = &Base::get().people[open.person];
        if matches!(open.ask, Ask::Revoke { .. } | Ask::Configure { .. }) {
            return self.operate(process, &open.ask).await;
        }
        let Some(reply) = self.send(process, open, impatient).await else {
            self.sim.count("no answer");
            return Meaning::Unknown;
        };
        let asked =
            Asked { ask: &open.ask, id: &open.id, account: &person.account, tarball: open.ask.tarball() };
        let mut state = self.sim.lock();
        let meaning = state.oracle.answered(&self.sim.memory, &asked, reply.status, &reply.body);
        state.tally.count(match meaning {
            Meaning::Success => "success",
            Meaning::Refusal => "refusal",
            Meaning::Unknown => "unknown outcome",
        });
        meaning
    }

    /// Sends the request, and judges nothing.
    pub(super) async fn send(&self, process: &Process, open: &Open, impatient: bool) -> Option<Reply> {
        let request = open.ask.request(&open.id, &Base::get().people[open.person].token)?;
        let patience = async {
            if impatient {
                self.sim.turn("to lose patience").await;
            } else {
                std::future::pending().await
            }
        };
        process.send(request, matches!(open.ask, Ask::Publish { .. }), patience).await
    }

    async fn operate(&self, process: &Process, ask: &Ask) -> Meaning {
        let done = match ask {
            Ask::Revoke { person } => {
                let Person { account, token } = &Base::get().people[*person];
                let token = Token::parse(token).expect("a test's token is a token");
                self.sim.lock().oracle.revoking.insert(account.clone());
                let done = process.until_death(process.service.revoke_token(&token)).await;
                if let Some(Ok(())) = done {
                    self.sim.lock().oracle.revoked.insert(account.clone());
                }
                done
            }
            Ask::Configure { variant } => {
                let settings = Base::settings(*variant);
                let done = process.until_death(process.service.configure((*settings).clone())).await;
                done.map(|done| done.map(drop))
            }
            other => unreachable!("{other:?} is a request"),
        };
        match done {
            Some(Ok(())) => Meaning::Success,
            Some(Err(refusal)) => {
                let code = refusal.problems[0].code.slug();
                if !UNKNOWN.contains(&code) {
                    self.sim.violation(format!("{ask:?} was refused: {refusal}"));
                }
                Meaning::Unknown
            }
            None => Meaning::Unknown,
        }
    }
}
