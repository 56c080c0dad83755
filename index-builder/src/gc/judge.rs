//! Whether a key is garbage, by what it says itself. Pure.

use drystone_log::{BundleId, Hash, TileId};
use drystone_schemas::{EventId, layout};

use super::{GcAges, GcClass};

/// What a key of the public area says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// A file named by its hash.
    Digest(GcClass, Hash),
    /// A partial tile or bundle.
    Partial(TileId, bool),
    /// Anything else: never garbage.
    Other,
}

/// Folders of files that are named by their hash.
pub(super) const BY_DIGEST: [(&str, GcClass); 4] = [
    ("o/", GcClass::Objects),
    ("log/state/shard/", GcClass::StateNodes),
    ("log/state/tile/0/", GcClass::StateNodes),
    ("log/state/tile/1/", GcClass::StateNodes),
];

impl Named {
    pub(super) fn of(key: &str) -> Self {
        for (folder, class) in BY_DIGEST {
            if let Some(hash) = key.strip_prefix(folder).and_then(|hex| Hash::from_hex(hex).ok()) {
                return Self::Digest(class, hash);
            }
        }
        let Some(path) = key.strip_prefix("log/").filter(|path| path.starts_with("tile/")) else {
            return Self::Other;
        };
        let bundle = BundleId::parse(path).map(|id| id.tile());
        let is_bundle = bundle.is_ok();
        match bundle.or_else(|_| TileId::parse(path)) {
            Ok(id) if !id.is_full() => Self::Partial(id, is_bundle),
            _ => Self::Other,
        }
    }
}

/// The largest tree that has this partial tile: one leaf more, and it is wider.
pub(super) fn largest_size_with(id: TileId) -> u64 {
    ((id.index() * 256 + u64::from(id.width()) + 1) << (8 * u32::from(id.level()))) - 1
}

/// The smallest tree in which the tile is full.
pub(super) fn size_when_full(id: TileId) -> u64 {
    ((id.index() + 1) * 256) << (8 * u32::from(id.level()))
}

/// The key of the full tile, or bundle, that replaces a partial one.
pub(super) fn full_key(id: TileId, is_bundle: bool) -> Option<String> {
    if is_bundle {
        BundleId::new(id.index(), 256).ok().map(|id| format!("log/{}", id.path()))
    } else {
        TileId::new(id.level(), id.index(), 256).ok().map(|id| format!("log/{}", id.path()))
    }
}

/// Folders of the vault whose files have had their time, with their class and age in seconds. A file's age is that of
/// the ULID in its name.
pub(super) fn by_age(ages: &GcAges) -> [(&'static str, GcClass, u64); 4] {
    [
        ("done/", GcClass::Outcomes, ages.outcomes_s),
        ("inbox/", GcClass::Inbox, ages.waiting_s),
        ("inbox-bad/", GcClass::UnreadableInbox, ages.unreadable_s),
        ("uploads/", GcClass::Uploads, ages.waiting_s),
    ]
}

/// When a file was named, in seconds since 1970, if its name begins with a ULID.
pub(super) fn named_at(key: &str) -> Option<u64> {
    let name = key.rsplit('/').next()?;
    let id = EventId::new(name.get(..26)?).ok()?;
    Some(id.unix_ms() / 1_000)
}

/// A file in the trash: when it was moved there, in seconds since 1970, whether from the vault, and its key there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trashed {
    pub(super) at: u64,
    pub(super) in_vault: bool,
    pub(super) key: String,
}

impl Trashed {
    pub(super) fn parse(key: &str) -> Option<Self> {
        let (at, rest) = key.strip_prefix(layout::TRASH)?.split_once('/')?;
        let (area, key) = rest.split_once('/')?;
        let in_vault = match area {
            "public" => false,
            "vault" => true,
            _ => return None,
        };
        Some(Self { at: at.parse().ok()?, in_vault, key: key.to_owned() })
    }

    pub(super) fn to_key(&self) -> String {
        layout::trash(self.at, self.in_vault, &self.key)
    }
}

#[cfg(test)]
mod tests {
    use drystone_log::tile::{entry_bundles, new_tiles};

    use super::*;

    #[test]
    fn a_partial_tile_belongs_to_the_sizes_that_have_it() {
        for size in [1, 2, 255, 256, 257, 511, 512, 600, 65_535, 65_536, 65_537, 66_000, 70_000] {
            let partial = new_tiles(0, size).into_iter().filter(|id| !id.is_full());
            for id in partial {
                let key = format!("log/{id}");
                assert_eq!(Named::of(&key), Named::Partial(id, false), "{key}");
                let last = largest_size_with(id);
                assert!(last >= size && new_tiles(0, last).contains(&id), "{key} in {last}");
                assert!(!new_tiles(0, last + 1).contains(&id), "{key} in {}", last + 1);
                let full = full_key(id, false).unwrap();
                let full_in = |size| new_tiles(0, size).iter().any(|id| format!("log/{id}") == full);
                assert!(full_in(size_when_full(id)) && !full_in(size_when_full(id) - 1), "{key}");
            }
            for id in entry_bundles(0, size) {
                let partial = id.width() < 256;
                let key = format!("log/{}", id.path());
                assert_eq!(matches!(Named::of(&key), Named::Partial(_, true)), partial, "{key}");
            }
        }
    }

    #[test]
    fn nothing_else_is_ever_garbage() {
        let hex = "ab".repeat(32);
        for key in [
            "config.json",
            "index/ht/tp/http",
            "packages/http.json",
            "log/checkpoint",
            "log/latest.tlog-proof",
            "log/checkpoints/7",
            "log/tile/0/000",
            "log/tile/entries/000",
            "log/trust/1",
            "o/not-a-digest",
            &format!("o/{}", hex.to_uppercase()),
            &format!("search/{hex}"),
        ] {
            assert_eq!(Named::of(key), Named::Other, "{key}");
        }
        let object = Named::of(&format!("o/{hex}"));
        assert!(matches!(object, Named::Digest(GcClass::Objects, _)));
    }

    #[test]
    fn ages_come_from_names() {
        // 2016-07-30T23:54:10Z, as in the ULID specification's example.
        assert_eq!(named_at("done/01ARZ3NDEKTSV4RRFFQ69G5FAV"), Some(1_469_922_850));
        assert_eq!(named_at("uploads/01ARZ3NDEKTSV4RRFFQ69G5FAV.ticket"), Some(1_469_922_850));
        assert_eq!(named_at("staging/recovered-13-abababababababababababab"), None);
        let trashed = Trashed { at: 17, in_vault: true, key: "staging/x".into() };
        assert_eq!(trashed.to_key(), "trash/17/vault/staging/x");
        assert_eq!(Trashed::parse("trash/17/vault/staging/x"), Some(trashed));
        assert_eq!(Trashed::parse("trash/17/elsewhere/x"), None);
    }
}
