//! A mailer that keeps what it is given.

use std::sync::Mutex;

use async_trait::async_trait;
use drystone_publisher::{Mail, MailError, Mailer};

/// Every mail of a test, the newest last.
#[derive(Debug, Default)]
pub struct TestMailer(Mutex<Vec<Mail>>);

#[async_trait]
impl Mailer for TestMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        self.0.lock().expect("no holder of this lock panics").push(mail.clone());
        Ok(())
    }
}

impl TestMailer {
    /// The mails to an address.
    pub fn to(&self, address: &str) -> Vec<Mail> {
        let mails = self.0.lock().expect("no holder of this lock panics");
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
