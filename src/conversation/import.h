/* import: a conversation that the Python server has stored, written into ours: the same ids, times, branches, title, tags,
 * statistics and secrets. It is there at once and whole, or not at all: until import_end nobody sees it, and what a crash
 * leaves is deleted by the store. A call that was under way gets an error as its result, as after any crash.
 *
 * Threads: one at a time; blocks for commits, so never on the loop or a worker. */
#pragma once
#include "conversation/conversation.h"

struct import;

struct import_target {
    struct store *store;
    const struct secrets *secrets; /* open what was sealed; seal it anew */
    const char *(*env)(const char *name);
};

/* base_state.json and meta.json; the latter STR_NONE where only the SDK has written. `changed_us`: when they were last
 * written. ERR_CONFLICT: the conversation is there already. ERR_INVALID says what is wrong with them. */
struct import *import_begin(const struct import_target *target, struct str state, struct str meta,
                            int64_t changed_us, struct err **e);
/* The next event, in the order of the log. False: it cannot be kept, and is left out; or the import has failed. */
bool import_event(struct import *m, struct str text, struct err **e);
bool import_failed(const struct import *m);

struct import_notes {
    uint32_t events;    /* stored */
    unsigned repeated;  /* left out: their ids were there before */
    unsigned shortened; /* too large for the store */
    unsigned orphans;   /* their parents are missing: they follow the event before them */
    unsigned unknown;   /* of kinds that handsd does not know; kept */
    unsigned ended;     /* calls without a result, which got an error */
    struct str problem; /* why its agent cannot run here as it is, or STR_NONE */
};
/* Publishes it. `notes` is valid until import_free. */
bool import_end(struct import *m, const struct import_notes **notes, struct err **e);
/* What was not published is deleted. */
void import_free(struct import *m);
