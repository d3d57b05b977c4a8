#include "base/clock.h"
#include "cli/commands.h"
#include "cli/environment.h"
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

/* Memory of many short-lived threads would otherwise be spread over one arena per core. */
#define MALLOC_ARENAS 2
/* Bytes. Larger blocks are mapped, and so go back to the system when they are freed. Left alone, the C library raises this
 * bound with the largest block it has seen: after one large conversation the heap would keep all of it. */
#define MALLOC_MAPPED (256 * 1024)

static int command_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("handsd " HANDSD_VERSION);
    return 0;
}

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *doc;
} commands[] = {
    {"serve", command_serve, "start the server"},
    {"run", command_run, "let an agent do a task, and watch it"},
    {"doctor", command_doctor, "check that everything is in place"},
    {"version", command_version, "print the version"},
};

static void print_help(FILE *to)
{
    fputs("usage: handsd COMMAND [options]\n\n", to);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].doc);
    fputs("\nhandsd COMMAND --help says more about one.\n", to);
}

/* Nobody of this user shall read our memory, or the environment with its keys, through /proc or a debugger. The leak
 * checker of the sanitizers is such a debugger. */
static void hide(void)
{
#if !defined(__SANITIZE_ADDRESS__)
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

int main(int argc, char **argv)
{
    mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    mallopt(M_MMAP_THRESHOLD, MALLOC_MAPPED);
    environment_take();
    hide();
    clock_init();
    const char *name = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (strcmp(name, "--version") == 0)
        return command_version(argc, argv);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (*name)
        fprintf(stderr, "handsd: there is no command %s\n\n", name);
    print_help(stderr);
    return EXIT_USAGE;
}
