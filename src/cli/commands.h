/* commands: one function per command of the command line. `argv[0]` is the command's name; the result is the exit
 * status. */
#pragma once

#define EXIT_USAGE 2 /* a command line that makes no sense */

int command_serve(int argc, char **argv);
int command_run(int argc, char **argv);
int command_doctor(int argc, char **argv);
