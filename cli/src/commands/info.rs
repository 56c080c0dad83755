//! `info`: what the registry's log says of a package or a release.

use std::fmt::Write as _;

use drystone_client::{ClientError, Registry, Snapshot};
use drystone_schemas::{
    Code, DepKind, Format, IndexLine, PackageDocument, PackageResponse, Problem, Role, Sha256Digest, VcsInfo,
    Version, VersionRecord, VersionResponse, ZigSnippet, layout,
};

use crate::{
    args,
    context::{Context, named_package, split_spec},
    failure::Failure,
    printer::human_bytes,
};

/// Longest reason of a yank or deprecation that is fetched, in bytes.
const REASON_BYTES_MAX: u64 = 64 << 10;
/// Longest record that is fetched, in bytes, where the registry does not take longer ones.
const RECORD_BYTES_MAX: u64 = 1 << 20;
/// How many versions are listed before the rest is counted.
const VERSIONS_SHOWN_MAX: usize = 10;

pub(super) async fn info(args: &args::Info, cx: &Context) -> Result<(), Failure> {
    let (text, version) = split_spec(&args.package);
    let registry = cx.registry_here()?;
    let snapshot = Snapshot::open(&registry, &cx.trust()?).await?;
    let name = named_package(cx, &snapshot, text).await?;
    let (document, index) = tokio::try_join!(snapshot.document(&name), snapshot.index(&name))?;
    let not_found = || ClientError::PackageNotFound { name: name.clone() };
    let (document, lines) = (document.ok_or_else(not_found)?, index.ok_or_else(not_found)?.file);
    match version {
        Some(version) => {
            let wanted =
                Version::new(version).map_err(|e| Failure::new(Code::InvalidVersion, e.to_string()))?;
            let line = lines.find(&wanted).cloned();
            let line = line.ok_or_else(|| ClientError::VersionNotFound { name, wanted: version.into() })?;
            let base = registry.url("").trim_end_matches('/').to_owned();
            let response = VersionResponse {
                yank_reason_text: reason(&registry, line.yank_reason.as_ref()).await?,
                vcs: vcs(&registry, &line).await?,
                checksum: line.cksum.clone(),
                download_url: download_url(&registry, &line)?,
                zig_snippet: line.zig.as_ref().map(|zig| ZigSnippet::new(zig, &line.cksum, &base)),
                line,
            };
            cx.printer.result(&response, || version_text(&document, &response))
        }
        None => {
            let given = document.deprecated.as_ref().and_then(|deprecated| deprecated.reason.as_ref());
            let deprecation = reason(&registry, given).await?;
            let response = PackageResponse { document, versions: lines.lines };
            let proof = format!("{} at size {}", snapshot.log().origin, snapshot.checkpoint().size());
            cx.printer.result(&response, || package_text(&response, deprecation.as_deref(), &proof))
        }
    }
}

fn download_url(registry: &Registry, line: &IndexLine) -> Result<String, Failure> {
    let digest = Sha256Digest::from_hex(&line.cksum)
        .map_err(|e| Problem::new(Code::UnexpectedAnswer, format!("`{}` {}: {e}", line.name, line.vers)))?;
    Ok(registry.url(&layout::object(&digest)))
}

/// Where the sources of a crate were, which its record says. A record that is not at hand says nothing.
async fn vcs(registry: &Registry, line: &IndexLine) -> Result<Option<VcsInfo>, Failure> {
    if line.format != Format::Cargo || line.deleted.is_some() {
        return Ok(None);
    }
    let bytes_max = registry.config().await?.settings.limits.record_bytes_max;
    match registry.object(&line.record, bytes_max.max(RECORD_BYTES_MAX)).await {
        Ok(bytes) => Ok(bytes.and_then(|bytes| serde_json::from_slice::<VersionRecord>(&bytes).ok()?.vcs)),
        Err(ClientError::OfflineMiss { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn vcs_text(vcs: &VcsInfo) -> String {
    let place = if vcs.path_in_vcs.is_empty() { String::new() } else { format!(", in {}", vcs.path_in_vcs) };
    let dirty = if vcs.dirty { ", with changes that were not committed" } else { "" };
    format!("git {}{place}{dirty}", vcs.git_sha1)
}

/// A reason is an object of its own, one JSON string, which may have been deleted.
async fn reason(registry: &Registry, digest: Option<&Sha256Digest>) -> Result<Option<String>, Failure> {
    let Some(digest) = digest else { return Ok(None) };
    match registry.object(digest, REASON_BYTES_MAX).await {
        Ok(bytes) => Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok())),
        Err(ClientError::OfflineMiss { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Lines of a label and what it says, where it says anything.
#[derive(Default)]
struct Sheet(String);

impl Sheet {
    fn line(&mut self, label: &str, value: impl AsRef<str>) {
        let value = clean(value.as_ref());
        if !value.is_empty() {
            let _ = writeln!(self.0, "  {label:<14} {value}");
        }
    }

    fn maybe(&mut self, label: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.line(label, value);
        }
    }
}

/// Text of strangers must not move the cursor or colour the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

fn package_text(response: &PackageResponse, deprecation: Option<&str>, proof: &str) -> String {
    let document = &response.document;
    let latest = document.latest.as_ref().map_or_else(String::new, |latest| format!(" {latest}"));
    let mut sheet = Sheet(format!("{}{latest}\n", document.name));
    describe(&mut sheet, document);
    if document.deprecated.is_some() {
        sheet.line("deprecated", deprecation.unwrap_or("yes"));
    }
    sheet.line("versions", versions(&response.versions));
    let owners = document.owners.iter().map(|owner| match owner.role {
        Role::Owner => owner.account.to_string(),
        Role::Collaborator => format!("{} (collaborator)", owner.account),
    });
    sheet.line("owners", owners.collect::<Vec<_>>().join(", "));
    sheet.line("aliases", document.aliases.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    sheet.line("created", &document.created);
    sheet.line("updated", format!("{} (event {})", document.updated, document.seq));
    if let Some(line) =
        document.latest.as_ref().and_then(|latest| response.versions.iter().find(|l| l.vers == *latest))
    {
        release(&mut sheet, line);
    }
    sheet.line("proved by", proof);
    paste(&mut sheet, document.zig.as_ref());
    sheet.0
}

/// What a Zig user pastes.
fn paste(sheet: &mut Sheet, snippet: Option<&ZigSnippet>) {
    let Some(snippet) = snippet else { return };
    let _ = writeln!(sheet.0, "\n  in build.zig.zon, or by `drystone add --zig`:\n");
    for line in snippet.zon.lines() {
        // Blanks at its beginning stay: they are the layout.
        let blanks = &line[..line.len() - line.trim_start().len()];
        let _ = writeln!(sheet.0, "    {blanks}{}", clean(line));
    }
}

fn version_text(document: &PackageDocument, response: &VersionResponse) -> String {
    let line = &response.line;
    let mut sheet = Sheet(format!("{} {}\n", line.name, line.vers));
    describe(&mut sheet, document);
    if let Some(code) = line.deleted {
        sheet.line("taken down", code.as_str());
    } else if line.yanked {
        sheet.line("yanked", response.yank_reason_text.as_deref().unwrap_or("yes"));
    }
    if let Some(latest) = document.latest.as_ref().filter(|latest| **latest != line.vers) {
        sheet.line("newest", latest.to_string());
    }
    sheet.line("published", format!("{} (event {})", line.pubtime, line.published));
    release(&mut sheet, line);
    sheet.maybe("sources", response.vcs.as_ref().map(vcs_text).as_ref());
    sheet.line("download", &response.download_url);
    paste(&mut sheet, response.zig_snippet.as_ref());
    sheet.0
}

fn describe(sheet: &mut Sheet, document: &PackageDocument) {
    let description =
        clean(document.description.as_deref().and_then(|text| text.lines().next()).unwrap_or(""));
    if !description.is_empty() {
        let _ = writeln!(sheet.0, "  {description}");
    }
    sheet.line("keywords", document.keywords.join(", "));
    sheet.maybe("license", document.license.as_ref());
    sheet.maybe("homepage", document.homepage.as_ref());
    sheet.maybe("repository", document.repository.as_ref());
    sheet.maybe("documentation", document.documentation.as_ref());
}

fn release(sheet: &mut Sheet, line: &IndexLine) {
    sheet.line("format", line.format.as_str());
    sheet.line("size", human_bytes(line.size));
    sheet.line("sha256", &line.cksum);
    if let Some(zig) = &line.zig {
        sheet.line("zig hash", &zig.hash);
        let deps = zig.dependencies.iter().map(|dep| dep.name.as_str());
        sheet.line("zig needs", deps.collect::<Vec<_>>().join(", "));
    }
    for dep in line.deps.iter().filter(|dep| dep.kind != DepKind::Dev) {
        let optional = if dep.optional { " (optional)" } else { "" };
        sheet.line("needs", format!("{} {}{optional}", dep.package_name(), dep.req));
    }
}

/// Newest first, with what is wrong with each.
fn versions(lines: &[IndexLine]) -> String {
    let mut lines: Vec<&IndexLine> = lines.iter().collect();
    lines.sort_by(|a, b| b.vers.cmp(&a.vers));
    let shown = lines.iter().take(VERSIONS_SHOWN_MAX).map(|line| match (line.deleted, line.yanked) {
        (Some(_), _) => format!("{} (taken down)", line.vers),
        (None, true) => format!("{} (yanked)", line.vers),
        (None, false) => line.vers.to_string(),
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    match lines.len().saturating_sub(VERSIONS_SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
