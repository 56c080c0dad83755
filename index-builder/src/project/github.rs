//! What clients of GitHub, Zepplin and Zion ask about one scoped package, as files.
//!
//! Owns: which packages have such files, and what is in them. Does not own: the shapes and where they lie.
//! Invariant: a function of the package's two files and of the settings in force at its last event; once a package has
//! these files it keeps them, so that a takedown is told here as well.

use drystone_schemas::{
    Format, GithubCommit, GithubDependencies, GithubDependency, GithubPackage, GithubRelease, GithubTag,
    IndexLine, ReleaseSummary, Settings, ZigSnippet, layout, sealed_json,
};

use super::PackageState;

/// The files of a package for API clients, by key; none unless the registry takes Zig packages and this is one with an
/// owner, or may have been: of a release that was taken down, the format is forgotten.
pub(crate) fn project_api(package: &PackageState, settings: &Settings) -> Vec<(String, Vec<u8>)> {
    let document = &package.document;
    let Some(files) = layout::github_files(&document.name) else { return Vec::new() };
    let concerned = |line: &IndexLine| line.format == Format::Zig || line.deleted.is_some();
    if !settings.formats.contains(&Format::Zig) || !package.index.lines.iter().any(concerned) {
        return Vec::new();
    }
    let releases: Vec<&IndexLine> =
        package.index.lines.iter().rev().filter(|line| is_offered(line)).collect();
    let seq = document.seq;
    let all = |of: &dyn Fn(&IndexLine) -> serde_json::Value| -> Vec<u8> {
        sealed_json(&releases.iter().map(|line| of(line)).collect::<Vec<_>>(), seq)
    };
    let newest = newest(&releases);
    vec![
        (files.package, sealed_json(&overview(package, newest, settings), seq)),
        (files.summaries, all(&|line| json(&summary(line, settings)))),
        (files.releases, all(&|line| json(&github_release(line, settings)))),
        (files.tags, all(&|line| json(&tag(line, settings)))),
        (files.dependencies, sealed_json(&dependencies(newest), seq)),
    ]
}

fn json<T: serde::Serialize>(value: &T) -> serde_json::Value {
    serde_json::to_value(value).expect("wire types have string keys and no fallible serialisers")
}

/// These clients know no yanked releases: what nobody should choose is not shown.
fn is_offered(line: &IndexLine) -> bool {
    line.format == Format::Zig && !line.yanked && line.deleted.is_none()
}

/// The release that a client gets that names none: the largest stable version, else the largest pre-release.
fn newest<'l>(releases: &[&'l IndexLine]) -> Option<&'l IndexLine> {
    let largest = |stable: bool| {
        let fits = releases.iter().filter(move |line| line.vers.is_prerelease() != stable);
        fits.max_by(|a, b| a.vers.cmp(&b.vers)).copied()
    };
    largest(true).or_else(|| largest(false))
}

/// Where the archive of a release is.
fn tarball_url(line: &IndexLine, settings: &Settings) -> String {
    format!("{}/o/{}", settings.public_url, line.cksum)
}

fn overview(package: &PackageState, newest: Option<&IndexLine>, settings: &Settings) -> GithubPackage {
    let document = &package.document;
    let short = document.name.short();
    GithubPackage {
        name: short.into(),
        owner: document.name.owner().unwrap_or_default().into(),
        repo: short.into(),
        full_name: document.name.to_string(),
        version: newest.map(|line| line.vers.to_string()).unwrap_or_default(),
        tarball_url: newest.map(|line| tarball_url(line, settings)).unwrap_or_default(),
        sha256_hash: newest.map(|line| line.cksum.clone()),
        published_at: newest.map(|line| line.pubtime.clone()),
        last_updated: document.updated.clone(),
        description: document.description.clone(),
        language: "zig".into(),
        license: document.license.clone(),
        homepage: document.homepage.clone(),
        homepage_url: document.homepage.clone(),
        github_url: document.repository.clone(),
        clone_url: document.repository.clone(),
        topics: document.keywords.clone(),
        created_at: document.created.clone(),
        updated_at: document.updated.clone(),
        private: false,
        stargazers_count: 0,
        download_count: 0,
        deprecated: document.deprecated.is_some(),
        zig: newest.and_then(|line| snippet(line, settings)),
    }
}

/// How to depend on a release from Zig.
pub(super) fn snippet(line: &IndexLine, settings: &Settings) -> Option<ZigSnippet> {
    line.zig.as_ref().map(|zig| ZigSnippet::new(zig, &line.cksum, &settings.public_url))
}

fn summary(line: &IndexLine, settings: &Settings) -> ReleaseSummary {
    let version = line.vers.to_string();
    ReleaseSummary {
        tag_name: version.clone(),
        name: version,
        published_at: line.pubtime.clone(),
        prerelease: line.vers.is_prerelease(),
        tarball_url: tarball_url(line, settings),
        zipball_url: tarball_url(line, settings),
    }
}

/// A release as GitHub and Zepplin describe it.
pub fn github_release(line: &IndexLine, settings: &Settings) -> GithubRelease {
    let version = line.vers.to_string();
    let url = tarball_url(line, settings);
    GithubRelease {
        id: line.published,
        tag_name: version.clone(),
        name: version,
        body: String::new(),
        draft: false,
        prerelease: line.vers.is_prerelease(),
        created_at: line.pubtime.clone(),
        published_at: line.pubtime.clone(),
        tarball_url: url.clone(),
        zipball_url: url.clone(),
        download_url: url,
        file_size: line.size,
        sha256: line.cksum.clone(),
        sha256_hash: line.cksum.clone(),
        download_count: 0,
        zig_hash: line.zig.as_ref().map(|zig| zig.hash.clone()),
    }
}

fn tag(line: &IndexLine, settings: &Settings) -> GithubTag {
    let url = tarball_url(line, settings);
    GithubTag {
        name: line.vers.to_string(),
        zipball_url: url.clone(),
        tarball_url: url.clone(),
        commit: GithubCommit { sha: line.cksum.clone(), url },
    }
}

fn dependencies(newest: Option<&IndexLine>) -> GithubDependencies {
    let of = newest.and_then(|line| line.zig.as_ref()).map_or(&[][..], |zig| &zig.dependencies);
    let dependencies = of.iter().map(|dep| GithubDependency {
        name: dep.name.clone(),
        version: dep.version().unwrap_or("*").to_owned(),
        optional: dep.lazy,
    });
    GithubDependencies { dependencies: dependencies.collect() }
}

#[cfg(test)]
mod tests {
    use drystone_schemas::{
        AccountId, DeleteCode, EventBody, PackageName, Sha256Digest, Version, VersionRecord, ZigDep,
        ZigRecord,
    };
    use serde_json::{Value, json};

    use super::super::{Draft, Touched, project};
    use super::*;

    fn record(name: &PackageName, vers: &str, format: Format) -> VersionRecord {
        let zig = ZigRecord {
            name: name.short().into(),
            hash: format!("{}-{vers}-{}", name.short(), "A".repeat(44)),
            legacy_hash: format!("1220{}", "0".repeat(64)),
            fingerprint: None,
            minimum_zig_version: Some("0.14.0".into()),
            paths: vec![".".into()],
            dependencies: vec![ZigDep {
                name: "dep".into(),
                url: Some("https://x.example".into()),
                hash: Some(format!("dep-2.0.0-{}", "B".repeat(44))),
                path: None,
                lazy: true,
            }],
        };
        let value = json!({
            "v": 1, "name": name, "vers": vers, "format": format, "tarball": Sha256Digest::of(vers.as_bytes()),
            "size": 7, "unpacked": 9, "deps": [], "features": {}, "files": [], "description": "d",
            "zig": (format == Format::Zig).then_some(zig),
        });
        serde_json::from_value(value).expect("it is a record")
    }

    struct World {
        touched: Touched,
        settings: Settings,
        seq: u64,
    }

    impl World {
        fn new() -> Self {
            Self {
                touched: Touched::default(),
                settings: Settings::new("demo", "https://pkg.example"),
                seq: 4,
            }
        }

        fn publish(&mut self, name: &str, vers: &str, format: Format) -> Vec<(String, Vec<u8>)> {
            let record = record(&PackageName::new(name).unwrap(), vers, format);
            let body = EventBody::Publish {
                pkg: record.name.clone(),
                vers: record.vers.clone(),
                tarball: record.tarball,
                record: Sha256Digest::of(&record.to_bytes()),
                sigs: Default::default(),
            };
            self.event(&body, Some(&record))
        }

        fn event(&mut self, body: &EventBody, record: Option<&VersionRecord>) -> Vec<(String, Vec<u8>)> {
            self.seq += 1;
            let actor = AccountId::new("acct:01JD3K6Q0Z0000000000000000").unwrap();
            let draft = Draft { seq: self.seq, time: 1_760_000_000, actor: &actor, body };
            project(&mut self.touched, &draft, record, &self.settings).expect("the event fits");
            project_api(self.touched.package.as_ref().unwrap(), &self.settings)
        }
    }

    fn value(files: &[(String, Vec<u8>)], key: &str) -> Value {
        let (_, bytes) = files.iter().find(|(found, _)| found == key).expect(key);
        serde_json::from_slice(bytes).expect("it is JSON")
    }

    fn tags(files: &[(String, Vec<u8>)]) -> Vec<String> {
        let releases = value(files, "api/v1/repos/acme/http/releases/index.json");
        releases.as_array().unwrap().iter().map(|r| r["tag_name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_package_in_every_shape() {
        let mut world = World::new();
        world.publish("Acme/http", "1.0.0", Format::Zig);
        let files = world.publish("Acme/http", "2.0.0-rc.1", Format::Zig);
        assert_eq!(tags(&files), ["2.0.0-rc.1", "1.0.0"]);
        let cksum = Sha256Digest::of(b"1.0.0").hex();
        let url = format!("https://pkg.example/o/{cksum}");
        let package = value(&files, "api/v1/packages/acme/http/index.json");
        assert_eq!(
            [&package["full_name"], &package["name"], &package["version"], &package["tarball_url"]],
            ["Acme/http", "http", "1.0.0", &*url]
        );
        assert_eq!(
            value(&files, "api/v1/packages/acme/http/releases/index.json")[1],
            json!({"tag_name": "1.0.0", "name": "1.0.0", "published_at": "2025-10-09T08:53:20Z", "prerelease": false,
                "tarball_url": url, "zipball_url": url})
        );
        assert_eq!(
            value(&files, "api/v1/packages/acme/http/dependencies/index.json"),
            json!({"dependencies": [{"name": "dep", "version": "2.0.0", "optional": true}]})
        );
        assert_eq!(value(&files, "api/v1/packages/acme/http/tags/index.json")[1]["commit"]["sha"], cksum);
        let document = world.touched.package.unwrap().document;
        assert_eq!(document.zig.unwrap().url, url);
    }

    #[test]
    fn what_is_yanked_or_taken_down_is_not_offered_and_no_two_states_are_equal() {
        let mut world = World::new();
        let published = world.publish("acme/http", "1.0.0", Format::Zig);
        let (pkg, vers) = (PackageName::new("acme/http").unwrap(), Version::new("1.0.0").unwrap());
        let yank = EventBody::Yank { pkg: pkg.clone(), vers: vers.clone(), reason: None };
        let unyank = EventBody::Unyank { pkg: pkg.clone(), vers: vers.clone() };
        let yanked = world.event(&yank, None);
        let back = world.event(&unyank, None);
        let again = world.event(&yank, None);
        let gone = world.event(&EventBody::Delete { pkg, vers, code: DeleteCode::Malware }, None);
        assert_eq!((tags(&yanked), tags(&back), tags(&gone)), (vec![], vec!["1.0.0".to_owned()], vec![]));
        let states = [published, yanked, back, again, gone];
        for (i, one) in states.iter().enumerate() {
            for other in &states[i + 1..] {
                assert!(one.iter().zip(other).all(|(a, b)| a.0 == b.0 && a.1 != b.1));
            }
        }
    }

    #[test]
    fn only_zig_packages_with_an_owner_have_these_files() {
        assert_eq!(World::new().publish("http", "1.0.0", Format::Zig), []);
        assert_eq!(World::new().publish("acme/http", "1.0.0", Format::Generic), []);
        let mut world = World::new();
        world.settings.formats = vec![Format::Cargo, Format::Generic];
        assert_eq!(world.publish("acme/http", "1.0.0", Format::Zig), []);
    }
}
