//! `key generate`, `list`, `register`, `revoke`, `require`, `sign`: the keys of authors.
//!
//! Owns the file with the secret, which never leaves this machine and is never printed. Does not own the rules.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use drystone_client::{ClientError, Snapshot};
use drystone_log::{AuthorSecret, AuthorStatement};
use drystone_schemas::{
    AuthorKey, AuthorKeys, AuthorSignatures, Code, Exceptions, PackageName, Problem, RuleRequest,
    SigningRule, VersionRecord, rfc3339,
};
use serde::Serialize;

use super::{publish::prepare, yank::told};
use crate::{
    args,
    context::{Context, package_name},
    failure::Failure,
    operate::write_secret,
};

/// Longest file of a key or of signatures, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

pub(super) async fn key(args: &args::Key, cx: &Context) -> Result<(), Failure> {
    match args {
        args::Key::Generate(args) => generate(cx, args.key.as_deref()),
        args::Key::List(args) => list(cx, &package_name(&args.package)?).await,
        args::Key::Register(args) => {
            let name = package_name(&args.package)?;
            let key = match &args.public {
                Some(text) => public_key(text)?,
                None => read_secret(cx, args.key.as_deref())?.public(),
            };
            let response = cx.registry_here()?.add_author_key(&name, key).await?;
            told(cx, &response, None)
        }
        args::Key::Revoke(args) => {
            let name = package_name(&args.package)?;
            let response = cx.registry_here()?.remove_author_key(&name, public_key(&args.public)?).await?;
            told(cx, &response, None)
        }
        args::Key::Require(args) => {
            let name = package_name(&args.package)?;
            let keys = args.keys.iter().map(|key| public_key(key)).collect::<Result<_, _>>()?;
            let rule = RuleRequest {
                threshold: args.threshold,
                keys,
                lock_hours: args.lock_hours,
                exception: args.exception.clone(),
            };
            told(cx, &cx.registry_here()?.set_rule(&name, &rule).await?, None)
        }
        args::Key::Sign(args) => sign(cx, args).await,
    }
}

fn public_key(text: &str) -> Result<AuthorKey, Failure> {
    AuthorKey::new(text).map_err(|e| Failure::new(Code::BadUsage, e.to_string()))
}

/// Where the secret lies: where the user says, else in the home.
fn key_file(cx: &Context, given: Option<&Path>) -> Result<PathBuf, Failure> {
    Ok(match given {
        Some(file) => cx.path(file),
        None => cx.home()?.author_key(),
    })
}

fn generate(cx: &Context, given: Option<&Path>) -> Result<(), Failure> {
    let file = key_file(cx, given)?;
    let mut seed = [0; 32];
    cx.effects.entropy.fill(&mut seed);
    let secret = AuthorSecret::from_seed(&seed);
    write_secret(&file, &secret.expose())?;
    let public = secret.public();
    cx.printer.step("Made", &format!("an author key in `{}`: keep it, and keep it secret", file.display()));
    cx.printer.more("make it known: drystone key register PACKAGE");
    cx.printer.result(&serde_json::json!({ "key": public, "file": file }), || format!("{public}\n"))
}

fn read_secret(cx: &Context, given: Option<&Path>) -> Result<AuthorSecret, Failure> {
    let file = key_file(cx, given)?;
    let text =
        read_short(&file).map_err(|failure| failure.noting("make a key with `drystone key generate`"))?;
    AuthorSecret::parse(&text).map_err(|e| {
        let problem = Problem::new(Code::BadConfiguration, format!("`{}`: {e}", file.display()));
        problem.with_hint("give the file that `drystone key generate` made").into()
    })
}

fn read_short(file: &Path) -> Result<String, Failure> {
    use std::io::Read as _;
    let mut text = String::new();
    fs_err::File::open(file)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// What authors sign for a release: with the key on this machine, if asked for, and what others have signed elsewhere.
pub(super) fn signatures(
    cx: &Context,
    origin: &str,
    record: &VersionRecord,
    with: &args::SignArgs,
) -> Result<AuthorSignatures, Failure> {
    let mut signatures = AuthorSignatures::new();
    for file in &with.signatures {
        let file = cx.path(file);
        let theirs: AuthorSignatures = serde_json::from_str(&read_short(&file)?).map_err(|e| {
            let problem = Problem::new(Code::BadUsage, format!("`{}`: {e}", file.display()));
            Failure::from(problem.with_hint("give what `drystone key sign` printed"))
        })?;
        signatures.extend(theirs);
    }
    if with.sign {
        let secret = read_secret(cx, with.key.as_deref())?;
        let statement =
            AuthorStatement { origin, name: &record.name, vers: &record.vers, tarball: record.tarball };
        signatures.insert(secret.public(), secret.sign(&statement));
    }
    Ok(signatures)
}

/// Signs what somebody else will publish: an archive, or a directory, which is packed alike on every machine.
async fn sign(cx: &Context, args: &args::KeySign) -> Result<(), Failure> {
    let config = cx.registry_here()?.config().await?.clone();
    let path = cx.path(&args.package);
    let what = args::Publish {
        archive: (!path.is_dir()).then(|| path.clone()),
        dir: None,
        format: args.format,
        scope: args.scope.clone(),
        signing: args::SignArgs { sign: true, key: args.key.clone(), signatures: Vec::new() },
        dry_run: true,
    };
    let record = prepare(cx, &path, &what, &config.settings).await?.record;
    let signatures = signatures(cx, &config.origin, &record, &what.signing)?;
    cx.printer.step("Signed", &format!("{} {}, {}", record.name, record.vers, record.tarball));
    cx.printer.more("it is published with: drystone publish --signature FILE");
    cx.printer.result(&signatures, || serde_json::to_string(&signatures).unwrap_or_default() + "\n")
}

/// A rule, as it is shown.
#[derive(Serialize)]
struct ShownRule<'a> {
    #[serde(flatten)]
    rule: &'a SigningRule,
    /// When it takes force, RFC 3339; only while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

/// Keys and rules, proved against the log.
async fn list(cx: &Context, name: &PackageName) -> Result<(), Failure> {
    let registry = cx.registry_here()?;
    let snapshot = Snapshot::open(&registry, &cx.trust()?).await?;
    if snapshot.entry(&name.canonical()).await?.is_none() {
        return Err(ClientError::PackageNotFound { name: name.clone() }.into());
    }
    let authors = snapshot.author_keys(name).await?.unwrap_or_default();
    let now = cx.effects.clock.now_unix_s();
    let at = authors.rules_at(u64::MAX, now, Exceptions::AtOnce);
    let in_force = at.in_force.map(|rule| ShownRule { rule, from: None });
    let waiting = at.waiting.map(|(rule, from)| ShownRule { rule, from: Some(rfc3339(from)) });
    let value = serde_json::json!({ "keys": authors.keys, "in_force": in_force, "waiting": waiting });
    cx.printer.result(&value, || shown(&authors, in_force.as_ref(), waiting.as_ref()))
}

fn shown(authors: &AuthorKeys, in_force: Option<&ShownRule<'_>>, waiting: Option<&ShownRule<'_>>) -> String {
    let mut text = String::new();
    for key in &authors.keys {
        let _ = match key.removed {
            Some(seq) => {
                writeln!(text, "{} (registered by event {}, revoked by event {seq})", key.key, key.added)
            }
            None => writeln!(text, "{} (registered by event {})", key.key, key.added),
        };
    }
    match in_force {
        Some(ShownRule { rule, .. }) => {
            let (threshold, keys, hours) = (rule.threshold, rule.keys.len(), rule.lock_hours);
            let _ = writeln!(text, "releases need {threshold} of {keys} keys, by event {}", rule.seq);
            let _ = writeln!(text, "a weaker rule, and a change of owners, waits {hours} hours");
        }
        None => text.push_str("releases need no signature\n"),
    }
    if let Some(ShownRule { rule, from: Some(from) }) = waiting {
        let (threshold, keys) = (rule.threshold, rule.keys.len());
        let _ = writeln!(text, "from {from} on they need {threshold} of {keys} keys, by event {}", rule.seq);
    }
    text
}
