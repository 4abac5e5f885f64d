/* One client connection each: the proofs of ESTABLISHED other than waits, and what only looks like one. */
#include "act.h"

#include <sys/time.h>

static void connect_blocking(void)
{
	struct pair p = started(AF_INET, 0);

	ulp(p.id, p.fd);
	finish(&p);
}

static void connect_blocking_v6(void)
{
	struct pair p = started(AF_INET6, 0);

	ulp(p.id, p.fd);
	finish(&p);
}

static void no_wait(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	ulp(p.id, p.fd);
	wait_poll(p.id, p.fd, POLLOUT, 1000);
	finish(&p);
}

static void no_wait_v6(void)
{
	struct pair p = started(AF_INET6, SOCK_NONBLOCK);

	ulp(p.id, p.fd);
	wait_epoll(p.id, p.fd, EPOLLOUT, 7, 0);
	finish(&p);
}

/* The accept queue is full, so the socket stays in SYN_SENT until it is closed. */
static void no_wait_full_queue(void)
{
	Address at;
	int listener_id, filler, filler_id, id;
	int listener = full_listener(&at, &listener_id, &filler, &filler_id);
	int fd = tcp(&id, AF_INET, SOCK_NONBLOCK);

	dial(id, fd, &at);
	ask_error(id, fd);
	ask_peer(id, fd);
	ask_state(id, fd);
	put(id, fd, "write");
	get(id, fd, "read");
	wait_poll(id, fd, POLLOUT, 5);
	ulp(id, fd);
	end(id, fd);
	end(filler_id, filler);
	end(listener_id, listener);
}

/* SO_SNDTIMEO ends a blocking connect() with EINPROGRESS: the race needs no O_NONBLOCK. */
static void send_timeout(void)
{
	Address at;
	int listener_id, filler, filler_id, id;
	int listener = full_listener(&at, &listener_id, &filler, &filler_id);
	int fd = tcp(&id, AF_INET, 0);
	struct timeval limit = {0, 20000};

	must(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0, "SO_SNDTIMEO");
	dial(id, fd, &at);
	ulp(id, fd);
	end(id, fd);
	end(filler_id, filler);
	end(listener_id, listener);
}

static void so_error_only(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	ask_error(p.id, p.fd);
	ulp(p.id, p.fd);
	wait_poll(p.id, p.fd, POLLOUT, 1000);
	finish(&p);
}

static void getsockname_only(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);
	Address at;
	socklen_t size = sizeof at;

	must(getsockname(p.fd, (struct sockaddr *)&at, &size) == 0, "getsockname");
	ulp(p.id, p.fd);
	wait_poll(p.id, p.fd, POLLOUT, 1000);
	finish(&p);
}

static void timer_only(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	wait_ms(20);
	ulp(p.id, p.fd);
	wait_poll(p.id, p.fd, POLLOUT, 1000);
	finish(&p);
}

static void peer_name(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	for (int i = 0; i < 30 && ask_peer(p.id, p.fd) < 0; i++)
		wait_ms(1 + i);
	ulp(p.id, p.fd);
	finish(&p);
}

static void tcp_info(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	for (int i = 0; i < 30 && ask_state(p.id, p.fd) != TCP_ESTABLISHED; i++)
		wait_ms(1 + i);
	ulp(p.id, p.fd);
	finish(&p);
}

static void connect_again(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	for (int i = 0; i < 30 && dial(p.id, p.fd, &p.at) < 0; i++)
		wait_ms(1 + i);
	ulp(p.id, p.fd);
	dial(p.id, p.fd, &p.at);
	ulp(p.id, p.fd);
	finish(&p);
}

static void each_write(void)
{
	static const char *const ways[] = {"write", "send", "sendmsg", "sendmmsg", "writev", "sendfile", "splice"};

	for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
		struct pair p = started(AF_INET, SOCK_NONBLOCK);
		for (int i = 0; i < 30 && put(p.id, p.fd, ways[w]) <= 0; i++)
			wait_ms(1 + i);
		ulp(p.id, p.fd);
		finish(&p);
	}
}

static void each_read(void)
{
	static const char *const ways[] = {"read", "recv", "peek", "recvmsg", "recvmmsg", "readv"};

	for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
		struct pair p = started(AF_INET, SOCK_NONBLOCK);
		int id, served = take(p.listener, &id, true, 0);
		put(id, served, "write");
		for (int i = 0; i < 30 && get(p.id, p.fd, ways[w]) < 0; i++)
			wait_ms(1 + i);
		ulp(p.id, p.fd);
		finish(&p);
		end(id, served);
	}
}

/* read() = 0 is a proof too: the connection was up, and is in CLOSE_WAIT now. */
static void read_end(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);
	int id, served = take(p.listener, &id, true, 0);

	end(id, served);
	for (int i = 0; i < 30 && get(p.id, p.fd, "read") < 0; i++)
		wait_ms(1 + i);
	ulp(p.id, p.fd);
	end(p.id, p.fd);
	end(p.listener_id, p.listener);
}

static void refused(void)
{
	struct pair p = started(AF_INET, 0);
	int id, fd = tcp(&id, AF_INET, 0);

	end(p.id, p.fd);
	end(p.listener_id, p.listener);
	dial(id, fd, &p.at);
	ulp(id, fd);
	end(id, fd);
}

static void refused_quietly(void)
{
	struct pair p = started(AF_INET, 0);
	int id, fd = tcp(&id, AF_INET, SOCK_NONBLOCK);

	end(p.id, p.fd);
	end(p.listener_id, p.listener);
	dial(id, fd, &p.at);
	end(id, fd);
}

const struct script client_scripts[] = {
	{"connect-blocking", connect_blocking, ""},
	{"connect-blocking-v6", connect_blocking_v6, ""},
	{"no-wait", no_wait, ""},
	{"no-wait-v6", no_wait_v6, ""},
	{"no-wait-full-queue", no_wait_full_queue, ""},
	{"send-timeout", send_timeout, ""},
	{"so-error-only", so_error_only, ""},
	{"getsockname-only", getsockname_only, ""},
	{"timer-only", timer_only, ""},
	{"getpeername", peer_name, ""},
	{"tcp-info", tcp_info, ""},
	{"connect-again", connect_again, ""},
	{"each-write", each_write, ""},
	{"each-read", each_read, ""},
	{"read-end", read_end, ""},
	{"refused", refused, ""},
	{"refused-no-ktls", refused_quietly, ""},
	{0},
};
