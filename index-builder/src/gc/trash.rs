//! The trash: what is needed and missing is put back from it, what has lain there long enough goes.

use drystone_storage::Key;

use super::{
    GcClass, GcError,
    judge::Trashed,
    marks::Marks,
    sweep::Sweep,
    transfer::{meta_of, transfer},
};
use drystone_schemas::layout;

impl Sweep<'_> {
    /// Looks at everything in the trash that this part of the collection can judge.
    pub(super) async fn tend_trash(&mut self, marks: &Marks) -> Result<(), GcError> {
        let vault = self.reader.store.vault.clone();
        let mut after = None;
        loop {
            let page = vault.list(layout::TRASH, after.as_deref()).await?;
            self.reader.progress.total(page.keys.len() as u64);
            for key in page.keys {
                self.tend(marks, &key).await?;
                self.reader.progress.step(key.as_str());
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn tend(&mut self, marks: &Marks, key: &Key) -> Result<(), GcError> {
        // What is no trash of ours was put there by others.
        let Some(trashed) = Trashed::parse(key.as_str()) else { return Ok(()) };
        let Some(needed) = marks.needs(trashed.in_vault, &trashed.key) else { return Ok(()) };
        if needed && self.put_back(key, &trashed).await? {
            return Ok(());
        }
        if trashed.at.saturating_add(self.options.ages.trash_s) <= self.now_s {
            self.remove_unfenced(GcClass::Trash, key).await?;
        }
        Ok(())
    }

    /// Puts a file back that is needed; `false` if it is in its place.
    async fn put_back(&mut self, key: &Key, trashed: &Trashed) -> Result<bool, GcError> {
        let store = self.reader.store;
        let area = if trashed.in_vault { &store.vault } else { &store.public };
        let place = Key::new(trashed.key.clone())?;
        if area.stat(&place).await?.is_some() {
            return Ok(false);
        }
        if self.options.apply {
            let meta = |bytes: &[u8]| match trashed.in_vault {
                true => drystone_storage::Meta::PRIVATE,
                false => meta_of(&trashed.key, bytes),
            };
            transfer(&*store.vault, key, &**area, place, meta).await?;
        }
        // The same file may lie in the trash twice.
        if !self.report.put_back.contains(&trashed.key) {
            self.report.put_back.push(trashed.key.clone());
        }
        Ok(true)
    }
}
