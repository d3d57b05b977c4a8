/* show_internal: what the files of show share. */
#pragma once
#include "base/clock.h"
#include "base/vec.h"
#include "cli/show.h"

#define SHOW_OPEN_MAX 256        /* actions without a result that are remembered */
#define SHOW_COMMAND_LINES 24    /* of a command, where nobody is asked about it */
#define SHOW_OUTPUT_LINES 40     /* of a command's output: the first half and the last */
#define SHOW_RESULT_LINES 10     /* of another tool's */
#define SHOW_LIST_LINES 6        /* of files or matches */
#define SHOW_DIFF_LINES 40       /* of an edit */
#define SHOW_REASONING_LINES 6   /* of what the model thought without saying it */
#define SHOW_TASK_LINES 8        /* of a user's message */
#define SHOW_LINE_ROWS 4         /* that one line of any of these takes on a terminal */
#define SHOW_LINE_CELLS 1000     /* and elsewhere */
#define SHOW_ARGUMENTS_CELLS 160 /* of another tool's arguments */

struct open_action {
    struct json_doc *doc;
    uint64_t started_ns; /* 0: before we came */
};

struct show {
    struct console *console;
    const struct glyphs *glyphs;
    bool json;
    int gone;     /* errno */
    bool careful; /* the user is asked about actions: they are shown whole */
    uint64_t started_ns, waiting_ns /* for the model, since */;
    unsigned steps; /* actions so far */
    double cost;
    int64_t tokens_in, tokens_out;
    VEC(struct open_action) open;
    struct buf workspace;
    /* An answer that is being streamed: all of it, and what is not printed yet, which is cleaned. */
    struct buf said, rest, reasoning;
    bool said_some;       /* a line of it was printed */
    struct buf last;      /* id of the action whose title stands above; empty: something else does */
    struct buf complaint; /* that was shown last in this run */
    const char *wish;
    unsigned frame;
};

/* ---- show.c ---- */

/* Prints a text that is cleaned first, its lines behind `first` and `next`. `max` 0: all of its lines; otherwise those
 * in the middle (`ends`) or at the end are left out, and a very long one is cut. */
struct block {
    const char *first, *next;
    enum style style;
    size_t max;
    bool ends, words;
};
void show_block(struct show *s, const struct block *b, struct str raw);
void show_line(struct show *s, enum style style, const char *first, struct str marked);
void show_shorten(const struct show *s, struct buf *marked); /* one line, to what a screen has room for */
void show_texts(struct buf *out, const struct json_value *content); /* of a list of contents */
void show_duration(struct buf *out, uint64_t ns, bool exact);
/* Without the workspace in front of it. */
struct str show_path(const struct show *s, struct str path);

void show_said(struct show *s); /* an answer that was being streamed is over */

/* ---- show_other.c ---- */

/* `before`: "error: ", or "" for what a call came to. */
void show_failure(struct show *s, const char *before, const struct json_value *event);
void show_rejected(struct show *s, const struct json_value *event);
void show_hook(struct show *s, const struct json_value *event);
void show_condensation(struct show *s, const struct json_value *event);

/* ---- show_action.c ---- */

void show_action(struct show *s, const struct json_value *event);
/* Its command or call as one marked line. */
void show_action_title(const struct show *s, const struct json_value *event, size_t cells, struct buf *out);
void show_risk(const struct json_value *event, bool always, struct buf *out); /* marked */

/* ---- show_result.c ---- */

/* `action` may be NULL, `started_ns` 0. `named`: the action is not the last thing shown. */
void show_result(struct show *s, const struct json_value *event, const struct json_value *action,
                 uint64_t started_ns, bool named);
/* `numbered`: both are whole files. */
void show_diff(struct show *s, struct str before, struct str after, bool numbered);
/* A task list, each with its state. */
void show_tasks(struct show *s, const struct json_value *list);

/* ---- show_status.c ---- */

void show_live(struct show *s);
