/* fake_store: store.h in memory, with a writer thread of its own whose work can be told to fail, to find the
 * conversation lost, or to stall. `store_open` ignores its path; everything is gone at store_close. */
#pragma once
#include "store/store.h"

enum fake_verdict {
    FAKE_DO,
    FAKE_FAIL, /* ERR_IO; nothing of it happens */
    FAKE_LOSE, /* another owner took the conversation just before: this token is worth nothing any more */
};

/* What happens to the `nth` (from 1) commit from now whose events or state contain `match`; NULL: any commit, or delete
 * (which `match` "delete" names). With `stall` the writer stops in front of it until fake_store_release. A plan is used up
 * by one commit; plans are looked at in the order they were made. */
struct fake_plan {
    const char *match;
    unsigned nth;
    enum fake_verdict verdict;
    bool stall;
    unsigned every; /* not 0: the plan stays, and then it is each every-th */
};
void fake_store_plan(struct store *s, struct fake_plan plan);
void fake_store_plans_clear(struct store *s);
bool fake_store_stalled(struct store *s);
void fake_store_release(struct store *s);
void fake_store_fail_reads(struct store *s, bool fail);
void fake_store_busy(struct store *s,
                     unsigned refusals); /* so many commits are refused at the door with ERR_BUSY */
/* As if the owning process had died: every claim is void. */
void fake_store_disown(struct store *s);
void fake_store_drain(struct store *s); /* waits until the writer has nothing to do */

/* The log as it is on the "disk". Texts live as long as the store. Deleted conversations have number -1. */
struct fake_event {
    uint32_t seq;
    struct uuid id;
    int kind, source;
    bool on_branch;
    struct str json;
};
int64_t fake_store_number(struct store *s, const struct uuid *id);
size_t fake_store_events(struct store *s, int64_t number, struct fake_event **events /* free() */);
int fake_store_status(struct store *s, int64_t number);
unsigned fake_store_commits(struct store *s); /* done, failed or lost, since the start */
unsigned fake_store_deletes(struct store *s);
const char *fake_store_config(struct store *s,
                              int64_t number); /* the row's configuration as it was written */
void fake_store_set_config(struct store *s, int64_t number, const char *config);
