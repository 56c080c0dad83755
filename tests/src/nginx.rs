//! nginx as operators run it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// nginx on the public directory, with the configuration that operators get.
pub struct Nginx {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub url: String,
}

impl Nginx {
    /// Starts it on a port, with its own files below `folder`; `api` is the address of the publish function.
    pub fn start(folder: &Path, public: &Path, port: u16, api: &str) -> Self {
        let template = fs_err::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/nginx/drystone.conf.template"),
        );
        let server = template
            .expect("the template is checked in")
            .replace("${DRYSTONE_LISTEN}", &format!("127.0.0.1:{port}"))
            .replace("${DRYSTONE_PUBLIC}", &public.display().to_string())
            .replace("${DRYSTONE_API}", api);
        let work = folder.join("nginx");
        fs_err::create_dir_all(work.join("logs")).expect("a test may make a directory");
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", work.display()))
            .collect();
        let log = work.join("logs/error.log").display().to_string();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log {log};\nevents {{}}\nhttp {{\nlog_format asked \"$request_method $request_uri $status\";\naccess_log {0}/logs/access.log asked;\n{temporary}{server}\n}}\n",
            work.display()
        );
        fs_err::write(work.join("nginx.conf"), config).expect("a test may write a file");
        let child = Command::new("nginx")
            .args([
                "-p".as_ref(),
                work.as_os_str(),
                "-e".as_ref(),
                log.as_ref(),
                "-c".as_ref(),
                work.join("nginx.conf").as_os_str(),
            ])
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        Self { child, log: work.join("logs/access.log"), url: format!("http://127.0.0.1:{port}") }
    }

    /// Every request so far: method, address and status.
    pub fn requests(&self) -> Vec<String> {
        let log = fs_err::read_to_string(&self.log).expect("nginx keeps a log");
        log.lines().map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
