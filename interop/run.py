"""The interop suite: `cargo xtask interop` builds the program and runs this with it.

Usage: run.py PROGRAM NODE_MODULES [WSTEST ECHO]. Ends with a line "N passed, N failed" and status 0 when nothing failed.
"""
import pathlib
import shutil
import sys
import tempfile

from suite import admin, autobahn, browser, caching, curl, h2push, http3, nghttp, patches, proxies, sse, subscription, tips, tls, websocket, websocket_h2
from suite.report import Report
from suite.server import Server
from suite.walk import Walk

# Below the default, so that a body over the bound is quick to send.
BODY_BYTES_MAX = 1 << 20


def main():
    program, node_modules, report = sys.argv[1], sys.argv[2], Report()
    wstest, echo = sys.argv[3:5] or (None, None)
    maps = pathlib.Path(__file__).parent / "maps"
    with tempfile.TemporaryDirectory(prefix="altocast-interop-") as scratch:
        scratch = pathlib.Path(scratch)
        # The demo network, held still: nothing may move between two answers that are compared.
        with Server(program, ALTOCAST_DEMO_INTERVAL_SECONDS="3600", ALTOCAST_SERVER_QUERY_BYTES_MAX=str(BODY_BYTES_MAX)) as demo:
            curl.run(report, demo.url, "--http1.1", "HTTP/1.1", BODY_BYTES_MAX)
            curl.run(report, demo.url, "--http2-prior-knowledge", "HTTP/2", BODY_BYTES_MAX)
            nghttp.run(report, demo.url, BODY_BYTES_MAX)
            Walk(report, demo.url, http2=False).run()
            Walk(report, demo.url, http2=True).run()
            with report.check("SIGTERM ends the server with status 0"):
                status = demo.stop()
                assert status == 0, f"status {status}: {demo.output()}"
        shutil.copytree(maps, scratch / "maps")
        with Server(program, "--maps", str(scratch / "maps")) as folder:
            Walk(report, folder.url, http2=True).run()
            admin.run(report, folder)
        # Whatever follows changes: each transport with clients that nobody here wrote.
        with Server(program, "--maps", str(maps)) as live:
            sse.run(report, live)
            tips.run(report, live)
            websocket.run(report, live)
            websocket_h2.run(report, live)
            h2push.run(report, live, node_modules)
            browser.run(report, live, node_modules)
            autobahn.run(report, live, scratch, wstest, echo)
            proxies.run(report, live, scratch, program)
            caching.run(report, scratch, program)
            patches.puts(report, live)
            with report.check("SIGTERM ends a server whose clients were many, with status 0"):
                status = live.stop()
                assert status == 0, f"status {status}: {live.output()}"
        with Server(program, ALTOCAST_DEMO_INTERVAL_SECONDS="1") as moving:
            patches.demo(report, moving)
        subscription.run(report, scratch, program)
        tls.make_certificate(scratch, "first")
        secure = {"ALTOCAST_SERVER_CERTIFICATE": str(scratch / "certificate.pem"), "ALTOCAST_SERVER_KEY": str(scratch / "key.pem")}
        with Server(program, "--maps", str(maps), tls=True, **secure) as server:
            http3.run(report, server, scratch)
            tls.run(report, server, scratch)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
