"""A command of parityd in a process forked from the test's: the same program, without the time that its imports take.

Used where nothing has to be put before the interpreter; what runs under strace or libfaketime is started anew.
"""

import atexit
import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings

import parityd.cli_past
import parityd.cli_sim
import parityd.commands
import parityd.running
import parityd.web.report_page

IMPORTED = (parityd.cli_past, parityd.cli_sim, parityd.commands, parityd.running)


class Forked:
    """Looks like a Popen."""

    def __init__(self, argv: list[str], shim: str, stdout: int, stderr: int) -> None:
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer interpreters warn of threads beside a fork: what the tests started has ended
            self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                code = _be(argv, shim, stdout, stderr)
            except SystemExit as e:
                code = e.code if isinstance(e.code, int) else 1
            except BaseException:
                traceback.print_exc()
                code = 1
            finally:
                with contextlib.suppress(BaseException):
                    atexit._run_exitfuncs()
                with contextlib.suppress(BaseException):
                    sys.stdout.flush()
                os._exit(code)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("parityd", timeout)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


def _be(argv: list[str], shim: str, stdout: int, stderr: int) -> int:
    """In the child: nothing of the test is left but its code."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGABRT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    empty = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((empty, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
    os.closerange(3, 4096)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(fd, mode, buffering=1, closefd=False) for fd, mode in ((0, "r"), (1, "w"), (2, "w")))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    warnings.resetwarnings()
    faulthandler.enable()
    atexit._clear()
    for name in [k for k in os.environ if k.startswith("PARITYD")]:
        del os.environ[name]
    from faults import shim as runner

    sys.argv = ["parityd", *argv]
    return runner.main([shim or "plain", *argv])


__all__ = ["IMPORTED", "Forked"]
