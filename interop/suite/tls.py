"""TLS with a certificate made by openssl: ALPN picks the HTTP version, and a renewed certificate is picked up while serving."""
import pathlib
import re
import subprocess
import time

from . import alto, curl
from .report import equal
from .schema import parse


def make_certificate(folder, name):
    """A self-signed certificate for localhost, its subject named so that a client can tell it from the next."""
    folder = pathlib.Path(folder)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-keyout", str(folder / "key.pem.new"), "-out", str(folder / "certificate.pem.new"), "-subj", f"/CN={name}"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True)
    for each in ("key.pem", "certificate.pem"):
        (folder / f"{each}.new").replace(folder / each)


def serves(server, name):
    """Whether a new connection is shown the certificate of that name."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", "localhost"], input=b"", capture_output=True)
    return re.search(rf"CN ?= ?{name}\b", done.stdout.decode(errors="replace")) is not None


def run(report, server, folder):
    authority = f"--cacert {folder}/certificate.pem"
    for option, version in (("--http1.1", "1.1"), ("--http2", "2")):
        with report.check(f"curl https {option}: ALPN, directory, URIs with https"):
            answer = curl.fetch(f"{server.url}/directory", option, *authority.split())
            equal((answer.version, answer.status), (version, 200), "HTTP version and status")
            directory = alto.Directory(parse(answer.body, alto.DIRECTORY))
            for name, entry in directory.entries.items():
                assert entry["uri"].startswith("https://"), f"{name} has {entry['uri']}"
            name = next(iter(directory.of(alto.NETWORK_MAP)))
            equal(curl.fetch(directory.uri(name), option, *authority.split()).status, 200, "status")
    with report.check("curl https: a client that does not trust the certificate is not served"):
        done = subprocess.run(["curl", "--silent", "--max-time", "20", f"{server.url}/directory"], capture_output=True)
        equal(done.returncode, 60, "exit status of curl")
    with report.check("openssl: a renewed certificate is served without a restart"):
        assert serves(server, "first"), "the first certificate is not the one served"
        make_certificate(folder, "second")
        deadline = time.monotonic() + 20
        while not serves(server, "second"):
            assert time.monotonic() < deadline, "the old certificate is still served after 20 s"
            time.sleep(0.2)
        equal(curl.fetch(f"{server.url}/directory", "--http2", *authority.split()).status, 200, "status")
