/* mailbox: the one place where a conversation thread waits.
 *
 * One mailbox per run. The run thread owns it; the store's writer, the outward thread and the loop hold references and
 * post answers (model, hand, commit) tagged with a number that the run thread drew for that call. Late answers to an
 * ended run meet a closed mailbox and are freed there. Cancel (interrupt, delete, shutdown) is a flag that wakes the
 * waiter at once and stays set. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct mailbox;

/* An answer. The poster fills it and gives it away; `free` destroys it if nobody takes it. Embed it first in a struct
 * of your own. */
struct mail {
    struct mail *next; /* the mailbox's */
    uint64_t tag;
    void (*free)(struct mail *);
};

struct mailbox *mailbox_new(void);
struct mailbox *mailbox_ref(struct mailbox *m);
void mailbox_unref(struct mailbox *m);
uint64_t mailbox_tag(struct mailbox *m);                 /* a number not used before in this mailbox */
void mailbox_post(struct mailbox *m, struct mail *mail); /* any thread; a closed mailbox frees the mail */
/* Posts a mail that is nothing but its tag: "look again". Whoever takes it frees it with free(). Any thread. */
void mailbox_notify(struct mailbox *m, uint64_t tag);
void mailbox_cancel(struct mailbox *m); /* any thread */
bool mailbox_cancelled(struct mailbox *m);
void mailbox_close(struct mailbox *m); /* the run thread, at its end; frees what waits */

enum mailbox_result { MAILBOX_MAIL, MAILBOX_CANCELLED, MAILBOX_TIMEOUT };
/* Takes the mail with `tag` (0: any mail), waiting until `deadline_ns` (0: for ever). Mail with other tags stays queued
 * for its own waiter. With `cancellable` false a cancel does not end the wait: commits are waited for like that. */
enum mailbox_result mailbox_wait(struct mailbox *m, uint64_t tag, uint64_t deadline_ns, bool cancellable,
                                 struct mail **out);
/* Frees queued and future mail with this tag: nobody will ask for it any more. */
void mailbox_forget(struct mailbox *m, uint64_t tag);
