"""A command that is started stopped, so that it can be traced from its first call."""

import os
import signal
import time
from collections.abc import Sequence

from ktrace.errors import KtraceError


class Child:
    """A process that waits until `release()` and then becomes the command."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        read_end, self._release = os.pipe()
        self._failure, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._become(read_end, write_end)
        os.close(read_end)
        os.close(write_end)
        self._status: int | None = None

    def release(self) -> None:
        """Let the command start; raise where it cannot be executed."""
        os.write(self._release, b"x")
        os.close(self._release)
        with open(self._failure, "rb") as failure:
            told = failure.read()
        if told:
            os.waitpid(self.pid, 0)
            raise KtraceError(
                "no-command",
                f"{self._command[0]}: {os.strerror(int(told))}",
                "check the name and the PATH",
            )

    def poll(self) -> int | None:
        """Return the exit status as a shell says it, None while the command runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self._status = code if code >= 0 else 128 - code
        return self._status

    def wait(self) -> int:
        """Return the exit status when the command has ended."""
        while (status := self.poll()) is None:
            time.sleep(0.01)
        return status

    def send(self, number: int) -> None:
        """Pass a signal on."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def abandon(self) -> None:
        """End a command that was never released."""
        os.close(self._release)
        os.close(self._failure)
        os.waitpid(self.pid, 0)

    def _become(self, read_end: int, write_end: int) -> None:
        """Run in the child: wait, then execute.  Never returns."""
        try:
            os.close(self._release)
            os.close(self._failure)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            if not os.read(read_end, 1):
                os._exit(127)
            os.execvp(self._command[0], self._command)
        except OSError as error:
            os.write(write_end, str(error.errno).encode())
        finally:
            os._exit(127)
