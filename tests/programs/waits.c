/* Waits: every call that reports EPOLLOUT, and reports that prove nothing. */
#include "act.h"

#include <time.h>

static void each_epoll(void)
{
	static const uint64_t data[] = {0, 0x7f3000001000, UINT64_MAX};

	for (int flavour = 0; flavour < 3; flavour++) {
		struct pair p = started(AF_INET, SOCK_NONBLOCK);
		wait_epoll(p.id, p.fd, EPOLLOUT | EPOLLIN | EPOLLRDHUP, data[flavour] ? data[flavour] : (uint64_t)p.fd,
			   flavour);
		ulp(p.id, p.fd);
		finish(&p);
	}
}

static void epoll_mod(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event want = {.events = EPOLLIN, .data.u64 = 0x1111}, got;

	must(epoll_ctl(ep, EPOLL_CTL_ADD, p.fd, &want) == 0, "epoll_ctl ADD");
	want.events = EPOLLOUT | EPOLLET;
	want.data.u64 = 0x2222;
	must(epoll_ctl(ep, EPOLL_CTL_MOD, p.fd, &want) == 0, "epoll_ctl MOD");
	must(epoll_wait(ep, &got, 1, 1000) == 1, "epoll_wait");
	did_at(p.id, "epoll", got.events, 0);
	ulp(p.id, p.fd);
	close(ep);
	finish(&p);
}

/* Readable is not writable: EPOLLIN for a listener proves nothing for the client beside it. */
static void epoll_other(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event want = {.events = EPOLLIN, .data.fd = p.listener}, got;

	must(epoll_ctl(ep, EPOLL_CTL_ADD, p.listener, &want) == 0, "epoll_ctl");
	must(epoll_wait(ep, &got, 1, 1000) == 1, "epoll_wait");
	ulp(p.id, p.fd);
	close(ep);
	wait_poll(p.id, p.fd, POLLOUT, 1000);
	finish(&p);
}

/* Seven sockets ready in one call: a short -s hides the last ones. */
static void epoll_many(void)
{
	enum { MANY = 7 };
	struct pair p = started(AF_INET, SOCK_NONBLOCK);
	int ep = epoll_create1(EPOLL_CLOEXEC), id[MANY], fd[MANY];
	struct epoll_event got[MANY];

	for (int i = 0; i < MANY; i++) {
		fd[i] = tcp(&id[i], AF_INET, SOCK_NONBLOCK);
		dial(id[i], fd[i], &p.at);
	}
	wait_ms(20);
	for (int i = 0; i < MANY; i++) {
		struct epoll_event want = {.events = EPOLLOUT, .data.u32 = i};
		must(epoll_ctl(ep, EPOLL_CTL_ADD, fd[i], &want) == 0, "epoll_ctl");
	}
	int n = epoll_wait(ep, got, MANY, 1000);
	for (int i = 0; i < n; i++)
		did_at(id[got[i].data.u32], "epoll", got[i].events, i);
	for (int i = 0; i < MANY; i++) {
		ulp(id[i], fd[i]);
		put(id[i], fd[i], "write");
		end(id[i], fd[i]);
	}
	close(ep);
	finish(&p);
}

static void each_poll(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);
	struct timespec second = {1, 0};

	wait_poll(p.id, p.fd, POLLIN | POLLOUT, 1000);
	ulp(p.id, p.fd);
	finish(&p);
	p = started(AF_INET, SOCK_NONBLOCK);
	struct pollfd both[2] = {{.fd = p.listener, .events = POLLIN}, {.fd = p.fd, .events = POLLOUT}};
	while (!both[1].revents)
		must(ppoll(both, 2, &second, NULL) > 0, "ppoll");
	did_at(p.id, "poll", both[1].revents, 0);
	ulp(p.id, p.fd);
	finish(&p);
}

static void each_select(void)
{
	for (int flavour = 0; flavour < 2; flavour++) {
		struct pair p = started(AF_INET, SOCK_NONBLOCK);
		struct timeval second = {1, 0};
		struct timespec same = {1, 0};
		fd_set out, in;
		FD_ZERO(&out);
		FD_ZERO(&in);
		FD_SET(p.fd, &out);
		FD_SET(p.fd, &in);
		if (flavour)
			pselect(p.fd + 1, &in, &out, NULL, &same, NULL);
		else
			select(p.fd + 1, &in, &out, NULL, &second);
		did_at(p.id, "select", FD_ISSET(p.fd, &out) ? EPOLLOUT : 0, 0);
		ulp(p.id, p.fd);
		finish(&p);
	}
}

/* A fresh socket reports EPOLLOUT with EPOLLHUP: no proof, and not of a connect() that comes later. */
static void hup_before(void)
{
	Address at;
	int listener_id, listener = serve(&at, AF_INET, 8, &listener_id), id;
	int fd = tcp(&id, AF_INET, SOCK_NONBLOCK);

	wait_epoll(id, fd, EPOLLOUT, 5, 0);
	dial(id, fd, &at);
	ulp(id, fd);
	put(id, fd, "write");
	end(id, fd);
	end(listener_id, listener);
}

static void hup_unconnected(void)
{
	int id, fd = tcp(&id, AF_INET, SOCK_NONBLOCK);

	wait_epoll(id, fd, EPOLLOUT, 6, 0);
	ulp(id, fd);
	end(id, fd);
}

/* shutdown() in SYN_SENT gives the connect up: EPOLLHUP after it started. */
static void hup_after(void)
{
	Address at;
	int listener_id, filler, filler_id, id;
	int listener = full_listener(&at, &listener_id, &filler, &filler_id);
	int fd = tcp(&id, AF_INET, SOCK_NONBLOCK);

	dial(id, fd, &at);
	shutdown(fd, SHUT_RDWR);
	wait_epoll(id, fd, EPOLLOUT, 8, 0);
	ulp(id, fd);
	end(id, fd);
	end(filler_id, filler);
	end(listener_id, listener);
}

const struct script wait_scripts[] = {
	{"each-epoll", each_epoll, ""},	    {"epoll-mod", epoll_mod, ""},
	{"epoll-other", epoll_other, ""},   {"epoll-many", epoll_many, ""},
	{"each-poll", each_poll, ""},	    {"each-select", each_select, ""},
	{"hup-before-connect", hup_before, ""}, {"hup-unconnected", hup_unconnected, ""},
	{"hup-after-connect", hup_after, ""}, {0},
};
