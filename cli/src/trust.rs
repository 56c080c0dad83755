//! `drystone trust`: making and rotating the root of trust, away from any server.
//!
//! Owns files that holders of root keys hand around. Does not own putting a document into a registry: `drystone admin trust`
//! does. Nothing here uses the network, and only `key` and `sign` see a private key.

use std::path::{Path, PathBuf};

use drystone_log::{Checkpoint, Note, NoteSigner, Policy, SignedTrust, TrustDocument, VerifierKey};
use drystone_schemas::{Code, Sha256Digest, rfc3339};
use serde_json::json;

use crate::{context::Context, failure::Failure, operate::write_secret};

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// The verbs of those who hold root keys.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a root key for one holder, and print its public half
    Key {
        /// What the chain is about, as in `init`
        #[arg(long)]
        subject: String,
        /// Who holds the key
        #[arg(long)]
        holder: String,
        /// File for the private key; it must not be there
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Write the first document, for the holders to sign
    Init {
        /// What the chain is about, for ever: usually the origin of the registry's log
        #[arg(long)]
        subject: String,
        /// Public key of a holder; once for each
        #[arg(long = "root", value_name = "KEY", required = true)]
        roots: Vec<String>,
        /// How many holders must sign
        #[arg(long)]
        threshold: usize,
        #[command(flatten)]
        says: Says,
        /// Policy file that the document puts in force
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
        /// File for the document; it must not be there
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Write the successor of a document, for old and new holders to sign
    Rotate {
        /// The document in force
        document: PathBuf,
        /// Public key of a new holder
        #[arg(long = "add-root", value_name = "KEY")]
        add_roots: Vec<String>,
        /// Holder whose key goes
        #[arg(long = "remove-root", value_name = "HOLDER")]
        remove_roots: Vec<String>,
        /// How many holders must sign from now on; as before if absent
        #[arg(long)]
        threshold: Option<usize>,
        #[command(flatten)]
        says: Says,
        /// Another policy file; as before if absent
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Last signed checkpoint of a log that is written no more
        #[arg(long = "log-final", value_name = "FILE")]
        final_logs: Vec<PathBuf>,
        /// File for the document; it must not be there
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign a document with a root key, in its file
    Sign {
        /// The document
        document: PathBuf,
        /// File with the private key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The document in force, where the key is one of its roots alone
        #[arg(long, value_name = "FILE")]
        previous: Option<PathBuf>,
    },
    /// Put signatures of copies of one document together
    Merge {
        /// The document that gets them
        document: PathBuf,
        /// The copies
        #[arg(required = true)]
        copies: Vec<PathBuf>,
    },
    /// Say what a document says, and who has signed it
    Show {
        /// The document
        document: PathBuf,
        /// The document in force before it
        #[arg(long, value_name = "FILE")]
        previous: Option<PathBuf>,
    },
}

/// What every document says.
#[derive(Debug, clap::Args)]
struct Says {
    /// Days until the document says nothing any more
    #[arg(long, default_value_t = 365, value_name = "N")]
    expires_days: u64,
    /// How old cosignatures may be, in seconds; a day, or as before, if absent
    #[arg(long, value_name = "SECONDS")]
    max_age_s: Option<u64>,
}

/// Does what a holder asks for.
pub fn run(args: Args, cx: &Context) -> Result<(), Failure> {
    let now = cx.effects.clock.now_unix_s();
    let expiry = |says: &Says| now.saturating_add(says.expires_days.saturating_mul(DAY_S));
    match args.verb {
        Verb::Key { subject, holder, out } => make_key(cx, &subject, &holder, &out),
        Verb::Init { subject, roots, threshold, says, policy, out } => {
            let document = TrustDocument {
                subject,
                version: 1,
                expires: expiry(&says),
                threshold,
                roots: roots.iter().map(|root| parse_root(root)).collect::<Result<_, _>>()?,
                policy: policy_digest(&cx.path(&policy))?,
                max_age_s: says.max_age_s.unwrap_or(DAY_S),
                final_logs: Vec::new(),
            };
            write_draft(cx, document, &out)
        }
        Verb::Rotate { document, add_roots, remove_roots, threshold, says, policy, final_logs, out } => {
            let mut next = read(cx, &document)?.unverified().clone();
            next.version += 1;
            next.expires = expiry(&says);
            for holder in remove_roots {
                let name = format!("{}/root/{holder}", next.subject);
                if !next.roots.iter().any(|root| root.name() == name) {
                    return Err(Failure::new(
                        Code::BadUsage,
                        format!("`{name}` is no root of this document"),
                    ));
                }
                next.roots.retain(|root| root.name() != name);
            }
            for root in add_roots {
                next.roots.push(parse_root(&root)?);
            }
            next.threshold = threshold.unwrap_or(next.threshold);
            next.max_age_s = says.max_age_s.unwrap_or(next.max_age_s);
            if let Some(policy) = policy {
                next.policy = policy_digest(&cx.path(&policy))?;
            }
            for file in final_logs {
                next.final_logs.push(final_log(&cx.path(&file))?);
            }
            write_draft(cx, next, &out)
        }
        Verb::Sign { document, key, previous } => {
            let mut signed = read(cx, &document)?;
            let previous = previous.map(|file| read(cx, &file)).transpose()?;
            let secret = fs_err::read_to_string(cx.path(&key))?;
            let signer = NoteSigner::parse(secret.trim()).map_err(refused)?;
            signed.sign(&signer, previous.as_ref().map(SignedTrust::unverified)).map_err(refused)?;
            replace(&cx.path(&document), &signed.to_bytes())?;
            cx.printer.step("Signed", &format!("as {}", signer.verifier().name()));
            Ok(())
        }
        Verb::Merge { document, copies } => {
            let mut signed = read(cx, &document)?;
            for copy in copies {
                if !signed.merge(&read(cx, &copy)?).map_err(refused)? {
                    let detail = format!("`{}` is another document", copy.display());
                    return Err(Failure::new(Code::TrustRefused, detail));
                }
            }
            replace(&cx.path(&document), &signed.to_bytes())?;
            cx.printer.step("Merged", &format!("{} signatures", signed.note().signatures().len()));
            Ok(())
        }
        Verb::Show { document, previous } => {
            let previous = previous.map(|file| read(cx, &file)).transpose()?;
            show(cx, &read(cx, &document)?, previous.as_ref(), now)
        }
    }
}

fn make_key(cx: &Context, subject: &str, holder: &str, out: &Path) -> Result<(), Failure> {
    let mut seed = [0; 32];
    cx.effects.entropy.fill(&mut seed);
    let signer = NoteSigner::from_seed(&format!("{subject}/root/{holder}"), &seed)
        .map_err(|e| Failure::new(Code::BadUsage, e.to_string()))?;
    write_secret(&cx.path(out), signer.secret_text().expose())?;
    let key = signer.verifier().to_string();
    cx.printer.step("Made", &format!("a root key in {}: keep it where no server is", out.display()));
    cx.printer.result(&json!({ "key": key }), || format!("{key}\n"))
}

fn show(cx: &Context, signed: &SignedTrust, previous: Option<&SignedTrust>, now: u64) -> Result<(), Failure> {
    let document = signed.unverified();
    let has_signed = |root: &VerifierKey| signed.note().verify(std::slice::from_ref(root)).is_ok();
    let verdict = match previous {
        Some(previous) => signed.succeed(previous.unverified()),
        None => signed.begin(),
    };
    let in_force = verdict.and_then(|document| document.check_time(now));
    let roots: Vec<_> = document
        .roots
        .iter()
        .map(|root| json!({"key": root.to_string(), "signed": has_signed(root)}))
        .collect();
    let problem = in_force.as_ref().err().map(ToString::to_string);
    let value = json!({
        "subject": document.subject, "version": document.version, "expires": rfc3339(document.expires),
        "threshold": document.threshold, "roots": roots, "policy": document.policy.hex(),
        "max_age_s": document.max_age_s, "good": in_force.is_ok(), "problem": problem,
        "sha256": Sha256Digest::of(&signed.to_bytes()).hex(),
    });
    cx.printer.result(&value, || {
        let mut text = format!(
            "version {} about {}\nexpires {}\npolicy {}\n",
            document.version,
            document.subject,
            rfc3339(document.expires),
            document.policy.hex()
        );
        for root in &document.roots {
            let mark = if has_signed(root) { "signed" } else { "not signed" };
            text.push_str(&format!("{mark} by {}\n", root.name()));
        }
        text.push_str(&match &problem {
            None => "good: signed by enough, and in force\n".to_owned(),
            Some(problem) => format!("not good: {problem}\n"),
        });
        text
    })
}

/// Reads a document, signed or not.
fn read(cx: &Context, file: &Path) -> Result<SignedTrust, Failure> {
    SignedTrust::parse_draft(&fs_err::read(cx.path(file))?).map_err(refused)
}

fn write_draft(cx: &Context, document: TrustDocument, out: &Path) -> Result<(), Failure> {
    let version = document.version;
    let draft = SignedTrust::new(document).map_err(refused)?;
    let path = cx.path(out);
    if path.exists() {
        return Err(Failure::new(Code::AlreadyExists, format!("`{}` is there already", path.display())));
    }
    replace(&path, &draft.to_bytes())?;
    cx.printer.step("Wrote", &format!("version {version} to {}, for its holders to sign", out.display()));
    Ok(())
}

/// Writes a file whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut out = tempfile::Builder::new().prefix(".trust-").tempfile_in(dir)?;
    out.write_all(bytes)?;
    out.as_file().sync_all()?;
    out.persist(path).map_err(|refused| refused.error)?;
    Ok(())
}

fn parse_root(text: &str) -> Result<VerifierKey, Failure> {
    VerifierKey::parse(text).map_err(|e| Failure::new(Code::BadUsage, format!("`{text}`: {e}")))
}

fn policy_digest(file: &Path) -> Result<Sha256Digest, Failure> {
    let bytes = fs_err::read(file)?;
    Policy::parse(&bytes)
        .map_err(|e| Failure::new(Code::TrustRefused, format!("`{}`: {e}", file.display())))?;
    Ok(Sha256Digest::of(&bytes))
}

/// The statement of a signed checkpoint that the holders retire. They answer for it, so that its signature is not looked at.
fn final_log(file: &Path) -> Result<Checkpoint, Failure> {
    let bytes = fs_err::read(file)?;
    let problem = |e: String| Failure::new(Code::TrustRefused, format!("`{}`: {e}", file.display()));
    let note = Note::parse(&bytes).map_err(|e| problem(e.to_string()))?;
    Checkpoint::decode(note.text()).map_err(|e| problem(e.to_string()))
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::TrustRefused, error.to_string())
}
