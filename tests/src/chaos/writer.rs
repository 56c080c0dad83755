//! One writer: asks for one change after another, and repeats each under its id until somebody answers for it.
//!
//! Invariant: what a writer noted as acknowledged was answered with success; what it gave up is in doubt for ever.

use std::{sync::Arc, time::Duration};

use drystone_schemas::{
    ErrorBody, EventId, PackageName, PublishResponse, Sha256Digest, Version, WriteResponse,
};
use drystone_storage::{Clock, SystemClock, new_ulid};
use futures_util::future::join;
use reqwest::{RequestBuilder, StatusCode};

use super::{fleet::Addresses, progress::Progress};
use crate::{Pkg, TestEntropy, multipart_body, process::http_client, sim::Rng};

/// Codes that leave the outcome open: the same request with the same id finds out.
const OPEN: [&str; 3] = ["try-again", "storage-unavailable", "overloaded"];
/// Longest wait for an answer.
const ANSWER_S: u64 = 60;
/// Longest wait before a request is repeated.
const REPEAT_MS: u64 = 100;
/// Releases of one package of a writer's own.
const RELEASES: u64 = 8;
/// Releases of each writer in one package that all share.
const SHARED_RELEASES: u64 = 4;

/// A change that a writer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A release with these bytes.
    Publish(Sha256Digest),
    /// A release that is to be yanked, or not any more.
    Yanked(bool),
}

/// What a writer knows of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was answered with success, as the event at this position.
    Acknowledged(u64),
    /// Nobody answered for it.
    InDoubt,
}

/// A change that a writer has asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) writer: usize,
    pub(super) id: EventId,
    pub(super) name: PackageName,
    pub(super) vers: Version,
    pub(super) change: Change,
    pub(super) fate: Fate,
}

/// What an answer means.
enum Answer {
    Success(Option<u64>),
    Open,
    Refused(String),
}

/// A request that can be sent any number of times.
struct Request {
    id: EventId,
    path: String,
    /// Content type and bytes.
    body: Option<(String, Vec<u8>)>,
    is_publish: bool,
}

/// Somebody who publishes.
pub(super) struct Writer {
    number: usize,
    rng: Rng,
    entropy: TestEntropy,
    client: reqwest::Client,
    token: String,
    addresses: Addresses,
    progress: Arc<Progress>,
    asked: Vec<Asked>,
    own: u64,
    shared: u64,
    /// A release of this writer's, and whether it is yanked, as far as that is certain.
    toggled: Option<(PackageName, Version, bool)>,
}

impl Writer {
    pub(super) fn new(
        number: usize,
        seed: u64,
        token: &str,
        addresses: Addresses,
        progress: Arc<Progress>,
    ) -> Self {
        let own_seed = seed.wrapping_add((number as u64 + 1) << 32);
        Self {
            number,
            rng: Rng::seeded(own_seed),
            entropy: TestEntropy::seeded(own_seed),
            client: http_client(),
            token: token.to_owned(),
            addresses,
            progress,
            asked: Vec::new(),
            own: 0,
            shared: 0,
            toggled: None,
        }
    }

    /// Asks for changes until the run is over. Returns what was asked for.
    pub(super) async fn run(mut self) -> Vec<Asked> {
        while !self.progress.is_over() {
            match self.toggled.take() {
                Some(release) if self.rng.once_in(4) => self.toggle(release).await,
                release => {
                    self.toggled = release;
                    self.publish().await;
                }
            }
        }
        self.asked
    }

    async fn publish(&mut self) {
        let (name, vers) = if self.rng.once_in(8) {
            self.shared += 1;
            (
                format!("shared-{}", self.shared / SHARED_RELEASES),
                format!("{}.0.{}", self.number, self.shared),
            )
        } else {
            self.own += 1;
            (format!("writer{}/own-{}", self.number, self.own / RELEASES), format!("0.1.{}", self.own))
        };
        let id = self.new_id();
        let archive = Pkg::new(&name, &vers).with_payload(id.as_str()).archive();
        let (name, vers) = parsed(&name, &vers);
        let change = Change::Publish(Sha256Digest::of(&archive));
        let request = Request {
            id: id.clone(),
            path: "/api/v1/packages".into(),
            body: Some(multipart_body(None, &archive)),
            is_publish: true,
        };
        let fate = self.see_through(&request).await;
        if let Fate::Acknowledged(_) = fate {
            self.progress.published();
            if self.toggled.is_none() || self.rng.once_in(8) {
                self.toggled = Some((name.clone(), vers.clone(), false));
            }
        }
        self.asked.push(Asked { writer: self.number, id, name, vers, change, fate });
    }

    async fn toggle(&mut self, (name, vers, yanked): (PackageName, Version, bool)) {
        let id = self.new_id();
        let verb = if yanked { "unyank" } else { "yank" };
        let path = format!("/api/v1/packages/{}/{vers}/{verb}", name.to_string().replace('/', "%2F"));
        let request = Request { id: id.clone(), path, body: None, is_publish: false };
        let fate = self.see_through(&request).await;
        if let Fate::Acknowledged(_) = fate {
            self.toggled = Some((name.clone(), vers.clone(), !yanked));
        }
        let change = Change::Yanked(!yanked);
        self.asked.push(Asked { writer: self.number, id, name, vers, change, fate });
    }

    /// Sends a request until it is answered for, or this writer loses patience.
    async fn see_through(&mut self, request: &Request) -> Fate {
        loop {
            // Impatient clients send twice at once.
            let answer = if self.rng.once_in(16) {
                self.progress.repeated();
                let (one, other) = (self.build(request), self.build(request));
                let (one, other) = join(self.answer(request, one), self.answer(request, other)).await;
                self.merge(request, one, other)
            } else {
                let built = self.build(request);
                self.answer(request, built).await
            };
            match answer {
                Answer::Success(Some(seq)) => {
                    self.ask_again(request, seq).await;
                    return Fate::Acknowledged(seq);
                }
                Answer::Success(None) => {
                    self.progress
                        .violation(format!("{} {}: done already, by nobody", request.path, request.id));
                    return Fate::InDoubt;
                }
                Answer::Refused(why) => {
                    self.progress.violation(format!("{} {}: {why}", request.path, request.id));
                    return Fate::InDoubt;
                }
                Answer::Open if self.rng.once_in(16) || self.progress.is_over() => return Fate::InDoubt,
                Answer::Open => {
                    self.progress.repeated();
                    SystemClock.sleep(Duration::from_millis(self.rng.below(REPEAT_MS))).await;
                }
            }
        }
    }

    /// What was acknowledged stays so, whoever is asked.
    async fn ask_again(&mut self, request: &Request, seq: u64) {
        if !self.rng.once_in(16) {
            return;
        }
        self.progress.repeated();
        let built = self.build(request);
        match self.answer(request, built).await {
            Answer::Success(Some(again)) if again == seq => {}
            Answer::Open => {}
            Answer::Success(again) => {
                let what = format!("{}: event {seq} was acknowledged, then {again:?}", request.id);
                self.progress.violation(what);
            }
            Answer::Refused(why) => {
                self.progress
                    .violation(format!("{}: acknowledged as {seq}, then refused: {why}", request.id));
            }
        }
    }

    /// Two answers to one request that was sent twice.
    fn merge(&self, request: &Request, one: Answer, other: Answer) -> Answer {
        match (one, other) {
            (Answer::Success(one), Answer::Success(other)) if one != other => {
                Answer::Refused(format!("sent twice, acknowledged as {one:?} and {other:?} ({})", request.id))
            }
            (Answer::Refused(why), _) | (_, Answer::Refused(why)) => Answer::Refused(why),
            (success @ Answer::Success(_), _) | (_, success @ Answer::Success(_)) => success,
            (Answer::Open, Answer::Open) => Answer::Open,
        }
    }

    /// The request to one of the processes; none while none listens.
    fn build(&mut self, request: &Request) -> Option<RequestBuilder> {
        let address = self.addresses.any(&mut self.rng)?;
        let builder = self
            .client
            .post(format!("{address}{}", request.path))
            .timeout(Duration::from_secs(ANSWER_S))
            .header("authorization", format!("Bearer {}", self.token))
            .header("idempotency-key", request.id.as_str());
        Some(match &request.body {
            Some((content_type, bytes)) => builder.header("content-type", content_type).body(bytes.clone()),
            None => builder,
        })
    }

    async fn answer(&self, request: &Request, built: Option<RequestBuilder>) -> Answer {
        let Some(built) = built else { return Answer::Open };
        let received = async {
            let response = built.send().await?;
            Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
        };
        let Ok((status, body)) = received.await else {
            self.progress.open_answer("connection");
            return Answer::Open;
        };
        read_answer(request.is_publish, status, &body).unwrap_or_else(|code| {
            self.progress.open_answer(&code);
            Answer::Open
        })
    }

    fn new_id(&self) -> EventId {
        EventId::new(new_ulid(&SystemClock, &self.entropy)).expect("a new ULID is a ULID")
    }
}

/// What an answer means; the code of one that leaves the outcome open is the error.
fn read_answer(is_publish: bool, status: StatusCode, body: &[u8]) -> Result<Answer, String> {
    let unreadable = |e: serde_json::Error| Answer::Refused(format!("{status}, unreadable: {e}"));
    if status.is_success() {
        let seq = if is_publish {
            serde_json::from_slice::<PublishResponse>(body).map(|answer| answer.seq)
        } else {
            serde_json::from_slice::<WriteResponse>(body).map(|answer| answer.seq)
        };
        return Ok(seq.map_or_else(unreadable, Answer::Success));
    }
    let problems = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => body.errors,
        Err(error) => return Ok(unreadable(error)),
    };
    let code = problems.first().map_or("none", |problem| problem.code.slug());
    if OPEN.contains(&code) { Err(code.to_owned()) } else { Ok(Answer::Refused(format!("{status} {code}"))) }
}

fn parsed(name: &str, vers: &str) -> (PackageName, Version) {
    (
        PackageName::new(name).expect("a writer's name is a name"),
        Version::new(vers).expect("so is its version"),
    )
}
