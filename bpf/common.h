/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Numbers of the kernel's user interface, and what the probe keeps between two calls. */
#ifndef KTRACE_COMMON_H
#define KTRACE_COMMON_H

#define EINPROGRESS_ 115
#define EALREADY_ 114
#define EINTR_ 4
#define EAGAIN_ 11
#define EISCONN_ 106
#define ENOSYS_ 38
#define ERESTARTSYS_ 512

#define TCP_ESTABLISHED_ 1
#define TCP_SYN_SENT_ 2
#define TCP_SYN_RECV_ 3
#define TCP_CLOSE_ 7
#define TCP_CLOSE_WAIT_ 8
#define TCP_LISTEN_ 10

#define AF_UNSPEC_ 0
#define AF_INET_ 2
#define AF_INET6_ 10
#define FAMILY_UNREADABLE 0xffff
#define MSG_PEEK_ 2
#define SOL_SOCKET_ 1
#define SO_ERROR_ 4
#define SOL_TCP_ 6
#define SOL_TLS_ 282
#define TCP_INFO_ 11
#define TCP_REPAIR_ 19
#define TCP_FASTOPEN_ 23
#define TCP_FASTOPEN_CONNECT_ 30
#define TCP_ULP_ 31
#define WORD_TLS ('t' | 'l' << 8 | 's' << 16) /* with its NUL, as these machines order bytes */
#define O_CLOEXEC_ 02000000
#define F_DUPFD_ 0
#define F_SETFD_ 2
#define F_DUPFD_CLOEXEC_ 1030
#define CLONE_FILES_ 0x400
#define CLONE_THREAD_ 0x10000

/* How 32-bit programs number these calls; the first three are also those of socketcall(). */
#define FOREIGN_SOCKET 1
#define FOREIGN_CONNECT 3
#define FOREIGN_SETSOCKOPT 14
#define NR32_SOCKETCALL 102
#ifdef KT_X86
#define NR32_SOCKET 359
#define NR32_CONNECT 362
#define NR32_SETSOCKOPT 366
#endif
#ifdef KT_ARM64
#define NR32_CONNECT 283
#define NR32_SETSOCKOPT 294
#endif

#define EPOLLOUT_ 0x4
#define EPOLLERR_ 0x8
#define EPOLLHUP_ 0x10
#define EPOLLTELLING_ (EPOLLOUT_ | EPOLLERR_ | EPOLLHUP_)

#define KT_MAX_WAIT 256	 /* descriptors looked at in one return of epoll_wait or poll */
#define KT_MAX_SELECT 1024
#define KT_MAX_NOTES 64	 /* wait records of one socket while it is in flight */

/* kt_sockinfo.flags */
#define S_INFLIGHT 1 /* connect() was called and the program has not been told how it went */
#define S_TOLD 2
#define S_FASTOPEN 4 /* TCP_FASTOPEN_CONNECT: connect() = 0 and POLLOUT prove nothing */
#define S_CLOSED 8
#define S_BASE 32 /* copied and written are set */
#define S_SEEN_CONNECT 16 /* or its accept(): all that led here is known */

struct kt_sockinfo {
	__u32 ino;
	__u8 flags;
	__u8 state;
	__u16 notes;
	__u32 copied; /* tcp_sock's sequence numbers when ESTABLISHED was reached */
	__u32 written;
};

/* What the walk from a descriptor to its socket found; sk 0 with known 1: not known, but TCP. */
struct kt_sock {
	__u64 sk;
	__u32 ino;
	__u16 family;
	__u16 sport;
	__u16 dport;
	__u8 state;
	__u8 known;
	__u8 mptcp;
	__u8 pad[3];
	__u8 saddr[16];
	__u8 daddr[16];
};

/* A call between its entry and its exit, by thread. */
struct kt_pending {
	__u64 start_ns;
	__u64 sk;
	__u64 pointer;
	__u64 pointer2;
	__s32 fd;
	__u32 arg0;
	__u32 arg1;
	__u16 flags;
	__u8 call;
	__u8 state;
};

/* epoll_data of one epoll descriptor of one process. */
struct kt_wait_key {
	__u32 tgid;
	__s32 epfd;
	__u64 data;
};

struct kt_wait_value {
	__u64 sk;
	__s32 fd;
	__u32 pad;
};

struct kt_epoll_event {
	__u32 events;
	__u64 data;
}
#ifdef KT_X86
__attribute__((packed))
#endif
;

struct kt_pollfd {
	__s32 fd;
	__s16 events;
	__s16 revents;
};

#define INLINE static __attribute__((always_inline)) inline

#endif
