//! Whether a store wants the ETag in `If-Match` with its quotes, as RFC 9110 writes it, or bare, as some gateways do.
//!
//! Tags are kept bare. Quotes are sent until the store shows, once, that it takes only the other form: it refused a
//! quoted tag that is the object's current one, and accepts the same tag bare. Either form is the same condition, so
//! finding out never risks a lost update on a store that keeps conditions at all.

use std::sync::OnceLock;

use drystone_storage::Tag;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quoting {
    Quoted,
    Bare,
}

impl Quoting {
    /// A tag in this form.
    pub(crate) fn write(self, tag: &Tag) -> String {
        match self {
            Self::Quoted => format!("\"{}\"", tag.0),
            Self::Bare => tag.0.clone(),
        }
    }
}

/// What is known about a store.
#[derive(Debug, Default)]
pub(crate) struct Learned(OnceLock<Quoting>);

impl Learned {
    /// The form to send, which is only a guess until one has worked.
    pub(crate) fn guess(&self) -> Quoting {
        self.0.get().copied().unwrap_or(Quoting::Quoted)
    }

    /// Whether a refusal may be due to the form.
    pub(crate) fn is_open(&self) -> bool {
        self.0.get().is_none()
    }

    /// Notes that a tag in this form was accepted.
    pub(crate) fn works(&self, form: Quoting) {
        // A store keeps to its form; whoever found out first was right.
        let _ = self.0.set(form);
    }
}

/// An ETag as it came in a header, without quotes and weakness mark.
pub(crate) fn tag(etag: Option<&str>) -> Option<Tag> {
    let bare = etag?.trim_start_matches("W/").trim_matches('"');
    (!bare.is_empty()).then(|| Tag(bare.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_kept_bare_and_sent_in_the_form_that_works() {
        let bare = Tag("d41d-2".to_owned());
        for header in ["\"d41d-2\"", "d41d-2", "W/\"d41d-2\""] {
            assert_eq!(tag(Some(header)), Some(bare.clone()), "{header}");
        }
        assert_eq!((tag(None), tag(Some("\"\""))), (None, None));

        let learned = Learned::default();
        assert!(learned.is_open());
        assert_eq!(learned.guess().write(&bare), "\"d41d-2\"");
        learned.works(Quoting::Bare);
        learned.works(Quoting::Quoted);
        assert_eq!((learned.is_open(), learned.guess().write(&bare)), (false, "d41d-2".to_owned()));
    }
}
