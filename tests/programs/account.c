#include "act.h"

#include <sys/mman.h>

struct account *account;
const char *account_path;
const char *current_script = "";

void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "act: %s: %s: %s\n", current_script, what, errno_name(errno));
	exit(3);
}

void account_open(const char *path, bool fresh)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | (fresh ? O_CREAT | O_TRUNC : 0), 0600);

	must(fd >= 0, "open the account");
	must(!fresh || ftruncate(fd, sizeof *account) == 0, "size the account");
	account = mmap(NULL, sizeof *account, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(account != MAP_FAILED, "map the account");
	close(fd);
	account_path = path;
}

const char *errno_name(int number)
{
	const char *name = strerrorname_np(number);

	return name ? strcmp(name, "EWOULDBLOCK") ? name : "EAGAIN" : "ENOTSUPP";
}

void skipped(const char *why)
{
	if (account->skips < MAX_SKIPS)
		snprintf(account->skip[account->skips++], sizeof account->skip[0], "%s: %s",
			 current_script, why);
}

int opened(int fd, int family)
{
	must(account->conns < MAX_CONNS, "more connections than the account can hold");
	int id = account->conns++;
	struct conn *c = &account->conn[id];

	snprintf(c->script, sizeof c->script, "%s", current_script);
	snprintf(c->family, sizeof c->family, "%s", family == AF_INET6 ? "AF_INET6" : "AF_INET");
	c->pid = getpid();
	c->tid = gettid();
	c->fd = fd;
	return id;
}

static void write_fact(int id, const char *call, const char *result, int64_t value, int index)
{
	struct conn *c = &account->conn[id];

	must(c->facts < MAX_FACTS, "more facts than the account can hold");
	struct fact *f = &c->fact[c->facts++];
	snprintf(f->call, sizeof f->call, "%s", call);
	snprintf(f->result, sizeof f->result, "%s", result);
	f->value = value;
	f->index = index;
}

void did(int id, const char *call, int result, int64_t value)
{
	int number = errno;

	write_fact(id, call, result < 0 ? errno_name(number) : "ok", value, 0);
	errno = number;
}

void did_at(int id, const char *call, int64_t value, int index)
{
	write_fact(id, call, "ok", value, index);
}

void peer_is(int id, const Address *at, bool shown)
{
	struct conn *c = &account->conn[id];
	int port = ntohs(((const struct sockaddr_in *)at)->sin_port);

	snprintf(c->peer, sizeof c->peer, at->ss_family == AF_INET6 ? "[::1]:%d" : "127.0.0.1:%d", port);
	c->peer_shown = shown;
}

static void print_conn(FILE *out, const struct conn *c)
{
	fprintf(out, "{\"script\":\"%s\",\"family\":\"%s\",\"pid\":%d,\"tid\":%d,\"fd\":%d,",
		c->script, c->family, c->pid, c->tid, c->fd);
	fprintf(out, c->peer[0] ? "\"peer\":\"%s\"," : "\"peer\":null,", c->peer);
	fprintf(out, "\"peer_shown\":%s,\"facts\":[", c->peer_shown ? "true" : "false");
	for (int i = 0; i < c->facts; i++) {
		const struct fact *f = &c->fact[i];
		fprintf(out, "%s{\"call\":\"%s\",\"result\":\"%s\",\"value\":%lld,\"index\":%d}", i ? "," : "",
			f->call, f->result, (long long)f->value, f->index);
	}
	fprintf(out, "]}");
}

void account_print(FILE *out)
{
	fprintf(out, "{\"skipped\":[");
	for (int i = 0; i < account->skips; i++)
		fprintf(out, "%s\"%s\"", i ? "," : "", account->skip[i]);
	fprintf(out, "],\"connections\":[");
	for (int i = 0; i < account->conns; i++) {
		fprintf(out, "%s\n", i ? "," : "");
		print_conn(out, &account->conn[i]);
	}
	fprintf(out, "]}\n");
}
