/* TCP_ULP and SOL_TLS calls in their forms, at the wrong place, and look-alikes. */
#include "act.h"

static void lengths(void)
{
	struct pair p = started(AF_INET, 0);

	ulp_named(p.id, p.fd, "tls", 3);
	ulp_named(p.id, p.fd, "tls", 4);
	ulp_named(p.id, p.fd, "tls", 16);
	finish(&p);
}

/* Other names are no attempts: an unordered one must not be seen. */
static void other_names(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	did(p.id, "other_ulp", setsockopt(p.fd, SOL_TCP, TCP_ULP, "mptcp", 5), 5);
	did(p.id, "other_ulp_int", setsockopt(p.fd, SOL_TCP, TCP_ULP, "smc", 4), 4);
	did(p.id, "other_ulp", setsockopt(p.fd, SOL_TCP, TCP_ULP, "espintcp", 8), 8);
	did(p.id, "other_ulp_int", setsockopt(p.fd, SOL_TCP, TCP_ULP, "tlsx", 4), 4);
	finish(&p);
}

static void keys_only(void)
{
	struct pair p = started(AF_INET, 0);

	key(p.id, p.fd, TLS_TX, 0x0303, 51, 40);
	key(p.id, p.fd, TLS_RX, 0x0303, 51, 40);
	finish(&p);
}

static void ulp_then_keys(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	wait_poll(p.id, p.fd, POLLOUT, 1000);
	ulp(p.id, p.fd);
	key(p.id, p.fd, TLS_TX, 0x0304, 52, 56);
	ulp(p.id, p.fd);
	key(p.id, p.fd, TLS_RX, 0x0304, 52, 56);
	finish(&p);
}

static void race_then_keys(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	ulp(p.id, p.fd);
	wait_epoll(p.id, p.fd, EPOLLOUT, 11, 0);
	key(p.id, p.fd, TLS_TX, 0x0304, 54, 56);
	finish(&p);
}

static void no_installs(void)
{
	struct pair p = started(AF_INET, 0);
	int one = 1;
	char info[40];
	socklen_t size = sizeof info;

	setsockopt(p.fd, SOL_TLS, TLS_TX_ZEROCOPY_RO, &one, sizeof one);
	setsockopt(p.fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, &one, sizeof one);
	getsockopt(p.fd, SOL_TLS, TLS_TX, info, &size);
	setsockopt(p.fd, SOL_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(p.fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	finish(&p);
}

static void on_listener(void)
{
	Address at;
	int id, listener = serve(&at, AF_INET, 8, &id);

	ulp(id, listener);
	end(id, listener);
}

static void unconnected(void)
{
	int id, fd = tcp(&id, AF_INET, 0);

	ulp(id, fd);
	end(id, fd);
}

static void unconnected_then_safe(void)
{
	Address at;
	int listener_id, listener = serve(&at, AF_INET, 8, &listener_id), id, fd = tcp(&id, AF_INET, 0);

	ulp(id, fd);
	dial(id, fd, &at);
	ulp(id, fd);
	put(id, fd, "write");
	end(id, fd);
	end(listener_id, listener);
}

static void race_then_safe(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	ulp(p.id, p.fd);
	wait_poll(p.id, p.fd, POLLOUT, 1000);
	ulp(p.id, p.fd);
	finish(&p);
}

/* Nothing proves that it came up, and it is closed: nothing was lost. */
static void race_then_close(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	ulp(p.id, p.fd);
	end(p.id, p.fd);
	end(p.listener_id, p.listener);
}

static void no_ktls(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	wait_poll(p.id, p.fd, POLLOUT, 1000);
	finish(&p);
}

const struct script ktls_scripts[] = {
	{"lengths", lengths, ""},
	{"other-names", other_names, ""},
	{"keys-only", keys_only, ""},
	{"ulp-then-keys", ulp_then_keys, ""},
	{"race-then-keys", race_then_keys, ""},
	{"no-installs", no_installs, ""},
	{"on-listener", on_listener, ""},
	{"unconnected", unconnected, ""},
	{"unconnected-then-safe", unconnected_then_safe, ""},
	{"race-then-safe", race_then_safe, ""},
	{"race-then-close", race_then_close, ""},
	{"no-ktls", no_ktls, ""},
	{0},
};
