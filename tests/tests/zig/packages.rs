//! Zig packages made for tests.

use flate2::{Compression, write::GzEncoder};

/// A fingerprint that belongs to a name.
pub(crate) fn fingerprint(name: &str, id: u32) -> u64 {
    let mut crc = flate2::Crc::new();
    crc.update(name.as_bytes());
    u64::from(crc.sum()) << 32 | u64::from(id)
}

/// A manifest; `rest` are further fields.
pub(crate) fn manifest(name: &str, vers: &str, rest: &str) -> String {
    let fingerprint = fingerprint(name, 0x5707_e001);
    format!(
        ".{{\n    .name = .{name},\n    .version = \"{vers}\",\n    .fingerprint = {fingerprint:#x},\n    .paths = .{{\"\"}},\n{rest}}}\n"
    )
}

/// A gzip-compressed tar archive of these files, at these paths.
pub(crate) fn tar_gz(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, &content[..]).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// The archive of a package of a manifest and a source file, below this directory; flat if it is empty.
pub(crate) fn package(root: &str, manifest: &str) -> Vec<u8> {
    let files = [("build.zig.zon", manifest), ("build.zig", "// build\n"), ("src/root.zig", "// root\n")];
    let below = |path: &str| if root.is_empty() { path.to_owned() } else { format!("{root}/{path}") };
    tar_gz(&files.map(|(path, text)| (below(path), text.as_bytes().to_vec())))
}
