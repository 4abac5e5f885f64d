/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The few kernel types that the walk from a descriptor to its socket needs, with only the fields used.
 * Their offsets are filled in at load time from the running kernel's BTF: for each type that an access
 * begins with, libbpf looks through all types of the kernel, which takes a millisecond.
 */
#ifndef KTRACE_KERNEL_TYPES_H
#define KTRACE_KERNEL_TYPES_H

#define CORE __attribute__((preserve_access_index))

struct in6_addr {
	__u8 s6_addr[16];
} CORE;

struct sock_common {
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} CORE;

struct socket;

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	struct socket *sk_socket;
} CORE;

struct tcp_ulp_ops {
	char name[16];
} CORE;

struct inet_connection_sock {
	struct tcp_ulp_ops *icsk_ulp_ops;
} CORE;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 copied_seq;
	__u32 write_seq;
	void *fastopen_req;
} CORE;

struct inode {
	unsigned long i_ino;
} CORE;

struct file {
	void *private_data;
	struct inode *f_inode;
	struct {
		struct {
			long counter;
		} refcnt;
	} f_ref; /* since 6.13, from 0 */
	struct {
		long counter;
	} f_count; /* before */
} CORE;

struct socket {
	short type;
	struct file *file;
	struct sock *sk;
} CORE;

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
} CORE;

struct files_struct {
	struct fdtable *fdt;
} CORE;

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live;
} CORE;

#ifdef KT_X86
struct pt_regs {
	unsigned long bx, r10, r9, r8, bp, ax, cx, dx, si, di, orig_ax, ip, sp;
} CORE;

struct thread_info {
	unsigned int status;
} CORE;
#endif

#ifdef KT_ARM64
struct user_pt_regs {
	__u64 regs[31];
	__u64 sp, pc;
} CORE;

struct pt_regs {
	struct user_pt_regs user_regs;
	__u64 orig_x0;
	int syscallno;
} CORE;

struct thread_info {
	unsigned long flags;
} CORE;
#endif

struct seccomp {
	int mode;
} CORE;

struct task_struct {
	struct thread_info thread_info;
	int pid;
	int tgid;
	struct files_struct *files;
	struct signal_struct *signal;
	struct seccomp seccomp;
	char comm[16];
} CORE;

#endif
