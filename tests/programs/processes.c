/* Several threads and processes: whose proof counts, and whose descriptor it is. */
#include "act.h"

#include <pthread.h>

static void in_thread(void *(*body)(void *), struct pair *p)
{
	pthread_t thread;

	must(pthread_create(&thread, NULL, body, p) == 0, "pthread_create");
	must(pthread_join(thread, NULL) == 0, "pthread_join");
}

static void in_child(void *(*body)(void *), struct pair *p)
{
	int status = 0;
	pid_t child = fork();

	must(child >= 0, "fork");
	if (child == 0) {
		body(p);
		_exit(0);
	}
	must(waitpid(child, &status, 0) == child && status == 0, "waitpid");
}

static void *prove(void *arg)
{
	struct pair *p = arg;

	wait_epoll(p->id, p->fd, EPOLLOUT, 21, 0);
	return NULL;
}

static void *attempt(void *arg)
{
	struct pair *p = arg;

	ulp(p->id, p->fd);
	return NULL;
}

static void *start(void *arg)
{
	struct pair *p = arg;

	*p = started(AF_INET, SOCK_NONBLOCK);
	return NULL;
}

static void thread_proof(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	in_thread(prove, &p);
	ulp(p.id, p.fd);
	finish(&p);
}

/* Opened in one thread, proved in a second, attempted in a third, closed here. */
static void thread_relay(void)
{
	struct pair p;

	in_thread(start, &p);
	in_thread(prove, &p);
	in_thread(attempt, &p);
	finish(&p);
}

static void thread_race(void)
{
	struct pair p;

	in_thread(start, &p);
	in_thread(attempt, &p);
	in_thread(prove, &p);
	finish(&p);
}

/* The wait of one thread reports EPOLLOUT only after the other thread's attempt: no proof for it. */
static void *wait_long(void *arg)
{
	struct pair *p = arg;
	struct pollfd watch = {.fd = p->fd, .events = POLLOUT};

	int n = poll(&watch, 1, 3000);
	did_at(p->id, "poll", n > 0 ? watch.revents : 0, 0);
	return NULL;
}

static void thread_overlap(void)
{
	struct pair p;
	pthread_t thread;
	int filler, filler_id, served_id;

	p.listener = full_listener(&p.at, &p.listener_id, &filler, &filler_id);
	p.fd = tcp(&p.id, AF_INET, SOCK_NONBLOCK);
	dial(p.id, p.fd, &p.at);
	must(pthread_create(&thread, NULL, wait_long, &p) == 0, "pthread_create");
	wait_ms(100);
	ulp(p.id, p.fd);
	int served = take(p.listener, &served_id, true, 0);
	must(pthread_join(thread, NULL) == 0, "pthread_join");
	end(served_id, served);
	end(filler_id, filler);
	finish(&p);
}

static void fork_child_attempt(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	wait_poll(p.id, p.fd, POLLOUT, 1000);
	in_child(attempt, &p);
	finish(&p);
}

static void fork_child_race(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	in_child(attempt, &p);
	wait_poll(p.id, p.fd, POLLOUT, 1000);
	finish(&p);
}

static void fork_child_proof(void)
{
	struct pair p = started(AF_INET, SOCK_NONBLOCK);

	in_child(prove, &p);
	ulp(p.id, p.fd);
	finish(&p);
}

static void *close_here(void *arg)
{
	struct pair *p = arg;
	int id, fd;

	close(p->fd);
	fd = tcp(&id, AF_INET, SOCK_NONBLOCK);
	must(fd == p->fd, "the number was not given out again");
	dial(id, fd, &p->at);
	ulp(id, fd);
	wait_poll(id, fd, POLLOUT, 1000);
	end(id, fd);
	return NULL;
}

/* The child closes its copy and uses the number for another socket: the parent's stays what it was. */
static void fork_tables(void)
{
	struct pair p = started(AF_INET, 0);

	in_child(close_here, &p);
	ulp(p.id, p.fd);
	finish(&p);
}

static void send_fd(int way, int fd)
{
	char room[CMSG_SPACE(sizeof fd)] = "", byte = 'x';
	struct iovec part = {&byte, 1};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	must(sendmsg(way, &m, 0) == 1, "sendmsg");
}

static int receive_fd(int way)
{
	int fd;
	char room[CMSG_SPACE(sizeof fd)], byte;
	struct iovec part = {&byte, 1};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};

	must(recvmsg(way, &m, 0) == 1 && CMSG_FIRSTHDR(&m), "recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
	return fd;
}

/* A child that was forked before the socket existed gets it by SCM_RIGHTS, with the account's number. */
static void passed_to_child(void)
{
	int ways[2], status = 0;
	struct pair p;

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ways) == 0, "socketpair");
	pid_t child = fork();
	must(child >= 0, "fork");
	if (child == 0) {
		close(ways[0]);
		int fd = receive_fd(ways[1]), id;
		must(read(ways[1], &id, sizeof id) == sizeof id, "read");
		ulp(id, fd);
		put(id, fd, "write");
		end(id, fd);
		_exit(0);
	}
	close(ways[1]);
	p = started(AF_INET, SOCK_NONBLOCK);
	wait_poll(p.id, p.fd, POLLOUT, 1000);
	send_fd(ways[0], p.fd);
	close(p.fd);
	must(write(ways[0], &p.id, sizeof p.id) == sizeof p.id, "write");
	must(waitpid(child, &status, 0) == child && status == 0, "waitpid");
	close(ways[0]);
	end(p.listener_id, p.listener);
}

/* The new image has the plain descriptor; the number of the other one (FD_CLOEXEC) is free again. */
void after_exec(char **argv)
{
	int kept = atoi(argv[1]), kept_id = atoi(argv[2]), gone = atoi(argv[3]), id;
	Address at;

	account_open(argv[0], false);
	current_script = "execve";
	address_of(AF_INET, atoi(argv[4]), &at);
	ulp(kept_id, kept);
	int fd = tcp(&id, AF_INET, SOCK_NONBLOCK);
	if (fd != gone) {
		must(dup2(fd, gone) == gone, "dup2");
		close(fd);
	}
	dial(id, gone, &at);
	ulp(id, gone);
	wait_poll(id, gone, POLLOUT, 1000);
	end(id, gone);
	put(kept_id, kept, "write");
	end(kept_id, kept);
}

static void execve_script(void)
{
	struct pair p = started(AF_INET, 0), q = started(AF_INET, SOCK_CLOEXEC);
	char number[4][12];
	int status = 0;
	pid_t child = fork();

	must(child >= 0, "fork");
	if (child == 0) {
		const int all[4] = {p.fd, p.id, q.fd, ntohs(((struct sockaddr_in *)&p.at)->sin_port)};
		for (int i = 0; i < 4; i++)
			snprintf(number[i], sizeof number[i], "%d", all[i]);
		execl("/proc/self/exe", "act", "--after-exec", account_path, number[0], number[1], number[2],
		      number[3], (char *)NULL);
		_exit(9);
	}
	close(p.fd);
	must(waitpid(child, &status, 0) == child && status == 0, "waitpid");
	end(p.listener_id, p.listener);
	finish(&q);
}

const struct script process_scripts[] = {
	{"thread-proof", thread_proof, "threads"},
	{"thread-relay", thread_relay, "threads"},
	{"thread-race", thread_race, "threads"},
	{"thread-overlap", thread_overlap, "threads time"},
	{"fork-child-attempt", fork_child_attempt, "fork"},
	{"fork-child-race", fork_child_race, "fork"},
	{"fork-child-proof", fork_child_proof, "fork"},
	{"fork-tables", fork_tables, "fork"},
	{"passed-to-child", passed_to_child, "fork"},
	{"execve", execve_script, "fork"},
	{0},
};
