/* terminal_shell: one interactive shell on a PTY of its own, under a keeper, and the way commands get into it.
 *
 * Nothing that a caller sends is typed: terminals cut lines at 4 kB. What is typed is one short fixed line (the trigger)
 * that makes the shell read a memory file it has inherited, the control script: mark the start, export secrets, give `$?`
 * its value back, `eval` the command, put the prompt right again. The prompt writes the mark of the end. All of this is
 * done by shell builtins, without a fork, about 0.1 ms in all; and it is silent also under `set -x`. `eval` also means
 * that unfinished quotes are an error and not a question. */
#pragma once
#include "base/err.h"
#include "hand/keeper.h"
#include "hand/terminal/vt.h"

/* Kinds of marks (terminal_vt.h). */
#define MARK_START 'S'  /* what follows is the command's output */
#define MARK_END 'E'    /* exit code ; pid of the last background job ; $- ; directory \037 NONCE \037 PATH */
#define MARK_PROMPT 'P' /* the shell is at its prompt, but could not write MARK_END */
#define MARK_SYNC 'Y'   /* written by ourselves: all output before the shell's end has been read */

struct shell {
    struct keeper *keeper; /* NULL: none */
    pid_t pid;
    int master, slave;
    int control; /* the memory file */
    bool plain;  /* no bash: some other sh */
    char nonce[VT_NONCE + 1];
    char trace[3]; /* which of `set -x` and `set -v` are on */
};

#define SHELL_CLOSED ((struct shell){.master = -1, .slave = -1, .control = -1})

struct shell_spec {
    const char *cwd; /* NULL: the hand's */
    unsigned columns, rows;
    void (*on_exit)(void *arg, int exit_code);
    void *arg;
};

bool shell_start(struct shell *s, struct hand *h, const struct shell_spec *spec, struct err **e);
/* Closes the descriptors; the keeper must have been ended or given away. */
void shell_close(struct shell *s);

struct shell_command {
    struct str text;
    struct str fields; /* its F_ENV items NAME=value are exported; they must be valid */
    int status;        /* what `$?` was after the last command */
    bool first;        /* of this shell */
};
/* Puts a command into the file; then the trigger must be typed. */
bool shell_load(struct shell *s, const struct shell_command *c, struct err **e);
/* The same with nothing but the repair of the prompt. */
bool shell_load_repair(struct shell *s, struct err **e);
struct str shell_trigger(const struct shell *s);
void shell_forget(struct shell *s); /* empties the file */
/* Throws away what was typed and not read, and gives the terminal its ordinary modes. For an idle shell. */
void shell_settle(struct shell *s);
void shell_flush_input(const struct shell *s);
/* Ctrl-C flushes what was typed, but would itself wait behind it while nobody reads. */
void shell_before_interrupt(const struct shell *s);
/* Removes what `set -x`, `set -v` and the terminal's echo made visible of the above. */
void shell_clean_before(const struct shell *s, struct buf *text); /* what came before the start mark */
/* The command's output, up to its end mark. */
void shell_clean_after(const struct shell *s, struct buf *text);

bool shell_in_foreground(const struct shell *s); /* nothing else is */
bool shell_is_gone(const struct shell *s);
/* As far as can be seen from outside: it is in the foreground, asleep, and has read what was typed. */
bool shell_waits_for_line(const struct shell *s);
/* Is a line longer than the terminal takes in its present mode? */
bool shell_line_too_long(const struct shell *s, struct str text);
bool shell_write_sync(const struct shell *s); /* the terminal's own output: a MARK_SYNC */
/* Signals the foreground group. */
void shell_signal(const struct shell *s, int signal);

struct shell_end {
    int exit_code;
    int64_t pid; /* -1: none */
    struct str cwd, path;
};
bool shell_end_parse(struct shell *s, struct str body, struct shell_end *end);

/* Is NAME=value fit for `export`? */
bool shell_env_valid(struct str item);
/* Adds the special key `name` stands for (C-c, ENTER, UP …), any case. False if it is none. */
bool shell_key(struct str name, bool application_keys, struct buf *out);
/* First `python` (or `python3`) of a PATH; empty when there is none. */
void shell_find_python(struct str path, struct buf *out);
