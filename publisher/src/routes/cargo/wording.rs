//! Refusals in Cargo's words.
//!
//! Cargo prints the details of a refusal, joined by commas, and nothing else of it. So the hints follow the last
//! detail here, each on a line of its own and each once, and name commands of cargo's where there are any.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use drystone_schemas::{Code, Problem};

use super::super::App;
use crate::Refusal;

/// Rewords the refusal of an answer, if it is one.
pub(super) async fn reword(State(service): App, mut response: Response) -> Response {
    if let Some(refusal) = response.extensions_mut().remove::<Arc<Refusal>>() {
        let refusal = in_cargos_words(&refusal, &service.settings().public_url);
        response.extensions_mut().insert(Arc::new(refusal));
    }
    response
}

/// The refusal as cargo shows it best.
pub(in crate::routes) fn in_cargos_words(refusal: &Refusal, url: &str) -> Refusal {
    let mut refusal = refusal.clone();
    for problem in &mut refusal.problems {
        if let Some(hint) = hint(problem, url) {
            problem.hint = hint;
        }
    }
    let mut hints: Vec<&str> = Vec::new();
    for problem in &refusal.problems {
        if !hints.contains(&&*problem.hint) {
            hints.push(&problem.hint);
        }
    }
    let hints: String = hints.iter().map(|hint| format!("\nhint: {hint}")).collect();
    if let Some(last) = refusal.problems.last_mut() {
        last.detail.push_str(&hints);
    }
    refusal
}

/// The hint for somebody who uses cargo, where it is another one.
fn hint(problem: &Problem, url: &str) -> Option<String> {
    let hint = match problem.code {
        Code::TokenMissing | Code::TokenInvalid | Code::TokenExpired => {
            return Some(format!(
                "sign in with `cargo login --registry NAME`; {url}/me says where tokens come from"
            ));
        }
        Code::NotAnOwner => "ask an owner to run `cargo owner --add LOGIN --registry NAME`",
        Code::PackageNotFound => "check the spelling, or search with `cargo search --registry NAME`",
        Code::VersionNotFound => "list the versions with `cargo info --registry NAME`",
        Code::TryAgain => "run the command again: nothing is done twice",
        _ => return None,
    };
    Some(hint.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hint_once_after_the_last_detail() {
        let disagrees = |detail: &str| Problem::new(Code::ManifestDisagrees, detail).with_hint("agree");
        let refusal: Refusal =
            vec![disagrees("a"), Problem::new(Code::TokenExpired, "b"), disagrees("c")].into();
        let told = in_cargos_words(&refusal, "http://r.test").problems;
        let details: Vec<&str> = told.iter().map(|problem| &*problem.detail).collect();
        assert_eq!(
            details.join(", "),
            "a, b, c\nhint: agree\n\
             hint: sign in with `cargo login --registry NAME`; http://r.test/me says where tokens come from"
        );
    }
}
