// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * The probe as libbpf loads it: one object for all kernels with BTF (CO-RE).
 *
 * It reaches a socket from its descriptor (task, files, fdt, fd, file, socket, sock), so it knows which
 * socket a call was made on, its TCP state and its addresses, in whatever process and namespace.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "ktrace.h"
#include "kernel_types.h"
#include "common.h"

#define AF_MPTCP_PROTOCOL 262
#define SOCK_STREAM_ 1

#define SUBPROGRAM __attribute__((noinline))

/*
 * One read for several fields: each read of kernel memory costs more than all else here.  Where a field
 * lies in what was read is filled in at load time, like any offset.
 */
#define READ_START(buffer, pointer) bpf_probe_read_kernel(buffer, sizeof(buffer), pointer)
#define FIELD(buffer, type, field, as) (*(as *)((buffer) + bpf_core_field_offset(type, field)))

/* Raw system call tracepoints: enter has (registers, number), exit has (registers, result). */
#define ENTER_CONTEXT struct bpf_raw_tracepoint_args
#define EXIT_CONTEXT struct bpf_raw_tracepoint_args
#define REGS(c) ((struct pt_regs *)(c)->args[0])
#define RET(c) ((long)(c)->args[1])

#ifdef KT_X86
#define ARG(c, n) BPF_CORE_READ(REGS(c), ARG_##n)
#define ARG_0 di
#define ARG_1 si
#define ARG_2 dx
#define ARG_3 r10
#define ARG_4 r8
#define ARG_5 r9
#define CALL_NUMBER(c) BPF_CORE_READ(REGS(c), orig_ax)
#define REGISTERS_SIZE 128
#define READ_ARGS(c, to)                                                  \
	do {                                                              \
		char all[REGISTERS_SIZE] __attribute__((aligned(8)));     \
		READ_START(all, REGS(c));                                 \
		to[0] = FIELD(all, struct pt_regs, di, __u64);            \
		to[1] = FIELD(all, struct pt_regs, si, __u64);            \
		to[2] = FIELD(all, struct pt_regs, dx, __u64);            \
		to[3] = FIELD(all, struct pt_regs, r10, __u64);           \
		to[4] = FIELD(all, struct pt_regs, r8, __u64);            \
	} while (0)
#define REG_IP(r) BPF_CORE_READ(r, ip)
#define REG_SP(r) BPF_CORE_READ(r, sp)
#define REG_BP(r) BPF_CORE_READ(r, bp)
/* TS_COMPAT: a 32-bit call has other numbers and arguments */
#define FOREIGN_ABI(task) ((task)->thread_info.status & 2)
#endif

#ifdef KT_ARM64
#define ARG(c, n) ARG_##n(REGS(c))
/* the first register holds the result at exit, and its argument is kept beside */
#define ARG_0(r) BPF_CORE_READ(r, orig_x0)
#define ARG_1(r) BPF_CORE_READ(r, user_regs.regs[1])
#define ARG_2(r) BPF_CORE_READ(r, user_regs.regs[2])
#define ARG_3(r) BPF_CORE_READ(r, user_regs.regs[3])
#define ARG_4(r) BPF_CORE_READ(r, user_regs.regs[4])
#define ARG_5(r) BPF_CORE_READ(r, user_regs.regs[5])
#define CALL_NUMBER(c) BPF_CORE_READ(REGS(c), syscallno)
#define READ_ARGS(c, to) bpf_probe_read_kernel(to, 5 * sizeof(__u64), REGS(c)) /* x0 to x4 */
#define REG_IP(r) BPF_CORE_READ(r, user_regs.pc)
#define REG_SP(r) BPF_CORE_READ(r, user_regs.sp)
#define REG_BP(r) BPF_CORE_READ(r, user_regs.regs[29])
/* TIF_32BIT */
#define FOREIGN_ABI(task) ((task)->thread_info.flags & (1 << 22))
#endif

#define MAP(name, kind, entries, keytype, valuetype)  \
	struct {                                      \
		__uint(type, kind);                   \
		__uint(max_entries, entries);         \
		__type(key, keytype);                 \
		__type(value, valuetype);             \
	} name SEC(".maps")

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kt_counters);
} counters SEC(".maps");

MAP(config, BPF_MAP_TYPE_ARRAY, 1, __u32, struct kt_config);
MAP(traced, BPF_MAP_TYPE_HASH, 65536, __u32, __u32);

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct kt_pending);
} pending SEC(".maps");

MAP(socks, BPF_MAP_TYPE_LRU_HASH, 131072, __u64, struct kt_sockinfo);
MAP(waits, BPF_MAP_TYPE_LRU_HASH, 131072, struct kt_wait_key, struct kt_wait_value);
MAP(passive, BPF_MAP_TYPE_LRU_HASH, 65536, __u64, __u64);
MAP(ports, BPF_MAP_TYPE_HASH, 4096, __u16, __u32);
MAP(stacks, BPF_MAP_TYPE_ARRAY, KT_STACKS, __u32, struct kt_stack);

INLINE struct kt_config *settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

INLINE struct kt_counters *counts(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&counters, &zero);
}

INLINE void kt_count_lost(void)
{
	struct kt_counters *c = counts();

	if (c)
		__sync_fetch_and_add(&c->lost, 1);
}

INLINE void kt_count_untracked(void)
{
	struct kt_counters *c = counts();

	if (c)
		__sync_fetch_and_add(&c->untracked, 1);
}

INLINE int same_name(const char *a, const char *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return x[0] == y[0] && x[1] == y[1];
}

/* Traced by name or cgroup: found out at its first call, then remembered. */
INLINE int joins(__u32 tgid)
{
	struct kt_config *c = settings();
	char comm[16] __attribute__((aligned(8))) = {};
	__u32 value = 0;

	if (!c)
		return 0;
	if (c->cgroup && bpf_get_current_ancestor_cgroup_id(c->cgroup_level) == c->cgroup)
		goto yes;
	if (!c->comm[0])
		return 0;
	bpf_get_current_comm(comm, sizeof(comm));
	if (!same_name(comm, c->comm))
		return 0;
yes:
	bpf_map_update_elem(&traced, &tgid, &value, BPF_ANY);
	return 1;
}

INLINE int process_traced(void)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	return bpf_map_lookup_elem(&traced, &tgid) || joins(tgid);
}

INLINE int kt_traced(void)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (!process_traced())
		return 0;
	if (!FOREIGN_ABI(task))
		return 1;
	/* Its numbers mean other calls: what they were is lost, and that is counted. */
	kt_count_untracked();
	return 0;
}

/* The walk tells; nothing is left open. */
INLINE int kt_may_be_tcp(__s32 fd)
{
	return 0;
}

INLINE int kt_learns_others(void)
{
	return 0;
}

INLINE void kt_learn_other(__s32 fd)
{
}

INLINE struct kt_record *kt_reserve(void)
{
	return bpf_ringbuf_reserve(&events, sizeof(struct kt_record), 0);
}

/* User space polls: waking it up would cost the traced call more than the record does. */
INLINE void kt_submit(struct kt_record *r)
{
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
}

/* Kept with the thread itself; call 0: none under way. */
INLINE int pending_put(__u32 tid, struct kt_pending *p)
{
	struct kt_pending *own = bpf_task_storage_get(&pending, bpf_get_current_task_btf(), 0,
						      BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!own)
		return -1;
	*own = *p;
	return 0;
}

INLINE struct kt_pending *pending_find(__u32 tid)
{
	struct kt_pending *own =
		bpf_task_storage_get(&pending, bpf_get_current_task_btf(), 0, 0);

	return own && own->call ? own : 0;
}

INLINE void pending_delete(__u32 tid)
{
	struct kt_pending *own = pending_find(tid);

	if (own)
		own->call = 0;
}

INLINE void pending_done(struct kt_pending *p)
{
	p->call = 0;
}

INLINE struct kt_sockinfo *socks_find(__u64 sk)
{
	return bpf_map_lookup_elem(&socks, &sk);
}

INLINE void socks_put(__u64 sk, struct kt_sockinfo *info)
{
	bpf_map_update_elem(&socks, &sk, info, BPF_ANY);
}

INLINE void socks_delete(__u64 sk)
{
	bpf_map_delete_elem(&socks, &sk);
}

INLINE void waits_put(struct kt_wait_key *key, struct kt_wait_value *value)
{
	bpf_map_update_elem(&waits, key, value, BPF_ANY);
}

INLINE struct kt_wait_value *waits_find(struct kt_wait_key *key)
{
	return bpf_map_lookup_elem(&waits, key);
}

INLINE __u64 kt_wait_sock(struct kt_wait_value *value)
{
	return value->sk;
}

INLINE void passive_put(__u64 sk, __u64 now)
{
	bpf_map_update_elem(&passive, &sk, &now, BPF_ANY);
}

INLINE __u64 passive_take(__u64 sk)
{
	__u64 *found = bpf_map_lookup_elem(&passive, &sk);
	__u64 when = found ? *found : 0;

	if (found)
		bpf_map_delete_elem(&passive, &sk);
	return when;
}

INLINE int ports_has(__u16 port)
{
	return bpf_map_lookup_elem(&ports, &port) != 0;
}

INLINE void ports_add(__u16 port)
{
	__u32 one = 1;

	bpf_map_update_elem(&ports, &port, &one, BPF_ANY);
}

INLINE int uring_first(__u32 tgid)
{
	__u32 *flags = bpf_map_lookup_elem(&traced, &tgid);

	if (!flags || *flags & 1)
		return 0;
	*flags |= 1;
	return 1;
}

/* The descriptor table is walked each time, so there is nothing to learn or forget. */
INLINE void kt_learn_fd(__s32 fd)
{
}

INLINE void kt_copy_fd(__s32 from, __s32 to)
{
}

INLINE void kt_forget_fd(__s32 fd)
{
}

INLINE void kt_note_fastopen(__s32 fd)
{
}

INLINE __s32 kt_changed_inside(__u64 sk)
{
	return -1;
}

INLINE struct file *file_of(__s32 fd)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct fdtable *table = task->files->fdt;
	struct file **slots, *file = 0;

	if (fd < 0 || (__u32)fd >= table->max_fds)
		return 0;
	slots = table->fd;
	bpf_probe_read_kernel(&file, sizeof(file), &slots[fd]);
	return file;
}

/* The kernel's socket of a file, NULL where it is no stream socket: only a socket points back. */
INLINE struct sock *sock_of_file(struct file *file)
{
	char start[40] __attribute__((aligned(8))) = {};

	if (READ_START(start, BPF_CORE_READ(file, private_data)))
		return 0;
	if (FIELD(start, struct socket, file, struct file *) != file)
		return 0;
	if (FIELD(start, struct socket, type, short) != SOCK_STREAM_)
		return 0;
	return FIELD(start, struct socket, sk, struct sock *);
}

INLINE void describe_sock(struct sock *sk, struct kt_sock *s)
{
	char start[24] __attribute__((aligned(8))) = {};

	READ_START(start, sk);
	s->sk = (__u64)sk;
	s->family = FIELD(start, struct sock_common, skc_family, __u16);
	s->sport = FIELD(start, struct sock_common, skc_num, __u16);
	s->dport = __builtin_bswap16(FIELD(start, struct sock_common, skc_dport, __u16));
	s->state = FIELD(start, struct sock_common, skc_state, __u8);
	if (s->family == AF_INET_) {
		*(__u32 *)s->saddr = FIELD(start, struct sock_common, skc_rcv_saddr, __u32);
		*(__u32 *)s->daddr = FIELD(start, struct sock_common, skc_daddr, __u32);
	} else if (s->family == AF_INET6_) {
		BPF_CORE_READ_INTO((struct in6_addr *)s->saddr, sk,
				   __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO((struct in6_addr *)s->daddr, sk, __sk_common.skc_v6_daddr);
	}
}

INLINE int kt_walk(__s32 fd, struct kt_sock *s)
{
	struct file *file = file_of(fd);
	struct sock *sk = file ? sock_of_file(file) : 0;
	__u16 protocol;

	if (!sk)
		return 0;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (protocol != SOL_TCP_ && protocol != AF_MPTCP_PROTOCOL)
		return 0;
	describe_sock(sk, s);
	if (s->family != AF_INET_ && s->family != AF_INET6_) {
		s->sk = 0;
		return 0;
	}
	s->mptcp = protocol == AF_MPTCP_PROTOCOL;
	s->ino = BPF_CORE_READ(file, f_inode, i_ino);
	s->known = 1;
	return 1;
}

INLINE __u8 kt_state_of(__u64 sk)
{
	return BPF_CORE_READ((struct sock *)sk, __sk_common.skc_state);
}

INLINE __u64 kt_sock_of(__s32 fd)
{
	struct file *file = file_of(fd);

	return file ? (__u64)sock_of_file(file) : 0;
}

/*
 * Whether the file has holders besides this descriptor: others of its kind, a process it was sent to, or
 * a message it still travels in.  The count has lived in two places.
 */
struct file_ref___since_6_13 {
	struct {
		long counter;
	} refcnt;
} CORE;

struct file___since_6_13 {
	struct file_ref___since_6_13 f_ref; /* counts from 0 */
} CORE;

struct file___before {
	struct {
		long counter;
	} f_count;
} CORE;

INLINE __u32 kt_others_hold(__s32 fd)
{
	struct file *file = file_of(fd);
	struct file___since_6_13 *now = (void *)file;
	struct file___before *before = (void *)file;
	long count = 1;

	if (bpf_core_field_exists(now->f_ref))
		count = BPF_CORE_READ(now, f_ref.refcnt.counter) + 1;
	else if (bpf_core_field_exists(before->f_count))
		count = BPF_CORE_READ(before, f_count.counter);
	return count > 1;
}

INLINE int kt_accepted(struct kt_pending *p, long fd, struct kt_sock *s)
{
	return kt_walk(fd, s);
}

INLINE void kt_describe(__u64 sk, struct kt_sock *s)
{
	struct kt_sockinfo *info = socks_find(sk);

	describe_sock((struct sock *)sk, s);
	s->ino = info ? info->ino : 0;
}

/* A transition that begins a life: make sure that it is still the socket we know. */
INLINE struct kt_sockinfo *kt_state_owner(__u64 address, __u32 before, __u32 after,
					  struct kt_sockinfo *info)
{
	struct sock *sk = (struct sock *)address;
	__u64 ino;

	if (!info || (before != TCP_CLOSE_ && before != TCP_LISTEN_))
		return info;
	if (before == TCP_LISTEN_ && after == TCP_CLOSE_)
		return info;
	ino = BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino);
	if (ino == info->ino)
		return info;
	socks_delete(address);
	return 0;
}

/*
 * Whether data was written to or read from the socket since it reached ESTABLISHED: no call to trace, and
 * each is a proof that the program knew.  Compared with what stood there at the transition, since sums of
 * fields that softirq changes meanwhile can be torn.  A FIN counts for one.
 */
INLINE void kt_note_base(__u64 sk, struct kt_sockinfo *info)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	info->copied = BPF_CORE_READ(tp, copied_seq);
	info->written = BPF_CORE_READ(tp, write_seq);
	info->flags |= S_BASE;
}

INLINE int kt_moved_data(const struct kt_sock *s, const struct kt_sockinfo *info)
{
	struct tcp_sock *tp = (struct tcp_sock *)s->sk;
	__u32 fin = s->state != TCP_ESTABLISHED_ && s->state != TCP_CLOSE_WAIT_;

	if (s->mptcp || s->state == TCP_SYN_SENT_ || !(info->flags & S_BASE))
		return 0;
	return BPF_CORE_READ(tp, write_seq) - info->written > fin ||
	       BPF_CORE_READ(tp, copied_seq) != info->copied;
}

/* Copy registers and the top of the user stack; the unwinding is done after the fact. */
INLINE __u16 kt_take_stack(ENTER_CONTEXT *ctx, __u32 *slot)
{
	struct kt_counters *c = counts();
	struct kt_stack *copy;
	struct pt_regs *regs = REGS(ctx);

	if (!c || c->stacks >= KT_STACKS)
		return 0;
	*slot = __sync_fetch_and_add(&c->stacks, 1);
	copy = bpf_map_lookup_elem(&stacks, slot);
	if (!copy)
		return 0;
	copy->ip = REG_IP(regs);
	copy->sp = REG_SP(regs);
	copy->bp = REG_BP(regs);
	copy->tgid = bpf_get_current_pid_tgid() >> 32;
	copy->size = KT_STACK_BYTES;
	if (bpf_probe_read_user(copy->bytes, KT_STACK_BYTES, (void *)copy->sp)) {
		copy->size = KT_STACK_BYTES / 16;
		if (bpf_probe_read_user(copy->bytes, KT_STACK_BYTES / 16, (void *)copy->sp))
			copy->size = 0;
	}
	return KT_F_STACK;
}

#include "handlers.h"

/*
 * Two programs see every system call of the machine and hand the few that matter on, by number: user
 * space fills the two tables.  Attaching to each call's own tracepoint would need tracefs, and detaching
 * would take 70 ms for each.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, KT_SYSCALLS);
	__type(key, __u32);
	__type(value, __u32);
} entries SEC(".maps"), exits SEC(".maps");

SEC("raw_tracepoint")
int any_enter(struct bpf_raw_tracepoint_args *ctx)
{
	bpf_tail_call(ctx, &entries, ctx->args[1]);
	return 0;
}

SEC("raw_tracepoint")
int any_exit(struct bpf_raw_tracepoint_args *ctx)
{
	/* Nearly every call of the machine ends here: its entry left nothing to do. */
	if (pending_find(0))
		bpf_tail_call(ctx, &exits, CALL_NUMBER(ctx));
	return 0;
}

#define ENTER(name, call)                                     \
	SEC("raw_tracepoint")                                 \
	int enter_##name(struct bpf_raw_tracepoint_args *ctx) \
	{                                                     \
		return call;                                  \
	}

ENTER(socket, on_enter_socket(ctx))
ENTER(connect, on_enter_connect(ctx))
ENTER(accept, on_enter_accept(ctx, KT_ACCEPT, 0))
ENTER(accept4, on_enter_accept(ctx, KT_ACCEPT4, ARG(ctx, 3)))
ENTER(listen, on_enter_listen(ctx))
ENTER(setsockopt, on_enter_setsockopt(ctx))
ENTER(getsockopt, on_enter_getsockopt(ctx))
ENTER(getpeername, on_enter_getpeername(ctx))
ENTER(close, on_enter_close(ctx))
ENTER(close_range, on_enter_close_range(ctx))
ENTER(shutdown, on_enter_shutdown(ctx))
ENTER(dup, on_enter_dup(ctx, KT_DUP, -1, 0))
ENTER(dup2, on_enter_dup(ctx, KT_DUP2, ARG(ctx, 1), 0))
ENTER(dup3, on_enter_dup(ctx, KT_DUP3, ARG(ctx, 1), ARG(ctx, 2)))
ENTER(fcntl, on_enter_fcntl(ctx))
ENTER(epoll_ctl, on_enter_epoll_ctl(ctx))
ENTER(epoll_wait, on_enter_wait(ctx, KT_EPOLL_WAIT))
ENTER(epoll_pwait, on_enter_wait(ctx, KT_EPOLL_PWAIT))
ENTER(epoll_pwait2, on_enter_wait(ctx, KT_EPOLL_PWAIT2))
ENTER(poll, on_enter_wait(ctx, KT_POLL))
ENTER(ppoll, on_enter_wait(ctx, KT_PPOLL))
ENTER(select, on_enter_wait(ctx, KT_SELECT))
ENTER(pselect6, on_enter_wait(ctx, KT_PSELECT6))
ENTER(recvfrom, on_enter_peek(ctx, ARG(ctx, 3)))
ENTER(recvmsg, on_enter_peek(ctx, ARG(ctx, 2)))
ENTER(io_uring_enter, on_enter_io_uring(ctx))

#define LEAVE(name)                                             \
	SEC("raw_tracepoint")                                   \
	int exit_of_##name(struct bpf_raw_tracepoint_args *ctx) \
	{                                                       \
		return on_exit_##name(ctx);                     \
	}

LEAVE(socket)
LEAVE(connect)
LEAVE(accept)
LEAVE(listen)
LEAVE(setsockopt)
LEAVE(asking)
LEAVE(dup)
LEAVE(epoll)
LEAVE(poll)
LEAVE(select)

SEC("raw_tracepoint")
int state_change(struct bpf_raw_tracepoint_args *ctx)
{
	struct sock *sk = (struct sock *)ctx->args[0];

	return on_state((__u64)sk, ctx->args[1], ctx->args[2],
			BPF_CORE_READ(sk, __sk_common.skc_num));
}

SEC("raw_tracepoint")
int process_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *parent = (struct task_struct *)ctx->args[0];
	struct task_struct *child = (struct task_struct *)ctx->args[1];
	__u32 tgid = BPF_CORE_READ(child, tgid);
	struct kt_config *c = settings();
	struct kt_record *r;
	__u32 value = 0;
	__u64 now;

	if (!process_traced() || !c)
		return 0;
	if (tgid != BPF_CORE_READ(parent, tgid)) {
		if (!c->follow)
			return 0;
		bpf_map_update_elem(&traced, &tgid, &value, BPF_ANY);
	}
	now = bpf_ktime_get_ns();
	r = start_record(KT_CLONE, KT_WHOLE, now, now);
	if (!r)
		return 0;
	r->result = BPF_CORE_READ(child, pid);
	r->arg0 = tgid;
	if (tgid == BPF_CORE_READ(parent, tgid))
		r->flags |= KT_F_THREAD;
	if (BPF_CORE_READ(child, files) == BPF_CORE_READ(parent, files))
		r->flags |= KT_F_FILES;
	kt_submit(r);
	return 0;
}

SEC("raw_tracepoint")
int process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct kt_record *r;
	__u64 now;

	if (!process_traced())
		return 0;
	now = bpf_ktime_get_ns();
	r = start_record(KT_EXEC, KT_WHOLE, now, now);
	if (!r)
		return 0;
	/* The thread that called execve takes the process's id: this was its own. */
	r->arg0 = ctx->args[1];
	kt_submit(r);
	return 0;
}

SEC("raw_tracepoint")
int process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx->args[0];
	__u32 tgid = this_tgid();
	struct kt_record *r;
	__u64 now;
	int last;

	pending_delete(this_tid());
	if (!bpf_map_lookup_elem(&traced, &tgid))
		return 0;
	last = BPF_CORE_READ(task, signal, live.counter) == 0;
	if (last)
		bpf_map_delete_elem(&traced, &tgid);
	now = bpf_ktime_get_ns();
	r = start_record(KT_EXIT, KT_WHOLE, now, now);
	if (!r)
		return 0;
	if (last)
		r->flags |= KT_F_THREAD;
	kt_submit(r);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
