#include "cli/commands.h"
#include "base/cleanup.h"

#define NEAR_ENOUGH 2 /* changed letters of a name that may have been meant */

/* As they are listed. */
static const struct command *const commands[] = {
    &command_run,    &command_serve,      &command_import,  &command_export,
    &command_doctor, &command_completion, &command_version,
};

const struct command *commands_at(size_t i)
{
    return i < ARRAY_LEN(commands) ? commands[i] : NULL;
}

const struct command *commands_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (str_is(name, commands[i]->name))
            return commands[i];
    return NULL;
}

const char *commands_nearest(struct str name)
{
    const char *best = NULL;
    unsigned distance = NEAR_ENOUGH + 1;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        unsigned d = options_distance(name, str_from(commands[i]->name));
        if (d < distance && d < name.n) {
            distance = d;
            best = commands[i]->name;
        }
    }
    return best;
}

void commands_print_help(FILE *to)
{
    fputs(
        "usage: handsd COMMAND [options]\n\nA server for agents that work in your files, and a way to run one from a "
        "terminal.\n\n",
        to);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(to, "  %-11s %s\n", commands[i]->name, commands[i]->doc);
    fputs("\nhandsd COMMAND --help says more about one; so does the manual: man handsd\n\n"
          "Examples:\n"
          "  handsd run 'Fix the failing test' --model openai/gpt-4o-mini\n"
          "  handsd serve --data ~/.handsd\n",
          to);
}

/* ---- version ---- */

static int version_run(int argc, char **argv)
{
    int status = options_parse(&command_version, argc, argv, NULL);
    if (status != OPTIONS_GO_ON)
        return status;
    puts("handsd " HANDSD_VERSION);
    return 0;
}

const struct command command_version = {
    .name = "version",
    .doc = "print the version",
    .arguments = "",
    .run = version_run,
};
