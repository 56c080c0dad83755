//! Many cargos at once.

use std::thread;

use drystone_schemas::IndexFile;
use drystone_tests::process::User;

use crate::cargo::{Cargo, serve};

const CROWD: usize = 8;

/// Eight people publish one version with eight contents at the same time.
#[test]
fn of_eight_cargos_with_one_version_exactly_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = serve(folder.path(), &[]);
    let crowd: Vec<Cargo> = (0..CROWD)
        .map(|i| {
            let cargo = Cargo::signed_in(&server.url, &token);
            let code = format!("pub const N: usize = {i};\n");
            cargo.write_crate("lib", "dry-lib", "1.0.0", "[workspace]\n", &code);
            cargo
        })
        .collect();
    let told: Vec<Result<String, String>> = thread::scope(|scope| {
        let publish =
            |cargo: &'_ Cargo| cargo.try_run("lib", &["publish", "--registry", "dry", "--no-verify"]);
        let threads: Vec<_> = crowd.iter().map(|cargo| scope.spawn(move || publish(cargo))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winners: Vec<usize> = (0..CROWD).filter(|i| told[*i].is_ok()).collect();
    let [winner] = winners[..] else { panic!("{told:?}") };
    for told in told.iter().filter_map(|told| told.as_ref().err()) {
        // Whoever looked after the winner was done was stopped by cargo itself.
        let late = told.contains("error: crate dry-lib@1.0.0 already exists on `dry` index");
        let lost = told.contains("(status 409 Conflict): `dry-lib` 1.0.0 exists with other bytes\n  hint: ");
        assert!(late || lost, "{told}");
    }
    let index = fs_err::read(folder.path().join("data/public/index/dr/y-/dry-lib")).unwrap();
    assert_eq!(IndexFile::parse(&index).unwrap().lines.len(), 1);
    // What others get is what the winner published.
    let depends = "[dependencies]\ndry-lib = { version = \"1\", registry = \"dry\" }\n[workspace]\n";
    let cargo = Cargo::new(&server.url);
    cargo.write_crate("app", "app", "0.1.0", depends, "");
    cargo.write("app/src/main.rs", format!("fn main() {{ assert_eq!(dry_lib::N, {winner}); }}\n"));
    cargo.run("app", &["run"]);
    let user = User::new(&server.url, None);
    assert_eq!(user.ok(folder.path(), &["fsck", &server.url]), "clean\n");
}
