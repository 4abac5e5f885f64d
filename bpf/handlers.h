/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What the probe does at each call, whatever loads it.
 *
 * The including file supplies the maps and these primitives:
 *   ENTER_CONTEXT, EXIT_CONTEXT, ARG(), READ_ARGS(), RET(): the arguments and the result of a system call
 *   SELF, kt_self()  what is kept of this thread
 *   kt_traced(ctx)   the same, if its process is traced and the call is one of this machine's own kind
 *   process_traced(), kt_foreign(ctx), FOREIGN_ARG(): for calls of the other kind
 *   TASK, kt_task(), kt_id(), kt_traced_as(), pending_of(): the thread at hand, asked for once: on
 *                    processors that guard returns a call of a helper costs as much as all else here
 *   kt_name(to)      the program's name, 16 bytes
 *   kt_walk()        the TCP socket behind a descriptor of this process
 *   kt_find()        the same, perhaps without its addresses, which kt_complete() adds
 *   kt_filtered()    whether this thread may have a seccomp filter; READ_ARGS_AT_EXIT()
 *   APART            for a function that few calls come to: where the loader can have one, apart, so that the
 *                    verifier looks at it once.  It is called with numbers and with pointers to our own
 *                    structures; kt_hand_over() and kt_taken_over() are the registers on their way into one
 *   kt_reserve(), kt_submit(), kt_count_lost(), kt_count_untracked(), kt_count_foreign()
 *   pending_*(), socks_*(), waits_*(), passive_*(), ports_*(), uring_first()
 *   kt_take_stack(), kt_note_base(), kt_moved_data(), kt_state_of(), kt_accepted(), kt_state_owner(), kt_describe()
 *   kt_learn_fd(), kt_learn_other(), kt_copy_fd(), kt_forget_fd(), kt_note_fastopen(): only for a loader that cannot walk
 */

INLINE __u32 this_tgid(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

INLINE __u32 this_tid(void)
{
	return (__u32)bpf_get_current_pid_tgid();
}

INLINE void put(struct kt_record *r, const struct kt_sock *s)
{
	r->sk = s->sk;
	r->ino = s->ino;
	r->family = s->family;
	r->sport = s->sport;
	r->dport = s->dport;
	r->state = s->state;
	if (s->mptcp)
		r->flags |= KT_F_MPTCP;
	__builtin_memcpy(r->saddr, s->saddr, 16);
	__builtin_memcpy(r->daddr, s->daddr, 16);
}

/* Reserve a record with everything filled in but the socket; NULL: no room, counted. */
INLINE struct kt_record *start_record_of(__u64 id, __u8 call, __u8 phase, __u64 start, __u64 end)
{
	struct kt_record *r = kt_reserve();

	if (!r) {
		kt_count_lost();
		return 0;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->call = call;
	r->phase = phase;
	r->start_ns = start;
	r->end_ns = end;
	r->tgid = id >> 32;
	r->tid = (__u32)id;
	r->fd = -1;
	return r;
}

INLINE struct kt_record *start_record(__u8 call, __u8 phase, __u64 start, __u64 end)
{
	return start_record_of(bpf_get_current_pid_tgid(), call, phase, start, end);
}

/* The program's name, where a connection can begin: before 6.2 reading it costs as much as the rest. */
INLINE void sign(struct kt_record *r)
{
	kt_name(r->comm);
}

/* The entry of a call whose exit matters. */
INLINE void begin(SELF self, struct kt_pending *p, __u8 call)
{
	p->call = call;
	p->start_ns = bpf_ktime_get_ns();
	if (pending_put(self, p))
		kt_count_untracked();
}

INLINE struct kt_sockinfo *known_sock(const struct kt_sock *s)
{
	struct kt_sockinfo *info;

	if (!s->sk)
		return 0;
	info = socks_find(s->sk);
	/* An address is reused at once: another inode is another socket. */
	if (info && s->ino && info->ino != s->ino) {
		socks_delete(s->sk);
		return 0;
	}
	return info;
}

/* Know a socket from here on; 1: it was not known before. */
INLINE int meet(const struct kt_sock *s, struct kt_sockinfo **info)
{
	struct kt_sockinfo fresh = {};

	*info = known_sock(s);
	if (*info || !s->sk)
		return 0;
	fresh.ino = s->ino;
	fresh.state = s->state;
	socks_put(s->sk, &fresh);
	return 1;
}

INLINE struct kt_sockinfo *ensure_sock(const struct kt_sock *s)
{
	struct kt_sockinfo *info;

	return meet(s, &info) ? socks_find(s->sk) : info;
}

INLINE void note_sock(const struct kt_sock *s)
{
	struct kt_sockinfo *info;

	meet(s, &info);
}

INLINE int on_enter_socket(ENTER_CONTEXT *ctx)
{
	struct kt_pending p = {};
	__u32 type = ARG(ctx, 1);
	SELF self = kt_traced(ctx);

	if (!self)
		return 0;
	if ((ARG(ctx, 0) != AF_INET_ && ARG(ctx, 0) != AF_INET6_) || (type & 0xf) != 1) {
		if (kt_learns_others())
			begin(self, &p, KT_SOCKET);
		return 0;
	}
	p.arg0 = (__u32)ARG(ctx, 0) | ((__u32)ARG(ctx, 2) << 16);
	p.arg1 = type;
	begin(self, &p, KT_SOCKET);
	return 0;
}

INLINE void exit_socket(struct kt_pending *p, long ret)
{
	struct kt_sock s = {};
	struct kt_record *r;

	if (ret < 0)
		return;
	if (!p->arg1) {
		kt_learn_other(ret);
		return;
	}
	kt_learn_fd(ret);
	if (kt_walk(ret, &s))
		note_sock(&s);
	r = start_record(KT_SOCKET, KT_WHOLE, p->start_ns, bpf_ktime_get_ns());
	if (!r)
		return;
	sign(r);
	put(r, &s);
	r->result = ret;
	r->arg0 = p->arg0;
	r->arg1 = p->arg1;
	kt_submit(r);
}

INLINE int on_enter_connect(ENTER_CONTEXT *ctx)
{
	struct kt_pending p = {};
	struct kt_sock s = {};
	struct kt_sockinfo *info;
	struct kt_record *r;
	__u32 asked[4] = {}; /* family and port, then an IPv4 address */
	__u16 family = FAMILY_UNREADABLE;
	SELF self = kt_traced(ctx);

	if (!self)
		return 0;
	p.fd = ARG(ctx, 0);
	if (!kt_walk(p.fd, &s))
		return 0;
	if (!bpf_probe_read_user(asked, sizeof(asked), (void *)ARG(ctx, 1)))
		family = asked[0];
	else /* too short for an address, or not there */
		bpf_probe_read_user(&family, sizeof(family), (void *)ARG(ctx, 1));
	p.arg0 = family;
	info = ensure_sock(&s);
	if (info && family != AF_UNSPEC_) {
		/* A connect() in any other state only asks how an earlier one goes. */
		if (s.state == TCP_CLOSE_)
			info->flags = (info->flags & S_FASTOPEN) | S_INFLIGHT | S_SEEN_CONNECT;
	}
	p.sk = s.sk;
	p.state = s.state;
	begin(self, &p, KT_CONNECT);
	r = start_record(KT_CONNECT, KT_BEGIN, p.start_ns, 0);
	if (!r)
		return 0;
	sign(r);
	put(r, &s);
	r->fd = p.fd;
	r->arg0 = family;
	/* The address asked for, in place of the socket's own, which it has not got yet. */
	if (family == AF_INET_ || family == AF_INET6_) {
		r->dport = __builtin_bswap16(asked[0] >> 16);
		if (family == AF_INET_)
			*(__u32 *)r->daddr = asked[1];
		else
			bpf_probe_read_user(r->daddr, 16, (void *)(ARG(ctx, 1) + 8));
	}
	kt_submit(r);
	return 0;
}

INLINE int connect_goes_on(long ret)
{
	return ret == -EINPROGRESS_ || ret == -EALREADY_ || ret == -EINTR_ || ret == -EAGAIN_ ||
	       ret <= -ERESTARTSYS_;
}

INLINE void exit_connect(struct kt_pending *p, long ret)
{
	struct kt_sock s = {};
	struct kt_sockinfo *info;
	struct kt_record *r;

	kt_walk(p->fd, &s);
	if (!s.sk)
		s.sk = p->sk;
	info = s.sk ? known_sock(&s) : 0;
	if (info && p->arg0 == AF_UNSPEC_) {
		if (ret == 0)
			info->flags &= S_FASTOPEN; /* disconnected: all begins anew */
	} else if (info && !connect_goes_on(ret)) {
		if (ret != 0 && ret != -EISCONN_)
			info->flags &= ~S_INFLIGHT;
		else if (!(info->flags & S_FASTOPEN))
			info->flags = (info->flags | S_TOLD) & ~S_INFLIGHT;
	}
	r = start_record(KT_CONNECT, KT_END, p->start_ns, bpf_ktime_get_ns());
	if (!r)
		return;
	put(r, &s);
	r->fd = p->fd;
	r->result = ret;
	r->state = p->state;
	r->arg0 = p->arg0;
	r->arg1 = s.state;
	kt_submit(r);
}

/* Calls that begin alike share what they do, and are told apart by their numbers. */
INLINE int on_enter_accept(ENTER_CONTEXT *ctx, __u64 number)
{
	struct kt_pending p = {};
	SELF self = kt_traced(ctx);

	if (!self)
		return 0;
	p.fd = ARG(ctx, 0);
	p.pointer = ARG(ctx, 1);
	if (number == NR_ACCEPT4)
		p.arg0 = ARG(ctx, 3);
	begin(self, &p, number == NR_ACCEPT4 ? KT_ACCEPT4 : KT_ACCEPT);
	return 0;
}

INLINE void exit_accept(struct kt_pending *p, long ret)
{
	struct kt_sock s = {};
	struct kt_sockinfo *info;
	struct kt_record *r;

	if (ret < 0 || !kt_accepted(p, ret, &s))
		return;
	info = ensure_sock(&s);
	if (info)
		info->flags |= S_SEEN_CONNECT | (s.state == TCP_SYN_RECV_ ? 0 : S_TOLD);
	r = start_record(p->call, KT_WHOLE, p->start_ns, bpf_ktime_get_ns());
	if (!r)
		return;
	sign(r);
	put(r, &s);
	r->fd = p->fd;
	r->result = ret;
	r->aux_ns = s.sk ? passive_take(s.sk) : 0;
	if (p->arg0 & O_CLOEXEC_)
		r->flags |= KT_F_CLOEXEC;
	kt_submit(r);
}

INLINE int on_enter_listen(ENTER_CONTEXT *ctx)
{
	struct kt_pending p = {};
	struct kt_sock s = {};
	SELF self = kt_traced(ctx);

	if (!self)
		return 0;
	p.fd = ARG(ctx, 0);
	if (!kt_walk(p.fd, &s))
		return 0;
	note_sock(&s);
	p.sk = s.sk;
	begin(self, &p, KT_LISTEN);
	return 0;
}

INLINE void exit_listen(struct kt_pending *p, long ret)
{
	struct kt_sock s = {};
	struct kt_record *r;

	if (kt_walk(p->fd, &s) && ret == 0 && s.sport)
		ports_add(s.sport);
	r = start_record(KT_LISTEN, KT_WHOLE, p->start_ns, bpf_ktime_get_ns());
	if (!r)
		return;
	sign(r);
	put(r, &s);
	r->fd = p->fd;
	r->result = ret;
	kt_submit(r);
}

/*
 * TCP_ULP with the name "tls": the kernel takes at most 15 bytes and stops at a NUL.  A constant on a
 * page that nobody has touched yet cannot be read before the kernel itself has: NAME_UNREADABLE.
 */
#define NAME_OTHER 0
#define NAME_TLS 1
#define NAME_UNREADABLE 2
#define AT_ONCE 0x100 /* the attempt is told by one record, at its exit */
#define AT_CALL 0x200 /* the state is that of the very call, under the socket's lock */

INLINE int ulp_name(__u64 pointer, __u32 length)
{
	__u32 name = 0;

	if (length < 3)
		return NAME_OTHER;
	if (bpf_probe_read_user(&name, length == 3 ? 3 : 4, (void *)pointer))
		return NAME_UNREADABLE;
	return name == WORD_TLS;
}

/* Whether the program had been told of ESTABLISHED before an attempt, as far as the probe knows. */
INLINE __u16 told_before(struct kt_sock *s)
{
	struct kt_sockinfo *info = known_sock(s);

	if (!info) {
		note_sock(s);
		return 0;
	}
	if (!(info->flags & S_SEEN_CONNECT))
		return 0;
	if ((info->flags & S_TOLD) || (!(info->flags & S_FASTOPEN) && kt_moved_data(s, info)))
		return KT_F_TOLD_KNOWN | KT_F_TOLD;
	return KT_F_TOLD_KNOWN;
}

INLINE int is_early(const struct kt_sock *s, __u16 told)
{
	return (s->state && s->state != TCP_ESTABLISHED_) || told == KT_F_TOLD_KNOWN;
}

/* An attempt before which the program had not been told, as far as the probe knows. */
APART int enter_untold_ulp(__u64 registers, struct kt_pending *p, struct kt_sock *s, __u16 flags)
{
	struct kt_record *r;
	__u32 stack = 0;

	if (!p || !s)
		return 0;
	p->flags = ulp_name(p->pointer2, p->arg0);
	if (p->flags == NAME_OTHER)
		return 0;
	if (is_early(s, flags))
		flags |= kt_take_stack(registers, &stack);
	begin(kt_self(), p, KT_ULP);
	r = start_record(KT_ULP, KT_BEGIN, p->start_ns, 0);
	if (!r)
		return 0;
	sign(r);
	r->flags = flags;
	kt_complete(s);
	put(r, s);
	r->fd = p->fd;
	r->arg0 = p->arg0;
	r->arg1 = stack;
	kt_submit(r);
	return 0;
}

INLINE void enter_ulp(ENTER_CONTEXT *ctx, SELF self, struct kt_pending *p, struct kt_sock *s)
{
	__u16 flags = told_before(s);

	if (!(flags & KT_F_TOLD)) {
		enter_untold_ulp(kt_hand_over(ctx), p, s, flags);
		return;
	}
	/* A proof that had ended before cannot be undone by what overlaps: one record is enough, at the exit. */
	p->flags = AT_ONCE;
	begin(self, p, KT_ULP);
}

/*
 * The first four bytes of a value: of crypto_info they are version and cipher_type, and what lies behind
 * is key material that stays where it is.  Read at the exit: by then the page is there.
 */
INLINE __u32 first_bytes(struct kt_pending *p)
{
	__u32 head = 0;

	if (p->arg0 >= 4)
		bpf_probe_read_user(&head, 4, (void *)p->pointer2);
	return head;
}

/* Level and option: nearly every call of the machine ends here. */
INLINE int matters(__u32 level, __u32 name)
{
	if (level == SOL_TCP_)
		return name == TCP_ULP_ || name == TCP_FASTOPEN_CONNECT_ ||
		       name == TCP_FASTOPEN_ || name == TCP_REPAIR_;
	return level == SOL_TLS_ && (name == 1 || name == 2);
}

/* Who calls and on what, for a call that may matter; 0: it does not. */
INLINE SELF weigh(ENTER_CONTEXT *ctx, const __u64 *args, struct kt_pending *p, struct kt_sock *s)
{
	TASK task = kt_task();
	SELF self = kt_traced_as(task, ctx);

	if (!self)
		return 0;
	p->fd = args[0];
	p->arg0 = args[4];
	p->pointer = (__u32)args[2];
	p->pointer2 = args[3];
	p->call = (__u32)args[1] == SOL_TLS_ ? KT_KEY : p->pointer == TCP_ULP_ ? KT_ULP : KT_SOCKOPT;
	/* A kTLS call on what is no TCP socket fails, and is none of a connection. */
	if (!kt_find(task, p->fd, s) && !kt_may_be_tcp(p->fd))
		return 0;
	p->sk = s->sk;
	p->state = s->state;
	return self;
}

INLINE int on_enter_setsockopt(ENTER_CONTEXT *ctx)
{
	struct kt_pending p = {};
	struct kt_sock s = {};
	__u64 args[5];
	SELF self;

	READ_ARGS(ctx, args);
	if (!matters(args[1], args[2]))
		return 0;
	self = weigh(ctx, args, &p, &s);
	if (!self)
		return 0;
	if (p.call == KT_ULP) {
		enter_ulp(ctx, self, &p, &s);
		return 0;
	}
	note_sock(&s);
	begin(self, &p, p.call);
	return 0;
}

/* Keys, and options that change what a proof is. */
APART int exit_option(struct kt_pending *p, long ret)
{
	struct kt_sockinfo *info;
	struct kt_sock s = {};
	struct kt_record *r;
	__u32 first;

	if (!p)
		return 0;
	first = first_bytes(p);
	kt_walk(p->fd, &s);
	s.sk = p->sk;
	if (ret == 0 && p->call == KT_SOCKOPT && p->pointer == TCP_FASTOPEN_CONNECT_ && first) {
		kt_note_fastopen(p->fd);
		info = p->sk ? socks_find(p->sk) : 0;
		if (info)
			info->flags |= S_FASTOPEN;
	}
	r = start_record(p->call, KT_WHOLE, p->start_ns, bpf_ktime_get_ns());
	if (!r)
		return 0;
	sign(r);
	put(r, &s);
	r->fd = p->fd;
	r->result = ret;
	r->arg0 = (__u32)p->pointer | (p->arg0 << 16);
	r->arg1 = first;
	r->state = p->state;
	kt_submit(r);
	return 0;
}

/*
 * Whether an attempt was made with another name, where that was not seen when it began: the call itself has
 * read it by now.
 */
INLINE int is_other_ulp(struct kt_pending *p, long ret)
{
	if (p->flags & NAME_UNREADABLE)
		return ulp_name(p->pointer2, p->arg0) == NAME_OTHER;
	if (!(p->flags & AT_ONCE) || (p->flags & AT_CALL))
		return 0;
	if (ret == 0)
		return !kt_took_tls(p);
	return ulp_name(p->pointer2, p->arg0) == NAME_OTHER;
}

/* The addresses were told by connect() or accept(), or at the entry of the attempt. */
INLINE void exit_ulp(TASK task, struct kt_pending *p, long ret)
{
	int other = is_other_ulp(p, ret), at_once = p->flags & AT_ONCE;
	struct kt_sockinfo *info = 0;
	struct kt_record *r;

	if (other && at_once)
		return;
	if (p->sk && ret == 0 && !at_once) /* else there is nothing new to note */
		info = socks_find(p->sk);
	if (info)
		info->flags = (info->flags | S_TOLD) & ~S_INFLIGHT;
	r = start_record_of(kt_id(task), KT_ULP, at_once ? KT_WHOLE : KT_END, p->start_ns, bpf_ktime_get_ns());
	if (!r)
		return;
	r->sk = p->sk;
	r->fd = p->fd;
	r->result = ret;
	r->arg0 = p->arg0;
	r->state = p->state;
	r->flags = (at_once ? KT_F_TOLD_KNOWN | KT_F_TOLD : 0) |
		   (p->flags & AT_CALL ? KT_F_AT_CALL : 0) | (other ? KT_F_OTHER_ULP : 0);
	kt_submit(r);
}

/* getsockopt and getpeername say something only about a socket in flight. */
INLINE int in_flight(__s32 fd, struct kt_sock *s)
{
	struct kt_sockinfo *info;

	if (!kt_walk(fd, s))
		return 0;
	info = known_sock(s);
	return info && (info->flags & S_INFLIGHT);
}

/* Data calls prove too; only for a loader that cannot look into the socket (kt_moved_data). */
INLINE int on_enter_data(ENTER_CONTEXT *ctx, __u8 call)
{
	struct kt_pending p = {};
	struct kt_sock s = {};
	SELF self = kt_traced(ctx);

	if (!self)
		return 0;
	p.fd = ARG(ctx, 0);
	if (!in_flight(p.fd, &s))
		return 0;
	p.sk = s.sk;
	p.state = s.state;
	begin(self, &p, call);
	return 0;
}

/* splice() reads from one descriptor and writes to another: either may be the socket. */
INLINE int on_enter_splice(ENTER_CONTEXT *ctx)
{
	struct kt_pending p = {};
	struct kt_sock s = {};
	int out;
	SELF self = kt_traced(ctx);

	if (!self)
		return 0;
	p.fd = ARG(ctx, 0);
	out = !in_flight(p.fd, &s);
	if (out) {
		p.fd = ARG(ctx, 2);
		if (!in_flight(p.fd, &s))
			return 0;
	}
	p.sk = s.sk;
	p.state = s.state;
	begin(self, &p, out ? KT_WRITE : KT_READ);
	return 0;
}

/* socketpair() takes two numbers that a TCP socket may have had before. */
INLINE int on_enter_socketpair(ENTER_CONTEXT *ctx)
{
	struct kt_pending p = {};
	SELF self = kt_traced(ctx);

	if (!self)
		return 0;
	p.pointer = ARG(ctx, 3);
	begin(self, &p, KT_SOCKET);
	return 0;
}

INLINE void exit_socketpair(struct kt_pending *p, long ret)
{
	__s32 pair[2] = {};

	if (ret < 0 || bpf_probe_read_user(pair, sizeof(pair), (void *)p->pointer))
		return;
	kt_learn_other(pair[0]);
	kt_learn_other(pair[1]);
}

/* The flags of a clone, for a loader whose fork tracepoint does not tell a thread from a process. */
INLINE int on_enter_clone(ENTER_CONTEXT *ctx, __u64 flags)
{
	struct kt_pending p = {};
	SELF self = kt_traced(ctx);

	if (!self)
		return 0;
	p.pointer = flags;
	begin(self, &p, KT_CLONE);
	return 0;
}

INLINE int on_enter_clone3(ENTER_CONTEXT *ctx)
{
	__u64 flags = 0;

	bpf_probe_read_user(&flags, 8, (void *)ARG(ctx, 0));
	return on_enter_clone(ctx, flags);
}

/*
 * What a call asks a socket, 0 where that tells nothing.  A look at data that leaves it there (MSG_PEEK) is
 * the one read that no counter of the socket shows.
 */
INLINE __u8 asks(ENTER_CONTEXT *ctx, __u64 number)
{
	if (number == NR_GETSOCKOPT) {
		__u32 level = ARG(ctx, 1);
		__u32 name = ARG(ctx, 2);

		if (level == SOL_SOCKET_)
			return name == SO_ERROR_ ? KT_SO_ERROR : 0;
		return level == SOL_TCP_ && name == TCP_INFO_ ? KT_TCP_INFO : 0;
	}
	if (number == NR_GETPEERNAME)
		return KT_GETPEERNAME;
	if (number == NR_RECVFROM)
		return ARG(ctx, 3) & MSG_PEEK_ ? KT_READ : 0;
	return ARG(ctx, 2) & MSG_PEEK_ ? KT_READ : 0;
}

INLINE int on_enter_asking(ENTER_CONTEXT *ctx, __u64 number)
{
	struct kt_pending p = {};
	struct kt_sock s = {};
	__u8 call = asks(ctx, number);
	SELF self;

	if (!call)
		return 0;
	self = kt_traced(ctx);
	if (!self)
		return 0;
	p.fd = ARG(ctx, 0);
	if (!in_flight(p.fd, &s))
		return 0;
	p.pointer = ARG(ctx, 3); /* of getsockopt */
	p.sk = s.sk;
	p.state = s.state;
	begin(self, &p, call);
	return 0;
}

INLINE void exit_asking(struct kt_pending *p, long ret)
{
	struct kt_sock s = {};
	struct kt_sockinfo *info;
	struct kt_record *r;
	__u32 value = 0;
	__u8 state = 0;

	kt_walk(p->fd, &s);
	if (!s.sk)
		s.sk = p->sk;
	info = s.sk ? known_sock(&s) : 0;
	if (ret == 0 && p->call == KT_SO_ERROR)
		bpf_probe_read_user(&value, 4, (void *)p->pointer);
	if (ret == 0 && p->call == KT_TCP_INFO) {
		bpf_probe_read_user(&state, 1, (void *)p->pointer);
		value = state;
	}
	if (info && ((p->call == KT_READ && ret >= 0) ||
		     (p->call == KT_WRITE && ret > 0 && !(info->flags & S_FASTOPEN))))
		info->flags = (info->flags | S_TOLD) & ~S_INFLIGHT;
	if (info && ret == 0) {
		if (p->call == KT_GETPEERNAME ||
		    (p->call == KT_TCP_INFO && value == TCP_ESTABLISHED_))
			info->flags = (info->flags | S_TOLD) & ~S_INFLIGHT;
		if (p->call == KT_SO_ERROR && value)
			info->flags &= ~S_INFLIGHT;
	}
	r = start_record(p->call, KT_WHOLE, p->start_ns, bpf_ktime_get_ns());
	if (!r)
		return;
	put(r, &s);
	r->fd = p->fd;
	r->result = ret;
	r->arg0 = value;
	r->state = p->state;
	kt_submit(r);
}

INLINE int on_enter_close(ENTER_CONTEXT *ctx)
{
	struct kt_sock s = {};
	struct kt_sockinfo *info;
	struct kt_record *r;
	__u64 now;
	__s32 fd = ARG(ctx, 0);

	if (!kt_traced(ctx))
		return 0;
	if (!kt_walk(fd, &s)) {
		kt_forget_fd(fd);
		return 0;
	}
	kt_forget_fd(fd);
	info = known_sock(&s);
	if (info && s.state == TCP_CLOSE_)
		socks_delete(s.sk);
	else if (info)
		info->flags |= S_CLOSED;
	now = bpf_ktime_get_ns();
	/* The number is free from here on, so this is the moment that counts; it cannot fail. */
	r = start_record(KT_CLOSE, KT_WHOLE, now, now);
	if (!r)
		return 0;
	put(r, &s);
	r->fd = fd;
	r->arg0 = kt_others_hold(fd);
	kt_submit(r);
	return 0;
}

INLINE int on_enter_close_range(ENTER_CONTEXT *ctx)
{
	struct kt_record *r;
	__u64 now;

	if (!kt_traced(ctx))
		return 0;
	now = bpf_ktime_get_ns();
	r = start_record(KT_CLOSE_RANGE, KT_WHOLE, now, now);
	if (!r)
		return 0;
	r->arg0 = ARG(ctx, 0);
	r->arg1 = ARG(ctx, 1);
	r->aux_ns = ARG(ctx, 2);
	kt_submit(r);
	return 0;
}

INLINE int on_enter_shutdown(ENTER_CONTEXT *ctx)
{
	struct kt_sock s = {};
	struct kt_record *r;
	__u64 now;

	if (!kt_traced(ctx) || !kt_walk(ARG(ctx, 0), &s))
		return 0;
	now = bpf_ktime_get_ns();
	r = start_record(KT_SHUTDOWN, KT_WHOLE, now, now);
	if (!r)
		return 0;
	put(r, &s);
	r->fd = ARG(ctx, 0);
	r->arg0 = ARG(ctx, 1);
	kt_submit(r);
	return 0;
}

INLINE int on_enter_dup(ENTER_CONTEXT *ctx, __u64 number)
{
	__u8 call = number == NR_DUP ? KT_DUP : number == NR_DUP2 ? KT_DUP2 : KT_DUP3;
	struct kt_pending p = {.arg0 = -1};
	struct kt_sock s = {};
	SELF self;

	if (number == NR_FCNTL) {
		__u32 command = ARG(ctx, 1);

		if (command != F_DUPFD_ && command != F_DUPFD_CLOEXEC_ && command != F_SETFD_)
			return 0;
		call = command == F_SETFD_ ? KT_SETFD : KT_DUPFD;
		if (command == F_DUPFD_CLOEXEC_ || (command == F_SETFD_ && ARG(ctx, 2) & 1))
			p.arg1 = O_CLOEXEC_;
	} else if (number != NR_DUP) {
		p.arg0 = ARG(ctx, 1);
		if (number == NR_DUP3)
			p.arg1 = ARG(ctx, 2);
	}
	self = kt_traced(ctx);
	if (!self)
		return 0;
	p.fd = ARG(ctx, 0);
	/* dup2 and dup3 close their target: that matters even when what is copied is no socket. */
	if (!kt_walk(p.fd, &s) && !kt_walk(p.arg0, &s))
		return 0;
	begin(self, &p, call);
	return 0;
}

INLINE void exit_dup(struct kt_pending *p, long ret)
{
	struct kt_sock s = {};
	struct kt_record *r;

	if (ret < 0)
		return;
	if (p->call != KT_SETFD)
		kt_copy_fd(p->fd, ret);
	kt_walk(p->call == KT_SETFD ? p->fd : ret, &s);
	r = start_record(p->call, KT_WHOLE, p->start_ns, bpf_ktime_get_ns());
	if (!r)
		return;
	put(r, &s);
	r->fd = p->fd;
	r->result = ret;
	r->arg0 = p->arg0;
	if (p->arg1 & O_CLOEXEC_)
		r->flags |= KT_F_CLOEXEC;
	kt_submit(r);
}

INLINE int on_enter_epoll_ctl(ENTER_CONTEXT *ctx)
{
	struct kt_wait_value value = {};
	struct kt_wait_key key = {};
	struct kt_epoll_event event = {};
	struct kt_sock s = {};
	__s32 operation = ARG(ctx, 1);

	if (operation != 1 && operation != 3)
		return 0;
	if (!kt_traced(ctx) || !kt_walk(ARG(ctx, 2), &s))
		return 0;
	if (bpf_probe_read_user(&event, sizeof(event), (void *)ARG(ctx, 3)))
		return 0;
	key.tgid = this_tgid();
	key.epfd = ARG(ctx, 0);
	key.data = event.data;
	value.sk = s.sk;
	value.fd = ARG(ctx, 2);
	waits_put(&key, &value);
	return 0;
}

INLINE __u8 waits_by(__u64 number)
{
	return number == NR_EPOLL_WAIT	 ? KT_EPOLL_WAIT :
	       number == NR_EPOLL_PWAIT	 ? KT_EPOLL_PWAIT :
	       number == NR_EPOLL_PWAIT2 ? KT_EPOLL_PWAIT2 :
	       number == NR_POLL	 ? KT_POLL :
	       number == NR_PPOLL	 ? KT_PPOLL :
	       number == NR_SELECT	 ? KT_SELECT :
					   KT_PSELECT6;
}

INLINE int on_enter_wait(ENTER_CONTEXT *ctx, __u64 number)
{
	struct kt_pending p = {};
	SELF self = kt_traced(ctx);

	if (!self)
		return 0;
	if (number == NR_POLL || number == NR_PPOLL) {
		p.fd = -1;
		p.pointer = ARG(ctx, 0);
		p.arg0 = ARG(ctx, 1);
	} else if (number == NR_SELECT || number == NR_PSELECT6) {
		p.fd = -1;
		p.arg0 = ARG(ctx, 0);
		p.pointer = ARG(ctx, 1);
		p.pointer2 = ARG(ctx, 2);
	} else {
		p.fd = ARG(ctx, 0);
		p.pointer = ARG(ctx, 1);
	}
	begin(self, &p, waits_by(number));
	return 0;
}

INLINE struct kt_record *wait_record(struct kt_pending *p)
{
	struct kt_record *r = start_record(p->call, KT_WHOLE, p->start_ns, bpf_ktime_get_ns());

	if (r) {
		r->fd = p->fd;
		r->result = p->arg1;
	}
	return r;
}

/* A wait call reported this descriptor: tell user space where that decides something. */
INLINE int reported(struct kt_pending *p, __s32 fd, __u64 sk, __u32 events)
{
	struct kt_sockinfo *info = sk ? socks_find(sk) : 0;
	struct kt_record *r;

	if (!info || !(info->flags & S_INFLIGHT) || !(events & EPOLLTELLING_))
		return 0;
	if (info->notes >= KT_MAX_NOTES)
		return 0;
	info->notes++;
	if (events & (EPOLLERR_ | EPOLLHUP_))
		info->flags &= ~S_INFLIGHT;
	else if (!(info->flags & S_FASTOPEN))
		info->flags = (info->flags | S_TOLD) & ~S_INFLIGHT;
	r = wait_record(p);
	if (!r)
		return 0;
	r->sk = sk;
	r->arg0 = fd;
	r->arg1 = events;
	kt_submit(r);
	return 0;
}

INLINE void more_than_seen(struct kt_pending *p)
{
	struct kt_record *r = wait_record(p);

	if (!r)
		return;
	r->flags = KT_F_HIDDEN;
	kt_submit(r);
}

/*
 * REPEAT(count, bound, turn, context) takes turn(i, context) `count` times, `bound` times at most; a TURN
 * gets an `i` below that.
 */
#ifndef REPEAT
#define TURN INLINE
#define REPEAT(count, bound, turn, context)          \
	do {                                         \
		__u32 i_;                            \
                                                     \
		for (i_ = 0; i_ < (bound); i_++) {   \
			if (i_ >= (count))           \
				break;               \
			turn(i_, context);           \
		}                                    \
	} while (0)
#endif

/*
 * One returned descriptor.  A subprogram of its own where the loader can have one: the verifier then
 * looks at it once, and not at every turn of the loops below.
 */
SUBPROGRAM int epoll_one(__u64 pointer)
{
	struct kt_pending *p = pending_find(this_tid());
	struct kt_epoll_event event = {};
	struct kt_wait_value *value;
	struct kt_wait_key key = {};

	if (!p || bpf_probe_read_user(&event, sizeof(event), (void *)pointer))
		return 0;
	if (!(event.events & EPOLLTELLING_))
		return 0;
	key.tgid = this_tgid();
	key.epfd = p->fd;
	key.data = event.data;
	value = waits_find(&key);
	return value ? reported(p, value->fd, kt_wait_sock(value), event.events) : 0;
}

SUBPROGRAM int poll_one(__u64 pointer)
{
	struct kt_pending *p = pending_find(this_tid());
	struct kt_pollfd one = {};

	if (!p || bpf_probe_read_user(&one, sizeof(one), (void *)pointer))
		return 0;
	if (!(one.revents & EPOLLTELLING_))
		return 0;
	return reported(p, one.fd, kt_sock_of(one.fd), (__u16)one.revents);
}

SUBPROGRAM int select_one(__u32 fd, __u32 readable)
{
	struct kt_pending *p = pending_find(this_tid());

	return p ? reported(p, fd, kt_sock_of(fd), EPOLLOUT_ | readable) : 0;
}

struct kt_word {
	__u64 writable;
	__u64 readable;
	__u32 first;
};

TURN int select_bit(__u32 i, struct kt_word *word)
{
	if (word->writable >> (i & 63) & 1)
		select_one(word->first + i, word->readable >> (i & 63) & 1);
	return 0;
}

/* Where the program keeps what a wait call returned: one array, or the sets to read and to write. */
struct kt_arrays {
	__u64 first;
	__u64 second;
};

TURN int epoll_turn(__u32 i, struct kt_arrays *at)
{
	epoll_one(at->first + i * sizeof(struct kt_epoll_event));
	return 0;
}

TURN int poll_turn(__u32 i, struct kt_arrays *at)
{
	poll_one(at->first + i * sizeof(struct kt_pollfd));
	return 0;
}

SUBPROGRAM int select_word(__u32 first, __u64 writable, __u64 readable)
{
	struct kt_word word = {writable, readable, first};

	REPEAT(64, 64, select_bit, &word);
	return 0;
}

TURN int select_turn(__u32 i, struct kt_arrays *at)
{
	__u64 writable = 0, readable = 0;

	bpf_probe_read_user(&writable, 8, (void *)(at->second + i * 8));
	if (at->first)
		bpf_probe_read_user(&readable, 8, (void *)(at->first + i * 8));
	if (writable)
		select_word(i * 64, writable, readable);
	return 0;
}

INLINE void exit_epoll(struct kt_pending *p)
{
	struct kt_arrays at = {p->pointer, 0};

	REPEAT(p->arg1, KT_MAX_WAIT, epoll_turn, &at);
	if (p->arg1 > KT_MAX_WAIT)
		more_than_seen(p);
}

INLINE void exit_poll(struct kt_pending *p)
{
	struct kt_arrays at = {p->pointer, 0};

	REPEAT(p->arg0, KT_MAX_WAIT, poll_turn, &at);
	if (p->arg0 > KT_MAX_WAIT)
		more_than_seen(p);
}

/* A failed connect() is writable too; select() cannot say which. */
INLINE void exit_select(struct kt_pending *p)
{
	struct kt_arrays at = {p->pointer, p->pointer2};

	if (!p->pointer2)
		return;
	REPEAT((p->arg0 + 63) / 64, KT_MAX_SELECT / 64, select_turn, &at);
	if (p->arg0 > KT_MAX_SELECT)
		more_than_seen(p);
}

/* The entry stays until its records are written: the subprograms look at it. */
#define KT_EXIT_WAIT(name, action)                                   \
	INLINE int on_exit_##name(EXIT_CONTEXT *ctx)               \
	{                                                            \
		struct kt_pending *p = pending_find(this_tid());     \
                                                                     \
		if (!p)                                              \
			return 0;                                    \
		p->arg1 = RET(ctx) > 0 ? RET(ctx) : 0;               \
		if (p->arg1)                                         \
			action;                                      \
		pending_done(p);                                     \
		return 0;                                            \
	}

KT_EXIT_WAIT(epoll, exit_epoll(p))
KT_EXIT_WAIT(poll, exit_poll(p))
KT_EXIT_WAIT(select, exit_select(p))

/*
 * One exit program a family: each takes back what its entry left.  Where the kernel skipped an exit,
 * what lies there is of another call, whose result this is not.
 */
#define BIT(call) (1ULL << (call))
#define KT_EXIT(name, calls, action)                               \
	INLINE int on_exit_##name(EXIT_CONTEXT *ctx)             \
	{                                                          \
		struct kt_pending *found = pending_find(this_tid()); \
		struct kt_pending p;                               \
		long ret = RET(ctx);                               \
                                                                   \
		if (!found)                                        \
			return 0;                                  \
		p = *found;                                        \
		pending_done(found);                               \
		if (!((calls) >> p.call & 1))                      \
			return 0;                                  \
		action;                                            \
		return 0;                                          \
	}

#define ASKING                                                                            \
	(BIT(KT_SO_ERROR) | BIT(KT_TCP_INFO) | BIT(KT_GETPEERNAME) | BIT(KT_READ) | BIT(KT_WRITE))
#define COPYING (BIT(KT_DUP) | BIT(KT_DUP2) | BIT(KT_DUP3) | BIT(KT_DUPFD) | BIT(KT_SETFD))

KT_EXIT(socket, BIT(KT_SOCKET), exit_socket(&p, ret))
KT_EXIT(socketpair, BIT(KT_SOCKET), exit_socketpair(&p, ret))
KT_EXIT(connect, BIT(KT_CONNECT), exit_connect(&p, ret))
KT_EXIT(accept, BIT(KT_ACCEPT) | BIT(KT_ACCEPT4), exit_accept(&p, ret))
KT_EXIT(listen, BIT(KT_LISTEN), exit_listen(&p, ret))
KT_EXIT(asking, ASKING, exit_asking(&p, ret))
KT_EXIT(dup, COPYING, exit_dup(&p, ret))

/*
 * A kTLS call that comes back and was never seen to begin: the kernel asks the seccomp filter of a program
 * before its tracepoint of the entry, and when the filter refuses, there is only the exit.  A positive result
 * is the number of the call, which stands there when the filter answers with a signal: nothing came back.
 */
APART int on_refused_setsockopt(__u64 registers, long ret)
{
	__u64 layout[2] = {kt_taken_over(registers), ret};
	EXIT_CONTEXT *ctx = (EXIT_CONTEXT *)layout;
	struct kt_pending p = {};
	struct kt_sock s = {};
	__u64 args[5];
	struct kt_record *r;
	__u32 stack = 0;
	__u16 flags = 0;

	if (!matters(ARG(ctx, 1), ARG(ctx, 2)))
		return 0;
	READ_ARGS_AT_EXIT(ctx, args);
#ifdef DESCRIPTOR_GONE
	if (kt_traced(ctx))
		kt_count_untracked();
	return 0;
#endif
	if (!weigh(ctx, args, &p, &s) || p.call == KT_SOCKOPT)
		return 0;
	p.start_ns = bpf_ktime_get_ns();
	if (p.call == KT_ULP) {
		if (ulp_name(p.pointer2, p.arg0) == NAME_OTHER)
			return 0;
		flags = told_before(&s);
		if (is_early(&s, flags))
			flags |= kt_take_stack(registers, &stack);
	}
	r = start_record(p.call, ret > 0 ? KT_BEGIN : KT_WHOLE, p.start_ns, ret > 0 ? 0 : p.start_ns);
	if (!r)
		return 0;
	sign(r);
	r->flags = flags;
	kt_complete(&s);
	put(r, &s);
	r->fd = p.fd;
	r->result = ret;
	r->arg0 = p.call == KT_ULP ? p.arg0 : (__u32)p.pointer | (p.arg0 << 16);
	r->arg1 = p.call == KT_ULP ? stack : first_bytes(&p);
	kt_submit(r);
	return 0;
}

INLINE int on_exit_setsockopt(EXIT_CONTEXT *ctx)
{
	TASK task = kt_task();
	struct kt_pending *found = pending_of(task);
	struct kt_pending p;

	if (!found)
		return kt_filtered() ? on_refused_setsockopt(kt_hand_over(ctx), RET(ctx)) : 0;
	p = *found;
	pending_done(found);
	if (p.call == KT_ULP)
		exit_ulp(task, &p, RET(ctx));
	else if (p.call == KT_KEY || p.call == KT_SOCKOPT)
		exit_option(&p, RET(ctx));
	return 0;
}

/*
 * A call of a 32-bit program on a 64-bit kernel: other numbers and arguments.  It is not followed, but
 * where it concerns a connection it is counted, so that nobody takes silence for an all-clear.
 */
INLINE int foreign_matters(__u32 call, const __u32 *args)
{
	__u16 family = 0;

	switch (call) {
	case FOREIGN_SOCKET:
		return (args[0] == AF_INET_ || args[0] == AF_INET6_) && (args[1] & 0xf) == 1;
	case FOREIGN_CONNECT:
		bpf_probe_read_user(&family, 2, (void *)(__u64)args[1]);
		return family == AF_INET_ || family == AF_INET6_;
	case FOREIGN_SETSOCKOPT:
		return (args[1] == SOL_TCP_ && args[2] == TCP_ULP_) || args[1] == SOL_TLS_;
	}
	return 0;
}

INLINE int on_foreign(ENTER_CONTEXT *ctx, __u32 number)
{
	__u32 args[3] = {}, call;

	if (!kt_foreign(ctx) || !process_traced())
		return 0;
	args[0] = FOREIGN_ARG(ctx, 0);
	args[1] = FOREIGN_ARG(ctx, 1);
	args[2] = FOREIGN_ARG(ctx, 2);
	call = number == NR32_SETSOCKOPT ? FOREIGN_SETSOCKOPT :
	       number == NR32_CONNECT	 ? FOREIGN_CONNECT :
					   FOREIGN_SOCKET;
	if (number == NR32_SOCKETCALL) {
		call = args[0];
		bpf_probe_read_user(args, sizeof(args), (void *)(__u64)args[1]);
	}
	if (foreign_matters(call, args))
		kt_count_foreign();
	return 0;
}

INLINE int on_enter_io_uring(ENTER_CONTEXT *ctx)
{
	struct kt_record *r;
	__u64 now;

	/* Once a process is enough: from then on it can be told of things unseen. */
	if (!kt_traced(ctx) || !uring_first(this_tgid()))
		return 0;
	now = bpf_ktime_get_ns();
	r = start_record(KT_IO_URING, KT_WHOLE, now, now);
	if (!r)
		return 0;
	kt_submit(r);
	return 0;
}

/* A state change: recorded for the sockets that traced processes were seen with. */
INLINE int on_state(__u64 sk, __u32 before, __u32 after, __u16 sport)
{
	struct kt_sockinfo *info = socks_find(sk);
	struct kt_sock s = {};
	struct kt_record *r;
	__u64 now;

	if (before == TCP_SYN_RECV_ && after == TCP_ESTABLISHED_ && !info) {
		if (ports_has(sport))
			passive_put(sk, bpf_ktime_get_ns());
		return 0;
	}
	info = kt_state_owner(sk, before, after, info);
	if (!info)
		return 0;
	info->state = after;
	if (after == TCP_ESTABLISHED_)
		kt_note_base(sk, info);
	kt_describe(sk, info->ino, &s);
	if (before == TCP_CLOSE_ && after == TCP_LISTEN_ && sport)
		ports_add(sport);
	now = bpf_ktime_get_ns();
	if (after == TCP_CLOSE_ && (info->flags & S_CLOSED))
		socks_delete(sk);
	r = start_record(KT_STATE, KT_WHOLE, now, now);
	if (!r)
		return 0;
	put(r, &s);
	r->sk = sk;
	r->sport = sport;
	r->fd = kt_changed_inside(sk);
	r->arg0 = before;
	r->arg1 = after;
	r->state = before;
	kt_submit(r);
	return 0;
}
