"""Starts the program under test on free ports and stops it again."""
import os
import signal
import socket
import subprocess
import tempfile
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`altocast serve ARGS...` for the length of a `with` block."""

    def __init__(self, program, *args, tls=False, **environment):
        self.port, self.admin_port = free_port(), free_port()
        scheme = "https" if tls else "http"
        self.url, self.admin = f"{scheme}://localhost:{self.port}" if tls else f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.admin_port}"
        self.command = [program, "serve", *args]
        # A data directory that no other server has, and nobody's own.
        self.data = tempfile.TemporaryDirectory(prefix="altocast-data-")
        self.environment = {
            **os.environ,
            "XDG_DATA_HOME": self.data.name,
            "ALTOCAST_SERVER_LISTEN": f"127.0.0.1:{self.port}",
            "ALTOCAST_ADMIN_LISTEN": f"127.0.0.1:{self.admin_port}",
            # Several run at once; one that is to keep something says so with --data-dir, which goes before this.
            "ALTOCAST_STORE_IN_MEMORY": "true",
            **environment,
        }

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.command, env=self.environment, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{' '.join(self.command)} ended with status {self.process.returncode}:\n{self.output()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                socket.create_connection(("127.0.0.1", self.admin_port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.05)
        self.process.kill()
        raise RuntimeError(f"{' '.join(self.command)} did not listen within a minute:\n{self.output()}")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        self.data.cleanup()

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-4000:]
