"""Where outputs go: no link that a stranger may have laid is followed on the way there.

The kernel guards only its own look-ups of names (fs.protected_symlinks), and only in sticky
folders; whoever resolves a path himself walks past that guard.  Here each step is taken from an
open folder.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from ktrace.errors import KtraceError

MOST_LINKS = 40  # as in the kernel
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Place(NamedTuple):
    """A name in an open folder.  Where something has that name, it is no link, or one of /proc."""

    folder: int
    name: str

    def status(self) -> os.stat_result | None:
        try:
            return os.stat(self.name, dir_fd=self.folder)
        except FileNotFoundError:
            return None

    def create(self, name: str, mode: int = 0o666) -> int:
        """Create a file beside this one and open it for writing; it must not be there."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, mode, dir_fd=self.folder)

    def open_device(self) -> int:
        """Open a pipe or a device for writing."""
        return os.open(self.name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.folder)

    def rename_here(self, name: str) -> None:
        """Give this name to a file beside it."""
        os.replace(name, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.folder)


@contextlib.contextmanager
def place(path: str | os.PathLike[str]) -> Iterator[Place]:
    """Open the folder of a file to write.

    Raises OSError, and KtraceError for a link in a folder where everybody may write.
    """
    shown = os.fspath(path)
    try:
        found = _walk(shown)
    except OSError as error:
        raise OSError(error.errno, error.strerror, shown) from None
    try:
        yield found
    finally:
        os.close(found.folder)


def claim(path: str, force: bool) -> int | None:
    """Create a file that is written as the work goes on, and open it; None where it exists.

    With `force` what is there is replaced, and a pipe or a device is opened.
    """
    with place(path) as target:
        try:
            old = target.status()
            if old is not None and not stat.S_ISREG(old.st_mode):
                return target.open_device() if force else None
            if old is not None and force:
                target.remove(target.name)
            return target.create(target.name)
        except FileExistsError:
            return None
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None


def _walk(shown: str) -> Place:
    folder = os.open("/" if shown.startswith("/") else ".", _FOLDER)
    steps = _steps(shown)
    links = 0
    try:
        while steps:
            name = steps.pop()
            link = _link(folder, name)
            if link is None and not steps and name != "..":
                return Place(folder, name)
            if link is None:
                folder = _into(folder, name)
                continue
            links += 1
            _check_link(folder, links, shown)
            steps += _steps(link)
            if link.startswith("/"):
                folder = _into(folder, "/")
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except BaseException:
        os.close(folder)
        raise


def _steps(path: str) -> list[str]:
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _into(folder: int, name: str) -> int:
    """Open the next folder and close the one before."""
    following = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    os.close(folder)
    return following


def _link(folder: int, name: str) -> str | None:
    """Return what a symbolic link points to; None for anything else, and for an open file of /proc,
    whose text is not where it leads.
    """
    try:
        text = os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise
    if os.fstat(folder).st_dev == _proc() and not text.startswith(("/", "self", "thread-self")):
        known = text.isdecimal() or text.partition("/")[0].isdecimal()
        return text if known else None
    return text


def _proc() -> int | None:
    try:
        return os.stat("/proc").st_dev
    except OSError:
        return None


def _check_link(folder: int, links: int, shown: str) -> None:
    if links > MOST_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if os.fstat(folder).st_mode & stat.S_IWOTH:
        raise KtraceError(
            "foreign-link",
            f"{shown}: a symbolic link in a folder where everybody may write is not followed",
            "name the file that is meant, or one in a folder of your own",
        )
