//! Rows about what lies around the entries: the end of the tar archive, and the gzip member.

use drystone_schemas::Code;

use crate::{
    build::{GZIP_HEADER, Raw, archive, deflate, gzip, long_name, member, tar},
    hostile::{Row, manifest, row},
};

pub(crate) fn ends() -> Vec<Row> {
    use Code::*;
    let plain = tar(&[manifest()]);
    let content = &plain[..plain.len() - 1024];
    let ended = |zeros: usize, after: &[u8]| gzip(&[content, &vec![0; zeros], after].concat());
    let second = Raw::file("p-1.0.0/b", b"x").bytes();
    vec![
        row("padded-like-gnu-tar", ended(10_240, b""), &[]),
        row("padded-for-ever", ended(1 << 20, b""), &[ArchiveTrailingData]),
        row("padded-by-half-a-block", ended(1024 + 256, b""), &[ArchiveTrailingData]),
        row("one-zero-block", ended(512, &[&second[..], &[0; 1024]].concat()), &[ArchiveTrailingData]),
        row("one-zero-block-and-end", ended(512, b""), &[ArchiveTruncated]),
        row("after-eof", ended(1024, &[&second[..], &[0; 1024]].concat()), &[ArchiveTrailingData]),
        row("garbage-after-eof", ended(1024, &[1; 512]), &[ArchiveTrailingData]),
        row("no-eof", ended(0, b""), &[ArchiveTruncated]),
        row("truncated-content", gzip(&plain[..530]), &[ArchiveTruncated]),
        row("truncated-padding", gzip(&plain[..600]), &[ArchiveTruncated]),
        row("truncated-header", gzip(&plain[..100]), &[ArchiveTruncated]),
        row("truncated-extension", gzip(&long_name("p/a").bytes()[..515]), &[ArchiveTruncated]),
        row("empty-tar", gzip(&[0; 1024]), &[EmptyArchive]),
        row("only-directories", archive(&[Raw::new(b"p-1.0.0/", b'5', b"")]), &[EmptyArchive]),
        row("empty-gzip", gzip(b""), &[ArchiveTruncated]),
    ]
}

pub(crate) fn layers() -> Vec<Row> {
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
        row("gz-name", headed(8, b"p-1.0.0.crate\0"), &[]),
        row("gz-endless-name", headed(8, &[b'a'; 2000]), &[GzipHeader]),
        row("gz-text-flag", headed(1, b""), &[GzipHeader]),
        row("gz-header-checksum", headed(2, b"\0\0"), &[GzipHeader]),
        row("gz-extra", headed(4, b"\x04\0abcd"), &[GzipHeader]),
        row("gz-comment", headed(16, b"hello\0"), &[GzipHeader]),
        row("gz-reserved", headed(0x80, b""), &[GzipHeader]),
        row("gz-method", other_method, &[GzipHeader]),
        row(
            "gz-two-members",
            [good.clone(), gzip(&tar(&[Raw::file("p-1.0.0/b", b"")]))].concat(),
            &[ArchiveTrailingData],
        ),
        row("gz-split-in-two", [gzip(&plain[..512]), gzip(&plain[512..])].concat(), &[ArchiveTrailingData]),
        row("gz-trailing-garbage", [&good[..], b"x"].concat(), &[ArchiveTrailingData]),
        row("gz-trailing-zeros", [&good[..], &[0; 512]].concat(), &[ArchiveTrailingData]),
        row("gz-then-zip", [&good[..], b"PK\x05\x06\0\0"].concat(), &[ArchiveTrailingData]),
        row("gz-bad-crc", with_trailer(0), &[ArchiveCorrupt]),
        row("gz-bad-length", with_trailer(4), &[ArchiveCorrupt]),
        row("gz-truncated", good[..good.len() - 4].to_vec(), &[ArchiveTruncated]),
        row("gz-bad-deflate", member(&GZIP_HEADER, &[7, 0xff, 0xff], b""), &[ArchiveCorrupt]),
        row("gz-padded-with-empty-blocks", member(&GZIP_HEADER, &padded, &plain), &[ArchiveCorrupt]),
        row("gz-distance-before-start", too_far(&plain), &[ArchiveCorrupt]),
        row("empty", Vec::new(), &[NotAnArchive]),
        row("plain-tar", plain.clone(), &[NotAnArchive]),
        row("zip", b"PK\x03\x04rest".to_vec(), &[NotAnArchive]),
        row("xz", b"\xfd7zXZ\0rest".to_vec(), &[NotAnArchive]),
        row("zstd", b"\x28\xb5\x2f\xfdrest".to_vec(), &[NotAnArchive]),
        row("gzip-of-something-else", gzip(&[b'x'; 2000]), &[NotAnArchive]),
        row("bomb", archive(&[Raw::file("p-1.0.0/zeros", &vec![0; 64 << 20])]), &[UnpackedTooBig]),
        row(
            "bomb-of-directories",
            gzip(&Raw::new(b"p-1.0.0/d", b'5', b"").bytes().repeat(40_000)),
            &[DuplicatePath; 20],
        ),
        row(
            "size-that-is-not-there",
            archive(&[Raw::file("p-1.0.0/a", b"x").with(124, b"07777777777\0")]),
            &[UnpackedTooBig],
        ),
    ]
}

/// A member whose deflate data refers to before its first byte, where some decoders read zeros: the rest of the first
/// path's field.
pub(crate) fn too_far(plain: &[u8]) -> Vec<u8> {
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
