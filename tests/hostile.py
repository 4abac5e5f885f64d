"""Logs that nobody's strace wrote: each of about `size` bytes, to be met in linear time."""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ktrace.analysis import Options, analyse
from ktrace.errors import KtraceError
from ktrace.scrub.job import scrub_file
from ktrace.scrub.options import Wanted

Maker = Callable[[int], bytes]
HEAD = b"674 1700000000.000001 "


def _lines(line: bytes) -> Maker:
    return lambda size: line * (size // len(line))


def _one(begin: bytes, body: bytes, end: bytes = b"\n") -> Maker:
    """Make one line: `body` again and again between `begin` and `end`."""
    return lambda size: HEAD + begin + body * (size // len(body)) + end


def _numbered(line: str) -> Maker:
    """Make lines with a number in each."""

    def make(size: int) -> bytes:
        count = size // len(line)
        return b"".join(line.replace("%", str(i)).encode() for i in range(count))

    return make


MAKERS: dict[str, Maker] = {
    "one-long-word": _one(b"", b"a"),
    "one-long-blank": _one(b"", b" "),
    "nul-bytes": _one(b"", b"\0"),
    "invalid-utf8": _lines(b"\xff\xfe\xc3\x28\xa0\n"),
    "every-byte": _lines(bytes(range(256))),
    "newlines": _lines(b"\n"),
    "blank-lines": _lines(b"   \t \n"),
    "nested-braces": _one(b"connect(3, ", b"{", b", 16) = 0\n"),
    "braces-in-lines": _lines(HEAD + b"connect(3, " + b"{[(" * 60 + b", 16) = 0\n"),
    "nested-brackets": _one(b"poll(", b"[{fd=3, events=", b" = 1\n"),
    "open-parens": _one(b"setsockopt(", b"(", b"\n"),
    "commas": _one(b"setsockopt(5, ", b",", b") = 0\n"),
    "backslashes": _one(b'setsockopt(5, SOL_TLS, TLS_TX, "', b"\\", b"\n"),
    "long-string": _one(b'setsockopt(5, SOL_TLS, TLS_TX, "', b"X", b"\n"),
    "open-strings": _one(b"setsockopt(5, ", b'"\\"', b", 4) = 0\n"),
    "quotes": _one(b"write(5, ", b'"', b", 4) = 0\n"),
    "arrows": _one(b"close(5<TCP:[", b"->", b"]>) = 0\n"),
    "open-angles": _one(b"close(5", b"<", b") = 0\n"),
    "comments": _one(b"setsockopt(5, ", b"/* ", b") = 0\n"),
    "results": _one(b"close(5", b") = 0 ", b"\n"),
    "unfinished-words": _one(b"close(5", b" <unfinished ...>", b"\n"),
    "mentions": _one(b"", b"SOL_TLS ", b"\n"),
    "mentions-in-lines": _lines(b"# TLS_TX SOL_TLS sockopt( \n"),
    "anchors": _one(b"", b"setsockopt(5, 282, ", b"\n"),
    "epoll": _one(b"epoll_wait(3, [", b"{events=EPOLLIN, ", b"], 1, 0) = 1\n"),
    "fd-set": _one(b"select(9, [", b"3 ", b"], NULL) = 1\n"),
    "fd-set-without-end": _one(b"select(9, NULL) = 1 (in [", b"3", b"x\n"),
    "epoll-blanks": _one(b"epoll_wait(3, [{", b" ", b"x) = 1\n"),
    "poll-blanks": _one(b"poll([{fd=", b" ", b"x) = 1\n"),
    "fd-blanks": _one(b"close(5", b" ", b"x) = 0\n"),
    "blanks-before-angle": _one(b"close(5", b" ", b"<x\n"),
    "blanks-after-unfinished": _one(b"close(5 <unfinished ...", b" ", b"x\n"),
    "blanks-in-results": _one(b"close(5)", b" ", b"x\n"),
    "blanks-in-a-stack": lambda size: (
        (HEAD + b"setsockopt(3, 6, 31, [7564404], 4) = 0\n > " + b" " * 8000 + b"x\n")
        * (size // 8000)
    ),
    "escaped-quotes": _one(b'write(5, "', b'\\"', b"\n"),
    "escaped-quotes-in-setsockopt": _one(b'setsockopt(5, SOL_TCP, "', b'\\"', b" = 0\n"),
    "inet-pton": _one(b"connect(3, {sa_family=AF_INET6, ", b"sin6_addr=inet_pton(", b"}) = 0\n"),
    "inet-addr": _one(b"connect(3, {sa_family=AF_INET, ", b'sin_addr=inet_addr("', b"}) = 0\n"),
    "rights": _one(b"sendmsg(3, {", b"cmsg_level=SOL_SOCKET ", b"cmsg_type}, 0) = 0\n"),
    "clone-flags": _one(b"clone(", b"flags=", b") = 7\n"),
    "tcp-info": _one(b"getsockopt(3, SOL_TCP, TCP_INFO, {", b"tcpi_state=A", b"}, 4) = 0\n"),
    "pids": _one(b"", b"[pid  ", b"x\n"),
    "heads": _one(b"", b"1 ", b"close(3) = 0\n"),
    "named": _one(b"close(", b"fd=", b"3) = 0\n"),
    "dashes": _one(b"close(", b"-", b"3) = 0\n"),
    "strace-words": _one(b"close(5", b"strace: ", b"\n"),
    "slashes": _one(b"close(5", b"/", b"strace:\n"),
    "durations": _one(b"close(5) = 0", b" <0.000001>", b"x\n"),
    "errnos": _one(b"close(5) = -1", b" (E", b"x\n"),
    "entities": _one(b"close(5", b"&quot;", b") = 0\n"),
    "half-entities": _one(b"close(5", b"&", b") = 0\n"),
    "tags": _one(b"close(5", b"<br>", b") = 0\n"),
    "half-tags": _one(b"close(5", b"<br ", b") = 0\n"),
    "colours": _one(b"close(5", b"\x1b[0;1;", b") = 0\n"),
    "soft-breaks": _lines(b"close(5) =3D 0 =\n"),
    "quote-marks": _one(b"", b"> ", b"close(5) = 0\n"),
    "prompts": _one(b"", b"$ ", b"close(5) = 0\n"),
    "half-records": _lines(b'674 read(3, "\n'),
    "wrapped-for-ever": lambda size: b'674 read(3, "' + b"abc def\n" * (size // 8),
    "stacks": _lines(b" > /usr/lib/libc.so.6(connect+0x4f) [0x1]\n"),
    "half-stacks": _one(b" > ", b"(+0x", b"\n"),
    "prose": _lines(b"nothing in here is a record\n"),
    "glued": _one(b"", b"674 close(5) = 0", b"\n"),
    "resumed-only": _numbered("% <... connect resumed>) = 0\n"),
    "unfinished-calls": _numbered("% connect(5, {sa_family=AF_INET} <unfinished ...>\n"),
    "unfinished-waits": _numbered("% epoll_wait(5,  <unfinished ...>\n"),
    "many-fds": _numbered("7 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = %\n"),
    "many-threads": _numbered("% socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 5\n"),
    "forks": _numbered("7 clone(child_stack=NULL, flags=SIGCHLD) = %\n"),
    "fork-with-sockets": lambda size: (
        _numbered("7 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = %\n")(size // 2)
        + _numbered("7 clone(child_stack=NULL, flags=SIGCHLD) = 1%\n")(size // 2)
    ),
    "dups": _numbered("7 dup(3) = %\n"),
    "close-ranges": _lines(
        b"7 socket(AF_INET, SOCK_STREAM, 6) = 3\n7 close_range(0, 4294967295, 0) = 0\n"
    ),
    "cloexecs": _numbered("7 fcntl(%, F_SETFD, FD_CLOEXEC) = 0\n"),
    "adds-to-epoll": _numbered(
        "7 epoll_ctl(3, EPOLL_CTL_ADD, %, {events=EPOLLIN, data=0x%}) = 0\n"
    ),
    "attempts": _lines(b"7 setsockopt(3, SOL_TCP, TCP_ULP, [7564404], 4) = -1 ENOTCONN (x)\n"),
    "attempts-everywhere": _numbered(
        "7 setsockopt(%, SOL_TCP, TCP_ULP, [7564404], 4) = -1 EPERM (x)\n"
    ),
    "backwards": lambda size: b"".join(
        b"7 %02d:%02d:%02d close(3) = 0\n" % (i // 3600 % 24, i // 60 % 60, i % 60)
        for i in range(size // 24, 0, -1)
    ),
    "absurd-numbers": _lines(
        b"99999999 99999999999999999999.999999 socket(2, 1, 6) = " + b"9" * 99 + b"\n"
    ),
    "absurd-result": _one(b"socket(2, 1, 6) = ", b"9", b"\n"),
    "absurd-fd": _one(b"close(", b"9", b") = 0\n"),
    "absurd-time": lambda size: b"7 " + b"9" * size + b".000001 close(3) = 0\n",
    "absurd-hex": _one(b"setsockopt(5, 0x", b"f", b", 1, 4) = 0\n"),
    "absurd-port": _one(b"connect(3, {sin_port=htons(", b"1", b"), sin_addr=x}, 16) = 0\n"),
    "absurd-inode": _one(b"close(3<TCP:[", b"1", b"]>) = 0\n"),
}


def meet(how: str, path: Path, out: Path) -> str:
    """Parse or scrub a file; an error for the user is an answer, anything else goes through."""
    try:
        if how == "parse":
            analyse([str(path)], Options(keep="ktls"))
        else:
            scrub_file(str(path), str(out), Wanted(payload=True, addresses=True))
    except KtraceError as error:
        assert "\n" not in error.message
        return error.slug
    except MemoryError:
        return "out-of-memory"
    return "done"


def main() -> None:
    """Meet every log, under limits that were set from outside: `HOW SIZE FOLDER`."""
    how, size, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    path = folder / "log"
    for name, make in MAKERS.items():
        path.write_bytes(make(size))
        print(name, end=" ", flush=True)
        before = time.process_time()
        answer = meet(how, path, folder / "out")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"{answer} {time.process_time() - before:.2f} s {memory} MB", flush=True)


if __name__ == "__main__":
    main()
