/* What the scripts share: an account of what was done, and calls that write it down.
 *
 * The account says what happened (a call, its result), never what it proves: that is left to the reader of
 * the account.  It lies in a file mapped by every process of the run, holds no pointers, and survives execve.
 */
#ifndef ACT_H
#define ACT_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif
#ifndef TCP_FASTOPEN_NO_COOKIE
#define TCP_FASTOPEN_NO_COOKIE 34
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
enum { TLS_TX = 1, TLS_RX = 2, TLS_TX_ZEROCOPY_RO = 3, TLS_RX_EXPECT_NO_PAD = 4 };

enum { MAX_CONNS = 600, MAX_FACTS = 48, MAX_SKIPS = 16 };

/* One thing that was done: `value` is the call's result, an errno, an event mask or a TCP state. */
struct fact {
	char call[20];
	char result[20]; /* "ok" or the symbol of errno */
	int64_t value;
	int index; /* place in the array that a wait returned */
};

struct conn {
	char script[28];
	char family[12];
	char peer[64];
	bool peer_shown; /* by connect or accept, not only by a decoration */
	int pid, tid, fd;
	int facts;
	struct fact fact[MAX_FACTS];
};

struct account {
	int conns, skips;
	char skip[MAX_SKIPS][96];
	struct conn conn[MAX_CONNS];
};

struct script {
	const char *name;
	void (*run)(void);
	const char *needs; /* "", "fork" (more than one process), "threads" (more than one thread) */
};

typedef struct sockaddr_storage Address;

/* account.c */
extern struct account *account;
extern const char *account_path;
extern const char *current_script;
void account_open(const char *path, bool fresh);
void account_print(FILE *out);
void skipped(const char *why);
int opened(int fd, int family);
void did(int id, const char *call, int result, int64_t value);
void did_at(int id, const char *call, int64_t value, int index);
void peer_is(int id, const Address *at, bool shown);
const char *errno_name(int number);
void must(bool ok, const char *what);

/* calls.c: each makes one system call (or a loop of one kind) and writes it down */
void address_of(int family, int port, Address *at);
socklen_t size_of(const Address *at);
int tcp(int *id, int family, int flags);
int serve(Address *at, int family, int backlog, int *id);
int full_listener(Address *at, int *id, int *filler, int *filler_id);
int dial(int id, int fd, const Address *at);
int take(int listener, int *id, bool with_address, int flags);
int ulp_named(int id, int fd, const char *name, int length);
int ulp(int id, int fd);
int key(int id, int fd, int direction, int version, int cipher, int size);
int option(int id, int fd, int level, int name, int value, const char *label);
void end(int id, int fd);
void wait_epoll(int id, int fd, uint32_t events, uint64_t data, int flavour);
void wait_poll(int id, int fd, short events, int timeout_ms);
int ask_peer(int id, int fd);
int ask_error(int id, int fd);
int ask_state(int id, int fd);
int put(int id, int fd, const char *how);
int get(int id, int fd, const char *how);
void wait_ms(int ms);

/* Open a client, bring it to SYN_SENT or beyond; the listener stays open in *listener. */
struct pair {
	int listener, listener_id, fd, id;
	Address at;
};
struct pair started(int family, int flags);
void finish(struct pair *p);

extern const struct script client_scripts[], wait_scripts[], socket_scripts[], process_scripts[],
	slow_scripts[], ktls_scripts[], attach_scripts[];

#endif
