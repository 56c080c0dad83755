//! Our package hash is zig's own, of packages of every shape.

use drystone_archive::{inspect, repack_zig, zig_package_hash};
use drystone_schemas::{Format, Limits, PublishMetadata};
use drystone_tests::zig::{VERSIONS, Zig};

use super::packages::{fingerprint, tar_gz};

/// Packages that are compared.
const PACKAGES: u64 = 220;
/// Every which of them is compared by all versions of zig, not only by the oldest.
const BY_ALL: u64 = 44;

/// xorshift64*: enough to make packages differ.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }

    fn word(&mut self, len: u64) -> String {
        (0..len).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }
}

struct Made {
    archive: Vec<u8>,
    has_manifest: bool,
    canonical: bool,
}

fn make(seed: u64) -> Made {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (seed + 1));
    // The limits of names and versions come round again and again.
    let name_len = if seed.is_multiple_of(7) { 32 } else { 1 + random.below(20) };
    let name = random.word(name_len);
    let vers = match seed % 6 {
        0 => "0.0.0".to_owned(),
        1 => format!("1.2.3-rc.{}", random.below(99)),
        2 => format!("10.20.30+b{}", random.below(99)),
        3 => format!("1.0.0-{}", random.word(26)),
        4 => format!("{}.{}.{}", random.below(999), random.below(999), random.below(999)),
        _ => "1.0.0-a.b+c.d".to_owned(),
    };
    let directories = ["", "src/", "src/deep/er/and/deep/er/still/", "a b/", "x.y/z/", "été/"];
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for i in 0..1 + random.below(12) {
        let long = if random.below(8) == 0 { random.word(120) } else { String::new() };
        let path = format!("{}{long}{}{i}.zig", random.pick(&directories), random.word(3));
        let len = [0, 1, 511, 512, 513, 8000, 70_000][random.below(7) as usize];
        files.push((path, (0..len).map(|_| random.below(256) as u8).collect()));
    }
    let paths = match seed % 5 {
        0 => "\"\"".to_owned(),
        1 => "\"src\", \"build.zig.zon\"".to_owned(),
        2 => format!("\"./src//deep/\", \"{}\", \"nothing\"", files[0].0),
        3 => "\".\"".to_owned(),
        // At least one file: of a package without any, zig cannot rename the directory.
        _ => "\"build.zig.zon\", \"src/deep/er\", \"x.y/../été\", \"../up\", \"/abs\"".to_owned(),
    };
    let has_manifest = !seed.is_multiple_of(11);
    if has_manifest {
        let id = 1 + random.below(u64::from(u32::MAX) - 1) as u32;
        let fingerprint = fingerprint(&name, id);
        let text = format!(
            "// {seed}\n.{{ .name = .{name}, .version = \"{vers}\", .fingerprint = {fingerprint:#x}, .paths = .{{ {paths} }} }}\n"
        );
        let place = random.below(files.len() as u64 + 1) as usize;
        files.insert(place, ("build.zig.zon".into(), text.into_bytes()));
    }
    let canonical = has_manifest && seed.is_multiple_of(3);
    let root = match seed % 3 {
        0 => format!("{name}-{vers}/"),
        1 => "anything/".into(),
        _ => String::new(),
    };
    let below: Vec<_> = files.into_iter().map(|(path, content)| (format!("{root}{path}"), content)).collect();
    Made { archive: tar_gz(&below), has_manifest, canonical }
}

/// The hash in the record, as it would be published.
fn published(made: &Made) -> String {
    let limits = Limits::default();
    let expected = PublishMetadata { format: Some("zig".into()), ..PublishMetadata::default() };
    let record = |bytes: &[u8]| {
        let inspected = inspect(bytes, &limits, "drystone.toml", &Format::ALL, &expected);
        inspected.unwrap_or_else(|problems| panic!("{problems:?}")).record.zig.unwrap()
    };
    if made.canonical {
        return record(&made.archive).hash;
    }
    let scratch = std::io::Cursor::new(Vec::new());
    let packed = repack_zig(&*made.archive, &limits, scratch, Vec::new()).unwrap();
    // Packing what is packed changes nothing.
    let again = repack_zig(&*packed, &limits, std::io::Cursor::new(Vec::new()), Vec::new()).unwrap();
    assert_eq!(again, packed);
    record(&packed).hash
}

fn zigs(zig: &Zig, folder: &std::path::Path, archive: &std::path::Path) -> String {
    let output = zig.command().current_dir(folder).arg("fetch").arg(archive).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", archive.display());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_hash_of_every_package_is_zigs_own() {
    let zigs_found: Vec<Zig> = VERSIONS.into_iter().filter_map(Zig::find).collect();
    let folder = tempfile::tempdir().unwrap();
    // Zig since 0.16 fetches only for a project.
    fs_err::write(folder.path().join("build.zig"), "").unwrap();
    for seed in 0..PACKAGES {
        let made = make(seed);
        let ours =
            zig_package_hash(&*made.archive, &Limits::default()).unwrap_or_else(|e| panic!("{seed}: {e:?}"));
        assert!(ours.legacy.starts_with("1220") && ours.legacy.len() == 68);
        if made.has_manifest {
            assert_eq!(published(&made), ours.hash, "{seed}");
        } else {
            assert!(ours.hash.starts_with("N-V-__8AA"), "{seed}: {}", ours.hash);
        }
        let archive = folder.path().join(format!("{seed}.tar.gz"));
        fs_err::write(&archive, &made.archive).unwrap();
        let count = if seed % BY_ALL == 0 { VERSIONS.len() } else { 1 };
        for zig in zigs_found.iter().take(count) {
            assert_eq!(zigs(zig, folder.path(), &archive), ours.hash, "{seed}: {zig:?}");
        }
        fs_err::remove_file(&archive).unwrap();
    }
}
