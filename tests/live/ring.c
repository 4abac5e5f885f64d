/*
 * Connects and sets options through io_uring, and through system calls for comparison; says what it did.
 *
 *   ring SCRIPT N      runs one script N times; prints "SCRIPT N: result result ..." of the ULP attempts
 *   ring hold SCRIPT N the same, once a line comes in on stdin
 *
 * Scripts: calls (everything by system calls), connect (only connect() through the ring), all (connect,
 * ULP and keys through the ring), data (as all, with a byte sent first), early (ULP while the handshake
 * hangs: the listener's queue is full).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef TCP_ULP
#define TCP_ULP 31
#endif
#define URING_CMD 46
#define CMD_SETSOCKOPT 3

static struct sockaddr_in address = {.sin_family = AF_INET};
static unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
static struct io_uring_sqe *sqes;
static struct io_uring_cqe *cqes;
static int ring = -1;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void open_ring(void)
{
	struct io_uring_params p = {0};
	char *sq, *cq;

	ring = syscall(__NR_io_uring_setup, 8, &p);
	if (ring < 0)
		die("io_uring_setup");
	sq = mmap(0, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		  IORING_OFF_SQ_RING);
	cq = mmap(0, p.cq_off.cqes + p.cq_entries * sizeof(*cqes), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_CQ_RING);
	sqes = mmap(0, p.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		    IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
		die("mmap");
	sq_tail = (void *)(sq + p.sq_off.tail);
	sq_mask = (void *)(sq + p.sq_off.ring_mask);
	sq_array = (void *)(sq + p.sq_off.array);
	cq_head = (void *)(cq + p.cq_off.head);
	cq_tail = (void *)(cq + p.cq_off.tail);
	cq_mask = (void *)(cq + p.cq_off.ring_mask);
	cqes = (void *)(cq + p.cq_off.cqes);
}

static struct io_uring_sqe *next(int opcode, int fd)
{
	unsigned at = *sq_tail & *sq_mask;

	memset(&sqes[at], 0, sizeof(sqes[at]));
	sqes[at].opcode = opcode;
	sqes[at].fd = fd;
	sqes[at].user_data = opcode;
	sq_array[at] = at;
	return &sqes[at];
}

static void submit(int wait)
{
	__atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, ring, 1, wait, wait ? IORING_ENTER_GETEVENTS : 0, 0, 0) < 0)
		die("io_uring_enter");
}

/* Take the answer to one request out of the queue, whatever else has come. */
static int answer(int opcode)
{
	for (;;) {
		while (*cq_head != __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE)) {
			struct io_uring_cqe c = cqes[*cq_head & *cq_mask];

			__atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
			if ((int)c.user_data == opcode)
				return c.res;
		}
		syscall(__NR_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, 0, 0);
	}
}

static void ring_connect(int fd)
{
	struct io_uring_sqe *s = next(IORING_OP_CONNECT, fd);

	s->addr = (unsigned long)&address;
	s->off = sizeof(address);
	submit(0);
}

static int ring_option(int fd, int level, int name, const void *value, unsigned size)
{
	struct io_uring_sqe *s = next(URING_CMD, fd);
	unsigned asked[2] = {level, name};
	unsigned long pointer = (unsigned long)value;

	s->off = CMD_SETSOCKOPT;
	memcpy(&s->addr, asked, 8);
	memcpy((char *)s + 44, &size, 4);
	memcpy((char *)s + 48, &pointer, 8);
	submit(1);
	return answer(URING_CMD);
}

static int option(int by_ring, int fd, int level, int name, const void *value, unsigned size)
{
	if (by_ring)
		return ring_option(fd, level, name, value, size);
	return setsockopt(fd, level, name, value, size) ? -errno : 0;
}

static void once(const char *script, int listener)
{
	unsigned char key[40] = {0x04, 0x03, 51, 0}; /* TLS 1.3, AES-GCM-128, and a key of zeros */
	int early = !strcmp(script, "early"), by_ring = strcmp(script, "calls") && strcmp(script, "connect");
	int fd = socket(AF_INET, SOCK_STREAM, 0), ulp, tx = 1, peer = -1;

	if (!strcmp(script, "calls")) {
		if (connect(fd, (void *)&address, sizeof(address)))
			die("connect");
	} else {
		ring_connect(fd);
		if (!early && answer(IORING_OP_CONNECT))
			die("io_uring connect");
	}
	if (!early)
		peer = accept(listener, 0, 0);
	if (!strcmp(script, "data")) {
		struct io_uring_sqe *s = next(IORING_OP_SEND, fd);

		s->addr = (unsigned long)"x";
		s->len = 1;
		submit(1);
		if (answer(IORING_OP_SEND) != 1)
			die("io_uring send");
	}
	ulp = option(by_ring, fd, IPPROTO_TCP, TCP_ULP, "tls", 4);
	if (!ulp)
		tx = option(by_ring, fd, 282, 1, key, sizeof(key));
	printf(" %d/%d", ulp, tx);
	close(fd);
	if (peer >= 0)
		close(peer);
}

int main(int count, char **words)
{
	int hold = count > 1 && !strcmp(words[1], "hold"), i, listener;
	socklen_t length = sizeof(address);
	char line[16];

	words += hold;
	if (count - hold < 3)
		return 2;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (void *)&address, length) ||
	    listen(listener, strcmp(words[1], "early") ? 64 : 0))
		die("listen");
	getsockname(listener, (void *)&address, &length);
	if (!strcmp(words[1], "early")) { /* one fills the queue */
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(fd, (void *)&address, sizeof(address)))
			die("connect");
	}
	open_ring();
	if (hold && !fgets(line, sizeof(line), stdin))
		return 2;
	printf("%s %s:", words[1], words[2]);
	for (i = 0; i < atoi(words[2]); i++)
		once(words[1], listener);
	printf("\n");
	return 0;
}
