//! What an I/O error of the file system means to a caller.

use std::io::{self, ErrorKind};

use crate::StoreError;

/// Classifies an error of a call that has changed nothing so far.
pub(super) fn definite(op: &'static str, key: &(impl ToString + ?Sized), error: &io::Error) -> StoreError {
    let (key, detail) = (key.to_string(), error.to_string());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            StoreError::Full { op, key }
        }
        // The last three are keys that this file system cannot hold: below a file, in place of a directory, too long.
        ErrorKind::ReadOnlyFilesystem
        | ErrorKind::PermissionDenied
        | ErrorKind::CrossesDevices
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::InvalidFilename => StoreError::Refused { op, key, detail },
        ErrorKind::InvalidData => StoreError::Damaged { op, key, detail },
        _ => StoreError::Unavailable { op, key, detail },
    }
}

/// Whether the error says that no file has this name, whatever else lies there.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::InvalidFilename
    )
}

/// Copies an error, so that one failure can be the answer of many calls.
pub(super) fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_decisions() {
        use ErrorKind::*;
        for (kinds, expected) in [
            (vec![StorageFull, QuotaExceeded, FileTooLarge], "is full"),
            (
                vec![ReadOnlyFilesystem, PermissionDenied, NotADirectory, IsADirectory, InvalidFilename],
                "refuses",
            ),
            (vec![InvalidData], "is damaged"),
            (vec![NotFound, Interrupted, TimedOut, Other], "is unavailable"),
        ] {
            for kind in kinds {
                let told = definite("put_new", "a/b", &again(&io::Error::from(kind))).to_string();
                assert!(told.contains(expected) && told.contains("`put_new` on `a/b`"), "{kind:?}: {told}");
            }
        }
    }
}
