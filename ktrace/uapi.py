"""Numbers and names of the kernel's user interface: tables, not code.

Sources: include/uapi/linux/{socket.h,tcp.h,tls.h,in.h,eventpoll.h,fcntl.h},
include/net/tcp_states.h. Values are those of x86 and arm64; strace prints names unless asked not
to, so the few architectures that number them otherwise (mips, alpha, sparc) matter only for raw
logs.
"""

import errno as _errno

AF = {
    "AF_UNSPEC": 0,
    "AF_UNIX": 1,
    "AF_LOCAL": 1,
    "AF_INET": 2,
    "AF_INET6": 10,
    "AF_NETLINK": 16,
    "AF_PACKET": 17,
    "AF_VSOCK": 40,
    "AF_SMC": 43,
}
AF_NAMES = {number: name for name, number in AF.items() if name != "AF_LOCAL"}

SOCK_TYPES = {"SOCK_STREAM": 1, "SOCK_DGRAM": 2, "SOCK_RAW": 3, "SOCK_SEQPACKET": 5}
SOCK_TYPE_NAMES = {number: name for name, number in SOCK_TYPES.items()}
SOCK_FLAGS = {"SOCK_NONBLOCK": 0o4000, "SOCK_CLOEXEC": 0o2000000}
SOCK_NONBLOCK = 0o4000
SOCK_CLOEXEC = 0o2000000

PROTOCOLS = {
    "IPPROTO_IP": 0,
    "IPPROTO_ICMP": 1,
    "IPPROTO_TCP": 6,
    "IPPROTO_UDP": 17,
    "IPPROTO_IPV6": 41,
    "IPPROTO_SCTP": 132,
    "IPPROTO_MPTCP": 262,
}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}

PR_SET_SECCOMP, MODE_FILTER, SET_MODE_FILTER = 22, 2, 1
PRCTL = {"PR_SET_SECCOMP": PR_SET_SECCOMP}
MODE = {"SECCOMP_MODE_FILTER": MODE_FILTER}
SECCOMP = {"SECCOMP_SET_MODE_FILTER": SET_MODE_FILTER}

LEVELS = {
    "SOL_IP": 0,
    "IPPROTO_IP": 0,
    "SOL_SOCKET": 1,
    "SOL_TCP": 6,
    "IPPROTO_TCP": 6,
    "SOL_IPV6": 41,
    "SOL_TLS": 282,
    "SOL_MPTCP": 284,
}
SOL_SOCKET = 1
SOL_TCP = 6
SOL_TLS = 282
LEVEL_NAMES = {
    0: "SOL_IP",
    1: "SOL_SOCKET",
    6: "SOL_TCP",
    41: "SOL_IPV6",
    282: "SOL_TLS",
    284: "SOL_MPTCP",
}

TCP_OPTIONS = {
    "TCP_NODELAY": 1,
    "TCP_MAXSEG": 2,
    "TCP_CORK": 3,
    "TCP_INFO": 11,
    "TCP_REPAIR": 19,
    "TCP_FASTOPEN": 23,
    "TCP_FASTOPEN_CONNECT": 30,
    "TCP_ULP": 31,
}
TCP_OPTION_NAMES = {number: name for name, number in TCP_OPTIONS.items()}
TCP_INFO = 11
TCP_ULP = 31
SOCKET_OPTIONS = {"SO_REUSEADDR": 2, "SO_ERROR": 4, "SO_KEEPALIVE": 9, "SO_SNDTIMEO": 21}
SO_ERROR = 4
TLS_OPTIONS = {
    "TLS_TX": 1,
    "TLS_RX": 2,
    "TLS_TX_ZEROCOPY_RO": 3,
    "TLS_RX_EXPECT_NO_PAD": 4,
    "TLS_TX_MAX_PAYLOAD_LEN": 5,
}
TLS_OPTION_NAMES = {number: name for name, number in TLS_OPTIONS.items()}
TLS_TX = 1
TLS_RX = 2

TLS_VERSIONS = {0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
TLS_CIPHERS = {
    51: "AES_GCM_128",
    52: "AES_GCM_256",
    53: "AES_CCM_128",
    54: "CHACHA20_POLY1305",
    55: "SM4_GCM",
    56: "SM4_CCM",
    57: "ARIA_GCM_128",
    58: "ARIA_GCM_256",
}
# sizeof(struct tls12_crypto_info_*): the kernel compares optlen with the size for the cipher
TLS_CRYPTO_INFO_SIZES = {51: 40, 52: 56, 53: 40, 54: 56, 55: 40, 56: 40, 57: 40, 58: 56}

TCP_STATES = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECV",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "SYN_RECV",
}
TCP_STATE_NUMBERS = {f"TCP_{name}": number for number, name in TCP_STATES.items() if number != 12}

EPOLLIN = 0x001
EPOLLOUT = 0x004
EPOLLERR = 0x008
EPOLLHUP = 0x010
EPOLLRDHUP = 0x2000
EPOLL_BITS = {
    "EPOLLIN": 0x001,
    "EPOLLPRI": 0x002,
    "EPOLLOUT": 0x004,
    "EPOLLERR": 0x008,
    "EPOLLHUP": 0x010,
    "EPOLLNVAL": 0x020,
    "EPOLLRDNORM": 0x040,
    "EPOLLRDBAND": 0x080,
    "EPOLLWRNORM": 0x100,
    "EPOLLWRBAND": 0x200,
    "EPOLLMSG": 0x400,
    "EPOLLRDHUP": 0x2000,
    "EPOLLEXCLUSIVE": 1 << 28,
    "EPOLLWAKEUP": 1 << 29,
    "EPOLLONESHOT": 1 << 30,
    "EPOLLET": 1 << 31,
    "POLLIN": 0x001,
    "POLLPRI": 0x002,
    "POLLOUT": 0x004,
    "POLLERR": 0x008,
    "POLLHUP": 0x010,
    "POLLNVAL": 0x020,
    "POLLRDNORM": 0x040,
    "POLLRDBAND": 0x080,
    "POLLWRNORM": 0x100,
    "POLLWRBAND": 0x200,
    "POLLMSG": 0x400,
    "POLLRDHUP": 0x2000,
}
EPOLL_OPS = {"EPOLL_CTL_ADD": 1, "EPOLL_CTL_DEL": 2, "EPOLL_CTL_MOD": 3}

MSG_FLAGS = {"MSG_PEEK": 0x2, "MSG_ERRQUEUE": 0x2000, "MSG_FASTOPEN": 0x20000000}
MSG_FASTOPEN = 0x20000000
MSG_ERRQUEUE = 0x2000

FCNTL = {
    "F_DUPFD": 0,
    "F_GETFD": 1,
    "F_SETFD": 2,
    "F_GETFL": 3,
    "F_SETFL": 4,
    "F_DUPFD_CLOEXEC": 1030,
}
CLONE_FLAGS = {"CLONE_FILES": 0x400, "CLONE_THREAD": 0x10000}
CLOSE_RANGE_FLAGS = {"CLOSE_RANGE_UNSHARE": 2, "CLOSE_RANGE_CLOEXEC": 4}
O_CLOEXEC = {"O_CLOEXEC": 0o2000000, "FD_CLOEXEC": 1, "EPOLL_CLOEXEC": 0o2000000}
SHUTDOWN = {"SHUT_RD": 0, "SHUT_WR": 1, "SHUT_RDWR": 2}
IOCTLS = {"FIOCLEX": 0x5451, "FIONCLEX": 0x5450}

ERRNO_NUMBERS: dict[str, int] = {name: number for number, name in _errno.errorcode.items()}
ERRNO_NUMBERS.update({"ENOTSUPP": 524, "EOPNOTSUPP": 95, "ENOTSUP": 95, "EWOULDBLOCK": 11})
ERRNO_NAMES: dict[int, str] = {**_errno.errorcode, 95: "EOPNOTSUPP", 11: "EAGAIN", 524: "ENOTSUPP"}
