//! `.cargo_vcs_info.json`: from which commit `cargo package` took the sources.
//!
//! Format: the Cargo book, "cargo package", `.cargo_vcs_info.json` format. Nobody checked what it says: it is kept as a
//! fact of the archive, and one that cannot be read is none, as on the public registry.

use drystone_schemas::VcsInfo;
use serde::Deserialize;

/// Its name, in the root directory.
pub(crate) const FILE: &str = ".cargo_vcs_info.json";
/// Longest file that is read, in bytes: one commit and one path.
pub(crate) const BYTES_MAX: u64 = 4 << 10;

#[derive(Deserialize)]
struct Noted {
    git: Git,
    /// Versions of Cargo before 1.57 did not write it.
    #[serde(default)]
    path_in_vcs: String,
}

#[derive(Deserialize)]
struct Git {
    sha1: String,
    #[serde(default)]
    dirty: bool,
}

/// Reads the file; `None` stands for one that is too long. The error is a warning for the author.
pub(crate) fn read(bytes: Option<&[u8]>) -> Result<VcsInfo, String> {
    let bytes = bytes.ok_or_else(|| unusable(&format!("it has more than {BYTES_MAX} bytes")))?;
    let Noted { git, path_in_vcs } =
        serde_json::from_slice(bytes).map_err(|error| unusable(&error.to_string()))?;
    // A repository may name its commits by SHA-256; the field keeps its name.
    let is_commit = matches!(git.sha1.len(), 40 | 64) && git.sha1.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_commit {
        return Err(unusable("`sha1` is not the name of a commit"));
    }
    let leads_out = path_in_vcs.starts_with('/') || path_in_vcs.split('/').any(|part| part == "..");
    if leads_out || path_in_vcs.chars().any(char::is_control) {
        return Err(unusable("`path_in_vcs` is not a path below the repository"));
    }
    Ok(VcsInfo { git_sha1: git.sha1.to_ascii_lowercase(), path_in_vcs, dirty: git.dirty })
}

fn unusable(why: &str) -> String {
    format!("`{FILE}` is left out of the record: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "aac20b6e7e543e6dd4118b246c77225e3a3a1302";

    fn read_text(text: &str) -> Result<VcsInfo, String> {
        read(Some(text.as_bytes()))
    }

    #[test]
    fn what_cargo_writes_is_read() {
        let git = |more: &str| format!("{{\"git\":{{\"sha1\":\"{COMMIT}\"{more}}}");
        let info = |path: &str, dirty| VcsInfo { git_sha1: COMMIT.into(), path_in_vcs: path.into(), dirty };
        assert_eq!(read_text(&format!("{}}}", git(""))), Ok(info("", false)));
        let with_path = format!("{},\"path_in_vcs\":\"crates/a b\"}}", git(",\"dirty\":true"));
        assert_eq!(read_text(&with_path), Ok(info("crates/a b", true)));
        let shouted = format!("{{\"git\":{{\"sha1\":\"{}\"}}}}", COMMIT.to_uppercase());
        assert_eq!(read_text(&shouted), Ok(info("", false)));
    }

    #[test]
    fn what_cannot_be_meant_is_a_warning() {
        let path = |path: &str| format!("{{\"git\":{{\"sha1\":\"{COMMIT}\"}},\"path_in_vcs\":\"{path}\"}}");
        let bad = [
            String::new(),
            "{}".into(),
            "[]".into(),
            "{\"git\":{}}".into(),
            "{\"git\":{\"sha1\":\"main\"}}".into(),
            format!("{{\"git\":{{\"sha1\":\"{}\"}}}}", "g".repeat(40)),
            path("/etc"),
            path("a/../../b"),
            path("a\\nb"),
        ];
        for text in bad {
            let warning = read_text(&text).expect_err(&text);
            assert!(warning.starts_with("`.cargo_vcs_info.json` is left out"), "{warning}");
        }
        assert!(read(None).expect_err("too long").contains("4096"));
    }
}
