//! What lies around the entries: the end of the tar archive, and the gzip member.

use drystone_schemas::Code;

use super::{Case, case, manifest};
use crate::raw::{GZIP_HEADER, Raw, archive, deflate, gzip, long_name, member, tar, zeros};

pub(super) fn ends() -> Vec<Case> {
    use Code::*;
    let plain = tar(&[manifest()]);
    let content = &plain[..plain.len() - 1024];
    let ended = |zeros: usize, after: &[u8]| gzip(&[content, &vec![0; zeros], after].concat());
    let second = Raw::file("p-1.0.0/b", b"x").bytes();
    vec![
        case("padded-like-gnu-tar", ended(10_240, b""), &[]),
        case("padded-for-ever", ended(1 << 20, b""), &[ArchiveTrailingData]),
        case("padded-by-half-a-block", ended(1024 + 256, b""), &[ArchiveTrailingData]),
        case("one-zero-block", ended(512, &[&second[..], &[0; 1024]].concat()), &[ArchiveTrailingData]),
        case("one-zero-block-and-end", ended(512, b""), &[ArchiveTruncated]),
        case("after-eof", ended(1024, &[&second[..], &[0; 1024]].concat()), &[ArchiveTrailingData]),
        case("garbage-after-eof", ended(1024, &[1; 512]), &[ArchiveTrailingData]),
        case("no-eof", ended(0, b""), &[ArchiveTruncated]),
        case("truncated-content", gzip(&plain[..530]), &[ArchiveTruncated]),
        case("truncated-padding", gzip(&plain[..600]), &[ArchiveTruncated]),
        case("truncated-header", gzip(&plain[..100]), &[ArchiveTruncated]),
        case("truncated-extension", gzip(&long_name("p/a").bytes()[..515]), &[ArchiveTruncated]),
        case("empty-tar", gzip(&[0; 1024]), &[EmptyArchive]),
        case("only-directories", archive(&[Raw::new(b"p-1.0.0/", b'5', b"")]), &[EmptyArchive]),
        case("empty-gzip", gzip(b""), &[ArchiveTruncated]),
    ]
}

pub(super) fn layers() -> Vec<Case> {
    use Code::*;
    let plain = tar(&[manifest()]);
    let good = gzip(&plain);
    let (body, trailer) = good[10..].split_at(good.len() - 18);
    let headed = |flags: u8, extra: &[u8]| {
        let mut header = GZIP_HEADER;
        header[3] = flags;
        member(&[&header, extra].concat(), &deflate(&plain), &plain)
    };
    let with_trailer = |at: usize| {
        let mut trailer = trailer.to_vec();
        trailer[at] ^= 1;
        [&GZIP_HEADER[..], body, &trailer].concat()
    };
    let mut other_method = good.clone();
    other_method[2] = 7;
    // Empty stored blocks, which expand to nothing, before the data: the window cannot be checked.
    let padded = [[0, 0, 0, 0xff, 0xff].repeat(20_000), deflate(&plain)].concat();
    vec![
        case("gz-name", headed(8, b"p-1.0.0.crate\0"), &[]),
        case("gz-endless-name", headed(8, &[b'a'; 2000]), &[GzipHeader]),
        case("gz-text-flag", headed(1, b""), &[GzipHeader]),
        case("gz-header-checksum", headed(2, b"\0\0"), &[GzipHeader]),
        case("gz-extra", headed(4, b"\x04\0abcd"), &[GzipHeader]),
        case("gz-comment", headed(16, b"hello\0"), &[GzipHeader]),
        case("gz-reserved", headed(0x80, b""), &[GzipHeader]),
        case("gz-method", other_method, &[GzipHeader]),
        case(
            "gz-two-members",
            [good.clone(), gzip(&tar(&[Raw::file("p-1.0.0/b", b"")]))].concat(),
            &[ArchiveTrailingData],
        ),
        case("gz-split-in-two", [gzip(&plain[..512]), gzip(&plain[512..])].concat(), &[ArchiveTrailingData]),
        case("gz-trailing-garbage", [&good[..], b"x"].concat(), &[ArchiveTrailingData]),
        case("gz-trailing-zeros", [&good[..], &[0; 512]].concat(), &[ArchiveTrailingData]),
        case("gz-then-zip", [&good[..], b"PK\x05\x06\0\0"].concat(), &[ArchiveTrailingData]),
        case("gz-bad-crc", with_trailer(0), &[ArchiveCorrupt]),
        case("gz-bad-length", with_trailer(4), &[ArchiveCorrupt]),
        case("gz-truncated", good[..good.len() - 4].to_vec(), &[ArchiveTruncated]),
        case("gz-bad-deflate", member(&GZIP_HEADER, &[7, 0xff, 0xff], b""), &[ArchiveCorrupt]),
        case("gz-padded-with-empty-blocks", member(&GZIP_HEADER, &padded, &plain), &[ArchiveCorrupt]),
        case("gz-distance-before-start", too_far(&plain), &[ArchiveCorrupt]),
        case("empty", Vec::new(), &[NotAnArchive]),
        case("plain-tar", plain.clone(), &[NotAnArchive]),
        case("zip", b"PK\x03\x04rest".to_vec(), &[NotAnArchive]),
        case("xz", b"\xfd7zXZ\0rest".to_vec(), &[NotAnArchive]),
        case("zstd", b"\x28\xb5\x2f\xfdrest".to_vec(), &[NotAnArchive]),
        case("gzip-of-something-else", gzip(&[b'x'; 2000]), &[NotAnArchive]),
        case("zip-and-tar", [&plain[..], b"PK\x05\x06", &[0; 18]].concat(), &[NotAnArchive]),
        case("bomb", archive(&[Raw::file("p-1.0.0/zeros", &vec![0; 64 << 20])]), &[UnpackedTooBig]),
        case(
            "bomb-of-directories",
            gzip(&Raw::new(b"p-1.0.0/d", b'5', b"").bytes().repeat(40_000)),
            &[DuplicatePath; 20],
        ),
        case("100001-empty-files", gzip(&empty_files(100_001)), &[TooManyFiles]),
        case(
            "one-byte-over-the-limit",
            archive(&[Raw::file("p-1.0.0/a", b"x").with(124, b"04000000001\0")]),
            &[UnpackedTooBig],
        ),
        case("10-mib-that-are-10-gib", bomb(), &[UnpackedTooBig]),
        case(
            "size-that-is-not-there",
            archive(&[Raw::file("p-1.0.0/a", b"x").with(124, b"07777777777\0")]),
            &[UnpackedTooBig],
        ),
    ]
}

/// The manifest and a file of 5 GiB of zeros, twice: 10 MiB of deflate data, all of it there and right.
fn bomb() -> Vec<u8> {
    let sized = |path: &str| Raw::file(path, b"").with(124, b"50000000000\0").bytes();
    let head = [manifest().bytes(), sized("p-1.0.0/a")].concat();
    zeros(&[(&head, 5 << 30), (&sized("p-1.0.0/b"), 5 << 30), (&[], 1024)])
}

fn empty_files(count: u32) -> Vec<u8> {
    (0..count).flat_map(|i| Raw::file(&format!("p-1.0.0/{i:06}"), b"").bytes()).collect()
}

/// A member whose deflate data refers to before its first byte, where some decoders read zeros: the rest of the first
/// path's field.
pub fn too_far(plain: &[u8]) -> Vec<u8> {
    let path = b"p-1.0.0/drystone.toml";
    let (mut bits, mut out) = (Vec::new(), Vec::new());
    // Huffman codes come with their first bit first, numbers with their last (RFC 1951, section 3.1.1).
    let mut code =
        |value: u32, length: u32| bits.extend((0..length).rev().map(|i| u8::from(value >> i & 1 == 1)));
    code(0b010, 3);
    for byte in path {
        code(0x30 + u32::from(*byte), 8);
    }
    // Length 79: symbol 277, base 67, four extra bits. Distance 300: symbol 16, base 257, seven extra bits.
    code(277 - 256, 7);
    code((79_u32 - 67).reverse_bits() >> 28, 4);
    code(16, 5);
    code((300_u32 - 257).reverse_bits() >> 25, 7);
    code(0, 7);
    // An empty stored block, which ends at a whole byte.
    code(0, 3);
    bits.resize(bits.len().next_multiple_of(8), 0);
    out.extend(bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |sum, bit| sum << 1 | bit)));
    out.extend([0, 0, 0xff, 0xff]);
    out.extend(deflate(&plain[100..]));
    member(&GZIP_HEADER, &out, plain)
}
