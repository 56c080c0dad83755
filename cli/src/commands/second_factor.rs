//! `auth second-factor`.

use drystone_client::Registry;
use drystone_schemas::{
    Code, ConfirmSecondFactorRequest, NewSecondFactorRequest, Problem, RecoveryCodesResponse,
    SecondFactorRequest, SecretText,
};

use super::{session, yank::told};
use crate::{
    args::{SecondFactor, SecondFactorVerb as Verb},
    context::Context,
    failure::Failure,
};

pub(super) async fn run(args: &SecondFactor, stored: &Registry, cx: &Context) -> Result<(), Failure> {
    let Some(username) = &args.username else {
        if let Verb::Status = args.verb {
            return status(stored, cx).await;
        }
        let problem = Problem::new(Code::BadUsage, "this takes the password, from stdin");
        return Err(problem.with_hint("add `--username LOGIN < FILE`").into());
    };
    let password = session::read_secret().await?;
    let signed_in = session::session_by(username, &password, args.code.as_deref(), stored.base(), cx).await?;
    let done = act(&signed_in, &args.verb, password, cx).await;
    signed_in.sign_out().await?;
    done
}

async fn act(registry: &Registry, verb: &Verb, password: SecretText, cx: &Context) -> Result<(), Failure> {
    let both = |code: &str, password| SecondFactorRequest { password, code: SecretText::new(code) };
    match verb {
        Verb::Status => status(registry, cx).await,
        Verb::Enable => {
            let begun = registry.begin_second_factor(&NewSecondFactorRequest { password }).await?;
            cx.printer.result(&begun, || format!("{}\n{}\n", begun.secret.expose(), begun.uri.expose()))?;
            cx.printer.hint("give it to your app, then run `drystone auth second-factor confirm CODE`");
            Ok(())
        }
        Verb::Confirm(args) => {
            let asked = ConfirmSecondFactorRequest { code: SecretText::new(&args.next) };
            codes(&registry.confirm_second_factor(&asked).await?, cx)
        }
        Verb::RecoveryCodes(args) => {
            codes(&registry.renew_recovery_codes(&both(&args.next, password)).await?, cx)
        }
        Verb::Disable(args) => {
            told(cx, &registry.end_second_factor(&both(&args.next, password)).await?, None)
        }
    }
}

async fn status(registry: &Registry, cx: &Context) -> Result<(), Failure> {
    let there = registry.second_factor().await?;
    cx.printer.result(&there, || match &there.since {
        Some(since) => {
            format!("on since {since}; {} recovery codes are left\n", there.recovery_codes_left)
        }
        None => "off\n".into(),
    })
}

fn codes(made: &RecoveryCodesResponse, cx: &Context) -> Result<(), Failure> {
    cx.printer
        .result(made, || made.recovery_codes.iter().map(|code| format!("{}\n", code.expose())).collect())?;
    cx.printer
        .hint("keep these where the app is not: each stands in for it once, and they are not shown again");
    Ok(())
}
