/*
 * A 32-bit program on a 64-bit kernel, without a C library: makes N sockets, connects them to nobody,
 * and sets TCP_ULP.  Each round makes three calls that concern a connection, and four that do not.
 */
struct address {
	unsigned short family, port;
	unsigned host, zero[2];
};

static int call(int number, int a, int b, int c, int d, int e)
{
	int result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
	return result;
}

#define ROUNDS 7

void _start(void)
{
	struct address nobody = {2, 0x0100, 0x0100007f, {0, 0}};
	int i, one = 1;

	for (i = 0; i < ROUNDS; i++) {
		int fd = call(359, 2, 1, 0, 0, 0); /* socket */

		call(362, fd, (int)&nobody, sizeof(nobody), 0, 0); /* connect */
		call(366, fd, 6, 31, (int)"tls", 4);		   /* setsockopt(TCP_ULP) */
		call(366, fd, 6, 1, (int)&one, 4);		   /* setsockopt(TCP_NODELAY) */
		call(3, fd, 0, 0, 0, 0);			   /* read: 64-bit programs call this close */
		call(6, fd, 0, 0, 0, 0);			   /* close */
		call(6, call(359, 1, 1, 0, 0, 0), 0, 0, 0, 0);	   /* a unix socket concerns nobody */
	}
	call(1, 0, 0, 0, 0, 0);
}
