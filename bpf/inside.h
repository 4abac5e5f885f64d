/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What the probe does inside the kernel, where fentry or kprobes let it look: tcp_set_ulp() and
 * tcp_v4_connect() run under the socket's lock, whoever asked for them.  A system call that is under way
 * gets the state at the very call; what no system call of ours explains came through io_uring.
 *
 * The including file supplies inner_put(), inner_find() and kt_reach(), beside what handlers.h names, and
 * kt_sock_in() and kt_fast_open() unless it defines KT_ONLY_ULP.
 */

/* The kernel has copied the name by now; MPTCP sets one of its own. */
INLINE int names_tls(__u64 name)
{
	__u32 text = 0;

	bpf_probe_read_kernel(&text, sizeof(text), (void *)name);
	return text == WORD_TLS;
}

INLINE struct kt_record *ring_record(struct kt_pending *p, __u8 phase, __u64 end)
{
	struct kt_record *r = start_record(p->call, phase, p->start_ns, end);

	if (!r)
		return 0;
	sign(r);
	r->sk = p->sk;
	r->state = p->state;
	r->flags = KT_F_RING | KT_F_AT_CALL;
	r->arg0 = p->arg0;
	return r;
}

INLINE void begin_inner(SELF self, struct kt_pending *p, __u8 call)
{
	p->call = call;
	p->fd = -1;
	p->start_ns = bpf_ktime_get_ns();
	if (inner_put(self, p))
		kt_count_untracked();
}

INLINE int on_inner_ulp(__u64 sk, __u64 name)
{
	struct kt_pending p = {}, *outer;
	struct kt_sock s = {};
	struct kt_record *r;
	SELF self;
	__u16 told;

	if (!names_tls(name))
		return 0;
	self = kt_traced(0);
	if (!self)
		return 0;
	outer = pending_find(this_tid());
	if (outer && outer->call == KT_ULP) {
		outer->state = kt_state_of(sk);
		outer->flags |= AT_CALL;
		return 0;
	}
	kt_reach(sk, &s);
	told = told_before(&s);
	p.sk = sk;
	p.state = s.state;
	p.flags = told & KT_F_TOLD ? AT_ONCE : 0;
	begin_inner(self, &p, KT_ULP);
	if (p.flags & AT_ONCE)
		return 0;
	r = ring_record(&p, KT_BEGIN, 0);
	if (!r)
		return 0;
	put(r, &s);
	r->flags |= told;
	kt_submit(r);
	return 0;
}

INLINE int on_inner_ulp_exit(long ret)
{
	struct kt_pending *p = inner_find(KT_ULP);
	struct kt_sockinfo *info;
	struct kt_record *r;

	if (!p)
		return 0;
	info = socks_find(p->sk);
	if (info && ret == 0)
		info->flags = (info->flags | S_TOLD) & ~S_INFLIGHT;
	r = ring_record(p, p->flags & AT_ONCE ? KT_WHOLE : KT_END, bpf_ktime_get_ns());
	p->call = 0;
	if (!r)
		return 0;
	if (p->flags & AT_ONCE)
		r->flags |= KT_F_TOLD_KNOWN | KT_F_TOLD;
	r->result = ret;
	kt_submit(r);
	return 0;
}

#ifndef KT_ONLY_ULP
INLINE int on_inner_connect(__u64 sk, __u64 address)
{
	struct kt_pending p = {}, *outer;
	struct kt_sockinfo *info;
	struct kt_sock s = {};
	struct kt_record *r;
	__u16 head[2] = {};
	SELF self = kt_traced(0);

	if (!self)
		return 0;
	outer = pending_find(this_tid());
	/* An IPv6 socket that connects to an IPv4 address comes by twice. */
	if ((outer && outer->call == KT_CONNECT) || inner_find(KT_CONNECT) || kt_fast_open(sk))
		return 0;
	bpf_probe_read_kernel(head, sizeof(head), (void *)address);
	kt_reach(sk, &s);
	info = ensure_sock(&s);
	if (info)
		info->flags = (info->flags & S_FASTOPEN) | S_INFLIGHT | S_SEEN_CONNECT;
	p.sk = sk;
	p.state = s.state;
	p.arg0 = head[0];
	begin_inner(self, &p, KT_CONNECT);
	r = ring_record(&p, KT_BEGIN, 0);
	if (!r)
		return 0;
	put(r, &s);
	r->dport = __builtin_bswap16(head[1]);
	if (head[0] == AF_INET_)
		bpf_probe_read_kernel(r->daddr, 4, (void *)(address + 4));
	else
		bpf_probe_read_kernel(r->daddr, 16, (void *)(address + 8));
	kt_submit(r);
	return 0;
}

/* The SYN is out, or not; what io_uring tells the program later is in memory that they share. */
INLINE int on_inner_connect_exit(long ret)
{
	struct kt_pending *p = inner_find(KT_CONNECT);
	struct kt_sockinfo *info;
	struct kt_sock s = {};
	struct kt_record *r;

	if (!p)
		return 0;
	kt_reach(p->sk, &s);
	info = socks_find(p->sk);
	if (info && ret)
		info->flags &= ~S_INFLIGHT;
	r = ring_record(p, KT_END, bpf_ktime_get_ns());
	p->call = 0;
	if (!r)
		return 0;
	put(r, &s);
	r->state = p->state;
	r->result = ret ? ret : -EINPROGRESS_;
	r->arg1 = s.state;
	kt_submit(r);
	return 0;
}

/* A key install; `value` points into the program's memory, as the length says. */
INLINE int on_inner_key(__u64 socket, __u32 level, __u32 name, __u64 value, __u32 length)
{
	struct kt_pending p = {}, *outer;
	struct kt_sock s = {};
	SELF self;
	__u64 sk;

	if (level != SOL_TLS_ || (name != 1 && name != 2))
		return 0;
	self = kt_traced(0);
	if (!self)
		return 0;
	outer = pending_find(this_tid());
	if (outer && outer->call == KT_KEY)
		return 0;
	sk = kt_sock_in(socket);
	kt_reach(sk, &s);
	ensure_sock(&s);
	p.sk = sk;
	p.state = s.state;
	p.pointer = name;
	p.pointer2 = value;
	p.arg0 = length;
	begin_inner(self, &p, KT_KEY);
	return 0;
}

INLINE int on_inner_key_exit(long ret)
{
	struct kt_pending *p = inner_find(KT_KEY);
	struct kt_record *r;

	if (!p)
		return 0;
	r = ring_record(p, KT_WHOLE, bpf_ktime_get_ns());
	p->call = 0;
	if (!r)
		return 0;
	r->result = ret;
	r->arg0 = (__u32)p->pointer | (p->arg0 << 16);
	r->arg1 = first_bytes(p);
	kt_submit(r);
	return 0;
}
#endif
