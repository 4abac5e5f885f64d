// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * The probe as bcc compiles it when it starts: for kernels without BTF, or hosts without libbpf.
 *
 * It includes no header of the kernel's internals and follows no pointer into the kernel's structures:
 * headers of another version would make it read wrong fields without a word.  So it learns which socket a
 * descriptor is from what happens inside the calls, and its states and addresses from the tracepoint
 * sock:inet_sock_set_state.  User space puts the included files in place before it hands this to bcc, and
 * defines RING_PAGES and the offsets FORK_CHILD and EXEC_OLD_PID, read from the tracepoints' formats.
 */
#include "ktrace.h"
#include "common.h"
#include "numbers.h"

#define SUBPROGRAM INLINE
#define APART INLINE
#define kt_hand_over(ctx) ((ctx)->args[0])
#define kt_taken_over(registers) (registers)
#define MAX_PARENTS 3

#define ENTER_CONTEXT struct bpf_raw_tracepoint_args
#define EXIT_CONTEXT struct bpf_raw_tracepoint_args
#define RET(c) ((long)(c)->args[1])

/* Registers as user space gets them (ptrace): an ABI, unlike the kernel's own structures. */
#ifdef KT_X86
struct kt_registers {
	__u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags,
		sp;
};
#define REGISTER_0 di
#define REGISTER_1 si
#define REGISTER_2 dx
#define REGISTER_3 r10
#define REGISTER_4 r8
#define REGISTER_5 r9
#define REGISTER_CALL orig_ax
#define REGISTER_IP ip
#define REGISTER_SP sp
#define REGISTER_BP bp
#define FOREIGN_0 bx
#define FOREIGN_1 cx
#define FOREIGN_2 dx
#define FOREIGN_MARK cs
#define IS_FOREIGN(mark) ((mark) == 0x23) /* the code segment of 32-bit programs */
#define RESULT ax
#endif
#ifdef KT_ARM64
struct kt_registers {
	__u64 x[31], sp, pc, pstate;
};
#define REGISTER_0 x[0]
#define REGISTER_1 x[1]
#define REGISTER_2 x[2]
#define REGISTER_3 x[3]
#define REGISTER_4 x[4]
#define REGISTER_5 x[5]
#define REGISTER_CALL x[8]
#define REGISTER_IP pc
#define REGISTER_SP sp
#define REGISTER_BP x[29]
#define FOREIGN_0 x[0]
#define FOREIGN_1 x[1]
#define FOREIGN_2 x[2]
#define FOREIGN_MARK pstate
#define IS_FOREIGN(mark) ((mark) & 0x10) /* PSR_MODE32_BIT */
#define RESULT x[0]
#endif

#define READ_REGISTER(c, which)                                                          \
	({                                                                               \
		__u64 value_ = 0;                                                        \
		bpf_probe_read_kernel(&value_, 8,                                        \
				      (void *)((c)->args[0] +                            \
					       __builtin_offsetof(struct kt_registers, which))); \
		value_;                                                                  \
	})
#define ARG(c, n) READ_REGISTER(c, REGISTER_##n)
#define FOREIGN_ARG(c, n) READ_REGISTER(c, FOREIGN_##n)
#define READ_ARGS(c, to)              \
	do {                          \
		to[0] = ARG(c, 0);    \
		to[1] = ARG(c, 1);    \
		to[2] = ARG(c, 2);    \
		to[3] = ARG(c, 3);    \
		to[4] = ARG(c, 4);    \
	} while (0)

#ifdef KT_ARM64
#define DESCRIPTOR_GONE /* at the exit its register holds the result */
#endif
#define READ_ARGS_AT_EXIT(c, to) READ_ARGS(c, to)

struct kt_fd_key {
	__u32 tgid;
	__s32 fd;
};

#define FD_CLOSED 1 /* kept, since a child also looks at its parent's */
#define FD_OTHER 2  /* a socket, but no TCP socket */

struct kt_fd_value {
	__u64 sk;
	__u32 closed;
	__u32 fastopen;
};

/* What the tracepoint said of a socket. */
struct kt_where {
	__u64 established_ns;
	__u16 family;
	__u16 sport;
	__u16 dport;
	__u8 state;
	__u8 pad;
	__u8 saddr[16];
	__u8 daddr[16];
};

struct kt_tuple {
	__u16 family;
	__u16 sport;
	__u16 dport;
	__u16 pad;
	__u8 daddr[16];
};

struct kt_state_args {
	__u64 common;
	__u64 skaddr;
	__s32 before;
	__s32 after;
	__u16 sport;
	__u16 dport;
	__u16 family;
	__u16 protocol;
	__u8 saddr[4];
	__u8 daddr[4];
	__u8 saddr_v6[16];
	__u8 daddr_v6[16];
};

BPF_RINGBUF_OUTPUT(events, RING_PAGES);
BPF_ARRAY(counters, struct kt_counters, 1);
BPF_ARRAY(config, struct kt_config, 1);
BPF_TABLE("hash", __u32, __u32, traced, 65536);
BPF_TABLE("hash", __u32, struct kt_pending, pending, 65536);
BPF_TABLE("hash", __u32, struct kt_pending, inner, 65536);
BPF_ARRAY(stacks, struct kt_stack, KT_STACKS);
BPF_TABLE("lru_hash", __u64, struct kt_sockinfo, socks, 131072);
BPF_TABLE("lru_hash", __u64, struct kt_where, places, 131072);
BPF_TABLE("lru_hash", struct kt_fd_key, struct kt_fd_value, fds, 131072);
BPF_TABLE("lru_hash", __u32, __u32, parents, 65536);
BPF_TABLE("lru_hash", struct kt_wait_key, struct kt_wait_value, waits, 131072);
BPF_TABLE("lru_hash", struct kt_tuple, __u64, passive, 65536);
BPF_TABLE("hash", __u16, __u32, ports, 4096);
BPF_PROG_ARRAY(entries, KT_SYSCALLS);
BPF_PROG_ARRAY(exits, KT_SYSCALLS);

INLINE struct kt_counters *counts(void)
{
	int zero = 0;

	return counters.lookup(&zero);
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

INLINE int joins(__u32 tgid)
{
	int zero = 0;
	struct kt_config *c = config.lookup(&zero);
	__u64 comm[2] = {};
	__u64 *wanted;
	__u32 value = 0;

	if (!c)
		return 0;
	if (c->cgroup && bpf_get_current_ancestor_cgroup_id(c->cgroup_level) == c->cgroup) {
		traced.update(&tgid, &value);
		return 1;
	}
	if (!c->comm[0])
		return 0;
	bpf_get_current_comm(comm, sizeof(comm));
	wanted = (__u64 *)c->comm;
	if (comm[0] != wanted[0] || comm[1] != wanted[1])
		return 0;
	traced.update(&tgid, &value);
	return 1;
}

INLINE int process_traced(void)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	return traced.lookup(&tgid) ? 1 : joins(tgid);
}

INLINE void kt_name(char *to)
{
	bpf_get_current_comm(to, 16);
}

/* All that is kept of a thread is found by its number. */
#define SELF __u64

INLINE __u64 kt_self(void)
{
	return bpf_get_current_pid_tgid();
}

INLINE int kt_foreign(struct bpf_raw_tracepoint_args *ctx)
{
	return ctx && IS_FOREIGN(READ_REGISTER(ctx, FOREIGN_MARK));
}

/* It cannot ask: a call without a beginning is looked at in any case. */
INLINE int kt_filtered(void)
{
	return 1;
}

INLINE __u64 kt_traced(struct bpf_raw_tracepoint_args *ctx)
{
	return process_traced() && !kt_foreign(ctx) ? kt_self() : 0;
}

#define TASK __u64 /* its numbers are all that is known of it */

INLINE TASK kt_task(void)
{
	return bpf_get_current_pid_tgid();
}

INLINE __u64 kt_id(TASK task)
{
	return task;
}

INLINE struct kt_pending *pending_of(TASK task)
{
	__u32 tid = task;

	return pending.lookup(&tid);
}

INLINE __u64 kt_traced_as(TASK task, struct bpf_raw_tracepoint_args *ctx)
{
	return kt_traced(ctx);
}

INLINE struct kt_record *kt_reserve(void)
{
	return events.ringbuf_reserve(sizeof(struct kt_record));
}

INLINE void kt_submit(struct kt_record *r)
{
	events.ringbuf_submit(r, BPF_RB_NO_WAKEUP);
}

INLINE int pending_put(__u64 self, struct kt_pending *p)
{
	__u32 tid = self;

	return pending.update(&tid, p);
}

INLINE int inner_put(__u64 self, struct kt_pending *p)
{
	__u32 tid = self;

	return inner.update(&tid, p);
}

INLINE struct kt_pending *inner_find(__u8 call)
{
	__u32 tid = kt_self();
	struct kt_pending *p = inner.lookup(&tid);

	return p && p->call == call ? p : 0;
}

INLINE struct kt_pending *pending_find(__u32 tid)
{
	return pending.lookup(&tid);
}

INLINE void pending_delete(__u32 tid)
{
	pending.delete(&tid);
}

INLINE void pending_done(struct kt_pending *p)
{
	pending_delete((__u32)bpf_get_current_pid_tgid());
}

INLINE struct kt_sockinfo *socks_find(__u64 sk)
{
	return socks.lookup(&sk);
}

INLINE void socks_put(__u64 sk, struct kt_sockinfo *info)
{
	socks.update(&sk, info);
}

INLINE void socks_delete(__u64 sk)
{
	socks.delete(&sk);
}

INLINE void waits_put(struct kt_wait_key *key, struct kt_wait_value *value)
{
	waits.update(key, value);
}

INLINE struct kt_wait_value *waits_find(struct kt_wait_key *key)
{
	return waits.lookup(key);
}

INLINE int ports_has(__u16 port)
{
	return ports.lookup(&port) != 0;
}

INLINE void ports_add(__u16 port)
{
	__u32 one = 1;

	ports.update(&port, &one);
}

INLINE int uring_first(__u32 tgid)
{
	__u32 *flags = traced.lookup(&tgid);

	if (!flags || *flags & 1)
		return 0;
	*flags |= 1;
	return 1;
}

/* The descriptor in this process, or in those that it was forked from. */
INLINE struct kt_fd_value *fd_value(__s32 fd)
{
	struct kt_fd_key key = {};
	struct kt_fd_value *found;
	__u32 *parent;
	int i;

	key.tgid = bpf_get_current_pid_tgid() >> 32;
	key.fd = fd;
#pragma unroll
	for (i = 0; i < MAX_PARENTS; i++) {
		__u32 tgid;

		found = fds.lookup(&key);
		if (found)
			return found->closed ? 0 : found;
		tgid = key.tgid;
		parent = parents.lookup(&tgid);
		if (!parent)
			return 0;
		key.tgid = *parent;
	}
	return 0;
}

INLINE void fd_put(__s32 fd, __u64 sk, __u32 closed, __u32 fastopen)
{
	struct kt_fd_value value = {};
	struct kt_fd_key key = {};

	key.tgid = bpf_get_current_pid_tgid() >> 32;
	key.fd = fd;
	value.sk = sk;
	value.closed = closed;
	value.fastopen = fastopen;
	fds.update(&key, &value);
}

INLINE void kt_learn_fd(__s32 fd)
{
	fd_put(fd, 0, 0, 0);
}

INLINE void kt_copy_fd(__s32 from, __s32 to)
{
	struct kt_fd_value *found = fd_value(from);
	__u64 sk = found ? found->sk : 0;
	__u32 fastopen = found ? found->fastopen : 0;

	fd_put(to, sk, found ? 0 : FD_CLOSED, fastopen);
}

INLINE void kt_forget_fd(__s32 fd)
{
	fd_put(fd, 0, FD_CLOSED, 0);
}

INLINE void kt_learn_other(__s32 fd)
{
	fd_put(fd, 0, FD_OTHER, 0);
}

INLINE int kt_learns_others(void)
{
	return 1;
}

/* A descriptor that came by a way that is not seen may be a TCP socket. */
INLINE int kt_may_be_tcp(__s32 fd)
{
	struct kt_fd_key key = {};
	struct kt_fd_value *found;

	key.tgid = bpf_get_current_pid_tgid() >> 32;
	key.fd = fd;
	found = fds.lookup(&key);
	return !found || found->closed != FD_OTHER;
}

INLINE void kt_note_fastopen(__s32 fd)
{
	struct kt_fd_value *found = fd_value(fd);

	if (found)
		found->fastopen = 1;
}

INLINE void describe_place(__u64 sk, struct kt_sock *s)
{
	struct kt_where *place = places.lookup(&sk);

	s->sk = sk;
	if (!place)
		return;
	s->family = place->family;
	s->sport = place->sport;
	s->dport = place->dport;
	s->state = place->state;
	__builtin_memcpy(s->saddr, place->saddr, 16);
	__builtin_memcpy(s->daddr, place->daddr, 16);
}

INLINE void kt_describe(__u64 sk, __u32 ino, struct kt_sock *s)
{
	describe_place(sk, s);
}

INLINE int kt_walk(__s32 fd, struct kt_sock *s)
{
	struct kt_fd_value *found = fd_value(fd);

	if (!found)
		return 0;
	s->known = 1;
	if (found->sk)
		describe_place(found->sk, s);
	return 1;
}

INLINE int kt_find(TASK task, __s32 fd, struct kt_sock *s)
{
	return kt_walk(fd, s);
}

INLINE void kt_complete(struct kt_sock *s)
{
}

#define kt_took_tls(p) (ulp_name((p)->pointer2, (p)->arg0) != NAME_OTHER)

INLINE __u8 kt_state_of(__u64 sk)
{
	struct kt_where *place = places.lookup(&sk);

	return place ? place->state : 0;
}

INLINE __u64 kt_sock_of(__s32 fd)
{
	struct kt_fd_value *found = fd_value(fd);

	return found ? found->sk : 0;
}

/* At epoll_ctl() the socket may not be known yet; by now it is. */
INLINE __u64 kt_wait_sock(struct kt_wait_value *value)
{
	return kt_sock_of(value->fd);
}

INLINE __u32 kt_others_hold(__s32 fd)
{
	return 0;
}

INLINE void kt_note_base(__u64 sk, struct kt_sockinfo *info)
{
}

INLINE int kt_moved_data(const struct kt_sock *s, const struct kt_sockinfo *info)
{
	return 0;
}

/* Copy registers and the top of the user stack; the unwinding is done after the fact. */
INLINE __u16 kt_take_stack(__u64 registers, __u32 *slot)
{
	__u64 layout[1] = {registers};
	ENTER_CONTEXT *ctx = (ENTER_CONTEXT *)layout;
	struct kt_counters *c = counts();
	struct kt_stack *copy;
	int at;

	if (!c || c->stacks >= KT_STACKS)
		return 0;
	at = __sync_fetch_and_add(&c->stacks, 1);
	copy = stacks.lookup(&at);
	if (!copy)
		return 0;
	*slot = at;
	copy->ip = READ_REGISTER(ctx, REGISTER_IP);
	copy->sp = READ_REGISTER(ctx, REGISTER_SP);
	copy->bp = READ_REGISTER(ctx, REGISTER_BP);
	copy->tgid = bpf_get_current_pid_tgid() >> 32;
	copy->size = KT_STACK_BYTES;
	if (bpf_probe_read_user(copy->bytes, KT_STACK_BYTES, (void *)copy->sp)) {
		copy->size = KT_STACK_BYTES / 16;
		if (bpf_probe_read_user(copy->bytes, KT_STACK_BYTES / 16, (void *)copy->sp))
			copy->size = 0;
	}
	return KT_F_STACK;
}

/* Inside the kernel only the socket's address is known, and what the tracepoint told of it. */
INLINE void kt_reach(__u64 sk, struct kt_sock *s)
{
	describe_place(sk, s);
	s->known = 1;
}

INLINE void passive_put(__u64 sk, __u64 now)
{
	struct kt_where *place = places.lookup(&sk);
	struct kt_tuple key = {};

	if (!place)
		return;
	place->established_ns = now;
	key.family = place->family;
	key.sport = place->sport;
	key.dport = place->dport;
	__builtin_memcpy(key.daddr, place->daddr, 16);
	passive.update(&key, &sk);
}

INLINE __u64 passive_take(__u64 sk)
{
	struct kt_where *place = places.lookup(&sk);

	return place ? place->established_ns : 0;
}

/* Which socket was accepted: by the peer's address, where the program asked for it. */
INLINE int kt_accepted(struct kt_pending *p, long fd, struct kt_sock *s)
{
	struct kt_fd_value *listener = fd_value(p->fd);
	struct kt_tuple key = {};
	struct kt_where *place;
	__u64 sk = 0, *found;
	__u16 port = 0;

	if (!listener)
		return 0;
	s->known = 1;
	sk = listener->sk;
	place = sk ? places.lookup(&sk) : 0;
	sk = 0;
	if (place && p->pointer) {
		key.sport = place->sport;
		bpf_probe_read_user(&key.family, 2, (void *)p->pointer);
		bpf_probe_read_user(&port, 2, (void *)(p->pointer + 2));
		key.dport = __builtin_bswap16(port);
		if (key.family == AF_INET_)
			bpf_probe_read_user(key.daddr, 4, (void *)(p->pointer + 4));
		else
			bpf_probe_read_user(key.daddr, 16, (void *)(p->pointer + 8));
		found = passive.lookup(&key);
		if (found) {
			sk = *found;
			passive.delete(&key);
			describe_place(sk, s);
		}
	}
	fd_put(fd, sk, 0, 0);
	return 1;
}

/* A transition inside connect() or listen() shows which socket the call is made on. */
INLINE struct kt_sockinfo *kt_state_owner(__u64 sk, __u32 before, __u32 after,
					  struct kt_sockinfo *info)
{
	struct kt_sockinfo fresh = {};
	struct kt_fd_value *value;
	struct kt_pending *p;

	if (before == TCP_LISTEN_ && after == TCP_SYN_RECV_) {
		socks_delete(sk);
		return 0;
	}
	if (before != TCP_CLOSE_ || (after != TCP_SYN_SENT_ && after != TCP_LISTEN_))
		return info;
	p = pending_find((__u32)bpf_get_current_pid_tgid());
	if (!p || p->call != (after == TCP_LISTEN_ ? KT_LISTEN : KT_CONNECT)) {
		socks_delete(sk);
		return 0;
	}
	value = fd_value(p->fd);
	if (after == TCP_SYN_SENT_)
		fresh.flags = S_INFLIGHT | S_SEEN_CONNECT |
			      (value && value->fastopen ? S_FASTOPEN : 0);
	fd_put(p->fd, sk, 0, value ? value->fastopen : 0);
	p->sk = sk;
	fresh.state = after;
	socks_put(sk, &fresh);
	return socks_find(sk);
}

/* The descriptor of the call that this thread is in, where a socket's life begins in it. */
INLINE __s32 kt_changed_inside(__u64 sk)
{
	struct kt_pending *p = pending_find((__u32)bpf_get_current_pid_tgid());

	return p && p->sk == sk && (p->call == KT_CONNECT || p->call == KT_LISTEN) ? p->fd : -1;
}

#include "handlers.h"

/* Without a look into the socket only one function tells enough: the one that has the name at hand. */
#define KT_ONLY_ULP
#include "inside.h"

int kprobe_ulp(struct kt_registers *ctx)
{
	return on_inner_ulp(ctx->REGISTER_0, ctx->REGISTER_1);
}

int kretprobe_ulp(struct kt_registers *ctx)
{
	return on_inner_ulp_exit((int)ctx->RESULT);
}

#define ENTER(name, call)                                     \
	int enter_##name(struct bpf_raw_tracepoint_args *ctx) \
	{                                                     \
		return call;                                  \
	}

ENTER(socket, on_enter_socket(ctx))
ENTER(connect, on_enter_connect(ctx))
ENTER(accept, on_enter_accept(ctx, ctx->args[1]))
ENTER(listen, on_enter_listen(ctx))
ENTER(setsockopt, on_enter_setsockopt(ctx))
ENTER(asking, on_enter_asking(ctx, ctx->args[1]))
ENTER(close, on_enter_close(ctx))
ENTER(close_range, on_enter_close_range(ctx))
ENTER(shutdown, on_enter_shutdown(ctx))
ENTER(dup, on_enter_dup(ctx, ctx->args[1]))
ENTER(epoll_ctl, on_enter_epoll_ctl(ctx))
ENTER(wait, on_enter_wait(ctx, ctx->args[1]))
ENTER(io_uring, on_enter_io_uring(ctx))
ENTER(foreign, on_foreign(ctx, ctx->args[1]))
ENTER(read, on_enter_data(ctx, KT_READ))
ENTER(write, on_enter_data(ctx, KT_WRITE))
ENTER(splice, on_enter_splice(ctx))
ENTER(socketpair, on_enter_socketpair(ctx))

#define LEAVE(name)                                             \
	int exit_of_##name(struct bpf_raw_tracepoint_args *ctx) \
	{                                                       \
		return on_exit_##name(ctx);                     \
	}

LEAVE(socket)
LEAVE(socketpair)
LEAVE(connect)
LEAVE(accept)
LEAVE(listen)
LEAVE(setsockopt)
LEAVE(asking)
LEAVE(dup)
LEAVE(epoll)
LEAVE(poll)
LEAVE(select)

int any_enter(struct bpf_raw_tracepoint_args *ctx)
{
	entries.call(ctx, ctx->args[1]);
	return 0;
}

int any_exit(struct bpf_raw_tracepoint_args *ctx)
{
	exits.call(ctx, READ_REGISTER(ctx, REGISTER_CALL));
	return 0;
}

int state_change(struct kt_state_args *ctx)
{
	struct kt_where place = {};
	struct kt_where *before;
	__u64 sk = ctx->skaddr;

	if (ctx->protocol != SOL_TCP_)
		return 0;
	before = places.lookup(&sk);
	if (before)
		place.established_ns = before->established_ns;
	place.family = ctx->family;
	place.sport = ctx->sport;
	place.dport = ctx->dport;
	place.state = ctx->after;
	if (ctx->family == AF_INET_) {
		__builtin_memcpy(place.saddr, ctx->saddr, 4);
		__builtin_memcpy(place.daddr, ctx->daddr, 4);
	} else {
		__builtin_memcpy(place.saddr, ctx->saddr_v6, 16);
		__builtin_memcpy(place.daddr, ctx->daddr_v6, 16);
	}
	places.update(&sk, &place);
	return on_state(sk, ctx->before, ctx->after, ctx->sport);
}

/* The tracepoint runs in the parent, and names the child by its thread id only. */
int process_fork(void *ctx)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u32 child = *(__u32 *)(ctx + FORK_CHILD);
	struct kt_pending *p = pending_find((__u32)bpf_get_current_pid_tgid());
	int zero = 0;
	struct kt_config *c = config.lookup(&zero);
	__u64 flags = p && p->call == KT_CLONE ? p->pointer : 0;
	struct kt_record *r;
	__u32 value = 0;
	__u64 now;

	if (!process_traced() || !c)
		return 0;
	if (!(flags & CLONE_THREAD_)) {
		if (!c->follow)
			return 0;
		traced.update(&child, &value);
		parents.update(&child, &tgid);
	}
	now = bpf_ktime_get_ns();
	r = start_record(KT_CLONE, KT_WHOLE, now, now);
	if (!r)
		return 0;
	sign(r);
	r->result = child;
	if (flags & CLONE_THREAD_)
		r->flags |= KT_F_THREAD;
	if (flags & CLONE_FILES_)
		r->flags |= KT_F_FILES;
	kt_submit(r);
	return 0;
}

ENTER(clone, on_enter_clone(ctx, ARG(ctx, 0)))
ENTER(clone3, on_enter_clone3(ctx))

int exit_of_clone(struct bpf_raw_tracepoint_args *ctx)
{
	struct kt_pending *p = pending_find((__u32)bpf_get_current_pid_tgid());

	/* A child returns from the same call; what it left is its parent's. */
	if (p && p->call == KT_CLONE)
		pending_delete((__u32)bpf_get_current_pid_tgid());
	return 0;
}

int process_exec(void *ctx)
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
	r->arg0 = *(__u32 *)(ctx + EXEC_OLD_PID);
	kt_submit(r);
	return 0;
}

int process_exit(void *ctx)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct kt_record *r;
	__u64 now;

	pending_delete((__u32)bpf_get_current_pid_tgid());
	if (!traced.lookup(&tgid))
		return 0;
	now = bpf_ktime_get_ns();
	r = start_record(KT_EXIT, KT_WHOLE, now, now);
	if (!r)
		return 0;
	kt_submit(r);
	return 0;
}
