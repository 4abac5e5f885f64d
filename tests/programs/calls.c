#include "act.h"

#include <sys/sendfile.h>
#include <sys/uio.h>
#include <time.h>

void address_of(int family, int port, Address *at)
{
	memset(at, 0, sizeof *at);
	at->ss_family = family;
	if (family == AF_INET6) {
		struct sockaddr_in6 *six = (struct sockaddr_in6 *)at;
		six->sin6_port = htons(port);
		six->sin6_addr = in6addr_loopback;
	} else {
		struct sockaddr_in *four = (struct sockaddr_in *)at;
		four->sin_port = htons(port);
		four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	}
}

socklen_t size_of(const Address *at)
{
	return at->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

int tcp(int *id, int family, int flags)
{
	int fd = socket(family, SOCK_STREAM | flags, IPPROTO_TCP);

	must(fd >= 0, "socket");
	*id = opened(fd, family);
	return fd;
}

int serve(Address *at, int family, int backlog, int *id)
{
	int fd = tcp(id, family, SOCK_CLOEXEC);
	socklen_t size = sizeof *at;

	address_of(family, 0, at);
	must(bind(fd, (struct sockaddr *)at, size_of(at)) == 0, "bind");
	must(listen(fd, backlog) == 0, "listen");
	did(*id, "listen", 0, 0);
	must(getsockname(fd, (struct sockaddr *)at, &size) == 0, "getsockname");
	return fd;
}

int full_listener(Address *at, int *id, int *filler, int *filler_id)
{
	int fd = serve(at, AF_INET, 0, id);

	*filler = tcp(filler_id, AF_INET, 0);
	must(dial(*filler_id, *filler, at) == 0, "fill the accept queue");
	return fd;
}

int dial(int id, int fd, const Address *at)
{
	peer_is(id, at, true);
	int result = connect(fd, (const struct sockaddr *)at, size_of(at));
	did(id, "connect", result, 0);
	return result;
}

int take(int listener, int *id, bool with_address, int flags)
{
	Address from;
	socklen_t size = sizeof from;
	struct sockaddr *to = with_address ? (struct sockaddr *)&from : NULL;
	int fd = flags < 0 ? accept(listener, to, to ? &size : NULL)
			   : accept4(listener, to, to ? &size : NULL, flags);

	must(fd >= 0, "accept");
	*id = opened(fd, with_address ? from.ss_family : AF_INET);
	if (with_address)
		peer_is(*id, &from, true);
	did(*id, "accept", 0, 0);
	return fd;
}

int ulp_named(int id, int fd, const char *name, int length)
{
	char value[16] = "";

	memcpy(value, name, strlen(name));
	int result = setsockopt(fd, SOL_TCP, TCP_ULP, value, length);
	did(id, "ulp", result, length);
	return result;
}

int ulp(int id, int fd)
{
	return ulp_named(id, fd, "tls", 4);
}

/* The key bytes are the letter k: no secret. */
int key(int id, int fd, int direction, int version, int cipher, int size)
{
	unsigned char info[64];
	uint16_t head[2] = {version, cipher};

	memset(info, 'k', sizeof info);
	memcpy(info, head, sizeof head);
	int result = setsockopt(fd, SOL_TLS, direction, info, size);
	did(id, direction == TLS_TX ? "tx" : "rx", result, (int64_t)version << 16 | cipher);
	return result;
}

int option(int id, int fd, int level, int name, int value, const char *label)
{
	int result = setsockopt(fd, level, name, &value, sizeof value);

	did(id, label, result, value);
	return result;
}

void end(int id, int fd)
{
	did(id, "close", 0, 0);
	close(fd);
}

static int epoll_flavour(int ep, struct epoll_event *got, int room, int flavour)
{
	struct timespec second = {1, 0};

	if (flavour == 1)
		return epoll_pwait(ep, got, room, 1000, NULL);
	if (flavour == 2)
		return epoll_pwait2(ep, got, room, &second, NULL);
	return epoll_wait(ep, got, room, 1000);
}

void wait_epoll(int id, int fd, uint32_t events, uint64_t data, int flavour)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event want = {.events = events, .data.u64 = data}, got[8];

	must(ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, fd, &want) == 0, "epoll_ctl");
	int n = epoll_flavour(ep, got, 8, flavour);
	did_at(id, "epoll", n > 0 ? got[0].events : 0, n > 0 ? 0 : -1);
	close(ep);
}

void wait_poll(int id, int fd, short events, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	int n = poll(&p, 1, timeout_ms);

	did_at(id, "poll", n > 0 ? p.revents : 0, n > 0 ? 0 : -1);
}

int ask_peer(int id, int fd)
{
	Address at;
	socklen_t size = sizeof at;
	int result = getpeername(fd, (struct sockaddr *)&at, &size);

	did(id, "getpeername", result, 0);
	return result;
}

int ask_error(int id, int fd)
{
	int value = 0;
	socklen_t size = sizeof value;
	int result = getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size);

	did(id, "so_error", result, value);
	return value;
}

int ask_state(int id, int fd)
{
	struct tcp_info info;
	socklen_t size = sizeof info;
	int result = getsockopt(fd, SOL_TCP, TCP_INFO, &info, &size);

	did(id, "tcp_info", result, info.tcpi_state);
	return info.tcpi_state;
}

static ssize_t put_from_file(int fd, bool spliced)
{
	int source = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), ends[2] = {-1, -1};
	ssize_t n;

	if (spliced) {
		must(pipe2(ends, O_CLOEXEC) == 0 && write(ends[1], "spliced", 7) == 7, "pipe2");
		n = splice(ends[0], NULL, fd, NULL, 7, SPLICE_F_NONBLOCK);
		close(ends[0]);
		close(ends[1]);
	} else {
		n = sendfile(fd, source, NULL, 16);
	}
	close(source);
	return n;
}

int put(int id, int fd, const char *how)
{
	struct iovec part = {"hello", 5};
	struct mmsghdr many = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
	ssize_t n;

	if (!strcmp(how, "send"))
		n = send(fd, "hello", 5, MSG_NOSIGNAL);
	else if (!strcmp(how, "sendmsg"))
		n = sendmsg(fd, &many.msg_hdr, MSG_NOSIGNAL);
	else if (!strcmp(how, "sendmmsg"))
		n = sendmmsg(fd, &many, 1, MSG_NOSIGNAL) == 1 ? (ssize_t)many.msg_len : -1;
	else if (!strcmp(how, "writev"))
		n = writev(fd, &part, 1);
	else if (!strcmp(how, "sendfile") || !strcmp(how, "splice"))
		n = put_from_file(fd, how[1] == 'p');
	else
		n = write(fd, "hello", 5);
	did(id, "write", n < 0 ? -1 : 0, n);
	return n;
}

int get(int id, int fd, const char *how)
{
	char room[64];
	struct iovec part = {room, sizeof room};
	struct mmsghdr many = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
	ssize_t n;

	if (!strcmp(how, "recv"))
		n = recv(fd, room, sizeof room, 0);
	else if (!strcmp(how, "peek"))
		n = recv(fd, room, sizeof room, MSG_PEEK);
	else if (!strcmp(how, "recvmsg"))
		n = recvmsg(fd, &many.msg_hdr, 0);
	else if (!strcmp(how, "recvmmsg"))
		n = recvmmsg(fd, &many, 1, 0, NULL) == 1 ? (ssize_t)many.msg_len : -1;
	else if (!strcmp(how, "readv"))
		n = readv(fd, &part, 1);
	else
		n = read(fd, room, sizeof room);
	did(id, "read", n < 0 ? -1 : 0, n);
	return n;
}

void wait_ms(int ms)
{
	struct timespec span = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&span, NULL);
}

struct pair started(int family, int flags)
{
	struct pair p;

	p.listener = serve(&p.at, family, 8, &p.listener_id);
	p.fd = tcp(&p.id, family, flags);
	dial(p.id, p.fd, &p.at);
	return p;
}

/* A last write proves that the connection had come up after all; then everything is closed. */
void finish(struct pair *p)
{
	put(p->id, p->fd, "write");
	end(p->id, p->fd);
	end(p->listener_id, p->listener);
}
