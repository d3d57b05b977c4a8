#include "base/mailbox.h"
#include "base/thread.h"
#include "base/vec.h"
#include <stdatomic.h>

struct mailbox {
    atomic_uint refs;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t wake;
    struct mail *first, **last;
    uint64_t next_tag;
    bool cancelled, closed;
    VEC(uint64_t) forgotten; /* in ascending order */
};

struct mailbox *mailbox_new(void)
{
    struct mailbox *m = xcalloc(1, sizeof(*m));
    atomic_init(&m->refs, 1);
    pthread_mutex_init(&m->lock, NULL);
    thread_cond_init(&m->wake);
    m->last = &m->first;
    m->next_tag = 1;
    return m;
}

struct mailbox *mailbox_ref(struct mailbox *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

/* Without the lock: a mail's `free` may hold the last reference to a mailbox, this one included. */
static void free_mails(struct mail *mail)
{
    for (struct mail *next; mail; mail = next) {
        next = mail->next;
        mail->next = NULL;
        mail->free(mail);
    }
}

void mailbox_unref(struct mailbox *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return;
    free_mails(m->first);
    vec_deinit(&m->forgotten);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

uint64_t mailbox_tag(struct mailbox *m)
{
    uint64_t tag = 0;
    WITH_LOCK(&m->lock)
    tag = m->next_tag++;
    return tag;
}

/* Index of the first forgotten tag that is not smaller. */
static size_t forgotten_at(const struct mailbox *m, uint64_t tag)
{
    size_t low = 0, high = m->forgotten.n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->forgotten.at[middle] < tag)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_forgotten(const struct mailbox *m, uint64_t tag)
{
    size_t at = forgotten_at(m, tag);
    return at < m->forgotten.n && m->forgotten.at[at] == tag;
}

void mailbox_post(struct mailbox *m, struct mail *mail)
{
    bool refused = false;
    mail->next = NULL;
    WITH_LOCK(&m->lock)
    {
        refused = m->closed || is_forgotten(m, mail->tag);
        if (!refused) {
            *m->last = mail;
            m->last = &mail->next;
            pthread_cond_signal(&m->wake);
        }
    }
    if (refused)
        free_mails(mail);
}

static void notice_free(struct mail *mail)
{
    free(mail);
}

void mailbox_notify(struct mailbox *m, uint64_t tag)
{
    struct mail *mail = xcalloc(1, sizeof(*mail));
    mail->tag = tag;
    mail->free = notice_free;
    mailbox_post(m, mail);
}

void mailbox_cancel(struct mailbox *m)
{
    WITH_LOCK(&m->lock)
    {
        m->cancelled = true;
        pthread_cond_signal(&m->wake);
    }
}

bool mailbox_cancelled(struct mailbox *m)
{
    bool cancelled = false;
    WITH_LOCK(&m->lock)
    cancelled = m->cancelled;
    return cancelled;
}

void mailbox_close(struct mailbox *m)
{
    struct mail *left = NULL;
    WITH_LOCK(&m->lock)
    {
        m->closed = true;
        left = m->first;
        m->first = NULL;
        m->last = &m->first;
        pthread_cond_broadcast(&m->wake);
    }
    free_mails(left);
}

static struct mail *take(struct mailbox *m, uint64_t tag)
{
    for (struct mail **at = &m->first; *at; at = &(*at)->next) {
        struct mail *mail = *at;
        if (tag != 0 && mail->tag != tag)
            continue;
        *at = mail->next;
        if (!*at)
            m->last = at;
        mail->next = NULL;
        return mail;
    }
    return NULL;
}

/* A cancel goes before mail that is already there: otherwise a model that talks without pause could not be stopped. */
enum mailbox_result mailbox_wait(struct mailbox *m, uint64_t tag, uint64_t deadline_ns, bool cancellable,
                                 struct mail **out)
{
    enum mailbox_result result = MAILBOX_TIMEOUT;
    *out = NULL;
    WITH_LOCK(&m->lock)
    {
        for (bool in_time = true;;) {
            /* A closed mailbox gets no mail any more: waiting on it would be for ever. */
            if (m->closed || (cancellable && m->cancelled)) {
                result = MAILBOX_CANCELLED;
                break;
            }
            *out = take(m, tag);
            if (*out) {
                result = MAILBOX_MAIL;
                break;
            }
            if (!in_time)
                break;
            in_time = thread_cond_wait(&m->wake, &m->lock, deadline_ns);
        }
    }
    return result;
}

void mailbox_forget(struct mailbox *m, uint64_t tag)
{
    struct mail *dropped = NULL;
    if (tag == 0)
        return;
    WITH_LOCK(&m->lock)
    {
        for (struct mail *mail; (mail = take(m, tag));) {
            mail->next = dropped;
            dropped = mail;
        }
        size_t at = forgotten_at(m, tag);
        if (at == m->forgotten.n || m->forgotten.at[at] != tag) {
            vec_push(&m->forgotten, tag);
            memmove(m->forgotten.at + at + 1, m->forgotten.at + at, (m->forgotten.n - 1 - at) * sizeof(tag));
            m->forgotten.at[at] = tag;
        }
    }
    free_mails(dropped);
}
