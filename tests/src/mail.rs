//! A mailer that keeps what it is given.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use drystone_publisher::{Mail, MailError, Mailer};

/// Every mail of a test, the newest last.
#[derive(Debug, Default)]
pub struct TestMailer {
    mails: Mutex<Vec<Mail>>,
    fails: AtomicBool,
}

#[async_trait]
impl Mailer for TestMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(MailError("the mail server is away".into()));
        }
        self.mails.lock().expect("no holder of this lock panics").push(mail.clone());
        Ok(())
    }
}

impl TestMailer {
    /// Takes no mail from now on, or takes it again.
    pub fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    /// The mails to an address.
    pub fn to(&self, address: &str) -> Vec<Mail> {
        let mails = self.mails.lock().expect("no holder of this lock panics");
        mails.iter().filter(|mail| mail.to.as_str() == address).cloned().collect()
    }

    /// The token in the newest mail to an address.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn token_to(&self, address: &str) -> String {
        let mail = self.to(address).pop().unwrap_or_else(|| panic!("no mail to {address}"));
        let token = mail.text.split_whitespace().find(|word| word.starts_with("dry_rec_"));
        token.unwrap_or_else(|| panic!("no token in `{}`", mail.text)).to_owned()
    }
}
