/* The conformance test of store.h, second part: pages, filters, sums, delete and copy, blobs, documents. */
#include "store_backends.h"

/* ---- pages and filters ---- */

static void test_pages(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    for (int i = 0; i < 30; i++)
        assert_int_equal(write_events(&w, 1, 20000), STORE_DONE);
    assert_int_equal(write_events(&w, 1, STORE_PAGE_BYTES * 2), STORE_DONE);
    uint32_t seq = 0;
    int pages = 0;
    while (seq < w.seq) {
        autoarena arena = arena_new();
        struct store_item *items;
        size_t n, bytes = 0;
        assert_true(store_read(f->store, w.number, seq, UINT32_MAX, 1000, false, arena, &items, &n, NULL));
        assert_true(n > 0);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(items[i].seq, seq++);
            bytes += items[i].json.n;
        }
        assert_true(bytes <= STORE_PAGE_BYTES || n == 1);
        pages++;
    }
    assert_int_equal(pages, 4);
    autoarena arena = arena_new();
    struct store_item *items;
    size_t n;
    assert_true(store_read(f->store, w.number, 5, 9, 2, false, arena, &items, &n, NULL));
    assert_true(n == 2 && items[0].seq == 5);
    assert_true(store_read(f->store, w.number, 500, 900, 2, false, arena, &items, &n, NULL));
    assert_int_equal(n, 0);
}

/* What a filter means, straight from the definition. */
static bool filter_means(const struct store_filter *f, uint32_t seq)
{
    return (f->kind < 0 || (int)(seq % 5) == f->kind) && (f->source < 0 || (int)(seq % 3) == f->source) &&
           1000 * (int64_t)seq >= f->since_us &&
           (f->until_us == INT64_MAX || 1000 * (int64_t)seq < f->until_us);
}

static void check_filter(struct store *s, int64_t number, uint32_t total, struct store_filter f)
{
    int64_t expected = 0, count, at = f.from_seq >= 0 ? f.from_seq : f.descending ? (int64_t)total - 1 : 0;
    for (int64_t i = at; i >= 0 && i < total; i += f.descending ? -1 : 1)
        expected += filter_means(&f, (uint32_t)i);
    assert_true(store_count_events(s, number, &f, &count, NULL));
    assert_int_equal(count, expected);
    for (size_t skip = f.skip; at >= 0; f.skip = 0) {
        autoarena arena = arena_new();
        struct store_item *items;
        size_t n;
        int64_t next;
        assert_true(store_search(s, number, &f, arena, &items, &n, &next, NULL));
        assert_true(n == f.limit || next < 0);
        for (size_t i = 0; i < n; i++) {
            for (; skip > 0 || !filter_means(&f, (uint32_t)at); at += f.descending ? -1 : 1)
                if (filter_means(&f, (uint32_t)at)) {
                    skip--;
                    expected--;
                }
            assert_int_equal(items[i].seq, at);
            at += f.descending ? -1 : 1;
            expected--;
        }
        if (next >= 0)
            assert_true(filter_means(&f, (uint32_t)next));
        f.from_seq = at = next;
    }
    assert_int_equal(expected, 0);
}

static void test_filters(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    static const size_t sizes[] = {100, 156, 1, 255, 600, 88}; /* cross the boundaries of blocks every way */
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        assert_int_equal(write_events(&w, sizes[i], 20), STORE_DONE);
    for (int down = 0; down < 2; down++) {
        struct store_filter filter = any_event();
        filter.descending = down;
        filter.limit = 97;
        check_filter(f->store, w.number, w.seq, filter);
        filter.skip = 250;
        check_filter(f->store, w.number, w.seq, filter);
        filter.skip = 0;
        filter.from_seq = 300;
        check_filter(f->store, w.number, w.seq, filter);
        filter.kind = 3;
        check_filter(f->store, w.number, w.seq, filter);
        filter.from_seq = -1;
        filter.skip = 3;
        filter.source = 2;
        check_filter(f->store, w.number, w.seq, filter);
        filter.skip = 0;
        filter.since_us = 250000;
        filter.until_us = 1100000;
        check_filter(f->store, w.number, w.seq, filter);
        filter = any_event();
        filter.descending = down;
        filter.until_us = 255000;
        filter.limit = 100;
        check_filter(f->store, w.number, w.seq, filter);
        filter = any_event();
        filter.descending = down;
        filter.kind = 200;
        check_filter(f->store, w.number, w.seq, filter);
    }
    struct store_filter small = any_event();
    small.bytes_max = 100;
    autoarena arena = arena_new();
    struct store_item *items;
    size_t n;
    int64_t next;
    assert_true(store_search(f->store, w.number, &small, arena, &items, &n, &next, NULL));
    assert_true(n >= 1 && n < 5 && next == (int64_t)n);
    small.bytes_max = 1;
    assert_true(store_search(f->store, w.number, &small, arena, &items, &n, &next, NULL));
    assert_true(n == 1 && next == 1);
}

static void test_body_filter(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    enum { N = 300 };
    for (uint32_t i = 0; i < N; i += 10) {
        struct store_event events[10];
        for (uint32_t k = 0; k < 10; k++)
            events[k] = (struct store_event){
                .id = event_id(w.number, i + k), .kind = (uint8_t)(k % 2), .json = event_text(i + k, 5)};
        events[0].search_text = STR("Hello World, STRA\xc3\x9f"
                                    "E \xc3\x84PFEL \xd0\x9f\xd0\xa0\xd0\x98");
        events[1].search_text = STR("hello other");
        events[2].search_text = STR("");
        struct store_commit c = {.number = w.number,
                                 .token = w.token,
                                 .commit_id = i + 1,
                                 .expected_seq = i,
                                 .events = events,
                                 .event_count = 10};
        assert_int_equal(commit(f->store, &c, NULL), STORE_DONE);
        for (int k = 0; k < 10; k++)
            bytes_unref(events[k].json);
    }
    static const struct {
        const char *body;
        int kind;
        int64_t matches;
    } cases[] = {
        {"hello", -1, 60},
        {"HELLO", 0, 30},
        {"hello", 1, 30},
        {"world", -1, 30},
        {"w\xc3\xb6rld", -1, 0},
        {"\xc3\xa4pfel", -1, 30},
        {"\xc3\x84pfel \xd0\xbf\xd1\x80", -1, 30},
        {"", -1, 90},
        {"%", -1, 0},
        {"text", -1, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int down = 0; down < 2; down++) {
            struct store_filter filter = any_event();
            filter.body = str_from(cases[i].body);
            filter.kind = cases[i].kind;
            filter.descending = down;
            filter.limit = 7;
            int64_t count, last = down ? INT64_MAX : -1, seen = 0;
            assert_true(store_count_events(f->store, w.number, &filter, &count, NULL));
            assert_int_equal(count, cases[i].matches);
            do {
                autoarena arena = arena_new();
                struct store_item *items;
                size_t n;
                assert_true(
                    store_search(f->store, w.number, &filter, arena, &items, &n, &filter.from_seq, NULL));
                for (size_t k = 0; k < n; k++, seen++) {
                    assert_true(down ? items[k].seq < last : items[k].seq > last);
                    last = items[k].seq;
                }
            } while (filter.from_seq >= 0);
            assert_int_equal(seen, cases[i].matches);
        }
    }
}

static void test_find(void **state)
{
    struct fixture *f = *state;
    struct uuid id, other_id;
    struct writer w = writer_new(f->store, &id), other = writer_new(f->store, &other_id);
    for (int i = 0; i < 7; i++)
        assert_int_equal(write_events(&w, 100, 20), STORE_DONE);
    assert_int_equal(write_events(&other, 3, 20), STORE_DONE);
    for (uint32_t seq = 0; seq < w.seq; seq += 13) {
        autoarena arena = arena_new();
        struct store_item item;
        struct uuid wanted = event_id(w.number, seq);
        assert_true(store_find(f->store, w.number, &wanted, false, arena, &item, NULL));
        assert_int_equal(item.seq, seq);
    }
    autoarena arena = arena_new();
    autoerr e = NULL;
    struct store_item item;
    struct uuid wanted = event_id(other.number, 1);
    assert_false(store_find(f->store, w.number, &wanted, false, arena, &item, &e));
    assert_int_equal(e->kind, ERR_NOT_FOUND);
    assert_true(store_find(f->store, other.number, &wanted, false, arena, &item, NULL));
}

/* ---- usage ---- */

static void test_usage(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    for (uint32_t i = 0; i < 10; i++) {
        struct store_usage usage[2] = {
            {.usage_id = STR("agent"),
             .model = i < 5 ? STR("old") : STR("new"),
             .response_id = STR("r"),
             .cost = 0.5,
             .seconds = 2,
             .prompt = 100 + i,
             .completion = 10,
             .cache_read = 1,
             .cache_write = 2,
             .reasoning = 3,
             .context_window = 1000 + i,
             .time_us = i},
            {.usage_id = STR("condenser"), .model = STR("small"), .cost = 0.25, .prompt = 1},
        };
        struct store_commit c = {.number = w.number,
                                 .token = w.token,
                                 .commit_id = 1 + i,
                                 .usage = usage,
                                 .usage_count = i == 3 ? 2 : 1};
        assert_int_equal(commit(f->store, &c, NULL), STORE_DONE);
        assert_int_equal(commit(f->store, &c, NULL), STORE_ALREADY_DONE); /* nothing is counted twice */
    }
    for (int round = 0; round < 2; round++) {
        autoarena arena = arena_new();
        struct store_usage_sum *sums;
        struct store_usage *calls;
        size_t n;
        assert_true(store_usage_sums(f->store, w.number, arena, &sums, &n, NULL));
        assert_int_equal(n, 2);
        assert_true(str_is(sums[0].usage_id, "agent") && str_is(sums[0].model, "new") && sums[0].calls == 10);
        assert_true(sums[0].prompt == 1045 && sums[0].completion == 100 && sums[0].cost == 5.0);
        assert_true(sums[0].cache_read == 10 && sums[0].cache_write == 20 && sums[0].reasoning == 30);
        assert_true(sums[0].context_window == 1009 && sums[0].last_prompt == 109 &&
                    sums[0].last_completion == 10);
        assert_true(str_is(sums[1].usage_id, "condenser") && sums[1].calls == 1 && sums[1].cost == 0.25);
        assert_true(store_usage_read(f->store, w.number, 100, arena, &calls, &n, NULL));
        assert_int_equal(n, 11);
        assert_true(calls[0].prompt == 100 && str_is(calls[4].usage_id, "condenser") &&
                    calls[10].prompt == 109);
        assert_true(calls[10].seconds == 2 && calls[10].time_us == 9);
        assert_true(store_usage_read(f->store, w.number, 2, arena, &calls, &n, NULL));
        assert_true(n == 2 && calls[0].prompt == 108 && calls[1].prompt == 109);
        fixture_reopen(f);
    }
}

/* ---- unfinished rows ---- */

static int publish(struct store *s, const struct writer *w, const struct uuid *id)
{
    struct answer a;
    answer_init(&a);
    store_publish(s, w->number, w->token, id, STR("/place/of/it"), on_done, &a);
    return answer_end(&a);
}

static bool is_listed(struct store *s, const struct uuid *id)
{
    autoarena arena = arena_new();
    struct store_row *rows;
    size_t n;
    struct uuid next;
    bool more, found = false;
    assert_true(store_list(s, &(struct store_list){.status = -1, .limit = STORE_LIST_MAX}, arena, &rows, &n,
                           &next, &more, NULL));
    for (size_t i = 0; i < n; i++)
        found |= uuid_eq(&rows[i].id, id);
    return found;
}

static void test_publish(void **state)
{
    struct fixture *f = *state;
    struct uuid hidden = uuid_random(), id = uuid_random(), at;
    struct store_create c = {
        .id = hidden, .kind = STORE_UNFINISHED, .created_us = 1, .state = STR("{}"), .config = STR("{}")};
    struct writer w = {.store = f->store};
    int64_t before, after;
    assert_true(store_count(f->store, STORE_CONVERSATION, -1, &before, NULL));
    assert_int_equal(make_row(f->store, &c, &w.number), -1);
    assert_int_equal(claim(f->store, w.number, "owner", &w.token), -1);
    assert_int_equal(write_events(&w, 300, 50), STORE_DONE);
    assert_true(store_count(f->store, STORE_CONVERSATION, -1, &after, NULL));
    assert_int_equal(before, after);
    assert_false(is_listed(f->store, &hidden));

    struct writer other = w;
    other.token++;
    assert_int_equal(publish(f->store, &other, &id), ERR_LOST);
    assert_int_equal(publish(f->store, &w, &id), -1);
    assert_int_equal(publish(f->store, &w, &id), ERR_INVALID);
    assert_true(is_listed(f->store, &id));
    assert_true(store_find_place(f->store, &(struct str){"/place/of/it", 12}, 1, &at, NULL) &&
                uuid_eq(&at, &id));
    autoarena arena = arena_new();
    struct store_row row;
    assert_true(store_get(f->store, &id, arena, &row, NULL));
    assert_true(row.kind == STORE_CONVERSATION && row.next_seq == 300);
    assert_int_equal(write_events(&w, 3, 3), STORE_DONE); /* an ordinary conversation */

    c.id = uuid_random();
    struct writer twin = {.store = f->store};
    assert_int_equal(make_row(f->store, &c, &twin.number), -1);
    assert_int_equal(claim(f->store, twin.number, "owner", &twin.token), -1);
    assert_int_equal(publish(f->store, &twin, &id), ERR_CONFLICT);
    fixture_reopen(f); /* what was not finished is gone, as after a crash */
    assert_true(store_get(f->store, &id, arena, &row, NULL));
    assert_false(store_get(f->store, &c.id, arena, &row, NULL));
}

/* ---- delete and copy ---- */

static void test_delete(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    for (int i = 0; i < 6; i++)
        assert_int_equal(write_events(&w, 100, 2000), STORE_DONE);
    autoarena arena = arena_new();
    struct store_row row;
    struct store_item *items;
    size_t n;
    int64_t count, again;
    assert_int_equal(delete_row(f->store, w.number), -1);
    /* Gone at once, though its events go later; the id is free and the number is never used again. */
    autoerr e = NULL;
    assert_false(store_get(f->store, &id, arena, &row, &e));
    assert_int_equal(e->kind, ERR_NOT_FOUND);
    assert_true(store_read(f->store, w.number, 0, 100, 10, false, arena, &items, &n, NULL));
    assert_int_equal(n, 0);
    assert_int_equal(write_events(&w, 1, 10), STORE_LOST);
    assert_int_equal(delete_row(f->store, w.number), ERR_NOT_FOUND);
    struct store_create c = {.id = id, .state = STR(""), .config = STR("")};
    assert_int_equal(make_row(f->store, &c, &again), -1);
    assert_true(again > w.number);
    assert_true(store_count(f->store, STORE_CONVERSATION, -1, &count, NULL));
    assert_int_equal(count, 1);
    fixture_reopen(f);
    assert_true(store_get(f->store, &id, arena, &row, NULL));
    assert_true(row.number == again && row.next_seq == 0);
}

static void test_copy(void **state)
{
    struct fixture *f = *state;
    struct uuid id, blob = uuid_random();
    struct writer w = writer_new(f->store, &id);
    for (int i = 0; i < 7; i++)
        assert_int_equal(write_events(&w, 100, 50), STORE_DONE);
    struct store_event said = {.id = uuid_random(),
                               .on_branch = true,
                               .branch = 3,
                               .json = event_text(700, 5),
                               .search_text = STR("needle")};
    struct store_branch branches[2] = {{.branch = 3, .at_seq = 699}, {.branch = 4, .at_seq = 700}};
    struct store_commit c = {.number = w.number,
                             .token = w.token,
                             .commit_id = 1234,
                             .expected_seq = 700,
                             .events = &said,
                             .event_count = 1,
                             .branches = branches,
                             .branch_count = 2};
    assert_int_equal(commit(f->store, &c, NULL), STORE_DONE);
    w.seq = 701;
    assert_int_equal(write_events(&w, 40, 50), STORE_DONE);
    assert_int_equal(blob_put(f->store, w.number, &blob, STR("kept")), -1);

    struct store_create into = {.id = uuid_random(),
                                .status = 2,
                                .created_us = 5,
                                .state = STR("s"),
                                .config = STR("c"),
                                .title = STR("copy")};
    int64_t number, whole;
    assert_int_equal(copy_row(f->store, w.number, 701, &into, &number), -1);
    assert_int_equal(copy_row(f->store, w.number, 701, &into, &whole), ERR_CONFLICT);
    into.id = uuid_random();
    assert_int_equal(copy_row(f->store, w.number, 900, &into, &whole), ERR_INVALID);
    assert_int_equal(copy_row(f->store, w.number + 100, 1, &into, &whole), ERR_NOT_FOUND);
    assert_int_equal(copy_row(f->store, w.number, 741, &into, &whole), -1);
    assert_int_equal(delete_row(f->store, w.number), -1);
    for (int round = 0; round < 2; round++) {
        autoarena arena = arena_new();
        struct store_row row;
        assert_true(store_get(f->store, &into.id, arena, &row, NULL));
        assert_true(row.number == whole && row.next_seq == 741 && row.leaf_seq == 740 && row.branch == 0);
        assert_true(str_is(row.title, "copy") && str_is(row.state, "s") && str_is(row.config, "c"));
        assert_true(row.status == 2 && row.created_us == 5);
        struct store_item item;
        struct uuid wanted = event_id(w.number, 300);
        assert_true(store_find(f->store, number, &wanted, false, arena, &item, NULL));
        assert_int_equal(item.seq, 300);
        struct store_filter filter = any_event();
        int64_t count;
        assert_true(store_count_events(f->store, number, &filter, &count, NULL));
        assert_int_equal(count, 701);
        filter.body = STR("Needle");
        assert_true(store_count_events(f->store, number, &filter, &count, NULL));
        assert_int_equal(count, 1);
        struct store_branch *list;
        size_t n;
        assert_true(store_branches(f->store, number, arena, &list, &n, NULL));
        assert_true(n == 2 && list[0].branch == 3);
        autobuf content = {0};
        assert_true(store_blob_get(f->store, number, &blob, &content, NULL));
        assert_true(str_is(buf_str(&content), "kept"));
        assert_false(store_blob_get(f->store, w.number, &blob, &content, NULL));
        fixture_reopen(f);
    }
    /* The copy is an ordinary conversation. */
    struct writer copy = {.store = f->store, .number = number, .seq = 701};
    assert_int_equal(claim(f->store, number, "owner", &copy.token), -1);
    assert_int_equal(write_events(&copy, 100, 50), STORE_DONE);
    struct store_filter filter = any_event();
    filter.kind = 4;
    filter.from_seq = 690;
    int64_t count;
    assert_true(store_count_events(f->store, number, &filter, &count, NULL));
    assert_int_equal(count, 22); /* 694 and 699, then 704 to 799 */
    bytes_unref(said.json);
}

/* ---- blobs and documents ---- */

static void test_blobs(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    static const size_t sizes[] = {0, 1, 256 * 1024, 256 * 1024 + 1, 1024 * 1024 + 1, 5 * 1024 * 1024 + 3};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct uuid blob = uuid_random();
        char *text = xmalloc(sizes[i] + 1);
        for (size_t k = 0; k < sizes[i]; k++)
            text[k] = (char)(k * 7 + k / 251);
        assert_int_equal(blob_put(f->store, w.number, &blob, str_make(text, sizes[i])), -1);
        assert_int_equal(blob_put(f->store, w.number, &blob, STR("twice")), ERR_CONFLICT);
        autobuf content = {0};
        buf_add(&content, STR("before"));
        assert_true(store_blob_get(f->store, w.number, &blob, &content, NULL));
        assert_true(str_eq(str_sub(buf_str(&content), 6, content.n), str_make(text, sizes[i])));
        free(text);
    }
    struct uuid blob = uuid_random();
    autobuf none = {0};
    autoerr e = NULL;
    assert_int_equal(blob_put(f->store, w.number + 9, &blob, STR("x")), ERR_NOT_FOUND);
    assert_false(store_blob_get(f->store, w.number, &blob, &none, &e));
    assert_int_equal(e->kind, ERR_NOT_FOUND);
}

static void test_documents(void **state)
{
    struct fixture *f = *state;
    char *large = xcalloc(1, STORE_DOC_MAX + 1);
    memset(large, 'd', STORE_DOC_MAX + 1);
    assert_int_equal(doc_put(f->store, "profiles", "b", STR("first")), -1);
    assert_int_equal(doc_put(f->store, "profiles", "b", STR("second")), -1);
    assert_int_equal(doc_put(f->store, "profiles", "a", STR("")), -1);
    assert_int_equal(doc_put(f->store, "settings", "a", str_make(large, STORE_DOC_MAX)), -1);
    assert_int_equal(doc_put(f->store, "settings", "a", str_make(large, STORE_DOC_MAX + 1)), ERR_TOO_LARGE);
    fixture_reopen(f);
    autobuf out = {0};
    autoarena arena = arena_new();
    struct str *keys;
    size_t n;
    assert_true(store_doc_get(f->store, STR("profiles"), STR("b"), &out, NULL));
    assert_true(str_is(buf_str(&out), "second"));
    assert_true(store_doc_get(f->store, STR("settings"), STR("a"), &out, NULL));
    assert_int_equal(out.n, STORE_DOC_MAX + 6);
    assert_true(store_doc_keys(f->store, STR("profiles"), arena, &keys, &n, NULL));
    assert_true(n == 2 && str_is(keys[0], "a") && str_is(keys[1], "b"));
    struct answer a;
    for (int i = 0; i < 2; i++) { /* deleting what is not there succeeds */
        answer_init(&a);
        store_doc_delete(f->store, STR("profiles"), STR("b"), on_done, &a);
        assert_int_equal(answer_end(&a), -1);
    }
    autoerr e = NULL;
    assert_false(store_doc_get(f->store, STR("profiles"), STR("b"), &out, &e));
    assert_int_equal(e->kind, ERR_NOT_FOUND);
    free(large);
}

/* ---- readers beside a writer ---- */

struct reading {
    struct store *store;
    int64_t number;
    atomic_bool stop;
    pthread_t thread;
};

static void reading_main(void *arg)
{
    struct reading *r = arg;
    int64_t last = 0;
    while (!atomic_load(&r->stop)) {
        autoarena arena = arena_new();
        struct store_filter filter = any_event();
        struct store_item *items;
        size_t n;
        int64_t count, next;
        filter.kind = 3;
        assert_true(store_count_events(r->store, r->number, &filter, &count, NULL));
        assert_true(count >= last);
        last = count;
        filter.descending = true;
        assert_true(store_search(r->store, r->number, &filter, arena, &items, &n, &next, NULL));
        for (size_t i = 0; i < n; i++)
            assert_int_equal(items[i].kind, 3);
    }
}

static void test_readers_beside_writer(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct writer w = writer_new(f->store, &id);
    enum { READERS = 6 };
    struct reading readers[READERS];
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reading){.store = f->store, .number = w.number};
        assert_true(
            thread_start(&readers[i].thread, "reader", THREAD_STACK_BYTES, reading_main, &readers[i], NULL));
    }
    for (int i = 0; i < 120; i++)
        assert_int_equal(write_events(&w, 20, 1000), STORE_DONE);
    for (int i = 0; i < READERS; i++) {
        atomic_store(&readers[i].stop, true);
        pthread_join(readers[i].thread, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(test_pages),
        CASE(test_filters),
        CASE(test_body_filter),
        CASE(test_find),
        CASE(test_usage),
        CASE(test_delete),
        CASE(test_copy),
        CASE(test_publish),
        CASE(test_blobs),
        CASE(test_documents),
        CASE(test_readers_beside_writer),
    };
    return run_on_backends(cases, ARRAY_LEN(cases));
}
