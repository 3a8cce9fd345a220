//! The two servers that are compared: ours and nginx, each on free ports, stopped when dropped.
use crate::bench::load;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A running server.
pub struct Server {
    child: Child,
    /// HTTP/1.1; ours speaks HTTP/2 there too.
    pub http1: SocketAddr,
    /// HTTP/2 with prior knowledge.
    pub http2: SocketAddr,
}

impl Server {
    /// The process whose tree is measured.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM lets nginx's master end its workers; whoever does not listen to it is killed.
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").arg(&pid).status().is_ok_and(|status| status.success());
        let deadline = Instant::now() + Duration::from_secs(if asked { 5 } else { 0 });
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                self.child.kill().ok();
                self.child.wait().ok();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// `altocast serve ARGS` on free ports. Returns once `path` was answered, with the time from spawn to that answer.
pub fn altocast(program: &Path, args: &[&str], path: &str) -> Result<(Server, Duration)> {
    let (public, admin) = (free()?, free()?);
    let mut command = Command::new(program);
    command.arg("serve").args(args).env("ALTOCAST_SERVER_LISTEN", public.to_string()).env("ALTOCAST_ADMIN_LISTEN", admin.to_string());
    let started = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("altocast")?;
    let server = Server { child, http1: public, http2: public };
    answered(&server, path)?;
    Ok((server, started.elapsed()))
}

/// nginx in front of the files of a folder, as fast as it serves files: sendfile, no log, `NAME.gz` beside `NAME`.
pub fn nginx(files: &Path, path: &str) -> Result<Server> {
    let (http1, http2) = (free()?, free()?);
    let folder = files.parent().context("the files lie in a folder")?;
    let scratch = folder.join("nginx");
    fs::create_dir_all(&scratch)?;
    // As root nginx would let its workers be nobody, who need not be able to read our files.
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
    let user = if root { "user root;" } else { "" };
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", scratch.display()))
        .concat();
    let (files, scratch) = (files.display(), scratch.display());
    let configuration = format!(
        "{user} daemon off; pid {scratch}/nginx.pid; error_log {scratch}/error.log;
worker_processes 2; worker_rlimit_nofile 10000;
events {{ worker_connections 4000; multi_accept on; }}
http {{
{temp}
access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;
keepalive_requests 100000000; keepalive_timeout 600s; open_file_cache max=100;
server {{ listen {http1} reuseport backlog=4096; location / {{ root {files}; gzip_static on; }} }}
server {{ listen {http2} http2 reuseport; tcp_nopush off; sendfile off; output_buffers 2 512k;
  location / {{ root {files}; gzip_static on; }} }}
}}
"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    let mut command = Command::new(program);
    command.arg("-c").arg(&file).arg("-e").arg(folder.join("nginx-start.log"));
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("nginx (apt-get install nginx)")?;
    let server = Server { child, http1, http2 };
    answered(&server, path)?;
    Ok(server)
}

fn answered(server: &Server, path: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if TcpStream::connect(server.http1).is_ok() && load::fetch(server.http1, path, "identity").is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    bail!("no answer for {path} within a minute")
}

fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
