/* A TLS client and server that leave the handshake out: both ends install the same constant keys.
 *
 *   ktls serve ADDRESS PORT VERSION CIPHER COUNT [full|fastopen]
 *   ktls ORDER ADDRESS PORT VERSION CIPHER COUNT      ORDER: early fixed rekey fastopen
 *
 * "early" sets the ULP right after connect(), as HAProxy up to 3.4.0 does; "fixed" just before the keys.  A
 * client whose ULP failed goes on in plain text, and the server takes either.  A client says "started" after
 * connect(), and each end says "ready"; a client then holds its connections until its standard input ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOL_TLS_ = 282, TX = 1, RX = 2, MOST = 64, RECORD = 0x17 };

struct address {
	struct sockaddr_storage at;
	socklen_t size;
};

static int version, cipher;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "ktls: %s: %s\n", what, strerror(errno));
	exit(3);
}

static struct address parsed(const char *text, int port)
{
	struct address a = {0};
	struct sockaddr_in *four = (struct sockaddr_in *)&a.at;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&a.at;

	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		a.size = sizeof *four;
	} else {
		must(inet_pton(AF_INET6, text, &six->sin6_addr) == 1, text);
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		a.size = sizeof *six;
	}
	return a;
}

static bool attach(int fd)
{
	return setsockopt(fd, SOL_TCP, TCP_ULP, "tls", 4) == 0;
}

/* The letter k in place of every key byte. */
static bool install(int fd, int way)
{
	unsigned char info[56];
	uint16_t head[2] = {version, cipher};

	memset(info, 'k', sizeof info);
	memcpy(info, head, sizeof head);
	return setsockopt(fd, SOL_TLS_, way, info, cipher == 51 ? 40 : 56) == 0;
}

static void wait_until(int fd, uint32_t events)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event want = {.events = events, .data.fd = fd}, got;

	must(ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, fd, &want) == 0, "epoll_ctl");
	must(epoll_wait(ep, &got, 1, 30000) == 1, "epoll_wait");
	close(ep);
}

static void hear(int fd, const char *what)
{
	char room[16];

	wait_until(fd, EPOLLIN);
	must(read(fd, room, sizeof room) == 5 && !memcmp(room, "hello", 5), what);
}

static int one_client(const char *order, const struct address *to)
{
	int fd = socket(to->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP), one = 1, error;
	bool fast = !strcmp(order, "fastopen"), early = fast || !strcmp(order, "early"), on = false;
	socklen_t size = sizeof error;

	must(fd >= 0, "socket");
	if (fast)
		must(setsockopt(fd, SOL_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof one) == 0, "fast open");
	int r = connect(fd, (const struct sockaddr *)&to->at, to->size);
	must(r == 0 || errno == EINPROGRESS, "connect");
	if (early)
		on = attach(fd);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	puts("started");
	wait_until(fd, EPOLLOUT);
	if (!early)
		on = attach(fd);
	if (on)
		must(install(fd, TX) && install(fd, RX), "install the keys");
	must(write(fd, "hello", 5) == 5, "write");
	hear(fd, "the answer");
	if (!strcmp(order, "rekey"))
		printf("rekey %d\n", install(fd, TX) ? 0 : errno);
	return fd;
}

static void serve_one(int fd)
{
	unsigned char first;

	wait_until(fd, EPOLLIN);
	must(recv(fd, &first, 1, MSG_PEEK) == 1, "peek");
	if (first == RECORD)
		must(attach(fd) && install(fd, RX) && install(fd, TX), "install the keys");
	hear(fd, "the question");
	must(write(fd, "hello", 5) == 5, "write");
}

static int listening(const struct address *at, const char *how)
{
	int fd = socket(at->at.ss_family, SOCK_STREAM, IPPROTO_TCP), one = 1, queue = 16;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	must(bind(fd, (const struct sockaddr *)&at->at, at->size) == 0, "bind");
	must(listen(fd, !strcmp(how, "full") ? 0 : 16) == 0, "listen");
	if (!strcmp(how, "fastopen"))
		must(setsockopt(fd, SOL_TCP, TCP_FASTOPEN, &queue, sizeof queue) == 0, "fast open");
	return fd;
}

static int accepted(int listener)
{
	struct address from = {.size = sizeof from.at};
	int fd = accept4(listener, (struct sockaddr *)&from.at, &from.size, SOCK_CLOEXEC);

	must(fd >= 0, "accept");
	return fd;
}

/* With "full" a connection of its own fills the accept queue until a line is read. */
static void serve(const struct address *at, int count, const char *how)
{
	int listener = listening(at, how), fd[MOST], filler = -1;
	char byte;

	if (!strcmp(how, "full")) {
		filler = socket(at->at.ss_family, SOCK_STREAM, IPPROTO_TCP);
		must(connect(filler, (const struct sockaddr *)&at->at, at->size) == 0, "fill the queue");
	}
	puts("ready");
	if (filler >= 0) {
		must(read(0, &byte, 1) == 1, "wait for the word");
		close(accepted(listener));
		close(filler);
	}
	for (int i = 0; i < count; i++) {
		fd[i] = accepted(listener);
		serve_one(fd[i]);
	}
	for (int i = 0; i < count; i++) {
		must(read(fd[i], &byte, 1) <= 0, "end of the connection");
		close(fd[i]);
	}
}

int main(int argc, char **argv)
{
	char byte;
	int fd[MOST];

	must(argc >= 7, "usage: ktls serve|early|fixed|rekey|fastopen ADDRESS PORT VERSION CIPHER COUNT");
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	struct address at = parsed(argv[2], atoi(argv[3]));
	version = atoi(argv[4]);
	cipher = atoi(argv[5]);
	int count = atoi(argv[6]);
	if (!strcmp(argv[1], "serve")) {
		serve(&at, count, argc > 7 ? argv[7] : "");
		return 0;
	}
	for (int i = 0; i < count; i++)
		fd[i] = one_client(argv[1], &at);
	puts("ready");
	while (read(0, &byte, 1) > 0)
		;
	for (int i = 0; i < count; i++)
		close(fd[i]);
	return 0;
}
