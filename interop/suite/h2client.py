"""One HTTP/2 connection of Python's h2 on a socket. What comes is for `take` of whoever builds on it, which counts streams in `ended`."""
import socket
import time

import h2.config
import h2.connection
import h2.settings

from .follow import PATIENCE


class Connection:
    def __init__(self, port, settings=None):
        self.authority = f"127.0.0.1:{port}"
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        if settings is not None:
            self.h2.local_settings = h2.settings.Settings(client=True, initial_values=settings)
        self.h2.initiate_connection()
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def flush(self):
        if data := self.h2.data_to_send():
            self.socket.sendall(data)

    def pump(self, until, patience=PATIENCE):
        """Takes what comes until something holds."""
        deadline = time.monotonic() + patience
        while not until():
            left = deadline - time.monotonic()
            assert left > 0, f"nothing more came; streams that ended: {len(self.ended)}"
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                continue
            assert data, "the server closed the connection"
            for event in self.h2.receive_data(data):
                self.take(event)
            self.flush()
