//! What `raven pkg` asks for, as a file.

use drystone_schemas::{RavenOwner, RavenPackage, Role, layout, with_blank_seq};

use super::PackageState;

/// The file of a package.
pub(super) fn package_file(package: &PackageState) -> (String, Vec<u8>) {
    let document = &package.document;
    let first = document.owners.iter().find(|owner| owner.role == Role::Owner).or(document.owners.first());
    let owner = first.map(|owner| owner.account.to_string()).unwrap_or_default();
    let chosen = package.index.lines.iter().filter(|line| !line.yanked);
    let body = RavenPackage {
        name: document.name.to_string(),
        description: document.description.clone().unwrap_or_default(),
        latest_version: document.latest.as_ref().map(ToString::to_string).unwrap_or_default(),
        versions: chosen.map(|line| line.vers.to_string()).collect(),
        owner: RavenOwner { username: owner.clone(), user_id: owner },
        license: document.license.clone().unwrap_or_default(),
        repository: document.repository.clone(),
        homepage: document.homepage.clone(),
        keywords: document.keywords.clone(),
        downloads_total: 0,
        downloads_last_month: 0,
        created_at: document.created.clone(),
        updated_at: document.updated.clone(),
    };
    let json = serde_json::to_vec(&body).expect("texts and numbers can be written");
    (layout::api_package(&document.name), with_blank_seq(json, document.seq))
}
