"""Counts what held and what did not, one line each; a failing check never stops the others."""
import contextlib
import time


class Report:
    def __init__(self):
        self.passed, self.failed, self.started = 0, 0, time.monotonic()

    @contextlib.contextmanager
    def check(self, name):
        try:
            yield
        except Exception as error:  # an AssertionError or whatever a broken answer made the client raise
            self.failed += 1
            what = str(error) or type(error).__name__
            print(f"FAIL  {name}: {what[:600]}", flush=True)
        else:
            self.passed += 1
            print(f"ok    {name}", flush=True)

    def close(self):
        print(f"interop suite: {time.monotonic() - self.started:.1f} s")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def equal(got, want, what="value"):
    assert got == want, f"{what} is {got!r}, should be {want!r}"
