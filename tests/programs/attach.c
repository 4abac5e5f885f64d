/* For a tracer that attaches in the middle: sockets from before, then "ready", then what is traced. */
#include "act.h"

#include <pthread.h>
#include <semaphore.h>

enum { BEFORE = 6 };

static sem_t go, gone;
static struct pair shared;

static void *worker(void *arg)
{
	(void)arg;
	sem_wait(&go);
	wait_epoll(shared.id, shared.fd, EPOLLOUT, 31, 0);
	sem_post(&gone);
	return NULL;
}

static void pause_for_tracer(void)
{
	char line[8];

	printf("ready\n");
	fflush(stdout);
	must(read(0, line, sizeof line) > 0, "wait for the tracer");
}

/* Each socket from before is used in another way once the tracer looks. */
static void use_old(struct pair *p, int ep)
{
	struct epoll_event got;

	ulp(p[0].id, p[0].fd);
	ask_peer(p[1].id, p[1].fd);
	ulp(p[1].id, p[1].fd);
	put(p[2].id, p[2].fd, "send");
	ulp(p[2].id, p[2].fd);
	must(epoll_wait(ep, &got, 1, 1000) == 1, "epoll_wait");
	did_at(p[3].id, "epoll", got.events, 0);
	ulp(p[3].id, p[3].fd);
	dial(p[4].id, p[4].fd, &p[4].at);
	ulp(p[4].id, p[4].fd);
	put(p[5].id, p[5].fd, "send");
}

static void attached(void)
{
	struct pair p[BEFORE];
	struct epoll_event want = {.events = EPOLLOUT};
	int ep = epoll_create1(EPOLL_CLOEXEC), id;
	pthread_t thread;

	must(sem_init(&go, 0, 0) == 0 && sem_init(&gone, 0, 0) == 0, "sem_init");
	must(pthread_create(&thread, NULL, worker, NULL) == 0, "pthread_create");
	for (int i = 0; i < BEFORE; i++)
		p[i] = started(AF_INET, 0);
	want.data.fd = p[3].fd;
	must(epoll_ctl(ep, EPOLL_CTL_ADD, p[3].fd, &want) == 0, "epoll_ctl");
	for (int i = 0; i < BEFORE; i++) {
		did(p[i].listener_id, "begins", 0, 0);
		did(p[i].id, "begins", 0, 0);
	}
	pause_for_tracer();
	use_old(p, ep);
	int served = take(p[0].listener, &id, true, SOCK_CLOEXEC);
	ulp(id, served);
	end(id, served);
	struct pair race = started(AF_INET, SOCK_NONBLOCK);
	ulp(race.id, race.fd);
	finish(&race);
	shared = started(AF_INET, SOCK_NONBLOCK);
	sem_post(&go);
	sem_wait(&gone);
	ulp(shared.id, shared.fd);
	finish(&shared);
	must(pthread_join(thread, NULL) == 0, "pthread_join");
	for (int i = 0; i < BEFORE; i++)
		finish(&p[i]);
}

const struct script attach_scripts[] = {{"attached", attached, "attach"}, {0}};
