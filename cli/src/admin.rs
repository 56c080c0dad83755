//! `drystone admin`: what the operator does at the machine, without a token.

use std::io::Read;

use drystone_log::commit::Heartbeat;
use drystone_publisher::{Refusal, Scope, Token};
use drystone_schemas::{AdminTokenResponse, Code, Limits, Login, Problem, SecretText, Settings, rfc3339};
use serde_json::json;

use crate::{
    context::Context,
    failure::Failure,
    first::{find_or_make_key, first_token, open_or_make},
    operate::{StoreArgs, open_service},
    serve::{NewArgs, check_store},
};

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// The verbs of the operator.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a registry, without serving it
    Init {
        #[command(flatten)]
        store: StoreArgs,
        /// Base URL that clients use
        #[arg(long, value_name = "URL")]
        public_url: String,
        /// URL of the publish function, where it is another
        #[arg(long, value_name = "URL")]
        api_url: Option<String>,
        /// Longest upload in one request; longer archives go to the bucket by a presigned upload
        #[arg(long, value_name = "BYTES")]
        direct_upload_bytes_max: Option<u64>,
        /// File for the first token, which is printed if absent
        #[arg(long, value_name = "FILE")]
        token_file: Option<std::path::PathBuf>,
        #[command(flatten)]
        new: NewArgs,
    },
    /// Make a token for an account, and the account if there is none
    Token {
        #[command(flatten)]
        store: StoreArgs,
        /// Login of the account
        #[arg(long)]
        login: String,
        /// What the token is called
        #[arg(long, default_value = "made by the operator")]
        name: String,
        /// What it may do; all that a publisher needs if absent. `read` is for reading alone
        #[arg(long = "scope", value_name = "SCOPE", value_parser = parse_scope)]
        scopes: Vec<Scope>,
        /// Days until it expires
        #[arg(long, default_value_t = 90)]
        days: u64,
    },
    /// Make an account, or set the password of one; the password is read from stdin
    Account {
        #[command(flatten)]
        store: StoreArgs,
        /// Login of the account
        #[arg(long)]
        login: String,
        /// Let the account do everything; without this it may not
        #[arg(long)]
        admin: bool,
        /// Let it sign in with the password alone again, where app and recovery codes are lost
        #[arg(long)]
        drop_second_factor: bool,
    },
    /// Revoke the token that is read from stdin
    Revoke {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Put the next document of the root of trust in force
    Trust {
        #[command(flatten)]
        store: StoreArgs,
        /// The document, signed by its holders
        document: std::path::PathBuf,
        /// The policy that it names
        #[arg(long, value_name = "FILE")]
        policy: std::path::PathBuf,
        /// A step of a chain that began with another log, which this one takes the place of
        #[arg(long)]
        carried: bool,
    },
    /// Finish what a commit left undone, and have the newest checkpoint cosigned again
    Heartbeat {
        #[command(flatten)]
        store: StoreArgs,
        /// Only if its cosignatures are older than this, in seconds
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        older_than_s: u64,
    },
    /// Show the policy that the registry's own keys make
    Policy {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Show the settings in force as JSON, or put those read from stdin in force
    Configure {
        #[command(flatten)]
        store: StoreArgs,
        /// Read new settings from stdin
        #[arg(long)]
        stdin: bool,
    },
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| {
        let names: Vec<&str> = Scope::ALL.into_iter().map(Scope::as_str).collect();
        format!("scopes are {}", names.join(", "))
    })
}

/// Operates a registry.
pub async fn run(args: Args, cx: &Context) -> Result<(), Failure> {
    match args.verb {
        Verb::Init { store, public_url, api_url, direct_upload_bytes_max, token_file, new } => {
            let public_url = public_url.trim_end_matches('/').to_owned();
            let mut settings = new.settings(public_url, Limits::default(), None)?;
            settings.api_url = api_url;
            if let Some(bytes) = direct_upload_bytes_max {
                settings.limits.direct_upload_bytes_max = bytes;
            }
            init(cx, &store, settings, new.origin.as_deref(), token_file.as_deref()).await
        }
        Verb::Token { store, login, name, scopes, days } => {
            let login = Login::new(login).map_err(|e| Failure::new(Code::BadUsage, e.to_string()))?;
            let scopes = if scopes.is_empty() { Scope::ORDINARY.to_vec() } else { scopes };
            let service = open_service(cx, &store.open(cx).await?).await?;
            let made = service.make_token(&login, &name, scopes, Some(days.saturating_mul(DAY_S))).await?;
            let response = AdminTokenResponse {
                token: made.token.reveal().to_owned(),
                account: made.account.id,
                login: made.account.login.to_string(),
                scopes: made.record.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
                expires: made.record.expires.map(rfc3339),
                formats: service.settings().formats.clone(),
            };
            cx.printer.result(&response, || format!("{}\n", response.token))
        }
        Verb::Account { store, login, admin, drop_second_factor } => {
            let login = Login::new(login).map_err(|e| Failure::new(Code::BadUsage, e.to_string()))?;
            let password = SecretText::new(read_stdin()?.trim_end_matches(['\r', '\n']));
            let service = open_service(cx, &store.open(cx).await?).await?;
            let account = service.make_person(&login, &password, admin).await?;
            if drop_second_factor {
                service.drop_second_factor(&login).await?;
            }
            let what = if admin { "an administrator" } else { "no administrator" };
            cx.printer.step("Account", &format!("`{login}` has this password, and is {what}"));
            cx.printer.result(&json!({"account": account, "admin": admin}), || format!("{account}\n"))
        }
        Verb::Revoke { store } => {
            let token = Token::parse(read_stdin()?.trim()).map_err(|e| {
                Failure::new(Code::TokenInvalid, format!("what came from stdin is no token: {e}"))
            })?;
            open_service(cx, &store.open(cx).await?).await?.revoke_token(&token).await?;
            cx.printer.step("Revoked", "the token; nothing can be committed with it any more");
            cx.printer.result(&json!({"revoked": true}), String::new)
        }
        Verb::Trust { store, document, policy, carried } => {
            let (document, policy) = (fs_err::read(cx.path(&document))?, fs_err::read(cx.path(&policy))?);
            let service = open_service(cx, &store.open(cx).await?).await?;
            let done = match carried {
                true => service.carry_trust(&document, &policy).await?,
                false => service.put_trust(&document, &policy).await?,
            };
            match done.seq {
                Some(seq) => cx.printer.step("Trusted", &format!("as event {seq}")),
                None => cx.printer.step("Trusted", "already so"),
            }
            cx.printer.result(&json!({ "seq": done.seq }), String::new)
        }
        Verb::Heartbeat { store, older_than_s } => {
            let service = open_service(cx, &store.open(cx).await?).await?;
            let beat = service.heartbeat(older_than_s).await.map_err(Refusal::from)?;
            let (word, told) = match beat {
                Heartbeat::Fresh => ("fresh", "what is published is young enough"),
                Heartbeat::Renewed => ("renewed", "the time of the newest checkpoint"),
                Heartbeat::Pending => ("pending", "too few cosigners answer; the proof file waits for them"),
                Heartbeat::NoCosigner => ("no-cosigner", "nobody says how new a checkpoint is"),
            };
            cx.printer.step("Heartbeat", &format!("{word}: {told}"));
            cx.printer.result(&json!({ "heartbeat": word }), String::new)
        }
        Verb::Policy { store } => {
            let policy = open_service(cx, &store.open(cx).await?).await?.own_policy();
            cx.printer.result(&json!({ "policy": policy }), || policy.clone())
        }
        Verb::Configure { store, stdin } => {
            let service = open_service(cx, &store.open(cx).await?).await?;
            if stdin {
                let settings: Settings = serde_json::from_str(&read_stdin()?).map_err(|e| {
                    Failure::new(Code::BadConfiguration, format!("the settings cannot be read: {e}"))
                })?;
                match service.configure(settings).await? {
                    Some(seq) => cx.printer.step("Configured", &format!("as event {seq}")),
                    None => cx.printer.step("Configured", "already so"),
                }
            }
            let settings = service.settings();
            cx.printer
                .result(&*settings, || serde_json::to_string_pretty(&*settings).unwrap_or_default() + "\n")
        }
    }
}

async fn init(
    cx: &Context,
    store: &StoreArgs,
    settings: Settings,
    origin: Option<&str>,
    token_file: Option<&std::path::Path>,
) -> Result<(), Failure> {
    let opened = store.open(cx).await?;
    check_store(cx, &opened.store).await?;
    let signer = find_or_make_key(cx, &opened, origin).await?;
    let log_key = signer.verifier().to_string();
    let service = open_or_make(cx, &opened, &signer, &settings).await?;
    let token_file = token_file.map(|file| cx.path(file));
    let Some(token) = first_token(cx, &service, token_file.as_deref()).await? else {
        return Err(Failure::new(
            Code::AlreadyInitialised,
            format!("there is a registry in {}", opened.label),
        ));
    };
    cx.printer.step("Made", &format!("a registry in {}", opened.label));
    cx.printer
        .step("Key", &format!("of the log is in {}: keep it, and keep it secret", opened.key_file.display()));
    match token_file {
        Some(_) => cx.printer.result(&json!({"log_key": log_key}), || format!("{log_key}\n")),
        None => {
            let token = token.reveal();
            cx.printer
                .result(&json!({"log_key": log_key, "token": token}), || format!("{log_key}\n{token}\n"))
        }
    }
}

fn read_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().take(1 << 20).read_to_string(&mut text)?;
    if text.trim().is_empty() {
        return Err(Problem::new(Code::BadUsage, "nothing came from stdin").into());
    }
    Ok(text)
}
