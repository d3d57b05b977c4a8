/* The conformance test of store.h, first part: rows, commits, owners, groups. */
#include "store_backends.h"

/* ---- rows ---- */

static void test_create_and_get(void **state)
{
    struct fixture *f = *state;
    struct store_create c = {.id = uuid_random(),
                             .kind = STORE_STREAM,
                             .status = 3,
                             .created_us = 12345,
                             .state = STR("{\"a\":1}"),
                             .config = STR("{\"big\":true}"),
                             .title = STR("T\xc3\xa4st")};
    int64_t number, again;
    assert_int_equal(make_row(f->store, &c, &number), -1);
    assert_int_equal(make_row(f->store, &c, &again), ERR_CONFLICT);
    for (int round = 0; round < 2; round++) {
        autoarena arena = arena_new();
        struct store_row row;
        assert_true(store_get(f->store, &c.id, arena, &row, NULL));
        assert_int_equal(row.number, number);
        assert_true(uuid_eq(&row.id, &c.id));
        assert_int_equal(row.kind, STORE_STREAM);
        assert_int_equal(row.status, 3);
        assert_int_equal(row.created_us, 12345);
        assert_int_equal(row.updated_us, 12345);
        assert_int_equal(row.next_seq, 0);
        assert_int_equal(row.leaf_seq, -1);
        assert_true(str_eq(row.state, c.state) && str_eq(row.config, c.config) && str_eq(row.title, c.title));
        fixture_reopen(f);
    }
    autoarena arena = arena_new();
    autoerr e = NULL;
    struct store_row row;
    struct uuid missing = uuid_random();
    assert_false(store_get(f->store, &missing, arena, &row, &e));
    assert_int_equal(e->kind, ERR_NOT_FOUND);
}

static void test_find_place(void **state)
{
    struct fixture *f = *state;
    struct uuid ids[3], found;
    static const struct str at[3] = {STR_INIT("/work/a"), STR_INIT("/work"), STR_INIT("/work")};
    int64_t number;
    for (int i = 0; i < 3; i++) {
        ids[i] = uuid_random();
        struct store_create c = {.id = ids[i], .state = STR(""), .config = STR(""), .place = at[i]};
        assert_int_equal(make_row(f->store, &c, &number), -1);
    }
    struct str deep[] = {STR("/work/a/b"), STR("/work/a"), STR("/work"), STR("/")};
    assert_true(store_find_place(f->store, deep, 4, &found, NULL));
    assert_memory_equal(&found, &ids[0], sizeof(found));
    assert_true(store_find_place(f->store, deep + 2, 2, &found, NULL));
    assert_memory_equal(&found, &ids[2], sizeof(found)); /* the youngest */
    autoerr e = NULL;
    assert_false(store_find_place(f->store, deep + 3, 1, &found, &e));
    assert_int_equal(e->kind, ERR_NOT_FOUND);
}

static void list_pages(struct store *s, struct store_list q, size_t limit, int64_t *numbers, size_t *n)
{
    struct uuid next;
    bool more = true;
    *n = 0;
    q.limit = limit;
    while (more) {
        autoarena arena = arena_new();
        struct store_row *rows;
        size_t got;
        assert_true(store_list(s, &q, arena, &rows, &got, &next, &more, NULL));
        assert_true(got == limit || !more);
        for (size_t i = 0; i < got; i++)
            numbers[(*n)++] = rows[i].number;
        q.from = &next;
    }
}

static void test_list_and_count(void **state)
{
    struct fixture *f = *state;
    enum { N = 25 };
    int64_t made[N], got[N + 1], count;
    for (int i = 0; i < N; i++) {
        /* Equal times: ties are broken, no item is shown twice. */
        struct store_create c = {
            .id = uuid_random(), .status = i % 2, .created_us = i / 3, .state = STR(""), .config = STR("")};
        assert_int_equal(make_row(f->store, &c, &made[i]), -1);
    }
    struct store_create stream = {
        .id = uuid_random(), .kind = STORE_STREAM, .state = STR(""), .config = STR("")};
    int64_t stream_number;
    assert_int_equal(make_row(f->store, &stream, &stream_number), -1);

    size_t n;
    const enum store_order orders[] = {STORE_CREATED_ASC, STORE_CREATED_DESC, STORE_UPDATED_ASC,
                                       STORE_UPDATED_DESC};
    for (size_t o = 0; o < ARRAY_LEN(orders); o++) {
        bool down = orders[o] == STORE_CREATED_DESC || orders[o] == STORE_UPDATED_DESC;
        list_pages(f->store, (struct store_list){.status = -1, .order = orders[o]}, 7, got, &n);
        assert_int_equal(n, N);
        for (int i = 0; i < N; i++)
            assert_int_equal(got[i], made[down ? N - 1 - i : i]);
        list_pages(f->store, (struct store_list){.status = -1, .order = orders[o], .skip = 20}, N, got, &n);
        assert_int_equal(n, N - 20);
        assert_int_equal(got[0], made[down ? N - 21 : 20]);
    }
    list_pages(f->store, (struct store_list){.status = 1, .order = STORE_CREATED_ASC}, 5, got, &n);
    assert_int_equal(n, N / 2);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(got[i], made[2 * i + 1]);
    assert_true(store_count(f->store, STORE_CONVERSATION, -1, &count, NULL));
    assert_int_equal(count, N);
    assert_true(store_count(f->store, STORE_CONVERSATION, 1, &count, NULL));
    assert_int_equal(count, N / 2);
    assert_true(store_count(f->store, STORE_STREAM, -1, &count, NULL));
    assert_int_equal(count, 1);
    struct uuid ids[4];
    assert_true(store_ids_with_status(f->store, 1, ids, 4, &n, NULL));
    assert_int_equal(n, 4);
    autoarena arena = arena_new();
    struct store_row row;
    for (size_t i = 0; i < n; i++) {
        assert_true(store_get(f->store, &ids[i], arena, &row, NULL));
        assert_int_equal(row.number, made[2 * i + 1]);
    }
}

/* ---- commit ---- */

static void test_commit_whole(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    struct store_event events[3] = {
        {.id = event_id(1, 0),
         .kind = 7,
         .source = 2,
         .time_us = 99,
         .on_branch = true,
         .json = event_text(0, 10),
         .side = STR("side")},
        {.id = event_id(1, 1), .kind = 8, .source = 1, .time_us = 100, .json = event_text(1, 10)},
        {.id = event_id(1, 2),
         .kind = 9,
         .source = 0,
         .time_us = 101,
         .branch = 4,
         .on_branch = true,
         .json = event_text(2, 300 * 1024),
         .reduced = event_text(2, 5)},
    };
    struct store_branch branch = {.branch = 4, .parent = 0, .at_seq = 0};
    struct store_commit c = {.number = w.number,
                             .token = w.token,
                             .commit_id = 17,
                             .events = events,
                             .event_count = 3,
                             .branches = &branch,
                             .branch_count = 1};
    c.delta = (struct store_delta){.set = STORE_SET_STATUS | STORE_SET_LEAF | STORE_SET_TITLE |
                                          STORE_SET_STATE | STORE_SET_CONFIG | STORE_TOUCH,
                                   .status = 5,
                                   .leaf_seq = 2,
                                   .branch = 4,
                                   .title = STR("a title"),
                                   .state = STR("new state"),
                                   .config = STR("new config"),
                                   .updated_us = 777};
    assert_int_equal(commit(f->store, &c, NULL), STORE_DONE);

    for (int round = 0; round < 2; round++) {
        autoarena arena = arena_new();
        struct store_row row;
        assert_true(store_get(f->store, &id, arena, &row, NULL));
        assert_int_equal(row.next_seq, 3);
        assert_int_equal(row.status, 5);
        assert_int_equal(row.leaf_seq, 2);
        assert_int_equal(row.branch, 4);
        assert_int_equal(row.updated_us, 777);
        assert_true(str_is(row.title, "a title") && str_is(row.state, "new state") &&
                    str_is(row.config, "new config"));

        struct store_item *items;
        size_t n;
        assert_true(store_read(f->store, w.number, 0, UINT32_MAX, 100, false, arena, &items, &n, NULL));
        assert_int_equal(n, 3);
        assert_true(uuid_eq(&items[0].id, &events[0].id) && str_eq(items[0].json, bytes_str(events[0].json)));
        assert_true(items[0].kind == 7 && items[0].source == 2 && items[0].time_us == 99 &&
                    items[0].on_branch);
        assert_true(str_is(items[0].side, "side") && !items[0].is_reduced);
        assert_true(!items[1].on_branch && !items[1].side.p && items[1].seq == 1);
        assert_true(items[2].branch == 4 && items[2].is_reduced &&
                    str_eq(items[2].json, bytes_str(events[2].reduced)));
        assert_true(store_read(f->store, w.number, 2, 3, 100, true, arena, &items, &n, NULL));
        assert_int_equal(n, 1);
        assert_true(str_eq(items[0].json, bytes_str(events[2].json)));
        assert_true(store_read_branch(f->store, w.number, 0, 0, 3, 100, arena, &items, &n, NULL));
        assert_true(n == 1 && items[0].seq == 0);
        assert_true(store_read_branch(f->store, w.number, 4, 0, 3, 100, arena, &items, &n, NULL));
        assert_true(n == 1 && items[0].seq == 2);
        struct store_branch *branches;
        assert_true(store_branches(f->store, w.number, arena, &branches, &n, NULL));
        assert_true(n == 1 && branches[0].branch == 4 && branches[0].parent == 0 && branches[0].at_seq == 0);
        struct store_item item;
        assert_true(store_find(f->store, w.number, &events[1].id, false, arena, &item, NULL));
        assert_int_equal(item.seq, 1);
        fixture_reopen(f);
    }
    for (size_t i = 0; i < 3; i++) {
        bytes_unref(events[i].json);
        bytes_unref(events[i].reduced);
    }
}

/* A commit without events changes the row; title can go back to null. */
static void test_commit_state_only(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    assert_int_equal(write_events(&w, 2, 10), STORE_DONE);
    struct store_commit c = {.number = w.number, .token = w.token, .commit_id = 90, .expected_seq = 2};
    c.delta = (struct store_delta){.set = STORE_SET_TITLE | STORE_SET_STATUS, .title = STR("x"), .status = 2};
    assert_int_equal(commit(f->store, &c, NULL), STORE_DONE);
    c.commit_id = 91;
    c.delta = (struct store_delta){.set = STORE_SET_TITLE, .title = STR_NONE};
    assert_int_equal(commit(f->store, &c, NULL), STORE_DONE);
    c.commit_id = 92;
    c.expected_seq = 1;
    assert_int_equal(commit(f->store, &c, NULL), STORE_FAILED);
    autoarena arena = arena_new();
    struct store_row row;
    assert_true(store_get(f->store, &id, arena, &row, NULL));
    assert_true(row.title.p == NULL && row.status == 2 && row.next_seq == 2 && row.leaf_seq == 1);
}

static void test_unknown_commit_retried(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    struct bytes *json = event_text(0, 10);
    struct store_event first = {.id = uuid_random(), .json = json},
                       second = {.id = uuid_random(), .json = json};
    struct store_commit a = {
        .number = w.number, .token = w.token, .commit_id = 1, .events = &first, .event_count = 1};
    struct store_commit b = {.number = w.number,
                             .token = w.token,
                             .commit_id = 2,
                             .expected_seq = 1,
                             .events = &second,
                             .event_count = 1};
    struct store_commit empty = {.number = w.number, .token = w.token, .commit_id = 3, .expected_seq = 2};
    assert_int_equal(commit(f->store, &a, NULL), STORE_DONE);
    assert_int_equal(commit(f->store, &a, NULL), STORE_ALREADY_DONE);
    assert_int_equal(commit(f->store, &b, NULL), STORE_DONE);
    assert_int_equal(commit(f->store, &empty, NULL), STORE_DONE);
    assert_int_equal(commit(f->store, &empty, NULL), STORE_ALREADY_DONE);
    /* Not the last one any more, but its event is there. */
    assert_int_equal(commit(f->store, &a, NULL), STORE_ALREADY_DONE);
    /* Another event at that place is no retry. */
    int kind;
    struct store_event other = {.id = uuid_random(), .json = json};
    a.events = &other;
    a.commit_id = 4;
    assert_int_equal(commit(f->store, &a, &kind), STORE_FAILED);
    assert_int_equal(kind, ERR_CONFLICT);
    /* The answer was lost together with the process. */
    fixture_reopen(f);
    assert_int_equal(claim(f->store, w.number, "owner", &empty.token), -1);
    assert_int_equal(commit(f->store, &empty, NULL), STORE_ALREADY_DONE);
    autoarena arena = arena_new();
    struct store_item *items;
    size_t n;
    assert_true(store_read(f->store, w.number, 0, UINT32_MAX, 10, false, arena, &items, &n, NULL));
    assert_int_equal(n, 2);
    assert_true(uuid_eq(&items[0].id, &first.id) && uuid_eq(&items[1].id, &second.id));
    bytes_unref(json);
}

static void test_fencing(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    uint64_t second, third;
    int kind;
    assert_int_equal(write_events(&w, 1, 10), STORE_DONE);
    /* The same owner gets a new token, which fences its own older one. */
    assert_int_equal(claim(f->store, w.number, "owner", &second), -1);
    assert_true(second > w.token);
    assert_int_equal(write_events(&w, 1, 10), STORE_LOST);
    w.token = second;
    assert_int_equal(write_events(&w, 1, 10), STORE_DONE);
    /* A stranger has to wait until the lease ends. */
    assert_int_equal(claim(f->store, w.number, "stranger", &third), ERR_LOST);
    assert_int_equal(write_events(&w, 1, 10), STORE_DONE);
    f->store->backend->clock_advance(f->store, STORE_LEASE_MS - 5000);
    store_renew(f->store, STR("owner"));
    f->store->backend->clock_advance(f->store, STORE_LEASE_MS - 5000);
    assert_int_equal(claim(f->store, w.number, "stranger", &third), ERR_LOST);
    f->store->backend->clock_advance(f->store, 10000);
    /* An ended lease alone takes nothing away. */
    assert_int_equal(write_events(&w, 1, 10), STORE_DONE);
    assert_int_equal(claim(f->store, w.number, "stranger", &third), -1);
    assert_true(third > second);
    struct store_commit late = {.number = w.number, .token = second, .commit_id = 99, .expected_seq = w.seq};
    assert_int_equal(commit(f->store, &late, &kind), STORE_LOST);
    assert_int_equal(kind, ERR_LOST);
    struct writer stranger = {
        .store = f->store, .number = w.number, .token = third, .commit_id = 1000, .seq = w.seq};
    assert_int_equal(write_events(&stranger, 1, 10), STORE_DONE);
    /* A release by the fenced owner does not free what the stranger holds; the stranger's own does. */
    store_release(f->store, w.number, second);
    assert_int_equal(claim(f->store, w.number, "owner", &second), ERR_LOST);
    store_release(f->store, w.number, third);
    assert_int_equal(claim(f->store, w.number, "owner", &second), -1);
    assert_true(second > third);
    /* No token is good for a row that does not exist. */
    late.number = w.number + 1000;
    assert_int_equal(commit(f->store, &late, NULL), STORE_LOST);
    assert_int_equal(claim(f->store, w.number + 1000, "owner", &second), ERR_NOT_FOUND);
}

/* The owner died without releasing: its lease has not ended, but the next process proves that it is dead. */
static void test_claim_after_death(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    uint64_t token;
    assert_int_equal(write_events(&w, 1, 10), STORE_DONE);
    fixture_reopen(f);
    assert_int_equal(claim(f->store, w.number, "other process", &token), -1);
    assert_true(token > w.token);
    w.store = f->store;
    assert_int_equal(write_events(&w, 1, 10), STORE_LOST);
}

/* Two owners fight for one row from two threads: each token's events are there wholly or not at all, densely. */
struct fighter {
    struct store *store;
    int64_t number;
    const char *owner;
    uint32_t written;
    pthread_t thread;
};

static void fighter_main(void *arg)
{
    struct fighter *me = arg;
    for (int round = 0; round < 30; round++) {
        struct writer w = {.store = me->store, .number = me->number, .commit_id = uuid_random().b[0] + 7u};
        if (claim(me->store, me->number, me->owner, &w.token) != -1)
            continue;
        w.commit_id = w.token << 20;
        autoarena arena = arena_new();
        struct store_item *items;
        struct store_filter filter = any_event();
        filter.descending = true;
        filter.limit = 1;
        size_t n;
        int64_t next;
        assert_true(store_search(me->store, me->number, &filter, arena, &items, &n, &next, NULL));
        w.seq = n ? items[0].seq + 1 : 0;
        for (int i = 0; i < 3 && write_events(&w, 2, 10) == STORE_DONE; i++)
            me->written += 2;
        store_release(me->store, me->number, w.token);
    }
}

static void test_two_owners(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    int64_t number = make_conversation(f->store, &id), count;
    struct fighter fighters[2] = {{f->store, number, "a", 0, 0}, {f->store, number, "b", 0, 0}};
    for (int i = 0; i < 2; i++)
        assert_true(thread_start(&fighters[i].thread, "fighter", THREAD_STACK_BYTES, fighter_main,
                                 &fighters[i], NULL));
    for (int i = 0; i < 2; i++)
        pthread_join(fighters[i].thread, NULL);
    struct store_filter filter = any_event();
    assert_true(store_count_events(f->store, number, &filter, &count, NULL));
    assert_true(count > 0);
    assert_int_equal(count, fighters[0].written + fighters[1].written);
}

/* ---- groups ---- */

struct burst {
    struct store_commit commit;
    struct store_event event;
    struct answer answer;
};

/* Many commits are waiting at once; one conversation's has a fault that only the database notices. */
static void test_bad_item_fails_alone(void **state)
{
    struct fixture *f = *state;
    enum { N = 40, BAD = 13 };
    struct uuid id;
    struct burst bursts[N + 1];
    struct bytes *json = event_text(0, 100);
    struct store_branch duplicate[2] = {{.branch = 1, .at_seq = -1}, {.branch = 1, .at_seq = -1}};
    struct writer w[N];
    for (int i = 0; i < N; i++)
        w[i] = writer_new(f->store, &id);
    for (int i = 0; i <= N; i++) {
        struct writer *mine = &w[i < N ? i : BAD];
        struct burst *b = &bursts[i];
        answer_init(&b->answer);
        b->event = (struct store_event){.id = uuid_random(), .json = json};
        b->commit = (struct store_commit){.number = mine->number,
                                          .token = mine->token,
                                          .commit_id = 5,
                                          .events = &b->event,
                                          .event_count = 1,
                                          .done = on_commit,
                                          .arg = &b->answer};
    }
    bursts[BAD].commit.branches = duplicate;
    bursts[BAD].commit.branch_count = 2;
    /* Behind the bad one, without events: its expected seq fits, but it was made believing in the bad one. */
    bursts[N].commit.event_count = 0;
    bursts[N].commit.expected_seq = 0;
    bursts[N].commit.commit_id = 6;
    bursts[N].commit.delta = (struct store_delta){.set = STORE_SET_STATUS, .status = 9};
    for (int i = 0; i <= N; i++)
        assert_true(store_commit(f->store, &bursts[i].commit, NULL));
    for (int i = 0; i <= N; i++) {
        answer_wait(&bursts[i].answer);
        assert_int_equal(bursts[i].answer.result, i == BAD ? STORE_FAILED
                                                  : i == N ? bursts[i].answer.result
                                                           : STORE_DONE);
        answer_end(&bursts[i].answer);
    }
    for (int i = 0; i < N; i++) {
        autoarena arena = arena_new();
        struct store_item *items;
        size_t n;
        assert_true(store_read(f->store, w[i].number, 0, 10, 10, false, arena, &items, &n, NULL));
        assert_int_equal(n, i == BAD ? 0 : 1);
    }
    /* The bad one's conversation goes on. */
    w[BAD].commit_id = 50;
    assert_int_equal(write_events(&w[BAD], 1, 10), STORE_DONE);
    bytes_unref(json);
}

static void test_order_of_submission(void **state)
{
    struct fixture *f = *state;
    enum { N = 200 };
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    struct burst *bursts = xcalloc(N, sizeof(*bursts));
    for (uint32_t i = 0; i < N; i++) {
        struct burst *b = &bursts[i];
        answer_init(&b->answer);
        b->event = (struct store_event){.id = event_id(1, i), .json = event_text(i, 10)};
        b->commit = (struct store_commit){.number = w.number,
                                          .token = w.token,
                                          .commit_id = 1 + i,
                                          .expected_seq = i,
                                          .events = &b->event,
                                          .event_count = 1,
                                          .done = on_commit,
                                          .arg = &b->answer};
        assert_true(store_commit(f->store, &b->commit, NULL));
    }
    for (uint32_t i = 0; i < N; i++) {
        answer_wait(&bursts[i].answer);
        assert_int_equal(bursts[i].answer.result, STORE_DONE);
        answer_end(&bursts[i].answer);
        bytes_unref(bursts[i].event.json);
    }
    free(bursts);
    struct store_stats stats;
    store_stats_get(f->store, &stats);
    assert_true(stats.commits == N && stats.events == N && stats.groups < N);
}

static void test_queue_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    struct bytes *json = event_text(0, 8 * 1024 * 1024);
    enum { N = 12 };
    struct burst *bursts = xcalloc(N, sizeof(*bursts));
    int accepted = 0, refused = 0;
    for (int i = 0; i < N; i++) {
        struct burst *b = &bursts[i];
        autoerr e = NULL;
        answer_init(&b->answer);
        b->event = (struct store_event){.id = uuid_random(), .json = json};
        b->commit = (struct store_commit){.number = w.number,
                                          .token = w.token,
                                          .commit_id = 1 + (uint64_t)accepted,
                                          .expected_seq = (uint32_t)accepted,
                                          .events = &b->event,
                                          .event_count = 1,
                                          .done = on_commit,
                                          .arg = &b->answer};
        b->answer.came = !store_commit(f->store, &b->commit, &e);
        if (e)
            assert_int_equal(e->kind, ERR_BUSY);
        refused += e != NULL;
        accepted += e == NULL;
    }
    for (int i = 0; i < N; i++)
        answer_end(&bursts[i].answer);
    free(bursts);
    assert_true(accepted >= 7 && accepted + refused == N);
    struct store_filter filter = any_event();
    int64_t count;
    assert_true(store_count_events(f->store, w.number, &filter, &count, NULL));
    assert_int_equal(count, accepted);
    bytes_unref(json);
}

struct watched {
    pthread_mutex_t lock;
    int64_t number;
    uint32_t next_seq;
    int calls;
};

static void on_watch(void *arg, int64_t number, uint32_t next_seq)
{
    struct watched *w = arg;
    WITH_LOCK(&w->lock)
    {
        w->calls++;
        w->number = number;
        assert_true(next_seq >= w->next_seq);
        w->next_seq = next_seq;
    }
}

static void test_watch(void **state)
{
    struct fixture *f = *state;
    struct watched seen = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    store_watch(f->store, on_watch, &seen);
    assert_int_equal(write_events(&w, 3, 10), STORE_DONE);
    struct store_commit quiet = {.number = w.number, .token = w.token, .commit_id = 77, .expected_seq = 3};
    assert_int_equal(commit(f->store, &quiet, NULL), STORE_DONE); /* no events: nobody is told */
    assert_int_equal(write_events(&w, 1, 10), STORE_DONE);
    assert_int_equal(doc_put(f->store, "s", "k", STR("v")),
                     -1); /* a later group: the watcher has been called */
    WITH_LOCK(&seen.lock)
    assert_true(seen.calls == 2 && seen.number == w.number && seen.next_seq == 4);
    store_watch(f->store, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(test_create_and_get),
        CASE(test_list_and_count),
        CASE(test_find_place),
        CASE(test_commit_whole),
        CASE(test_commit_state_only),
        CASE(test_unknown_commit_retried),
        CASE(test_fencing),
        CASE(test_claim_after_death),
        CASE(test_two_owners),
        CASE(test_bad_item_fails_alone),
        CASE(test_order_of_submission),
        CASE(test_queue_is_bounded),
        CASE(test_watch),
    };
    return run_on_backends(cases, ARRAY_LEN(cases));
}
