/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The record that the probe puts into the ring buffer, and the numbers in it.
 *
 * Kernel and user space share this layout: ktrace/sources/live/layout.py says the same in Python, and
 * a test compares the two.  All records have one size, so that user space can decode them in bulk.
 * No key byte is ever read: of crypto_info the probe takes the first four bytes.
 */
#ifndef KTRACE_H
#define KTRACE_H

#define KT_LAYOUT 2

enum kt_call {
	KT_SOCKET = 1,
	KT_CONNECT = 2,
	KT_ACCEPT = 3,
	KT_ACCEPT4 = 4,
	KT_LISTEN = 5,
	KT_ULP = 6,
	KT_KEY = 7,
	KT_SOCKOPT = 8,
	KT_SO_ERROR = 9,
	KT_TCP_INFO = 10,
	KT_GETPEERNAME = 11,
	KT_CLOSE = 12,
	KT_CLOSE_RANGE = 13,
	KT_SHUTDOWN = 14,
	KT_DUP = 15,
	KT_DUP2 = 16,
	KT_DUP3 = 17,
	KT_DUPFD = 18,
	KT_SETFD = 19,
	KT_EPOLL_WAIT = 20,
	KT_EPOLL_PWAIT = 21,
	KT_EPOLL_PWAIT2 = 22,
	KT_POLL = 23,
	KT_PPOLL = 24,
	KT_SELECT = 25,
	KT_PSELECT6 = 26,
	KT_READ = 27,
	KT_WRITE = 28,
	KT_CLONE = 29,
	KT_EXEC = 30,
	KT_EXIT = 31,
	KT_IO_URING = 32,
	KT_STATE = 33,
	KT_CALLS = 34,
};

enum kt_phase {
	KT_WHOLE = 0,
	KT_BEGIN = 1,
	KT_END = 2,
};

/* kt_record.flags */
#define KT_F_TOLD 0x01	   /* a proof of ESTABLISHED had reached the program */
#define KT_F_TOLD_KNOWN 0x02 /* the probe saw this socket from its connect() on, so TOLD means something */
#define KT_F_HIDDEN 0x04   /* a wait call returned more descriptors than the probe looks at */
#define KT_F_STACK 0x08	   /* arg1 is the slot of a user stack */
#define KT_F_CLOEXEC 0x10
#define KT_F_MPTCP 0x20
#define KT_F_THREAD 0x40   /* clone: a thread; exit: the last thread of its process */
#define KT_F_OTHER_ULP 0x100 /* the name could be read only at the exit, and was not "tls" */
#define KT_F_FILES 0x80	   /* clone: shares the descriptor table */
#define KT_F_AT_CALL 0x200 /* state is that of the very call, not of the system call's entry */
#define KT_F_RING 0x400	   /* made through io_uring: no descriptor is known */

struct kt_record {
	__u64 start_ns; /* CLOCK_MONOTONIC */
	__u64 end_ns;	/* 0: has not returned yet */
	__u64 sk;	/* address of the kernel's socket, 0: not known */
	__u64 aux_ns;	/* accept: when the connection reached ESTABLISHED, 0: not known */
	__u32 tgid;
	__u32 tid;
	__s32 fd;
	__s32 result;
	__u32 arg0;
	__u32 arg1;
	__u16 flags;
	__u8 call;
	__u8 phase;
	__u8 state; /* TCP state of the socket when the call began, 0: not known */
	__u8 pad;
	/* The next six stand together: user space takes them for one key. */
	__u16 family; /* of the socket, 0: addresses not known */
	__u32 ino;    /* inode of the socket, 0: not known */
	__u16 sport;  /* host order */
	__u16 dport;
	__u8 saddr[16];
	__u8 daddr[16];
	char comm[16]; /* only where a connection can begin */
};

/* What user space tells the probe before it attaches. */
struct kt_config {
	char comm[16];	  /* trace programs of this name, empty: none */
	__u64 cgroup;	  /* trace members of this cgroup (v2) and below, 0: none */
	__u32 cgroup_level;
	__u32 follow;	  /* children of traced processes are traced */
};

/* Counters that only grow; user space reads them through a memory map. */
struct kt_counters {
	__u64 lost;	    /* records that found no room in the ring */
	__u64 untracked;    /* calls that could not be followed to their end */
	__u64 stacks;	    /* stack slots given out */
	__u64 foreign;	    /* calls of 32-bit programs that concern connections */
};

#define KT_SYSCALLS 512 /* above every system call number that matters */

#define KT_STACKS 256
#define KT_STACK_BYTES 8192

/* A user stack as it was at the call, for unwinding after the fact. */
struct kt_stack {
	__u64 ip;
	__u64 sp;
	__u64 bp;
	__u32 size; /* bytes that could be read, from sp upwards */
	__u32 tgid;
	__u8 bytes[KT_STACK_BYTES];
};

#endif
