//! The content of one entry, as a reader of its own.
//!
//! Invariant: it ends exactly where the entry's content ends; an archive that ends before is an error, not an end.

use std::io::{self, Read};

use crate::{
    error::{ArchiveError, Fault},
    gzip::Gunzip,
};

/// The content of one file.
pub(crate) struct Body<'a, R> {
    gunzip: &'a mut Gunzip<R>,
    left: u64,
    fault: Option<Fault>,
}

impl<'a, R: Read> Body<'a, R> {
    pub(crate) const fn new(gunzip: &'a mut Gunzip<R>, size: u64) -> Self {
        Self { gunzip, left: size, fault: None }
    }

    /// What went wrong below while somebody read, of which the reader saw only a text.
    pub(crate) const fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// Reads what is left, for its checksum.
    pub(crate) fn skip(&mut self) -> Result<(), Fault> {
        let mut sink = [0; 8 << 10];
        while self.left > 0 {
            self.next(&mut sink)?;
        }
        Ok(())
    }

    fn next(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.gunzip.read(&mut out[..wanted])?;
        if read == 0 {
            return Err(ArchiveError::Truncated { place: "inside a file" }.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.fault.is_some() {
            return Err(io::Error::other("the archive cannot be read any further"));
        }
        self.next(out).map_err(|fault| {
            let text = match &fault {
                Fault::Io(error) => error.to_string(),
                Fault::Archive(error) => error.to_string(),
            };
            self.fault = Some(fault);
            io::Error::other(text)
        })
    }
}
