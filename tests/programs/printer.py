"""Prints a scenario as one of the many forms that strace gives a log."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.programs.oracle import View
from tests.programs.scenario import MAIN_TID, Op, Ready, Scenario, Socket, lines_between

EPOLL_NAMES = ((0x1, "IN"), (0x4, "OUT"), (0x8, "ERR"), (0x10, "HUP"), (0x2000, "RDHUP"))
TEXTS = {
    "EINPROGRESS": ("Operation now in progress", "Die Operation ist jetzt in Bearbeitung"),
    "EALREADY": ("Operation already in progress", "Операция уже выполняется"),
    "EISCONN": ("Transport endpoint is already connected", "传输端点已连接"),
    "ENOTCONN": ("Transport endpoint is not connected", "Der Socket ist nicht verbunden"),
    "ENOENT": ("No such file or directory", "Нет такого файла или каталога"),
    "EEXIST": ("File exists", "Die Datei existiert bereits"),
    "ENOPROTOOPT": ("Protocol not available", "Das Protokoll ist nicht verfügbar"),
    "EINVAL": ("Invalid argument", "Das Argument ist ungültig"),
    "EBUSY": ("Device or resource busy", "设备或资源忙"),
    "EAGAIN": ("Resource temporarily unavailable", "Die Ressource ist zur Zeit nicht verfügbar"),
    "ECONNREFUSED": ("Connection refused", "Verbindungsaufbau abgelehnt"),
}


@dataclass(frozen=True)
class Form:
    """One way to call strace, or one release of it."""

    pid: str = "bare"  # none, bare, bracket, comm
    time: str = "ttt"  # none, t, tt, ttt, r
    lasted: bool = False  # -T
    fds: str = "plain"  # plain, y, yy
    hexed: str = ""  # "", x, xx
    size: int = 32  # -s
    consts: str = "abbrev"  # abbrev, raw, verbose
    era: str = "new"  # new, middle (4.20: SOL_TLS, 1), old (before 4.20)
    epoll: str = "new"  # new, bare ({EPOLLIN, {...}}), hex (data=0x8)
    language: int = 0
    blank: str = ""  # before ")" of a resumed call (strace before 5.0)
    control: bool = True  # epoll_ctl calls are in the log

    def view(self) -> View:
        cut = frozenset({"tcp_info"}) if self.size == 0 else frozenset()
        return View(hidden=cut, array=self.size)


class Text(NamedTuple):
    entry: str
    exit: str
    result: str


class Printer:
    """Renders calls; `note` of a socket changes once connect() began, as -yy shows it."""

    def __init__(self, form: Form) -> None:
        self.form = form

    def fd(
        self, number: int, op: Op | None = None, sock: Socket | None = None, up: bool = False
    ) -> str:
        if self.form.fds == "plain" or number < 0:
            return str(number)
        if number == 3:
            return "3<anon_inode:[eventpoll]>"
        if number == 4:
            return "4<TCP:[10.9.0.1:443]>" if self.form.fds == "yy" else "4<socket:[46980]>"
        sock = sock or (op.sock if op else None)
        up = up or bool(op and op.up_front)
        if sock is None:
            return f"{number}</etc/hosts>"
        return f"{number}<{self._note(sock, up)}>"

    def _note(self, sock: Socket, up: bool) -> str:
        if self.form.fds == "y":
            return f"socket:[{sock.inode}]"
        protocol = "TCPv6" if sock.family == "AF_INET6" else "TCP"
        if not up:
            return f"{protocol}:[{sock.inode}]"
        if sock.family == "AF_INET6":
            return f"{protocol}:[[fe00::1]:{20_000 + sock.number}->[fe00::5]:{sock.port}]"
        local = "10.9.0.1:443" if sock.accepted else f"10.9.0.1:{20_000 + sock.number}"
        return f"{protocol}:[{local}->10.1.0.3:{sock.port}]"

    def const(self, name: str, number: int, unknown: str | None = None) -> str:
        """A named constant; `unknown` is what releases print that do not know it."""
        if self.form.consts == "raw":
            return f"{number:#x}"
        if unknown is not None:
            return unknown
        return f"{number:#x} /* {name} */" if self.form.consts == "verbose" else name

    def string(self, data: bytes) -> str:
        shown = data[: self.form.size]
        text = "".join(self._octet(shown, i) for i in range(len(shown)))
        return f'"{text}"' + ("..." if len(data) > len(shown) else "")

    def _octet(self, shown: bytes, i: int) -> str:
        plain = all(32 <= o < 127 for o in shown)
        if self.form.hexed == "xx" or (self.form.hexed == "x" and not plain):
            return f"\\x{shown[i]:02x}"
        if 32 <= shown[i] < 127:
            return chr(shown[i]) if chr(shown[i]) not in '"\\' else "\\" + chr(shown[i])
        digit_follows = i + 1 < len(shown) and chr(shown[i + 1]).isdigit()
        return f"\\{shown[i]:03o}" if digit_follows else f"\\{shown[i]:o}"

    def failed(self, errno: str) -> str:
        return f"-1 {errno} ({TEXTS[errno][self.form.language]})"

    def end(self, op: Op) -> str:
        return self.failed(op.errno) if op.errno else str(op.result)

    def address(self, sock: Socket) -> str:
        raw = self.form.consts == "raw"
        if sock.family == "AF_INET6":
            port = _octets(struct.pack(">H", sock.port)) if raw else f"htons({sock.port})"
            ip = bytes.fromhex("fe00" + "0" * 27 + "5")
            where = (
                f"sin6_addr={_octets(ip)}" if raw else 'inet_pton(AF_INET6, "fe00::5", &sin6_addr)'
            )
            flow = "sin6_flowinfo=0" if raw else "sin6_flowinfo=htonl(0)"
            family = self.const("AF_INET6", 10)
            return f"{{sa_family={family}, sin6_port={port}, {flow}, {where}, sin6_scope_id=0}}"
        port = _octets(struct.pack(">H", sock.port)) if raw else f"htons({sock.port})"
        where = _octets(bytes([10, 1, 0, 3])) if raw else 'inet_addr("10.1.0.3")'
        return f"{{sa_family={self.const('AF_INET', 2)}, sin_port={port}, sin_addr={where}}}"

    def events(self, bits: int, prefix: str) -> str:
        names = "|".join(f"{prefix}{name}" for bit, name in EPOLL_NAMES if bits & bit)
        if self.form.consts == "raw":
            return f"{bits:#x}"
        return f"{bits:#x} /* {names} */" if self.form.consts == "verbose" else names

    def epoll_entry(self, events: int, data: int) -> str:
        names = self.events(events, "EPOLL")
        pair = f"{{u32={data & 0xFFFFFFFF}, u64={data}}}"
        if self.form.epoll == "bare":
            return f"{{{names}, {pair}}}"
        return f"{{events={names}, data={pair if self.form.epoll == 'new' else hex(data)}}}"

    def array(self, entries: list[str]) -> str:
        cut = entries[: self.form.size]
        return "[" + ", ".join(cut + (["..."] if len(entries) > len(cut) else [])) + "]"


def _octets(data: bytes) -> str:
    return '"' + "".join(f"\\x{o:02x}" for o in data) + '"'


def _socket(p: Printer, op: Op) -> Text:
    assert op.sock
    six = op.sock.family == "AF_INET6"
    family = p.const(op.sock.family, 10 if six else 2)
    kind = p.const("SOCK_STREAM|SOCK_NONBLOCK", 0x801)
    protocol = p.const("IPPROTO_TCP", 6)
    return Text(f"{family}, {kind}, {protocol}", "", p.fd(op.result, None, op.sock))


def _accept4(p: Printer, op: Op) -> Text:
    assert op.sock
    flags = p.const("SOCK_CLOEXEC", 0x80000)
    tail = f"{p.address(op.sock)}, [128 => 16], {flags}"
    return Text(f"{p.fd(4)}, ", tail, p.fd(op.result, None, op.sock, up=True))


def _connect(p: Printer, op: Op) -> Text:
    assert op.sock
    size = 28 if op.sock.family == "AF_INET6" else 16
    return Text(f"{p.fd(op.fd, op)}, {p.address(op.sock)}, {size}", "", p.end(op))


def _option(p: Printer, op: Op, level: str, name: str, value: str, size: int) -> Text:
    return Text(f"{p.fd(op.fd, op)}, {level}, {name}, {value}, {size}", "", p.end(op))


def _ulp(p: Printer, op: Op) -> Text:
    name = p.const("TCP_ULP", 31, "0x1f /* TCP_??? */" if p.form.era == "old" else None)
    value = "[7564404]" if op.value == 4 else p.string(b"tls")
    return _option(p, op, p.const("SOL_TCP", 6), name, value, op.value)


def _key(p: Printer, op: Op) -> Text:
    assert op.sock
    number, (version, cipher, size) = (1 if op.call == "tx" else 2), op.sock.cipher
    levels = {"new": None, "middle": None, "old": "0x11a /* SOL_?? */"}
    level = p.const("SOL_TLS", 282, levels[p.form.era])
    name = p.const(f"TLS_{op.call.upper()}", number, None if p.form.era == "new" else str(number))
    info = struct.pack("<HH", version, cipher) + b"k" * (size - 4)
    return _option(p, op, level, name, p.string(info), size)


def _fastopen(p: Printer, op: Op) -> Text:
    name = p.const("TCP_FASTOPEN_CONNECT", 30)
    return _option(p, op, p.const("SOL_TCP", 6), name, "[1]", 4)


def _getsockopt(p: Printer, op: Op) -> Text:
    if op.call == "so_error":
        where = f"{p.const('SOL_SOCKET', 1)}, {p.const('SO_ERROR', 4)}, "
        names = {"abbrev": "ECONNREFUSED", "raw": "111", "verbose": "111 /* ECONNREFUSED */"}
        value = f"[{names[p.form.consts] if op.value else 0}], [4]"
    else:
        where = f"{p.const('SOL_TCP', 6)}, {p.const('TCP_INFO', 11)}, "
        value = p.string(bytes([op.value, 0, 0, 0, 0, 7, 119, 0]) + b"\0" * 96) + ", [104]"
    return Text(f"{p.fd(op.fd, op)}, {where}", value, "0")


def _getpeername(p: Printer, op: Op) -> Text:
    assert op.sock
    address = "0x7ffc1a2b3c40, [128]" if op.errno else f"{p.address(op.sock)}, [128 => 16]"
    return Text(f"{p.fd(op.fd, op)}, ", address, p.end(op))


def _write(p: Printer, op: Op) -> Text:
    body = f"{p.fd(op.fd, op)}, {p.string(b'hello')}, 5"
    return Text(body + (", MSG_NOSIGNAL, NULL, 0" if op.value % 2 else ""), "", p.end(op))


def _read(p: Printer, op: Op) -> Text:
    got = p.string(b"\x16\x03\x03hello"[: op.result]) if op.result >= 0 else "0x55d0c0de"
    tail = f"{got}, 4096" + (", 0, NULL, NULL" if op.value % 4 > 1 else "")
    return Text(f"{p.fd(op.fd, op)}, ", tail, p.end(op))


def _epoll_ctl(p: Printer, op: Op) -> Text:
    verb = p.const("EPOLL_CTL_ADD", 1)
    return Text(f"{p.fd(3)}, {verb}, {p.fd(op.fd, op)}, {p.epoll_entry(0x5, op.value)}", "", "0")


def _epoll(p: Printer, op: Op) -> Text:
    got = p.array([p.epoll_entry(r.events, r.data) for r in op.ready])
    return Text(f"{p.fd(3)}, ", f"{got}, 64, 1000", str(op.result))


def _poll(p: Printer, op: Op) -> Text:
    wanted = p.events(0x5, "POLL")
    asked = p.array([f"{{fd={fd}, events={wanted}}}" for fd in op.watched])
    back = [f"{{fd={r.fd}, revents={p.events(r.events, 'POLL')}}}" for r in op.ready]
    result = f"{op.result} ({p.array(back)})" if op.ready else "0 (Timeout)"
    return Text(f"{asked}, {len(op.watched)}, 1000", "", result)


def _select(p: Printer, op: Op) -> Text:
    fd = op.watched[0]
    sets = [
        part for part in (_ready_set("in", op.ready, 0x1), _ready_set("out", op.ready, 0x4)) if part
    ]
    result = (
        f"{len(sets)} ({', '.join(sets)}, left {{tv_sec=0, tv_usec=999995}})"
        if sets
        else "0 (Timeout)"
    )
    return Text(f"{fd + 1}, [{fd}], [{fd}], NULL, {{tv_sec=1, tv_usec=0}}", "", result)


def _ready_set(name: str, ready: tuple[Ready, ...], bit: int) -> str:
    fds = " ".join(str(r.fd) for r in ready if r.events & bit)
    return f"{name} [{fds}]" if fds else ""


def _dup(p: Printer, op: Op) -> Text:
    return Text(p.fd(op.fd, op), "", p.fd(op.result, op))


def _close(p: Printer, op: Op) -> Text:
    return Text(p.fd(op.fd, op), "", "0")


def _noise(p: Printer, op: Op) -> Text:
    return Text("0x7f98ab0a7a10, FUTEX_WAKE_PRIVATE, 1", "", str(op.value % 2))


NAMES: dict[str, tuple[str, Callable[[Printer, Op], Text]]] = {
    "socket": ("socket", _socket),
    "accept4": ("accept4", _accept4),
    "connect": ("connect", _connect),
    "ulp": ("setsockopt", _ulp),
    "tx": ("setsockopt", _key),
    "rx": ("setsockopt", _key),
    "fastopen": ("setsockopt", _fastopen),
    "so_error": ("getsockopt", _getsockopt),
    "tcp_info": ("getsockopt", _getsockopt),
    "getpeername": ("getpeername", _getpeername),
    "write": ("write", _write),
    "read": ("read", _read),
    "epoll_ctl": ("epoll_ctl", _epoll_ctl),
    "epoll": ("epoll_wait", _epoll),
    "poll": ("poll", _poll),
    "select": ("select", _select),
    "dup": ("dup", _dup),
    "close": ("close", _close),
    "noise": ("futex", _noise),
}


def _name(op: Op) -> str:
    if op.call == "write":
        return "sendto" if op.value % 2 else "write"
    if op.call == "read":
        return "recvfrom" if op.value % 4 > 1 else "read"
    return NAMES[op.call][0]


CLONE_FLAGS = (
    "CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS"
    "|CLONE_PARENT_SETTID|CLONE_CHILD_CLEARTID"
)


def _opening(scenario: Scenario, p: Printer) -> Iterator[str]:
    """Yield the start of the program, which also shows that the trace is not filtered."""
    raw = p.form.consts == "raw"
    four = {"plain": "4", "y": "4<socket:[46980]>", "yy": "4<TCP:[46980]>"}[p.form.fds]
    tcp = (("AF_INET", 2), ("SOCK_STREAM", 1), ("IPPROTO_TCP", 6))
    yield 'execve("/usr/sbin/haproxy", ["haproxy"], 0x7ffc5da7c18 /* 11 vars */) = 0'
    yield "brk(NULL) = 0x55e21d5cf000"
    yield "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f52ae15c000"
    yield f"epoll_create1({p.const('EPOLL_CLOEXEC', 0x80000)}) = {p.fd(3)}"
    yield f"socket({', '.join(p.const(*one) for one in tcp)}) = {four}"
    yield f"listen({p.fd(4)}, 4096) = 0"
    for tid in scenario.tids[1:]:
        flags = "0x3d0f00" if raw else CLONE_FLAGS
        body = f"{{flags={flags}, exit_signal=0, stack=0x7f98}} => {{parent_tid=[{tid}]}}, 88"
        yield f"clone3({body}) = {tid}"


def print_log(scenario: Scenario, form: Form) -> list[str]:
    """Return the lines of the log, without line ends."""
    p = Printer(form)
    clock = _Clock(form)
    lines = [clock.stamp(MAIN_TID) + text + clock.lasted() for text in _opening(scenario, p)]
    for op, part in lines_between(scenario.ops):
        if op.call == "epoll_ctl" and not form.control:
            continue
        text, name = NAMES[op.call][1](p, op), _name(op)
        if part == "whole":
            body = f"{name}({text.entry}{text.exit}) = {text.result}{clock.lasted()}"
        elif part == "begin":
            body = f"{name}({text.entry} <unfinished ...>"
        else:
            body = f"<... {name} resumed>{text.exit}{form.blank}) = {text.result}{clock.lasted()}"
        lines.append(clock.stamp(op.tid) + body)
    return lines


class _Clock:
    """Prefixes and durations; each line is 137 microseconds after the last."""

    def __init__(self, form: Form) -> None:
        self.form, self.ticks = form, 0

    def stamp(self, tid: int) -> str:
        self.ticks += 137
        pid = {
            "none": "",
            "bare": f"{tid:<5} ",
            "bracket": f"[pid {tid:>5}] ",
            "comm": f"{tid}<haproxy> ",
        }[self.form.pid]
        return pid + self._time()

    def _time(self) -> str:
        seconds, micro = 80_205 + self.ticks // 1_000_000, self.ticks % 1_000_000
        hms = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        return {
            "none": "",
            "t": hms + " ",
            "tt": f"{hms}.{micro:06} ",
            "ttt": f"{1_795_299_745 + self.ticks // 1_000_000}.{micro:06} ",
            "r": f"{'0.000137':>12} ",
        }[self.form.time]

    def lasted(self) -> str:
        return " <0.000021>" if self.form.lasted else ""
