#include "base/clock.h"
#include "cli/commands.h"
#include "cli/environment.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

/* Memory of many short-lived threads would otherwise be spread over one arena per core. */
#define MALLOC_ARENAS 2
/* Bytes. Larger blocks are mapped, and so go back to the system when they are freed. Left alone, the C library raises this
 * bound with the largest block it has seen: after one large conversation the heap would keep all of it. */
#define MALLOC_MAPPED (256 * 1024)

/* Nobody of this user shall read our memory, or the environment with its keys, through /proc or a debugger. The leak
 * checker of the sanitizers is such a debugger. */
static void hide(void)
{
#if !defined(__SANITIZE_ADDRESS__)
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

/* Who starts us may have closed the standard streams. Their numbers are taken, lest a database or a connection gets one of
 * them and is written to as if it were our output. */
static void streams_take(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", O_RDWR); /* the lowest number that is free */
}

/* What was printed has been written, or the command has failed. One that failed has said why. */
static int end(int status)
{
    bool written = fflush(stdout) == 0;
    int why = errno;
    if ((written && !ferror(stdout)) || status != 0)
        return status;
    if (written || why != EPIPE)
        fprintf(stderr, "handsd: standard output: %s\n", written ? "not all was written" : strerror(why));
    return 1;
}

static void complain(struct str name)
{
    const char *meant = commands_nearest(name);
    if (name.n == 0)
        commands_print_help(stderr);
    else if (meant)
        fprintf(stderr, "handsd: there is no command %s; is it %s?\n", name.p, meant);
    else
        fprintf(stderr, "handsd: there is no command %s; handsd --help lists them\n", name.p);
}

/* `help NAME` is `NAME --help`. */
static bool is_help(struct str name)
{
    return str_is(name, "help") || str_is(name, "--help") || str_is(name, "-h");
}

int main(int argc, char **argv)
{
    streams_take();
    mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    mallopt(M_MMAP_THRESHOLD, MALLOC_MAPPED);
    environment_take();
    hide();
    clock_init();
    struct str name = str_from(argc > 1 ? argv[1] : "");
    if (is_help(name) && argc == 2) {
        commands_print_help(stdout);
        return end(0);
    }
    bool help = is_help(name);
    if (help)
        name = str_from(argv[2]);
    const struct command *command = commands_find(str_is(name, "--version") ? STR("version") : name);
    if (!command) {
        complain(name);
        return EXIT_USAGE;
    }
    if (!help)
        return end(command->run(argc - 1, argv + 1));
    options_print_help(command, stdout);
    return end(0);
}
