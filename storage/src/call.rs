//! The names of the storage calls, for wrappers that count or break them.

use std::fmt;

/// One kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// [`crate::Objects::put_new`], alone or in a round.
    PutNew,
    /// [`crate::Objects::get`].
    Get,
    /// [`crate::Objects::open`].
    Open,
    /// [`crate::Objects::stat`].
    Stat,
    /// [`crate::Objects::list`]; its key is the prefix.
    List,
    /// [`crate::Objects::delete`].
    Delete,
    /// [`crate::Objects::presign_put`].
    PresignPut,
    /// [`crate::Pointers::read`].
    Read,
    /// [`crate::Pointers::replace`], alone or in a round.
    Replace,
}

impl Op {
    /// The name of the method.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PutNew => "put_new",
            Self::Get => "get",
            Self::Open => "open",
            Self::Stat => "stat",
            Self::List => "list",
            Self::Delete => "delete",
            Self::PresignPut => "presign_put",
            Self::Read => "read",
            Self::Replace => "replace",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
