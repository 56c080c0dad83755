//! The floor: nginx takes the same bytes by WebDAV and stores them, checking nothing and syncing nothing.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context;

use crate::server::{Running, free_address};

/// Starts nginx on a directory of its own.
pub(crate) fn start(folder: &Path) -> anyhow::Result<Running> {
    let address = free_address()?;
    for sub in ["files", "temporary"] {
        fs_err::create_dir_all(folder.join(sub))?;
    }
    let dir = folder.display();
    // Every kind of temporary file is named, because the built-in paths are another nginx's. Only a master that runs
    // as root reads `user`: its workers must reach a directory that is ours alone.
    let configuration = format!(
        "daemon off; user root; worker_processes 2; pid {dir}/pid; error_log {dir}/errors;
events {{}}
http {{
    access_log off;
    client_body_temp_path {dir}/temporary; proxy_temp_path {dir}/temporary; fastcgi_temp_path {dir}/temporary;
    uwsgi_temp_path {dir}/temporary; scgi_temp_path {dir}/temporary;
    keepalive_requests 1000000;
    server {{
        listen {address};
        root {dir}/files;
        location / {{ dav_methods PUT; create_full_put_path on; client_max_body_size 100m; }}
    }}
}}
"
    );
    let file = folder.join("nginx.conf");
    fs_err::write(&file, configuration)?;
    let child = Command::new("nginx")
        .arg("-e")
        .arg(folder.join("errors"))
        .arg("-c")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("`nginx`, with its WebDAV module, is the floor of this measurement")?;
    Running::when_listening(child, address)
}
