/* export: a conversation as the files in which the Python server keeps one, one after the other: meta.json,
 * base_state.json, events/event-00000-<id>.json …, and what was too long for an event: observations/… Secrets are masked, as everywhere outside of the store. What is
 * appended meanwhile is not in it. Holds one page of events at a time.
 *
 * Threads: one at a time; all of it reads the disk, so never on the loop. */
#pragma once
#include "conversation/conversation.h"

struct export;

/* ERR_NOT_FOUND. */
struct export *export_new(struct conversations *s, const struct uuid *id, struct err **e);
/* The same without a server: of the configuration it needs `store`, `secrets`, `env` and `conversations_path`. */
struct export *export_new_stored(const struct conversations_config *config, const struct uuid *id,
                                 struct err **e);
void export_free(struct export *x);
int64_t export_time_us(const struct export *x); /* of the conversation's last change */

struct export_file {
    struct str name;    /* relative to the conversation's directory */
    struct str content; /* both borrowed until the next call */
    bool more;          /* the next one is the next part of this one's content */
    int64_t time_us;    /* UTC */
};
/* The next file. False at the end, and with `e` when the conversation could not be read to its end. */
bool export_next(struct export *x, struct export_file *file, struct err **e);
/* Gives back memory while nothing is wanted. What export_next gave is no longer there. */
void export_rest(struct export *x);
