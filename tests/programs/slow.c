/* Connections that come up, or fail, a second after connect(): the kernel repeats its first SYN only then. */
#include "act.h"

static void late_up(void)
{
	Address at;
	int listener_id, filler, filler_id, id, served_id;
	int listener = full_listener(&at, &listener_id, &filler, &filler_id);
	int fd = tcp(&id, AF_INET, SOCK_NONBLOCK);

	dial(id, fd, &at);
	ulp(id, fd);
	int served = take(listener, &served_id, true, 0);
	wait_poll(id, fd, POLLOUT, 3000);
	ulp(id, fd);
	end(id, fd);
	end(served_id, served);
	end(filler_id, filler);
	end(listener_id, listener);
}

/* The listener goes away, so the second SYN is refused: EPOLLERR for one socket, SO_ERROR for the other. */
static void late_refused(void)
{
	Address at;
	int listener_id, filler, filler_id, id[2], fd[2];
	int listener = full_listener(&at, &listener_id, &filler, &filler_id);

	for (int i = 0; i < 2; i++) {
		fd[i] = tcp(&id[i], AF_INET, SOCK_NONBLOCK);
		dial(id[i], fd[i], &at);
	}
	ulp(id[0], fd[0]);
	end(listener_id, listener);
	wait_poll(id[0], fd[0], POLLOUT, 3000);
	ulp(id[0], fd[0]);
	wait_ms(100);
	ask_error(id[1], fd[1]);
	ulp(id[1], fd[1]);
	end(id[0], fd[0]);
	end(id[1], fd[1]);
	end(filler_id, filler);
}

const struct script slow_scripts[] = {
	{"late-up", late_up, "time"},
	{"late-refused", late_refused, "time"},
	{0},
};
