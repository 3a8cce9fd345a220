//! The two servers that are compared: ours and nginx, each on free ports, stopped when dropped.
use crate::{bench::load, workspace};
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
    /// The admin listener of ours.
    pub admin: SocketAddr,
}

impl Server {
    /// A server on one address.
    pub fn new(child: Child, address: SocketAddr) -> Self {
        Self { child, http1: address, http2: address, admin: address }
    }

    /// Waits until it takes connections.
    pub fn connectable(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.http1).is_err() {
            if Instant::now() > deadline {
                bail!("nobody listens on {} after 20 s", self.http1);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The process whose tree is measured.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
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
    altocast_with(program, args, &[], path)
}

/// The same with keys of the configuration set in the environment.
pub fn altocast_with(program: &Path, args: &[&str], keys: &[(&str, &str)], path: &str) -> Result<(Server, Duration)> {
    let (public, admin) = (free()?, free()?);
    let mut command = Command::new(program);
    command.arg("serve").args(args).env("ALTOCAST_SERVER_LISTEN", public.to_string()).env("ALTOCAST_ADMIN_LISTEN", admin.to_string());
    // A data directory that no other server has, and nobody's own. Rows about the disk name one.
    let data = workspace::target_dir()?.join("bench").join(format!("data-{}", public.port()));
    command.env("XDG_DATA_HOME", &data).envs(keys.iter().copied());
    fs::create_dir_all(&data)?;
    let log = fs::File::create(data.join("log"))?;
    let started = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("altocast")?;
    let server = Server { child, http1: public, http2: public, admin };
    answered(&server, path)?;
    Ok((server, started.elapsed()))
}

/// nginx in front of the files of a folder, as fast as it serves files: sendfile, no log, `NAME.gz` beside `NAME`.
pub fn nginx(files: &Path, path: &str) -> Result<Server> {
    let (http1, http2) = (free()?, free()?);
    let folder = files.parent().context("the files lie in a folder")?;
    let scratch = folder.join("nginx");
    fs::create_dir_all(&scratch)?;
    let (common, temp) = nginx_common(&scratch);
    let files = files.display();
    let configuration = format!(
        "{common}
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
    let server = Server { child, http1, http2, admin: http1 };
    answered(&server, path)?;
    Ok(server)
}

/// What every nginx here is told: everything in a folder, in the foreground. For the main block and the `http` block.
pub fn nginx_common(folder: &Path) -> (String, String) {
    // As root nginx would let its workers be nobody, who need not be able to read our files.
    let user = if is_root() { "user root;" } else { "" };
    let folder = folder.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {folder}/{kind};\n")).concat();
    (format!("{user} daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;"), temp)
}

/// Whether we are root.
pub fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n")
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

/// A free port on loopback.
pub fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
