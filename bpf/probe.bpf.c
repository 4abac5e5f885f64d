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
#include "numbers.h"

#include "reach.h"

#define SUBPROGRAM __attribute__((noinline))
#ifdef KT_CAST
/* The verifier looks at one turn, not at each, and once at what is called from many places. */
#define APART SUBPROGRAM
#define TURN static
#define REPEAT(count, bound, turn, context) \
	bpf_loop((count) < (bound) ? (count) : (bound), turn, context, 0)
#else
#define APART INLINE
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

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
#ifdef KT_CAST
	__uint(map_flags, BPF_F_NO_PREALLOC); /* safe anywhere since 6.1; milliseconds of the start */
#endif
	__uint(max_entries, 32768);
	__type(key, __u32);
	__type(value, __u32);
} traced SEC(".maps");


#define TASK struct task_struct *

INLINE TASK kt_task(void)
{
	return bpf_get_current_task_btf();
}

INLINE __u64 kt_id(TASK task)
{
	return (__u64)task->tgid << 32 | (__u32)task->pid;
}

/* What is kept of a thread: the call it is in, what happens inside that, and that it is traced. */
struct kt_thread {
	struct kt_pending outer;
	struct kt_pending inner;
	__u32 traced;
	__u32 pad;
};

#define SELF struct kt_thread *

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct kt_thread);
} threads SEC(".maps");

MAP(socks, BPF_MAP_TYPE_LRU_HASH, 131072, __u64, struct kt_sockinfo);
MAP(waits, BPF_MAP_TYPE_LRU_HASH, 65536, struct kt_wait_key, struct kt_wait_value);
MAP(passive, BPF_MAP_TYPE_LRU_HASH, 16384, __u64, __u64);
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

#define COUNTS(name, field)                                   \
	INLINE void name(void)                                \
	{                                                     \
		struct kt_counters *c = counts();             \
                                                              \
		if (c)                                        \
			__sync_fetch_and_add(&c->field, 1);   \
	}

COUNTS(kt_count_lost, lost)
COUNTS(kt_count_untracked, untracked)
COUNTS(kt_count_foreign, foreign)

INLINE void kt_name(char *to)
{
#ifdef KT_CAST
	const __u64 *name = (void *)kt_task() + bpf_core_field_offset(struct task_struct, comm);

	((__u64 *)to)[0] = name[0];
	((__u64 *)to)[1] = name[1];
#else
	bpf_get_current_comm(to, 16);
#endif
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
	kt_name(comm);
	if (!same_name(comm, c->comm))
		return 0;
yes:
	if (bpf_map_update_elem(&traced, &tgid, &value, BPF_ANY))
		kt_count_untracked();
	return 1;
}

INLINE int process_traced(void)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	return bpf_map_lookup_elem(&traced, &tgid) || joins(tgid);
}

INLINE struct kt_thread *kt_self(void)
{
	return bpf_task_storage_get(&threads, bpf_get_current_task_btf(), 0, 0);
}

INLINE int kt_foreign(void *ctx)
{
	return FOREIGN_ABI(bpf_get_current_task_btf()) != 0;
}

/* Whether a seccomp filter may have refused a call of this thread. */
INLINE int kt_filtered(void)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return bpf_core_field_exists(task->seccomp) && task->seccomp.mode;
}

/* A process stays traced until it ends, so its threads remember. */
INLINE struct kt_thread *kt_traced_as(TASK task, void *ctx)
{
	struct kt_thread *self = bpf_task_storage_get(&threads, task, 0, 0);

	if (FOREIGN_ABI(task)) /* on_foreign() counts */
		return 0;
	if (self && self->traced)
		return self;
	if (!process_traced())
		return 0;
	self = bpf_task_storage_get(&threads, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (self)
		self->traced = 1;
	else
		kt_count_untracked();
	return self;
}

INLINE struct kt_thread *kt_traced(void *ctx)
{
	return kt_traced_as(kt_task(), ctx);
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
INLINE int pending_put(struct kt_thread *self, struct kt_pending *p)
{
	if (!self)
		return -1;
	self->outer = *p;
	return 0;
}

INLINE struct kt_pending *pending_of(TASK task)
{
	struct kt_thread *self = bpf_task_storage_get(&threads, task, 0, 0);

	return self && self->outer.call ? &self->outer : 0;
}

INLINE struct kt_pending *pending_find(__u32 tid)
{
	return pending_of(kt_task());
}

INLINE void pending_done(struct kt_pending *p)
{
	p->call = 0;
}

INLINE int inner_put(struct kt_thread *self, struct kt_pending *p)
{
	self->inner = *p;
	return 0;
}

INLINE struct kt_pending *inner_find(__u8 call)
{
	struct kt_thread *self = kt_self();

	return self && self->inner.call == call ? &self->inner : 0;
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

/* The walk; with `addresses` 0 it leaves out what costs most, and kt_complete() may do it later. */
INLINE int walk_in(struct task_struct *task, __s32 fd, struct kt_sock *s, int addresses)
{
	struct file *file = file_of(task, fd);
	struct sock *sk = file ? sock_of_file(file) : 0;
	struct inode *inode;
	__u16 protocol;

	if (!sk)
		return 0;
	protocol = GET(struct sock, sk, sk_protocol);
	if (protocol != SOL_TCP_ && protocol != AF_MPTCP_PROTOCOL)
		return 0;
	if (addresses)
		describe_sock(sk, s);
	else
		meet_sock(sk, s);
	if (s->family != AF_INET_ && s->family != AF_INET6_) {
		s->sk = 0;
		return 0;
	}
	s->mptcp = protocol == AF_MPTCP_PROTOCOL;
	inode = GET(struct file, file, f_inode);
	s->ino = GET(struct inode, inode, i_ino);
	s->known = 1;
	return 1;
}

APART int walk(__s32 fd, struct kt_sock *s)
{
	return s ? walk_in(bpf_get_current_task_btf(), fd, s, 1) : 0;
}

INLINE int kt_walk(__s32 fd, struct kt_sock *s)
{
	return walk(fd, s);
}

INLINE int kt_find(TASK task, __s32 fd, struct kt_sock *s)
{
	return walk_in(task, fd, s, 0);
}

INLINE void kt_complete(struct kt_sock *s)
{
	describe_sock((struct sock *)s->sk, s);
}

/* Whether a call that went well set this ULP: asking the socket costs less than reading the name again. */
INLINE int kt_took_tls(struct kt_pending *p)
{
	__u64 sk = p->sk;
	struct tcp_ulp_ops *ops = GET(struct tcp_sock, sk, inet_conn.icsk_ulp_ops);
	__u32 name = 0;

	if (!ops)
		return 1;
#ifdef KT_CAST
	ops = AS(struct tcp_ulp_ops, ops);
	name = (__u32)ops->name[0] | (__u32)ops->name[1] << 8 | (__u32)ops->name[2] << 16 |
	       (__u32)ops->name[3] << 24;
#else
	bpf_probe_read_kernel(&name, sizeof(name), (void *)ops + bpf_core_field_offset(struct tcp_ulp_ops, name));
#endif
	return name == WORD_TLS;
}

INLINE __u8 kt_state_of(__u64 sk)
{
	return GET(struct sock, sk, __sk_common.skc_state);
}

INLINE __u64 kt_sock_of(__s32 fd)
{
	struct file *file = file_of(bpf_get_current_task_btf(), fd);

	return file ? (__u64)sock_of_file(file) : 0;
}

/*
 * Whether the file has holders besides this descriptor: others of its kind, a process it was sent to, or
 * a message it still travels in.  The count has lived in two places.
 */
INLINE __u32 kt_others_hold(__s32 fd)
{
	struct file *file = file_of(bpf_get_current_task_btf(), fd);
	long count = 1;

	if (bpf_core_field_exists(file->f_ref))
		count = GET(struct file, file, f_ref.refcnt.counter) + 1;
	else if (bpf_core_field_exists(file->f_count))
		count = GET(struct file, file, f_count.counter);
	return count > 1;
}

INLINE int kt_accepted(struct kt_pending *p, long fd, struct kt_sock *s)
{
	return kt_walk(fd, s);
}

INLINE void kt_describe(__u64 sk, __u32 ino, struct kt_sock *s)
{
	describe_sock((struct sock *)sk, s);
	s->ino = ino;
}

INLINE __u32 inode_of(struct sock *sk)
{
#ifdef KT_CAST
	return AS(struct sock, sk)->sk_socket->file->f_inode->i_ino; /* 0 where one is NULL */
#else
	return BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino);
#endif
}

/* The same from the kernel's side, where no descriptor is known. */
INLINE void kt_reach(__u64 sk, struct kt_sock *s)
{
	describe_sock((struct sock *)sk, s);
	s->ino = inode_of((struct sock *)sk);
	s->known = 1;
}

INLINE __u64 kt_sock_in(__u64 socket)
{
	return (__u64)GET(struct socket, socket, sk);
}

/* TCP Fast Open connects when data is sent: that is no io_uring. */
INLINE int kt_fast_open(__u64 sk)
{
	return GET(struct tcp_sock, sk, fastopen_req) != 0;
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
	ino = inode_of(sk);
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
	info->copied = GET(struct tcp_sock, sk, copied_seq);
	info->written = GET(struct tcp_sock, sk, write_seq);
	info->flags |= S_BASE;
}

INLINE int kt_moved_data(const struct kt_sock *s, const struct kt_sockinfo *info)
{
	__u64 sk = s->sk; /* apart: what GET is given is relocated too */
	__u32 fin = s->state != TCP_ESTABLISHED_ && s->state != TCP_CLOSE_WAIT_;

	if (s->mptcp || s->state == TCP_SYN_SENT_ || !(info->flags & S_BASE))
		return 0;
	return GET(struct tcp_sock, sk, write_seq) - info->written > fin ||
	       GET(struct tcp_sock, sk, copied_seq) != info->copied;
}

/* The registers are the kernel's, and not to be passed on where it knows that: they are found again. */
#ifdef KT_CAST
#define kt_hand_over(ctx) 0
#define kt_taken_over(registers) ((__u64)bpf_task_pt_regs(bpf_get_current_task_btf()))
#else
#define kt_hand_over(ctx) ((ctx)->args[0])
#define kt_taken_over(registers) (registers)
#endif

/* Copy registers and the top of the user stack; the unwinding is done after the fact. */
APART int take_stack(__u64 registers, __u32 *slot)
{
	struct kt_counters *c = counts();
	struct kt_stack *copy;
	struct pt_regs *regs = (struct pt_regs *)kt_taken_over(registers);

	if (!slot || !c || c->stacks >= KT_STACKS)
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

INLINE __u16 kt_take_stack(__u64 registers, __u32 *slot)
{
	return take_stack(registers, slot);
}

#include "handlers.h"
#include "inside.h"

#ifdef KT_BY_CALL
extern void bpf_preempt_disable(void) __ksym;
extern void bpf_preempt_enable(void) __ksym;
#define UNDISTURBED(action)             \
	({                              \
		int result_;            \
		bpf_preempt_disable();  \
		result_ = action;       \
		bpf_preempt_enable();   \
		result_;                \
	})
#include "bycall.h"
#else
#define UNDISTURBED(action) (action)

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
	/* The one that matters goes without the detour. */
	if (ctx->args[1] == NR_SETSOCKOPT)
		return on_enter_setsockopt(ctx);
	bpf_tail_call(ctx, &entries, ctx->args[1]);
	return 0;
}

SEC("raw_tracepoint")
int any_exit(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 number;

#ifndef KT_CAST
	/* Looking for what an entry left is cheaper than reading the number, which nearly nobody needs. */
	if (!pending_find(0) && !kt_filtered())
		return 0;
#endif
	number = CALL_NUMBER(ctx);
#ifdef KT_CAST
	/* The arguments still stand there, and looking at them is cheaper than looking for an entry. */
	if (number == NR_SETSOCKOPT && !matters(ARG(ctx, 1), ARG(ctx, 2)))
		return 0;
#endif
	if (number == NR_SETSOCKOPT)
		return on_exit_setsockopt(ctx);
	bpf_tail_call(ctx, &exits, number);
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
ENTER(accept, on_enter_accept(ctx, ctx->args[1]))
ENTER(listen, on_enter_listen(ctx))
ENTER(asking, on_enter_asking(ctx, ctx->args[1]))
ENTER(close, on_enter_close(ctx))
ENTER(close_range, on_enter_close_range(ctx))
ENTER(shutdown, on_enter_shutdown(ctx))
ENTER(dup, on_enter_dup(ctx, ctx->args[1]))
ENTER(epoll_ctl, on_enter_epoll_ctl(ctx))
ENTER(wait, on_enter_wait(ctx, ctx->args[1]))
ENTER(io_uring, on_enter_io_uring(ctx))
ENTER(foreign, on_foreign(ctx, ctx->args[1]))

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
LEAVE(asking)
LEAVE(dup)
LEAVE(epoll)
LEAVE(poll)
LEAVE(select)
#endif

SEC("raw_tracepoint")
int state_change(struct bpf_raw_tracepoint_args *ctx)
{
	struct sock *sk = (struct sock *)ctx->args[0];

	return UNDISTURBED(on_state((__u64)sk, ctx->args[1], ctx->args[2],
				    GET(struct sock, sk, __sk_common.skc_num)));
}

INLINE int on_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *parent = (struct task_struct *)ctx->args[0];
	struct task_struct *child = (struct task_struct *)ctx->args[1];
	__u32 tgid = GET(struct task_struct, child, tgid);
	__u32 own = GET(struct task_struct, parent, tgid);
	struct kt_config *c = settings();
	struct kt_record *r;
	__u32 value = 0;
	__u64 now;

	if (!process_traced() || !c)
		return 0;
	if (tgid != own) {
		if (!c->follow)
			return 0;
		if (bpf_map_update_elem(&traced, &tgid, &value, BPF_ANY))
			kt_count_untracked();
	}
	now = bpf_ktime_get_ns();
	r = start_record(KT_CLONE, KT_WHOLE, now, now);
	if (!r)
		return 0;
	sign(r);
	r->result = GET(struct task_struct, child, pid);
	r->arg0 = tgid;
	if (tgid == own)
		r->flags |= KT_F_THREAD;
	if (GET(struct task_struct, child, files) == GET(struct task_struct, parent, files))
		r->flags |= KT_F_FILES;
	kt_submit(r);
	return 0;
}

INLINE int on_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct kt_record *r;
	__u64 now;

	if (!process_traced())
		return 0;
	now = bpf_ktime_get_ns();
	r = start_record(KT_EXEC, KT_WHOLE, now, now);
	if (!r)
		return 0;
	sign(r);
	/* The thread that called execve takes the process's id: this was its own. */
	r->arg0 = ctx->args[1];
	kt_submit(r);
	return 0;
}

/*
 * A seccomp filter may kill one thread of several in a kTLS call: the kernel asks it before its tracepoint
 * of the entry, and there is no exit.  The registers still hold the call, and no result yet.
 */
INLINE void killed_in_call(TASK task)
{
#if defined(KT_CAST) && defined(KT_X86)
	struct pt_regs *regs;

	if (!kt_filtered() || pending_of(task))
		return;
	regs = (struct pt_regs *)kt_taken_over(0);
	if (REG(regs, orig_ax) == NR_SETSOCKOPT && (long)REG(regs, ax) == -ENOSYS_)
		on_refused_setsockopt(0, 1);
#endif
}

INLINE int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx->args[0];
	__u32 tgid = this_tgid();
	struct kt_record *r;
	__u64 now;
	int last;

	if (!bpf_map_lookup_elem(&traced, &tgid))
		return 0;
	killed_in_call(kt_task());
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

#define OF_PROCESS(name)                                           \
	SEC("raw_tracepoint")                                      \
	int process_##name(struct bpf_raw_tracepoint_args *ctx)    \
	{                                                          \
		return UNDISTURBED(on_##name(ctx));                \
	}

OF_PROCESS(fork)
OF_PROCESS(exec)
OF_PROCESS(exit)

/*
 * Functions of the kernel, where it lets us in: fentry costs less, kprobes are older.  Which of these are
 * loaded is user space's choice; loading one that the kernel refuses would fail for all.
 */
#define INSIDE(name, function, arguments, by_fentry, by_kprobe, on_exit)  \
	SEC("fentry/" #function)                                          \
	int fentry_##name(__u64 *ctx)                                     \
	{                                                                 \
		return UNDISTURBED(by_fentry);                                         \
	}                                                                 \
	SEC("fexit/" #function)                                           \
	int fexit_##name(__u64 *ctx)                                      \
	{                                                                 \
		return UNDISTURBED(on_exit((int)ctx[arguments]));                      \
	}                                                                 \
	SEC("kprobe/" #function)                                          \
	int kprobe_##name(struct pt_regs *ctx)                            \
	{                                                                 \
		return by_kprobe;                                         \
	}                                                                 \
	SEC("kretprobe/" #function)                                       \
	int kretprobe_##name(struct pt_regs *ctx)                         \
	{                                                                 \
		return on_exit((int)KRET(ctx));                           \
	}

INSIDE(ulp, tcp_set_ulp, 2, on_inner_ulp(ctx[0], ctx[1]),
       on_inner_ulp(KARG_0(ctx), KARG_1(ctx)), on_inner_ulp_exit)
INSIDE(connect4, tcp_v4_connect, 3, on_inner_connect(ctx[0], ctx[1]),
       on_inner_connect(KARG_0(ctx), KARG_1(ctx)), on_inner_connect_exit)
INSIDE(connect6, tcp_v6_connect, 3, on_inner_connect(ctx[0], ctx[1]),
       on_inner_connect(KARG_0(ctx), KARG_1(ctx)), on_inner_connect_exit)

/* Every option of a TCP socket but those of SOL_SOCKET comes by here; a sockptr_t takes two places. */
INSIDE(key, sock_common_setsockopt, 6,
       on_inner_key(ctx[0], ctx[1], ctx[2], ctx[3], ctx[5]),
       on_inner_key(KARG_0(ctx), KARG_1(ctx), KARG_2(ctx), KARG_3(ctx), KARG_5(ctx)),
       on_inner_key_exit)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
