/*
 * A loopback load with a known number of everything, and its own account of it.
 *
 *   load connect N ROUNDS   N connections one after the other, ROUNDS round trips on each, ULP on each
 *   load sockets N          N times socket() and close(), nothing else
 *   load options N          N times TCP_ULP on one connected socket; prints nanoseconds a call
 *   load nodelay N          N times TCP_NODELAY on it: a call that a probe must let pass
 *
 * Prints one line: what was done, and how long it took in nanoseconds, by the clock and of CPU.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in address = {.sin_family = AF_INET};
static int listener, rounds;

static long long now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void start_listening(void)
{
	socklen_t length = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (void *)&address, length) || listen(listener, 128))
		die("listen");
	getsockname(listener, (void *)&address, &length);
}

static void *serve(void *ignored)
{
	char byte;
	int fd;

	while ((fd = accept4(listener, 0, 0, SOCK_CLOEXEC)) >= 0) {
		while (read(fd, &byte, 1) == 1)
			if (write(fd, &byte, 1) != 1)
				break;
		close(fd);
	}
	return ignored;
}

static int connected(void)
{
	struct linger hard = {1, 0};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (void *)&address, sizeof(address)))
		die("connect");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)); /* no TIME_WAIT: ports last */
	return fd;
}

static int connect_many(int count)
{
	int i, round, failed = 0;
	char byte = 'x';

	for (i = 0; i < count; i++) {
		int fd = connected();

		failed += setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 4) != 0;
		for (round = 0; round < rounds; round++)
			if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
				die("round trip");
		close(fd);
	}
	return failed;
}

static void open_many(int count)
{
	while (count--)
		close(socket(AF_INET, SOCK_STREAM, 0));
}

static void set_many(int count, int option, const void *value, int size)
{
	int fd = connected();

	while (count--)
		setsockopt(fd, IPPROTO_TCP, option, value, size);
}

int main(int count, char **words)
{
	int many = count > 2 ? atoi(words[2]) : 0, one = 1, failed = 0;
	pthread_t server;
	long long start, cpu;

	if (many < 1)
		return 2;
	rounds = count > 3 ? atoi(words[3]) : 0;
	start_listening();
	pthread_create(&server, 0, serve, 0);
	start = now(CLOCK_MONOTONIC);
	cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	if (!strcmp(words[1], "connect"))
		failed = connect_many(many);
	else if (!strcmp(words[1], "sockets"))
		open_many(many);
	else if (!strcmp(words[1], "options"))
		set_many(many, TCP_ULP, "tls", 4);
	else
		set_many(many, TCP_NODELAY, &one, sizeof(one));
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	start = now(CLOCK_MONOTONIC) - start;
	printf("%s %d failed %d ns %lld cpu %lld\n", words[1], many, failed, start, cpu);
	return 0;
}
