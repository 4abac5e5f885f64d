/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * How the CO-RE probe reads the kernel's structures: GET(type, pointer, field), and what is built on it.
 *
 * From Linux 6.2 on (KT_CAST) a pointer of any origin can be given its type, and a field costs one load.
 * Before, each read is a call that costs some 40 ns, so that fields which lie together are read together.
 * Where a field lies is filled in at load time in both.
 */
#ifndef KTRACE_REACH_H
#define KTRACE_REACH_H

#define AF_MPTCP_PROTOCOL 262
#define SOCK_STREAM_ 1

/* Raw system call tracepoints: enter has (registers, number), exit has (registers, result). */
#define ENTER_CONTEXT struct bpf_raw_tracepoint_args
#define EXIT_CONTEXT struct bpf_raw_tracepoint_args
#define REGS(c) ((struct pt_regs *)(c)->args[0])
#define RET(c) ((long)(c)->args[1])

/* The registers of the arguments are as they were, but one may hold the result: ARG() knows. */
#define READ_ARGS_AT_EXIT(c, to)      \
	do {                          \
		to[0] = ARG(c, 0);    \
		to[1] = ARG(c, 1);    \
		to[2] = ARG(c, 2);    \
		to[3] = ARG(c, 3);    \
		to[4] = ARG(c, 4);    \
	} while (0)

#ifdef KT_CAST
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym;
#define AS(type, pointer) \
	((type *)bpf_rdonly_cast((const void *)(pointer), bpf_core_type_id_kernel(type)))
#define GET(type, pointer, field) (AS(type, pointer)->field)
#define READ_ARGS(c, to) READ_ARGS_AT_EXIT(c, to)
#else
#define GET(type, pointer, field) BPF_CORE_READ((type *)(pointer), field)
#define READ_START(buffer, pointer) bpf_probe_read_kernel(buffer, sizeof(buffer), pointer)
#define FIELD(buffer, type, field, as) (*(as *)((buffer) + bpf_core_field_offset(type, field)))
#endif

#ifdef KT_X86
#define REG(r, name) GET(struct pt_regs, r, name)
#define ARG_0 di
#define ARG_1 si
#define ARG_2 dx
#define ARG_3 r10
#define ARG_4 r8
#define ARG_5 r9
#define ARG(c, n) REG(REGS(c), ARG_##n)
#define CALL_NUMBER(c) REG(REGS(c), orig_ax)
#define REG_IP(r) REG(r, ip)
#define REG_SP(r) REG(r, sp)
#define REG_BP(r) REG(r, bp)
/* TS_COMPAT: a 32-bit call has other numbers and arguments */
#define FOREIGN_ABI(task) ((task)->thread_info.status & 2)
#define FOREIGN_0 bx
#define FOREIGN_1 cx
#define FOREIGN_2 dx
#define FOREIGN_ARG(c, n) REG(REGS(c), FOREIGN_##n)
#ifndef KT_CAST
#define REGISTERS_SIZE 128
#define READ_ARGS(c, to)                                              \
	do {                                                          \
		char all[REGISTERS_SIZE] __attribute__((aligned(8))); \
		READ_START(all, REGS(c));                             \
		to[0] = FIELD(all, struct pt_regs, di, __u64);        \
		to[1] = FIELD(all, struct pt_regs, si, __u64);        \
		to[2] = FIELD(all, struct pt_regs, dx, __u64);        \
		to[3] = FIELD(all, struct pt_regs, r10, __u64);       \
		to[4] = FIELD(all, struct pt_regs, r8, __u64);        \
	} while (0)
#endif
/* Arguments and result of a kernel function, for a kprobe. */
#define KARG_0(r) ((r)->di)
#define KARG_1(r) ((r)->si)
#define KARG_2(r) ((r)->dx)
#define KARG_3(r) ((r)->cx)
#define KARG_5(r) ((r)->r9)
#define KRET(r) ((r)->ax)
#endif

#ifdef KT_ARM64
#define ARG(c, n) ARG_##n(REGS(c))
/* the first register holds the result at exit, and its argument is kept beside */
#define ARG_0(r) GET(struct pt_regs, r, orig_x0)
#define ARG_1(r) GET(struct pt_regs, r, user_regs.regs[1])
#define ARG_2(r) GET(struct pt_regs, r, user_regs.regs[2])
#define ARG_3(r) GET(struct pt_regs, r, user_regs.regs[3])
#define ARG_4(r) GET(struct pt_regs, r, user_regs.regs[4])
#define ARG_5(r) GET(struct pt_regs, r, user_regs.regs[5])
#define CALL_NUMBER(c) GET(struct pt_regs, REGS(c), syscallno)
#define REG_IP(r) GET(struct pt_regs, r, user_regs.pc)
#define REG_SP(r) GET(struct pt_regs, r, user_regs.sp)
#define REG_BP(r) GET(struct pt_regs, r, user_regs.regs[29])
/* TIF_32BIT */
#define FOREIGN_ABI(task) ((task)->thread_info.flags & (1 << 22))
#define FOREIGN_ARG(c, n) ARG(c, n)
#ifndef KT_CAST
#define READ_ARGS(c, to) bpf_probe_read_kernel(to, 5 * sizeof(__u64), REGS(c)) /* x0 to x4 */
#endif
#define KARG_0(r) ((r)->user_regs.regs[0])
#define KARG_1(r) ((r)->user_regs.regs[1])
#define KARG_2(r) ((r)->user_regs.regs[2])
#define KARG_3(r) ((r)->user_regs.regs[3])
#define KARG_5(r) ((r)->user_regs.regs[5])
#define KRET(r) ((r)->user_regs.regs[0])
#endif

INLINE struct file *file_of(struct task_struct *task, __s32 fd)
{
#ifdef KT_CAST
	/* From a trusted pointer the verifier searches all types of the kernel for each step: milliseconds. */
	struct fdtable *table = AS(struct task_struct, task)->files->fdt;
#else
	struct fdtable *table = task->files->fdt;
#endif
	struct file **slots;

	if (fd < 0 || (__u32)fd >= table->max_fds)
		return 0;
	slots = table->fd;
#ifdef KT_CAST
	/* A pointer in an array has no type to name: read it as the one pointer of a type that is used anyway. */
	return (void *)AS(struct fdtable, (void *)&slots[fd] - bpf_core_field_offset(struct fdtable, fd))->fd;
#else
	struct file *file = 0;

	bpf_probe_read_kernel(&file, sizeof(file), &slots[fd]);
	return file;
#endif
}

/* The kernel's socket of a file, NULL where it is no stream socket: only a socket points back. */
INLINE struct sock *sock_of_file(struct file *file)
{
#ifdef KT_CAST
	void *private = GET(struct file, file, private_data);
	struct socket *socket = AS(struct socket, private);

	if (socket->file != file || socket->type != SOCK_STREAM_)
		return 0;
	return socket->sk;
#else
	char start[40] __attribute__((aligned(8))) = {};

	if (READ_START(start, BPF_CORE_READ(file, private_data)))
		return 0;
	if (FIELD(start, struct socket, file, struct file *) != file)
		return 0;
	if (FIELD(start, struct socket, type, short) != SOCK_STREAM_)
		return 0;
	return FIELD(start, struct socket, sk, struct sock *);
#endif
}

/* Family and state of a socket; its addresses cost as much again, and are often known already. */
INLINE void meet_sock(struct sock *sk, struct kt_sock *s)
{
#ifdef KT_CAST
	struct sock *typed = AS(struct sock, sk);

	s->family = typed->__sk_common.skc_family;
	s->state = typed->__sk_common.skc_state;
#else
	char start[24] __attribute__((aligned(8))) = {};

	READ_START(start, sk);
	s->family = FIELD(start, struct sock, __sk_common.skc_family, __u16);
	s->state = FIELD(start, struct sock, __sk_common.skc_state, __u8);
#endif
	s->sk = (__u64)sk;
}

INLINE void describe_sock(struct sock *sk, struct kt_sock *s)
{
	__u32 local, peer;

#ifdef KT_CAST
	struct sock *typed = AS(struct sock, sk);

	s->family = typed->__sk_common.skc_family;
	s->sport = typed->__sk_common.skc_num;
	s->dport = __builtin_bswap16(typed->__sk_common.skc_dport);
	s->state = typed->__sk_common.skc_state;
	local = typed->__sk_common.skc_rcv_saddr;
	peer = typed->__sk_common.skc_daddr;
#else
	char start[24] __attribute__((aligned(8))) = {};

	READ_START(start, sk);
	s->family = FIELD(start, struct sock, __sk_common.skc_family, __u16);
	s->sport = FIELD(start, struct sock, __sk_common.skc_num, __u16);
	s->dport = __builtin_bswap16(FIELD(start, struct sock, __sk_common.skc_dport, __u16));
	s->state = FIELD(start, struct sock, __sk_common.skc_state, __u8);
	local = FIELD(start, struct sock, __sk_common.skc_rcv_saddr, __u32);
	peer = FIELD(start, struct sock, __sk_common.skc_daddr, __u32);
#endif
	s->sk = (__u64)sk;
	if (s->family == AF_INET_) {
		*(__u32 *)s->saddr = local;
		*(__u32 *)s->daddr = peer;
	} else if (s->family == AF_INET6_) {
		BPF_CORE_READ_INTO((struct in6_addr *)s->saddr, sk,
				   __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO((struct in6_addr *)s->daddr, sk, __sk_common.skc_v6_daddr);
	}
}

#endif
