//! The sample packages of `drystone serve --demo`, published over HTTP like any other.
//!
//! Owns: what they are: packages of all kinds, or, where the registry has a language, packages of that language. Does not
//! own: anything about publishing.

use std::{path::Path, sync::Arc};

use drystone_archive::{PackFile, pack, zig_package_hash};
use drystone_client::{LocalArchive, Network, Registry, Secret, Token, publish::Intent};
use drystone_schemas::{Code, Format, Language, Limits, ManifestFields, Settings};

use crate::{context::Context, failure::Failure};

/// Name, version, manifest below `[package]`, source.
const SAMPLES: [(&str, &str, &str, &str); 4] = [
    ("demo/greeting", "1.0.0", "description = \"Says hello\"\nlicense = \"MIT\"\n", "hello\n"),
    (
        "demo/greeting",
        "1.1.0",
        "description = \"Says hello, politely\"\nlicense = \"MIT\"\n",
        "good morning\n",
    ),
    ("demo/colour", "0.3.0", "description = \"Names of colours\"\nlicense = \"MIT\"\n", "red green blue\n"),
    (
        "demo/card",
        "2.0.0",
        "description = \"A card with a greeting in colour\"\nlicense = \"MIT\"\n\n[dependencies]\n\"demo/greeting\" = \"^1\"\n\"demo/colour\" = \"^0.3\"\n",
        "a card\n",
    ),
];

/// Packages of a language: what follows its name and a hyphen, what they are, and which of those before they need.
const OF_A_LANGUAGE: [(&str, &str, &[&str]); 10] = [
    ("text", "Strings and their parts", &[]),
    ("dates", "Days, times and zones", &[]),
    ("store", "Values that others watch", &[]),
    ("http", "Asks and answers over HTTP", &["text"]),
    ("i18n", "Messages in the reader's language", &["text", "dates"]),
    ("icons", "Two hundred small pictures", &[]),
    ("ui", "Buttons, lists and windows", &["store", "icons"]),
    ("router", "From addresses to pages", &["http", "ui"]),
    ("forms", "Fields, and what is wrong in them", &["ui", "i18n"]),
    ("starter", "A page to begin with", &["router", "forms"]),
];

/// Name and fingerprint (CRC-32 of the name, then an id) of each Zig package, and its source; each needs the one before.
const OF_ZIG: [(&str, u64, &str); 3] = [
    ("stone", 0x1920_052a_0000_0d01, "pub const weight = 7;\n"),
    ("wall", 0x13f5_eff6_0000_0d01, "pub const stones = 7;\n"),
    ("house", 0x67d5_399d_0000_0d01, "pub const walls = 4;\n"),
];

/// Publishes samples, one after the other.
struct Shop<'a> {
    cx: &'a Context,
    registry: Registry,
    folder: &'a Path,
}

/// Publishes the samples, and says what to do with them.
pub async fn publish(cx: &Context, url: &str, token: &str) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let token = Token { secret: Secret::new(token), api: None };
    let registry = Registry::new(url, cx.http(), &folder.path().join("cache"), Network::Online, Some(token))?;
    let settings = registry.config().await?.settings.clone();
    let shop = Shop { cx, registry, folder: folder.path() };
    let language = settings.language.as_ref();
    match language {
        None => {
            shop.publish_plain().await?;
            shop.publish_zig(&settings).await?;
        }
        Some(language) if can_be_written(&settings.generic_manifest, language) => {
            shop.publish_language(&settings.generic_manifest, language).await?;
        }
        Some(_) => cx.printer.more("there are no samples with this manifest"),
    }
    cx.printer.more("try, in another terminal:");
    cx.printer.more(&format!("  export DRYSTONE_REGISTRY={url}"));
    match language.map(|language| &*language.name) {
        None => {
            cx.printer.more("  drystone info demo/card");
            cx.printer.more("  drystone init try && cd try && drystone add demo/card");
            cx.printer.more("  drystone verify demo/greeting@1.1.0");
            cx.printer.more("  drystone info demo/house");
        }
        Some(name) => {
            let init = format!("drystone init try --language {name}");
            cx.printer.more(&format!("  {init} && cd try && drystone add {name}-starter"));
        }
    }
    cx.printer.more("  drystone fsck $DRYSTONE_REGISTRY");
    Ok(())
}

/// Whether a manifest of `[package]` and `[dependencies]` in TOML is one of the language.
fn can_be_written(manifest: &str, language: &Language) -> bool {
    manifest.ends_with(".toml") && language.fields == ManifestFields::default()
}

impl Shop<'_> {
    async fn publish_plain(&self) -> Result<(), Failure> {
        for (name, version, manifest, source) in SAMPLES {
            let text = format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\n{manifest}");
            let files = [("drystone.toml", &*text), ("source.txt", source)];
            let short = name.rsplit_once('/').map_or(name, |(_, short)| short);
            let packed = self.pack(name, version, &format!("{short}-{version}"), &files)?;
            self.put(LocalArchive::open(&packed, Some(Format::Generic))?, name, version).await?;
        }
        Ok(())
    }

    async fn publish_language(&self, manifest: &str, language: &Language) -> Result<(), Failure> {
        for (word, about, needs) in OF_A_LANGUAGE {
            let (name, version) = (format!("{}-{word}", language.name), "0.1.0");
            let mut text = format!(
                "[package]\nname = \"{name}\"\nversion = \"{version}\"\nauthors = [\"The demo\"]\ndescription = \"{about}\"\n\
                 license = \"MIT\"\nkeywords = [\"{word}\"]\n\n[dependencies]\n"
            );
            for need in needs {
                text += &format!("{}-{need} = \"^0.1\"\n", language.name);
            }
            let source = language.entry.first().cloned().unwrap_or_else(|| format!("src/{word}.txt"));
            let root = if language.flat { String::new() } else { format!("{name}-{version}") };
            let packed = self.pack(&name, version, &root, &[(manifest, &text), (&source, about)])?;
            self.put(LocalArchive::open(&packed, Some(Format::Generic))?, &name, version).await?;
        }
        Ok(())
    }

    async fn publish_zig(&self, settings: &Settings) -> Result<(), Failure> {
        if !settings.formats.contains(&Format::Zig) {
            return Ok(());
        }
        let mut dependency = String::new();
        for (name, fingerprint, source) in OF_ZIG {
            let version = "0.1.0";
            let zon = format!(
                ".{{\n    .name = .{name},\n    .version = \"{version}\",\n    .fingerprint = {fingerprint:#x},\n    \
                 .minimum_zig_version = \"0.14.0\",\n    .paths = .{{\"\"}},\n    .dependencies = .{{\n{dependency}    }},\n}}\n"
            );
            let build = format!(
                "const std = @import(\"std\");\n\npub fn build(b: *std.Build) void {{\n    _ = b.addModule(\"{name}\", .{{ .root_source_file = b.path(\"root.zig\") }});\n}}\n"
            );
            let root = format!("{name}-{version}");
            let files = [("build.zig", &*build), ("build.zig.zon", &*zon), ("root.zig", source)];
            let packed = self.pack(name, version, &root, &files)?;
            let archive = LocalArchive {
                owner: Some("demo".into()),
                ..LocalArchive::open(&packed, Some(Format::Zig))?
            };
            let hash = zig_package_hash(fs_err::File::open(&packed)?, &Limits::default())
                .map_err(|problems| Failure::new(Code::Internal, format!("{problems:?}")))?;
            dependency = format!(
                "        .{name} = .{{\n            .url = \"{}/o/{}\",\n            .hash = \"{}\",\n        }},\n",
                settings.public_url,
                archive.digest.hex(),
                hash.hash
            );
            self.put(archive, &format!("demo/{name}"), version).await?;
        }
        Ok(())
    }

    fn pack(
        &self,
        name: &str,
        version: &str,
        root: &str,
        files: &[(&str, &str)],
    ) -> Result<std::path::PathBuf, Failure> {
        let path = self.folder.join(format!("{}-{version}.tar.gz", name.replace('/', "-")));
        let files = files.iter().map(|(path, text)| PackFile::bytes(*path, false, text.as_bytes()));
        pack(fs_err::File::create(&path)?, root, files, &Limits::default())
            .map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        Ok(path)
    }

    async fn put(&self, archive: LocalArchive, name: &str, version: &str) -> Result<(), Failure> {
        let answer = self.registry.publish(&archive, Intent::Publish, Arc::new(|_| ())).await?;
        let seq = answer.seq.map(|seq| format!(" as event {seq}")).unwrap_or_default();
        self.cx.printer.step("Published", &format!("{name} {version}{seq}"));
        Ok(())
    }
}
