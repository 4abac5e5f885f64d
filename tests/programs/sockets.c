/* What file descriptors do: copies, reuse, passing on; accepted sockets; Fast Open; sockets that are not TCP. */
#include "act.h"

#include <linux/netlink.h>

static void accepts(void)
{
	struct pair p = started(AF_INET, 0);
	int id, served = take(p.listener, &id, true, -1);

	ulp(id, served);
	end(id, served);
	finish(&p);
	p = started(AF_INET6, 0);
	served = take(p.listener, &id, true, SOCK_CLOEXEC | SOCK_NONBLOCK);
	ulp(id, served);
	end(id, served);
	finish(&p);
	p = started(AF_INET, 0);
	served = take(p.listener, &id, false, SOCK_CLOEXEC);
	Address client;
	socklen_t size = sizeof client;
	must(getsockname(p.fd, (struct sockaddr *)&client, &size) == 0, "getsockname");
	peer_is(id, &client, false);
	ulp(id, served);
	end(id, served);
	finish(&p);
}

static void copies(void)
{
	struct pair p = started(AF_INET, 0);
	int copy[5] = {dup(p.fd), dup2(p.fd, 400), dup3(p.fd, 401, O_CLOEXEC), fcntl(p.fd, F_DUPFD, 402),
		       fcntl(p.fd, F_DUPFD_CLOEXEC, 403)};

	close(p.fd);
	for (int i = 0; i < 5; i++)
		ulp(p.id, copy[i]);
	for (int i = 0; i < 4; i++)
		close(copy[i]);
	p.fd = copy[4];
	finish(&p);
}

/* A proof on one number counts for an attempt on another number of the same socket. */
static void proof_on_copy(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);
	int copy = dup(p.fd);

	wait_poll(p.id, copy, POLLOUT, 1000);
	ulp(p.id, p.fd);
	close(copy);
	finish(&p);
}

/* The number is given out again at once: the proof of the first socket is none for the second. */
static void reused(void)
{
	struct pair p = started(AF_INET, 0);
	int first = p.fd, id;

	ulp(p.id, p.fd);
	end(p.id, p.fd);
	int fd = tcp(&id, AF_INET, SOCK_NONBLOCK);
	must(fd == first, "the number was not given out again");
	dial(id, fd, &p.at);
	ulp(id, fd);
	wait_poll(id, fd, POLLOUT, 1000);
	p.id = id;
	finish(&p);
}

static void dup2_over(void)
{
	struct pair p = started(AF_INET, 0), q = started(AF_INET, SOCK_NONBLOCK);

	ulp(q.id, q.fd);
	wait_poll(q.id, q.fd, POLLOUT, 1000);
	put(p.id, p.fd, "write");
	did(p.id, "close", 0, 0);
	must(dup2(q.fd, p.fd) == p.fd, "dup2");
	close(q.fd);
	q.fd = p.fd;
	ulp(q.id, q.fd);
	end(p.listener_id, p.listener);
	finish(&q);
}

static void range_closed(void)
{
	struct pair p = started(AF_INET, 0);
	int id[3], fd[3];

	for (int i = 0; i < 3; i++) {
		int plain = tcp(&id[i], AF_INET, SOCK_NONBLOCK);
		fd[i] = 500 + i;
		must(dup2(plain, fd[i]) == fd[i], "dup2");
		close(plain);
		dial(id[i], fd[i], &p.at);
		ulp(id[i], fd[i]);
	}
	for (int i = 0; i < 3; i++) {
		wait_poll(id[i], fd[i], POLLOUT, 1000);
		did(id[i], "close", 0, 0);
	}
	must(syscall(SYS_close_range, 500, 502, 0) == 0, "close_range");
	finish(&p);
}

static int pass(int fd)
{
	int ends[2], got;
	char room[CMSG_SPACE(sizeof fd)] = "", byte = 'x';
	struct iovec part = {&byte, 1};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	must(sendmsg(ends[0], &m, 0) == 1, "sendmsg");
	must(recvmsg(ends[1], &m, 0) == 1, "recvmsg");
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
	close(ends[0]);
	close(ends[1]);
	return got;
}

static void passed(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);
	int got = pass(p.fd);

	wait_poll(p.id, p.fd, POLLOUT, 1000);
	close(p.fd);
	ulp(p.id, got);
	p.fd = got;
	finish(&p);
}

static void fetched(void)
{
	struct pair p = started(AF_INET, 0);
	int self = syscall(SYS_pidfd_open, getpid(), 0);
	int got = self < 0 ? -1 : syscall(SYS_pidfd_getfd, self, p.fd, 0);

	if (got < 0) {
		skipped("pidfd_getfd is not to be had");
	} else {
		close(p.fd);
		p.fd = got;
		ulp(p.id, p.fd);
	}
	close(self);
	finish(&p);
}

/* No cookie is wanted, so connect(), EPOLLOUT and write() all succeed in SYN_SENT. */
static struct pair started_fast(void)
{
	struct pair p;

	p.listener = serve(&p.at, AF_INET, 8, &p.listener_id);
	p.fd = tcp(&p.id, AF_INET, SOCK_NONBLOCK);
	int one = 1;
	if (setsockopt(p.fd, SOL_TCP, TCP_FASTOPEN_NO_COOKIE, &one, sizeof one) < 0)
		skipped("TCP_FASTOPEN_NO_COOKIE is not to be had");
	option(p.id, p.fd, SOL_TCP, TCP_FASTOPEN_CONNECT, 1, "fastopen");
	dial(p.id, p.fd, &p.at);
	return p;
}

static void fast_open(void)
{
	struct pair p = started_fast();

	ulp(p.id, p.fd);
	put(p.id, p.fd, "write");
	for (int i = 0; i < 30 && ask_peer(p.id, p.fd) < 0; i++)
		wait_ms(1 + i);
	finish(&p);
	p = started_fast();
	wait_poll(p.id, p.fd, POLLOUT, 1000);
	put(p.id, p.fd, "write");
	ulp(p.id, p.fd);
	for (int i = 0; i < 30 && ask_peer(p.id, p.fd) < 0; i++)
		wait_ms(1 + i);
	finish(&p);
	p = started_fast();
	put(p.id, p.fd, "write");
	for (int i = 0; i < 30 && ask_peer(p.id, p.fd) < 0; i++)
		wait_ms(1 + i);
	ulp(p.id, p.fd);
	finish(&p);
}

/* The child of a Fast Open listener can be accepted in SYN_RECV; its first data proves that it came up. */
static void fast_open_accept(void)
{
	Address at;
	int listener_id, listener = serve(&at, AF_INET, 8, &listener_id), id, served_id;

	option(listener_id, listener, SOL_TCP, TCP_FASTOPEN, 5, "fastopen_listener");
	int fd = tcp(&id, AF_INET, 0);
	dial(id, fd, &at);
	int served = take(listener, &served_id, true, 0);
	did(served_id, "fastopen_child", 0, 0);
	put(id, fd, "write");
	get(served_id, served, "read");
	ulp(served_id, served);
	end(served_id, served);
	end(id, fd);
	end(listener_id, listener);
}

static void noise_call(int fd)
{
	char value[4] = "tls";

	setsockopt(fd, SOL_TCP, TCP_ULP, value, sizeof value);
	close(fd);
}

static void noise(void)
{
	Address at;
	struct sockaddr_un here = {.sun_family = AF_UNIX, .sun_path = "\0act-noise"};
	int udp = socket(AF_INET, SOCK_DGRAM, 0), ends[2];
	int local = socket(AF_UNIX, SOCK_STREAM, 0), link = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	int raw = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);

	address_of(AF_INET, 9, &at);
	connect(udp, (struct sockaddr *)&at, size_of(&at));
	connect(local, (struct sockaddr *)&here, sizeof here);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
	noise_call(udp);
	noise_call(local);
	noise_call(ends[0]);
	close(ends[1]);
	if (link >= 0)
		noise_call(link);
	if (raw >= 0)
		close(raw);
	close(socket(AF_INET, SOCK_STREAM, 0));
	close(socket(AF_INET6, SOCK_STREAM, 0));
}

static void multipath(void)
{
	struct pair p;

	p.listener = serve(&p.at, AF_INET, 8, &p.listener_id);
	p.fd = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
	if (p.fd < 0) {
		skipped("no MPTCP sockets");
		end(p.listener_id, p.listener);
		return;
	}
	p.id = opened(p.fd, AF_INET);
	dial(p.id, p.fd, &p.at);
	ulp(p.id, p.fd);
	finish(&p);
}

/* connect() to AF_UNSPEC takes the socket back to CLOSE: what was proved before is gone. */
static void disconnected(void)
{
	struct pair p = started(AF_INET, 0);
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};

	must(connect(p.fd, &nowhere, sizeof nowhere) == 0, "disconnect");
	did(p.id, "disconnect", 0, 0);
	ulp(p.id, p.fd);
	dial(p.id, p.fd, &p.at);
	ulp(p.id, p.fd);
	finish(&p);
}

const struct script socket_scripts[] = {
	{"accepts", accepts, ""},
	{"copies", copies, ""},
	{"proof-on-copy", proof_on_copy, ""},
	{"reused", reused, ""},
	{"dup2-over", dup2_over, ""},
	{"close-range", range_closed, ""},
	{"passed-to-self", passed, ""},
	{"pidfd-getfd", fetched, ""},
	{"fast-open", fast_open, ""},
	{"fast-open-accept", fast_open_accept, ""},
	{"noise", noise, ""},
	{"mptcp", multipath, ""},
	{"disconnected", disconnected, ""},
	{0},
};
