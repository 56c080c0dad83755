//! The floor: nginx takes the same bytes by WebDAV and stores them, checking nothing and syncing nothing; and it serves
//! the same files as they lie.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;

use crate::server::{Running, free_address};

/// nginx, until its handle goes.
pub(crate) struct Nginx {
    configuration: PathBuf,
    /// Its master.
    pub(crate) master: Running,
}

impl Drop for Nginx {
    /// Asks the master to end with its workers: a master that is killed leaves them behind.
    fn drop(&mut self) {
        let errors = self.configuration.with_file_name("errors");
        let stop = Command::new("nginx")
            .arg("-e")
            .arg(errors)
            .arg("-c")
            .arg(&self.configuration)
            .args(["-s", "stop"])
            .status();
        if stop.is_ok_and(|status| status.success()) {
            drop(self.master.wait());
        }
    }
}

/// Starts an nginx that takes uploads, in a directory of its own, which must outlive it.
pub(crate) fn start(folder: &Path) -> anyhow::Result<Nginx> {
    fs_err::create_dir_all(folder.join("files"))?;
    let takes = "dav_methods PUT; create_full_put_path on; client_max_body_size 100m;";
    start_on(folder, &folder.join("files"), takes)
}

/// Starts an nginx that serves the files of a directory with sendfile.
pub(crate) fn start_serving(folder: &Path, root: &Path) -> anyhow::Result<Nginx> {
    start_on(folder, root, "sendfile on; etag on; default_type text/plain;")
}

fn start_on(folder: &Path, root: &Path, location: &str) -> anyhow::Result<Nginx> {
    let address = free_address()?;
    fs_err::create_dir_all(folder.join("temporary"))?;
    let (dir, root) = (folder.display(), root.display());
    // Every kind of temporary file is named, because the built-in paths are another nginx's. Only a master that runs
    // as root reads `user`: its workers must reach a directory that is ours alone.
    let text = format!(
        "daemon off; user root; worker_processes 2; pid {dir}/pid; error_log {dir}/errors;
events {{}}
http {{
    access_log off;
    client_body_temp_path {dir}/temporary; proxy_temp_path {dir}/temporary; fastcgi_temp_path {dir}/temporary;
    uwsgi_temp_path {dir}/temporary; scgi_temp_path {dir}/temporary;
    keepalive_requests 1000000;
    server {{
        listen {address};
        root {root};
        location / {{ {location} }}
    }}
}}
"
    );
    let file = folder.join("nginx.conf");
    fs_err::write(&file, text)?;
    let child = Command::new("nginx")
        .arg("-e")
        .arg(folder.join("errors"))
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("`nginx`, with its WebDAV module, is the floor of this measurement")?;
    Ok(Nginx { configuration: file, master: Running::when_listening(child, address)? })
}
