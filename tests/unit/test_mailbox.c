/* mailbox: who gets which mail, and what cancel, forget and close do while others post. */
#include "base/clock.h"
#include "base/mailbox.h"
#include "base/thread.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <cmocka.h>

struct letter {
    struct mail mail;
    int number;
};

static atomic_int alive;

static void letter_free(struct mail *mail)
{
    atomic_fetch_sub(&alive, 1);
    free(mail);
}

static struct mail *letter_new(uint64_t tag, int number)
{
    struct letter *letter = malloc(sizeof(*letter));
    *letter = (struct letter){.mail = {.tag = tag, .free = letter_free}, .number = number};
    atomic_fetch_add(&alive, 1);
    return &letter->mail;
}

static void expect(struct mailbox *m, uint64_t tag, int number)
{
    struct mail *mail;
    assert_int_equal(mailbox_wait(m, tag, 0, true, &mail), MAILBOX_MAIL);
    assert_int_equal(((struct letter *)mail)->number, number);
    mail->free(mail);
}

static void expect_nothing(struct mailbox *m, uint64_t tag)
{
    struct mail *mail;
    assert_int_equal(mailbox_wait(m, tag, 1, true, &mail), MAILBOX_TIMEOUT);
    assert_null(mail);
}

static void tags_and_order(void **state)
{
    (void)state;
    struct mailbox *m = mailbox_new();
    uint64_t a = mailbox_tag(m), b = mailbox_tag(m);
    assert_true(a != b && a != 0 && b != 0);
    for (int i = 0; i < 3; i++) {
        mailbox_post(m, letter_new(a, i));
        mailbox_post(m, letter_new(b, 10 + i));
    }
    expect(m, b, 10);
    expect(m, b, 11);
    expect(m, 0, 0);
    expect(m, a, 1);
    expect(m, 0, 2);
    expect(m, b, 12); /* the last in the queue */
    mailbox_post(m, letter_new(a, 20));
    expect(m, 0, 20);
    expect_nothing(m, 0);
    mailbox_unref(m);
    assert_int_equal(alive, 0);
}

static void deadlines(void **state)
{
    (void)state;
    struct mailbox *m = mailbox_new();
    struct mail *mail;
    uint64_t deadline = clock_mono_ns() + 20 * NS_PER_MS;
    assert_int_equal(mailbox_wait(m, 1, deadline, true, &mail), MAILBOX_TIMEOUT);
    assert_true(clock_mono_ns() >= deadline);
    /* What is there is given even when the deadline has passed. */
    mailbox_post(m, letter_new(1, 5));
    assert_int_equal(mailbox_wait(m, 1, deadline, true, &mail), MAILBOX_MAIL);
    mail->free(mail);
    mailbox_unref(m);
}

static void cancel_stays(void **state)
{
    (void)state;
    struct mailbox *m = mailbox_new();
    struct mail *mail;
    uint64_t tag = mailbox_tag(m);
    assert_false(mailbox_cancelled(m));
    mailbox_post(m, letter_new(tag, 1));
    mailbox_cancel(m);
    mailbox_cancel(m);
    assert_true(mailbox_cancelled(m));
    for (int i = 0; i < 2; i++)
        assert_int_equal(mailbox_wait(m, tag, 0, true, &mail), MAILBOX_CANCELLED);
    /* A commit is waited for all the same. */
    assert_int_equal(mailbox_wait(m, tag, 0, false, &mail), MAILBOX_MAIL);
    mail->free(mail);
    assert_int_equal(mailbox_wait(m, tag, 1, false, &mail), MAILBOX_TIMEOUT);
    mailbox_unref(m);
    assert_int_equal(alive, 0);
}

static void forgotten_mail_is_freed(void **state)
{
    (void)state;
    struct mailbox *m = mailbox_new();
    uint64_t tags[5];
    for (int i = 0; i < 5; i++)
        tags[i] = mailbox_tag(m);
    for (int i = 0; i < 5; i++) {
        mailbox_post(m, letter_new(tags[i], i));
        mailbox_post(m, letter_new(tags[i], i + 10));
    }
    mailbox_forget(m, tags[3]);
    mailbox_forget(m, tags[0]);
    mailbox_forget(m, tags[4]);
    mailbox_forget(m, tags[0]);
    mailbox_forget(m, 0); /* no tag: means nothing */
    assert_int_equal(alive, 4);
    for (int i = 0; i < 5; i++) /* late ones */
        mailbox_post(m, letter_new(tags[i], i + 20));
    assert_int_equal(alive, 6);
    expect(m, 0, 1);
    expect(m, 0, 11);
    expect(m, tags[2], 2);
    expect(m, 0, 12);
    expect(m, 0, 21);
    expect(m, tags[2], 22);
    expect_nothing(m, 0);
    mailbox_unref(m);
    assert_int_equal(alive, 0);
}

static void closed_mailbox_takes_nothing(void **state)
{
    (void)state;
    struct mailbox *m = mailbox_new(), *poster = mailbox_ref(m);
    mailbox_post(m, letter_new(1, 1));
    mailbox_close(m);
    assert_int_equal(alive, 0);
    mailbox_unref(m);
    mailbox_post(poster, letter_new(1, 2)); /* a late answer: the run is gone */
    assert_int_equal(alive, 0);
    mailbox_cancel(poster);
    struct mail *mail;
    assert_int_equal(mailbox_wait(poster, 1, 0, false, &mail), MAILBOX_CANCELLED);
    mailbox_unref(poster);
    mailbox_unref(NULL);
}

/* A mail that holds the last reference to its mailbox. */
struct chain {
    struct mail mail;
    struct mailbox *mailbox;
};

static void chain_free(struct mail *mail)
{
    mailbox_unref(((struct chain *)mail)->mailbox);
    free(mail);
}

static void mail_may_hold_the_mailbox(void **state)
{
    (void)state;
    struct mailbox *m = mailbox_new();
    struct chain *chain = malloc(sizeof(*chain));
    *chain = (struct chain){.mail = {.tag = 1, .free = chain_free}, .mailbox = mailbox_ref(m)};
    mailbox_post(m, &chain->mail);
    mailbox_close(m);
    mailbox_unref(m);
}

/* ---- with threads ---- */

#define POSTERS 3
#define LETTERS 3000

struct poster {
    struct mailbox *mailbox;
    uint64_t tag;
};

static void post_many(void *arg)
{
    struct poster *p = arg;
    for (int i = 0; i < LETTERS; i++)
        mailbox_post(p->mailbox, letter_new(p->tag, i));
    mailbox_unref(p->mailbox);
}

static void start_posters(struct mailbox *m, struct poster posters[POSTERS], pthread_t threads[POSTERS])
{
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.mailbox = mailbox_ref(m), .tag = mailbox_tag(m)};
        assert_true(thread_start(&threads[i], "poster", THREAD_STACK_BYTES, post_many, &posters[i], NULL));
    }
}

static void nothing_is_lost(void **state)
{
    (void)state;
    struct mailbox *m = mailbox_new();
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];
    start_posters(m, posters, threads);
    for (int i = 0; i < LETTERS; i++)
        expect(m, posters[i % 2].tag, i / 2);
    for (int i = LETTERS / 2; i < LETTERS; i++) {
        expect(m, posters[0].tag, i);
        expect(m, posters[1].tag, i);
    }
    for (int i = 0; i < LETTERS; i++)
        expect(m, 0, i);
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    expect_nothing(m, 0);
    mailbox_close(m);
    mailbox_unref(m);
    assert_int_equal(alive, 0);
}

static void forget_and_close_under_fire(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct mailbox *m = mailbox_new();
        struct poster posters[POSTERS];
        pthread_t threads[POSTERS];
        start_posters(m, posters, threads);
        for (int i = 0; i < 50; i++)
            expect(m, posters[1].tag, i);
        mailbox_forget(m, posters[0].tag);
        for (int i = 50; i < 100; i++)
            expect(m, posters[1].tag, i);
        mailbox_close(m);
        mailbox_unref(m); /* the posters hold it on */
        for (int i = 0; i < POSTERS; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(alive, 0);
    }
}

struct waiter {
    struct mailbox *mailbox;
    bool cancellable;
    atomic_int *ready;
    enum mailbox_result result;
};

static void wait_once(void *arg)
{
    struct waiter *w = arg;
    struct mail *mail;
    atomic_store(w->ready, 1);
    w->result = mailbox_wait(w->mailbox, 1, 0, w->cancellable, &mail);
    if (mail)
        mail->free(mail);
}

/* The waiter may not wait yet, or wait already, when the cancel comes: both must end. */
static void cancel_wakes(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        atomic_int ready = 0;
        struct mailbox *m = mailbox_new();
        struct waiter waiter = {.mailbox = m, .cancellable = round % 2 == 0, .ready = &ready};
        pthread_t thread;
        assert_true(thread_start(&thread, "waiter", THREAD_STACK_BYTES, wait_once, &waiter, NULL));
        while (round % 4 < 2 && !atomic_load(&ready))
            sched_yield();
        mailbox_cancel(m);
        if (!waiter.cancellable)
            mailbox_post(m, letter_new(1, 1)); /* only this ends a wait for a commit */
        pthread_join(thread, NULL);
        assert_int_equal(waiter.result, waiter.cancellable ? MAILBOX_CANCELLED : MAILBOX_MAIL);
        mailbox_unref(m);
        assert_int_equal(alive, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_and_order),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(cancel_stays),
        cmocka_unit_test(forgotten_mail_is_freed),
        cmocka_unit_test(closed_mailbox_takes_nothing),
        cmocka_unit_test(mail_may_hold_the_mailbox),
        cmocka_unit_test(nothing_is_lost),
        cmocka_unit_test(forget_and_close_under_fire),
        cmocka_unit_test(cancel_wakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
