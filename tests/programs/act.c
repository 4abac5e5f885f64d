/* Makes socket calls in a chosen order: `act ACCOUNT SCRIPT...`, `act --list`.
 *
 * The account of what was done is printed on standard output as JSON when all scripts have run.
 */
#include "act.h"

#include <signal.h>

static const struct script *const groups[] = {client_scripts, wait_scripts,    socket_scripts,
					      ktls_scripts,   process_scripts, slow_scripts,
					      attach_scripts};

void after_exec(char **argv);

static const struct script *find(const char *name)
{
	for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
		for (const struct script *s = groups[g]; s->name; s++)
			if (!strcmp(s->name, name))
				return s;
	fprintf(stderr, "act: no script named %s\n", name);
	exit(2);
}

static int list(void)
{
	for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
		for (const struct script *s = groups[g]; s->name; s++)
			printf("%s %s\n", s->name, s->needs);
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && !strcmp(argv[1], "--list"))
		return list();
	if (argc > 2 && !strcmp(argv[1], "--after-exec")) {
		after_exec(argv + 2);
		return 0;
	}
	must(argc > 2, "usage: act ACCOUNT SCRIPT...");
	account_open(argv[1], true);
	for (int i = 2; i < argc; i++) {
		const struct script *s = find(argv[i]);
		current_script = s->name;
		s->run();
	}
	account_print(stdout);
	return 0;
}
