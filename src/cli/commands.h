/* commands: the commands of the command line, one file each. `argv[0]` is the command's name; the result is the exit
 * status. */
#pragma once
#include "cli/options.h"

#define EXIT_USAGE 2 /* a command line that makes no sense */

extern const struct command command_completion, command_doctor, command_export, command_import, command_run,
    command_serve, command_version;

/* NULL behind the last one. */
const struct command *commands_at(size_t i);
const struct command *commands_find(struct str name); /* NULL: there is none */
void commands_print_help(FILE *to);
/* Which command was meant, if any looks like `name`; else NULL. */
const char *commands_nearest(struct str name);
