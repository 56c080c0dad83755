//! A synthetic registry of any size: nobody's packages, with the shape of a large public registry.
//!
//! Owns: the order of its events, and writing its truth: settings, version records, entries and the signed checkpoint, by
//! the project's own projections. `shape` owns what packages look like. Does not own the projections on disk, which
//! [`rebuild`](drystone_index_builder::rebuild) makes from the truth, nor anything of the vault.
//!
//! Every release names one and the same tiny archive, so that sizes of archives play no part in what is measured.
//! Invariant: equal plans give equal bytes; memory holds some bytes for each event, and one package's releases for each
//! thread, because what events claim waits in a file.

mod claims;
mod shape;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use anyhow::{Context, ensure};
use drystone_index_builder::{Draft, PROJECTION_VERSION, Touched, project};
use drystone_log::{
    Checkpoint, EntryBundle, FileRef, Frontier, Hash, NoteSigner, ShardEntry, StateMap, leaf_hash,
    tile::entry_bundles,
};
use drystone_schemas::{
    AccountId, Event, EventBody, EventId, FileChange, PackageName, Settings, Sha256Digest, layout,
};

use self::{
    claims::{CLASSES, Claim, Claims},
    shape::{ARCHIVE, Shape, Step},
};

/// Origin of the log.
const ORIGIN: &str = "synthetic.invalid/log/1";
/// Time of the first event, in seconds since 1970.
const TIME: u64 = 1_700_000_000;
/// Seconds between two events.
const STEP_S: u64 = 7;

/// How large a registry is to be.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Number of packages.
    pub packages: u32,
    /// Releases of a package on average.
    pub releases_mean: f64,
    /// Another seed makes another registry of the same shape.
    pub seed: u64,
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Events, the genesis among them.
    pub events: u64,
    /// Releases.
    pub releases: u64,
    /// Bytes of the index files after the last event.
    pub index_bytes: u64,
    /// Bytes of all version records.
    pub record_bytes: u64,
    /// Bytes of all entries.
    pub entry_bytes: u64,
}

/// Where files go: a key in the public area, and bytes. Called from several threads.
pub type Sink<'a> = &'a (dyn Fn(&str, Vec<u8>) -> anyhow::Result<()> + Sync);

/// Writes the truth of a registry as a directory, which must not be there yet.
pub fn write_directory(plan: Plan, dir: &Path) -> anyhow::Result<Made> {
    fs_err::create_dir(dir)?;
    let public = dir.join("public");
    for folder in ["o", "log"] {
        fs_err::create_dir_all(public.join(folder))?;
    }
    write(plan, &|key, bytes| {
        let path = public.join(key);
        if key.starts_with("log/") {
            fs_err::create_dir_all(path.parent().context("a key has a folder")?)?;
        }
        Ok(fs_err::write(path, bytes)?)
    })
}

/// Writes the truth of a registry.
pub fn write(plan: Plan, sink: Sink<'_>) -> anyhow::Result<Made> {
    let settings = Settings::new("synthetic", "https://synthetic.invalid");
    let making = Making {
        shape: Shape(plan),
        order: Order::of(Shape(plan)),
        claims: Claims::new()?,
        settings,
        actor: AccountId::new("acct:01K742R2DRAAAAAAAAAAAAAAAA")?,
        sink,
    };
    sink(&layout::object(&Sha256Digest::of(ARCHIVE)), ARCHIVE.to_vec())?;
    let settings = making.settings.to_bytes();
    sink(&layout::object(&Sha256Digest::of(&settings)), settings)?;
    let (next, totals) = (AtomicU32::new(0), [(); 3].map(|()| AtomicU64::new(0)));
    let threads = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let work = || -> anyhow::Result<()> {
            loop {
                let package = next.fetch_add(1, Ordering::Relaxed);
                if package >= plan.packages {
                    return Ok(());
                }
                let made = making.package(package)?;
                totals
                    .iter()
                    .zip(made)
                    .for_each(|(total, made)| _ = total.fetch_add(made, Ordering::Relaxed));
            }
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| thread.join().expect("a thread reports its errors"))
    })?;
    let entry_bytes = making.log()?;
    let [releases, index_bytes, record_bytes] = totals.map(AtomicU64::into_inner);
    Ok(Made { events: making.order.events(), releases, index_bytes, record_bytes, entry_bytes })
}

/// Which package each event is about, and where the events of each package are.
struct Order {
    /// By position in the log, less one for the genesis.
    package_of: Vec<u32>,
    /// The positions of all packages' events, those of a package together and in order.
    positions: Vec<u32>,
    /// Where in `positions` a package begins.
    starts: Vec<usize>,
}

impl Order {
    fn of(shape: Shape) -> Self {
        let mut moments: Vec<(u64, u32)> = Vec::new();
        let mut starts = vec![0];
        for package in 0..shape.0.packages {
            let steps = shape.steps(package).count();
            moments.extend((0..steps).map(|at| (shape.moment(package, at, steps), package)));
            starts.push(moments.len());
        }
        moments.sort_unstable();
        let package_of: Vec<u32> = moments.into_iter().map(|(_, package)| package).collect();
        let mut positions = vec![0; package_of.len()];
        let mut filled = starts.clone();
        for (seq, package) in (1..).zip(&package_of) {
            positions[filled[*package as usize]] = seq;
            filled[*package as usize] += 1;
        }
        Self { package_of, positions, starts }
    }

    fn events(&self) -> u64 {
        self.package_of.len() as u64 + 1
    }

    /// The positions in the log of a package's events.
    fn of_package(&self, package: u32) -> &[u32] {
        &self.positions[self.starts[package as usize]..self.starts[package as usize + 1]]
    }
}

struct Making<'a> {
    shape: Shape,
    order: Order,
    claims: Claims,
    settings: Settings,
    actor: AccountId,
    sink: Sink<'a>,
}

impl Making<'_> {
    /// Projects a package from its first event to its last, and keeps what each claims. Releases, and bytes of its index and
    /// of its records.
    fn package(&self, package: u32) -> anyhow::Result<[u64; 3]> {
        let name = self.shape.name(package);
        let mut touched = Touched::default();
        let (mut releases, mut index_bytes, mut record_bytes) = (0, 0, 0);
        for (step, seq) in self.shape.steps(package).zip(self.order.of_package(package)) {
            let seq = u64::from(*seq);
            let record = match step {
                Step::Publish(release) => Some(self.shape.record(package, release)),
                Step::Yank(_) => None,
            };
            let bytes = record.as_ref().map(|record| record.to_bytes());
            let digest = bytes.as_deref().map(Sha256Digest::of);
            let body = body(&name, step, digest.unwrap_or(Sha256Digest::from_bytes([0; 32])));
            let draft = Draft { seq, time: time(seq), actor: &self.actor, body: &body };
            let files = project(&mut touched, &draft, record.as_ref(), &self.settings)?;
            let made = |file: &drystone_index_builder::ProjectedFile| FileRef {
                digest: Hash::digest(&file.bytes),
                len: file.bytes.len() as u64,
            };
            ensure!(files.iter().map(|file| file.class).eq(CLASSES), "an event changes three files");
            let files = [made(&files[0]), made(&files[1]), made(&files[2])];
            index_bytes = files[0].len;
            let record = digest.unwrap_or(Sha256Digest::from_bytes([0; 32]));
            self.claims.put(seq, &Claim { record, files })?;
            if let (Some(digest), Some(bytes)) = (digest, bytes) {
                (releases, record_bytes) = (releases + 1, record_bytes + bytes.len() as u64);
                (self.sink)(&layout::object(&digest), bytes)?;
            }
        }
        Ok([releases, index_bytes, record_bytes])
    }

    /// Writes the entries in their order, and the checkpoint over them; how many bytes the entries have.
    fn log(&self) -> anyhow::Result<u64> {
        let signer = NoteSigner::from_seed(ORIGIN, &[7; 32])?;
        let size = self.order.events();
        let (mut frontier, mut state) = (Frontier::new(), StateMap::new());
        let mut steps: BTreeMap<u32, usize> = BTreeMap::new();
        let mut bytes = 0;
        for id in entry_bundles(0, size) {
            let mut lines = Vec::with_capacity(usize::from(id.width()));
            for seq in id.first_entry()..id.first_entry() + u64::from(id.width()) {
                let (body, files) = match seq.checked_sub(1) {
                    None => (self.genesis(&signer), Vec::new()),
                    Some(before) => {
                        let package = self.order.package_of[before as usize];
                        let done = steps.entry(package).or_default();
                        let step = self.shape.steps(package).nth(*done).context("a step for each event")?;
                        *done += 1;
                        self.claimed(seq, package, step, &mut state)?
                    }
                };
                let event = Event {
                    v: 1,
                    seq,
                    id: EventId::new(format!("01JD3K6Q0Z{seq:016}"))?,
                    time: time(seq),
                    actor: self.actor.clone(),
                    state: Sha256Digest::from_bytes(*state.root().as_bytes()),
                    files,
                    body,
                };
                let line = event.to_line()?;
                bytes += line.len() as u64;
                frontier.append(leaf_hash(&line));
                lines.push(line);
            }
            (self.sink)(&format!("log/{id}"), EntryBundle::new(lines)?.encode())?;
        }
        let checkpoint = Checkpoint::new(ORIGIN, size, frontier.root())?.sign(&signer).to_bytes();
        (self.sink)(layout::CHECKPOINT, checkpoint)?;
        Ok(bytes)
    }

    fn genesis(&self, signer: &NoteSigner) -> EventBody {
        EventBody::Genesis {
            origin: ORIGIN.into(),
            log_key: signer.verifier().to_string(),
            config: Sha256Digest::of(&self.settings.to_bytes()),
            projection: PROJECTION_VERSION,
        }
    }

    /// An event as it was projected, with what it claims put into the state map.
    fn claimed(
        &self,
        seq: u64,
        package: u32,
        step: Step,
        state: &mut StateMap,
    ) -> anyhow::Result<(EventBody, Vec<FileChange>)> {
        let name = self.shape.name(package);
        let claim = self.claims.get(seq)?;
        let canonical = name.canonical();
        let changes = CLASSES.iter().zip(&claim.files).map(|(class, file)| {
            let digest = Sha256Digest::from_bytes(*file.digest.as_bytes());
            FileChange(*class, canonical.clone(), digest, file.len)
        });
        let changes = changes.collect();
        let letters = CLASSES.iter().map(|class| class.letter());
        state.set(&canonical, ShardEntry { seq, files: letters.zip(claim.files).collect() })?;
        Ok((body(&name, step, claim.record), changes))
    }
}

fn time(seq: u64) -> u64 {
    TIME + seq * STEP_S
}

fn body(name: &PackageName, step: Step, record: Sha256Digest) -> EventBody {
    let pkg = name.clone();
    match step {
        Step::Publish(release) => EventBody::Publish {
            pkg,
            vers: Shape::version(release),
            tarball: Sha256Digest::of(ARCHIVE),
            record,
            sigs: Default::default(),
        },
        Step::Yank(release) => EventBody::Yank { pkg, vers: Shape::version(release), reason: None },
    }
}
