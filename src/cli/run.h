/* run: what the two files of `handsd run` share. */
#pragma once
#include "cli/client.h"

#define EXIT_INTERRUPTED 130

struct run_options {
    const char *task, *file, *workspace, *model, *base_url, *confirm, *data, *config, *scripts,
        *resume;            /* NULL: a new conversation */
    int64_t max_iterations; /* 0: the server's default */
    bool json;
};

/* run_watch.c: sends the task (or, if it is empty, only lets the conversation run) and shows what happens until the run
 * has ended. `signals` is readable when the user wants to stop. Returns the exit status. */
int run_watch(struct client *c, const struct run_options *o, struct str id, struct str task, int signals,
              struct err **e);
