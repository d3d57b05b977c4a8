/* Every request at every moment of a run, with a store that does, fails or loses the commit: whatever comes, the
 * conversation comes to rest, its log is sound, nothing acknowledged is lost, nothing runs twice, and it goes on. */
#include "conversation_fixture.h"

enum phase { START_QUEUED, MODEL_ASKED, TOOL_RUNNING, END_QUEUED, LEAVING };
static const char *const phase_names[] = {"start queued", "model asked", "tool running", "end queued",
                                          "leaving"};
enum action { SEND, RUN, PAUSE, INTERRUPT, DELETE, CLOSE, ACTIONS };
static const char *const action_names[] = {"send", "run", "pause", "interrupt", "delete", "close"};
static const char *const verdict_names[] = {"done", "fails", "lost"};

struct drive {
    enum phase phase;
    enum action action;
    enum fake_verdict verdict;
    struct world *w;
    struct conversation *c;
    struct uuid id;
    int64_t number;
    uint64_t socket;
    struct answer first, act;
    uint64_t answered_ns; /* the last message */
};

static struct drive *present;

static void say(const struct drive *d)
{
    fprintf(stderr, "%s while %s, commit %s\n", action_names[d->action], phase_names[d->phase],
            verdict_names[d->verdict]);
}

static void on_expired(void)
{
    struct drive *d = present;
    if (!d)
        return;
    say(d);
    log_print(d->w, d->number);
    if (d->c)
        fprintf(
            stderr,
            "run %p, outstanding %u, pending %s, committed %s, poisoned %d, lost %d, deleted %d, mending %d\n",
            (void *)d->c->run, d->c->outstanding, status_name(d->c->pending->status),
            status_name(d->c->committed->status), d->c->poisoned, d->c->lost, d->c->deleted, d->c->mending);
}

static const char script[] = "{\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"work 1\"}}]}\n"
                             "{\"text\":\"first answer\"}\n"
                             "{\"text\":\"another answer\",\"repeat\":true}\n";

static bool left(struct drive *d)
{
    bool gone = false;
    WITH_LOCK(&d->c->lock)
    gone = !d->c->run;
    return gone && has_status(d->c, STATUS_FINISHED);
}

/* To the moment at which the request comes. */
static void drive_to_phase(struct drive *d)
{
    struct world *w = d->w;
    struct fake_plan any = {.nth = 1, .verdict = d->verdict};
    struct fake_plan start = {.match = "\"running\"", .nth = 1, .verdict = d->verdict, .stall = true};
    struct fake_plan end = {.match = "\"finished\"", .nth = 1, .verdict = d->verdict, .stall = true};
    if (d->phase == START_QUEUED)
        fake_store_plan(w->store, start);
    else if (d->phase == MODEL_ASKED)
        fake_gate_close(w->models);
    else if (d->phase == TOOL_RUNNING)
        fake_hands_hold(w->hands, "work");
    else if (d->phase == END_QUEUED)
        fake_store_plan(w->store, end);
    else
        world_hold_loop(w);
    ask_send(d->c, &d->first, "the first message", true);
    if (d->phase == START_QUEUED || d->phase == END_QUEUED) {
        AWAIT(fake_store_stalled(w->store));
        return;
    }
    if (d->phase == MODEL_ASKED)
        AWAIT(fake_gate_waiting(w->models) == 1);
    else if (d->phase == TOOL_RUNNING)
        AWAIT(fake_hands_held(w->hands) == 1);
    else
        AWAIT(left(d));
    fake_store_plan(w->store, any);
}

static void drive_act(struct drive *d)
{
    switch (d->action) {
    case SEND: ask_send(d->c, &d->act, "the second message", true); break;
    case RUN: ask_run(d->c, &d->act); break;
    case PAUSE: ask_pause(d->c, &d->act); break;
    case INTERRUPT: ask_interrupt(d->c, &d->act); break;
    case DELETE: ask_delete(d->w, &d->id, &d->act); break;
    case CLOSE:
        atomic_store(&d->act.came, true);
        if (d->phase == LEAVING)
            world_close_when_let(d->w);
        else
            world_close_service(d->w);
        break;
    case ACTIONS: break;
    }
}

/* What was held goes on. Who is cancelled has to leave the model or the tool by that alone. */
static void drive_release(struct drive *d)
{
    bool cancels = d->action == INTERRUPT || d->action == DELETE || d->action == CLOSE;
    if (d->phase == START_QUEUED || d->phase == END_QUEUED)
        fake_store_release(d->w->store);
    else if (d->phase == LEAVING)
        world_let_loop(d->w);
    if (cancels && d->phase == MODEL_ASKED)
        AWAIT(fake_gate_waiting(d->w->models) == 0);
    if (cancels && d->phase == TOOL_RUNNING)
        AWAIT(fake_hands_held(d->w->hands) == 0);
    fake_gate_open(d->w->models);
    fake_hands_let(d->w->hands);
}

static void drive_begin(struct drive *d)
{
    present = d;
    d->w = world_new(NULL);
    world_script(d->w, "drive", script);
    d->c = world_create(d->w, "drive", NULL);
    d->id = d->c->id;
    d->number = d->c->number;
    d->socket = fake_socket_open(d->w->server, conversation_ref(d->c), RESEND_ALL, 0);
    answer_init(&d->first, d->w);
    answer_init(&d->act, d->w);
    drive_to_phase(d);
    drive_act(d);
    drive_release(d);
}

/* A message that was acknowledged is there once; one that failed is not there. */
static void assert_once(struct drive *d, const struct answer *a, const char *text)
{
    unsigned n = log_count(d->w, d->number, text);
    if (n != (a->error ? 0 : 1)) {
        say(d);
        log_print(d->w, d->number);
        fail_msg("\"%s\" was answered with %s and is there %u times", text,
                 a->error ? a->error->text : "success", n);
    }
}

static void assert_sound(struct drive *d)
{
    if (fake_store_status(d->w->store, d->number) == STATUS_RUNNING) {
        on_expired();
        fail_msg("at rest and running");
    }
    assert_log_sound(d->w, d->number);
    assert_false(fake_hands_doubled(d->w->hands));
    assert_once(d, &d->first, "the first message");
    if (d->action == SEND)
        assert_once(d, &d->act, "the second message");
}

static bool moved(struct drive *d)
{
    struct conversation *now = conversations_peek(d->w->s, &d->id);
    conversation_unref(now);
    return now != d->c;
}

static bool is_lost(struct drive *d)
{
    bool lost = false;
    WITH_LOCK(&d->c->lock)
    lost = d->c->lost;
    return lost;
}

/* It takes a message, and the model answers it. */
static void assert_goes_on(struct drive *d)
{
    struct answer last;
    answer_init(&last, d->w);
    ask_send(d->c, &last, "the last message", true);
    AWAIT(atomic_load(&last.came));
    if (last.error) {
        on_expired();
        fail_msg("it takes no message any more: %s", last.error->text);
    }
    AWAIT(is_at_rest(d->c) &&
          log_answered(d->w, d->number, log_find_last(d->w, d->number, "the last message")));
    assert_true(has_status(d->c, STATUS_FINISHED));
    assert_log_sound(d->w, d->number);
    d->answered_ns = last.at_ns;
    answer_deinit(&last);
}

/* The client has every event and, behind them, the sign that the run has ended. */
static bool ends_in_full_state(struct drive *d)
{
    struct fake_frame f;
    if (frame_events(d->w, d->socket) < log_size(d->w, d->number) || !frame_last(d->w, d->socket, &f))
        return false;
    return frame_is_full(f) && str_find(bytes_str(f.text), STR("\"execution_status\":\"finished\"")) >= 0;
}

static void assert_full_state(struct drive *d)
{
    struct fake_frame f;
    AWAIT(ends_in_full_state(d));
    frame_last(d->w, d->socket, &f);
    assert_true(f.at_ns >= d->answered_ns + CONVERSATION_FULL_STATE_MS * NS_PER_MS);
    /* A repair and a run of a finished conversation tell it, too. */
    assert_in_range(full_states(d->w, d->socket), 1, atomic_load(&d->c->run_number) + 2);
}

static void check_here(struct drive *d)
{
    AWAIT(is_lost(d) || is_at_rest(d->c));
    bool lost = is_lost(d);
    if (lost) {
        AWAIT(atomic_load(&d->w->s->runs) == 0 && moved(d));
        AWAIT(fake_socket_code(d->w->server, d->socket) == 1012);
        conversation_unref(d->c);
        d->c = world_open(d->w, &d->id);
        assert_non_null(d->c);
        AWAIT(is_at_rest(d->c));
    }
    fake_store_plans_clear(d->w->store); /* not every request commits something */
    assert_sound(d);
    if (d->action == SEND && !d->act.error && !lost)
        assert_true(log_answered(d->w, d->number, log_find(d->w, d->number, "the second message")));
    assert_goes_on(d);
    if (!lost)
        assert_full_state(d);
    assert_frames(d->w, d->socket, d->number, 0, !lost);
}

static void check_deleted(struct drive *d)
{
    if (d->verdict == FAKE_FAIL &&
        d->act.error) { /* the store refused: as if nothing had been asked, but interrupted */
        check_here(d);
        return;
    }
    assert_null(d->act.error);
    AWAIT(atomic_load(&d->w->s->runs) == 0);
    AWAIT(fake_socket_code(d->w->server, d->socket) != 0);
    assert_null(world_open(d->w, &d->id));
    struct answer again;
    answer_init(&again, d->w);
    world_create_start(d->w, "drive", &d->id, "a new beginning", &again);
    AWAIT(atomic_load(&again.came));
    assert_true(again.c && again.created);
    AWAIT(is_at_rest(again.c) && has_status(again.c, STATUS_FINISHED));
    answer_deinit(&again);
}

/* The server comes back on the same store. */
static void check_closed(struct drive *d)
{
    AWAIT(atomic_load(&d->w->closed));
    assert_int_equal(atomic_load(&d->w->s->runs), 0);
    struct store *store = d->w->store;
    conversation_unref(d->c);
    world_free(d->w, true);
    fake_store_plans_clear(store);
    d->w = world_new(&(struct world_options){.store = store});
    world_script(d->w, "drive", script);
    d->c = world_open(d->w, &d->id);
    assert_non_null(d->c);
    AWAIT(is_at_rest(d->c));
    assert_sound(d);
    assert_goes_on(d);
    assert_false(fake_hands_doubled(d->w->hands));
}

static void drive_check(struct drive *d)
{
    present = d;
    AWAIT(atomic_load(&d->first.came));
    AWAIT(atomic_load(&d->act.came));
    if (d->action == DELETE)
        check_deleted(d);
    else if (d->action == CLOSE)
        check_closed(d);
    else
        check_here(d);
}

static void drive_end(struct drive *d)
{
    conversation_unref(d->c);
    answer_deinit(&d->first);
    answer_deinit(&d->act);
    world_free(d->w, false);
    present = NULL;
}

/* The six requests side by side, each in a world of its own, so that the waits of one are those of all. */
static void drive_all(enum phase phase, enum fake_verdict verdict)
{
    struct drive drives[ACTIONS];
    memset(drives, 0, sizeof(drives));
    const char *only = getenv("TEST_ACTION"); /* one of action_names, to look at one case */
    fake_on_expired = on_expired;
    for (int i = 0; i < ACTIONS; i++) {
        drives[i].phase = phase;
        drives[i].verdict = verdict;
        drives[i].action = (enum action)i;
        if (!only || strcmp(only, action_names[i]) == 0)
            drive_begin(&drives[i]);
    }
    for (int i = 0; i < ACTIONS; i++)
        if (drives[i].w)
            drive_check(&drives[i]);
    for (int i = 0; i < ACTIONS; i++)
        if (drives[i].w)
            drive_end(&drives[i]);
}

#define DRIVE(name, phase)                 \
    static void name##_done(void **state)  \
    {                                      \
        (void)state;                       \
        drive_all(phase, FAKE_DO);         \
    }                                      \
    static void name##_fails(void **state) \
    {                                      \
        (void)state;                       \
        drive_all(phase, FAKE_FAIL);       \
    }                                      \
    static void name##_lost(void **state)  \
    {                                      \
        (void)state;                       \
        drive_all(phase, FAKE_LOSE);       \
    }

DRIVE(start_queued, START_QUEUED)
DRIVE(model_asked, MODEL_ASKED)
DRIVE(tool_running, TOOL_RUNNING)
DRIVE(end_queued, END_QUEUED)
DRIVE(leaving, LEAVING)

/* ---- all of it at once ---- */

#define HANDS 3
#define ACTS 60 /* of each */

struct user {
    struct drive *drive;
    unsigned seed;
    unsigned failed;
    pthread_t thread;
};

static void use(void *arg)
{
    struct user *u = arg;
    struct drive *d = u->drive;
    for (unsigned i = 0; i < ACTS; i++) {
        struct answer a;
        answer_init(&a, d->w);
        switch (rand_r(&u->seed) % 6) {
        case 0: ask_run(d->c, &a); break;
        case 1: ask_pause(d->c, &a); break;
        case 2: ask_interrupt(d->c, &a); break;
        case 3: conversation_reject(d->c, STR("no"), answer_done, &a); break;
        default: ask_send(d->c, &a, "a message", true); break;
        }
        AWAIT(atomic_load(&a.came));
        u->failed += a.error != NULL;
        answer_deinit(&a);
    }
}

static void anything_in_any_order(enum fake_verdict verdict)
{
    autobuf lines = {0};
    for (int i = 0; i < 200; i++)
        buf_addf(&lines,
                 "{\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"a %d\"}},"
                 "{\"name\":\"terminal\",\"arguments\":{\"command\":\"b %d\"}}]}\n%s",
                 i, i, i % 3 ? "" : "{\"text\":\"so far\"}\n");
    buf_add_cstr(&lines, "{\"text\":\"another answer\",\"repeat\":true}\n");
    struct drive d = {.verdict = verdict};
    present = &d;
    fake_on_expired = on_expired;
    d.w = world_new(NULL);
    world_script(d.w, "drive", lines.p);
    d.c = world_create(d.w, "drive", NULL);
    d.id = d.c->id;
    d.number = d.c->number;
    d.socket = fake_socket_open(d.w->server, conversation_ref(d.c), RESEND_ALL, 0);
    if (verdict == FAKE_FAIL)
        fake_store_plan(d.w->store, (struct fake_plan){.nth = 11, .every = 11, .verdict = FAKE_FAIL});
    struct user users[HANDS];
    for (unsigned i = 0; i < HANDS; i++) {
        users[i] = (struct user){.drive = &d, .seed = i + 1};
        assert_true(thread_start(&users[i].thread, "user", THREAD_STACK_BYTES, use, &users[i], NULL));
    }
    for (unsigned i = 0; i < HANDS; i++)
        pthread_join(users[i].thread, NULL);
    fake_store_plans_clear(d.w->store);
    AWAIT(is_at_rest(d.c));
    assert_false(has_status(d.c, STATUS_RUNNING));
    assert_log_sound(d.w, d.number);
    assert_false(fake_hands_doubled(d.w->hands));
    assert_goes_on(&d);
    assert_full_state(&d);
    assert_frames(d.w, d.socket, d.number, 0, true);
    answer_init(&d.first, d.w);
    answer_init(&d.act, d.w);
    drive_end(&d);
}

static void anything_in_any_order_done(void **state)
{
    (void)state;
    anything_in_any_order(FAKE_DO);
}

static void anything_in_any_order_fails(void **state)
{
    (void)state;
    anything_in_any_order(FAKE_FAIL);
}

#define THREE(name) \
    cmocka_unit_test(name##_done), cmocka_unit_test(name##_fails), cmocka_unit_test(name##_lost)

int main(void)
{
    clock_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(anything_in_any_order_done),
        cmocka_unit_test(anything_in_any_order_fails),
        THREE(start_queued),
        THREE(model_asked),
        THREE(tool_running),
        THREE(end_queued),
        THREE(leaving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
