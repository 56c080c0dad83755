//! The sample packages of `drystone serve --demo`, published over HTTP like any other.

use std::sync::Arc;

use drystone_archive::{PackFile, pack};
use drystone_client::{LocalArchive, Network, Registry, Secret, Token, publish::Intent};
use drystone_schemas::{Code, Format, Limits};

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

/// Publishes the samples, and says what to do with them.
pub async fn publish(cx: &Context, url: &str, token: &str) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let token = Token { secret: Secret::new(token), api: None };
    let registry = Registry::new(url, cx.http(), &folder.path().join("cache"), Network::Online, Some(token))?;
    for (name, version, manifest, source) in SAMPLES {
        let short = name.rsplit_once('/').map_or(name, |(_, short)| short);
        let text = format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\n{manifest}");
        let files = [
            PackFile::bytes("drystone.toml", false, text.as_bytes()),
            PackFile::bytes("source.txt", false, source.as_bytes()),
        ];
        let path = folder.path().join(format!("{short}-{version}.tar.gz"));
        let out = fs_err::File::create(&path)?;
        pack(out, &format!("{short}-{version}"), files, &Limits::default())
            .map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        let archive = LocalArchive::open(&path, Some(Format::Generic))?;
        let answer = registry.publish(&archive, Intent::Publish, Arc::new(|_| ())).await?;
        let seq = answer.seq.map(|seq| format!(" as event {seq}")).unwrap_or_default();
        cx.printer.step("Published", &format!("{name} {version}{seq}"));
    }
    cx.printer.more("try, in another terminal:");
    cx.printer.more(&format!("  export DRYSTONE_REGISTRY={url}"));
    cx.printer.more("  drystone info demo/card");
    cx.printer.more("  drystone init try && cd try && drystone add demo/card");
    cx.printer.more("  drystone verify demo/greeting@1.1.0");
    cx.printer.more("  drystone fsck $DRYSTONE_REGISTRY");
    Ok(())
}
