/* What tests of conversations see: the log in the store, and the frames that sockets were sent. */
#include "conversation_fixture.h"

/* ---- the log ---- */

unsigned log_count(struct world *w, int64_t number, const char *part)
{
    unsigned found = 0;
    autofree struct fake_event *events = NULL;
    size_t n = fake_store_events(w->store, number, &events);
    for (size_t i = 0; i < n; i++)
        found += str_find(events[i].json, str_from(part)) >= 0;
    return found;
}

int64_t log_find(struct world *w, int64_t number, const char *part)
{
    autofree struct fake_event *events = NULL;
    size_t n = fake_store_events(w->store, number, &events);
    for (size_t i = 0; i < n; i++)
        if (str_find(events[i].json, str_from(part)) >= 0)
            return events[i].seq;
    return -1;
}

int64_t log_find_last(struct world *w, int64_t number, const char *part)
{
    autofree struct fake_event *events = NULL;
    size_t n = fake_store_events(w->store, number, &events);
    while (n-- > 0)
        if (str_find(events[n].json, str_from(part)) >= 0)
            return events[n].seq;
    return -1;
}

size_t log_size(struct world *w, int64_t number)
{
    autofree struct fake_event *events = NULL;
    return fake_store_events(w->store, number, &events);
}

void log_print(struct world *w, int64_t number)
{
    autofree struct fake_event *events = NULL;
    size_t n = fake_store_events(w->store, number, &events);
    fprintf(stderr, "log of conversation %lld, status %s:\n", (long long)number,
            status_name((enum status)fake_store_status(w->store, number)));
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "  %zu %.*s\n", i, (int)(events[i].json.n < 400 ? events[i].json.n : 400),
                events[i].json.p);
}

struct open_call {
    char id[100];
};

void assert_log_sound(struct world *w, int64_t number)
{
    VEC(struct open_call) open = {0};
    autofree struct fake_event *events = NULL;
    size_t n = fake_store_events(w->store, number, &events);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++)
            assert_false(uuid_eq(&events[i].id, &events[k].id));
        autojson doc = json_parse(events[i].json, NULL, NULL);
        assert_non_null(doc);
        struct open_call call;
        struct str id = json_get_str(json_root(doc), "tool_call_id");
        snprintf(call.id, sizeof(call.id), "%.*s", STR_ARG(id));
        if (events[i].kind == EVENT_ACTION) {
            vec_push(&open, call);
        } else if (events[i].kind == EVENT_OBSERVATION || events[i].kind == EVENT_AGENT_ERROR ||
                   events[i].kind == EVENT_USER_REJECT) {
            size_t at = 0;
            while (at < open.n && strcmp(open.at[at].id, call.id) != 0)
                at++;
            if (at == open.n) {
                log_print(w, number);
                fail_msg("event %zu is the result of a call that is not open", i);
            }
            vec_remove(&open, at);
        }
    }
    bool waits = fake_store_status(w->store, number) == STATUS_WAITING_FOR_CONFIRMATION;
    if (open.n > 0 && !waits) {
        log_print(w, number);
        fail_msg("%zu actions have no result", open.n);
    }
    vec_deinit(&open);
}

bool log_answered(struct world *w, int64_t number, int64_t seq)
{
    bool answered = false;
    autofree struct fake_event *events = NULL;
    size_t n = fake_store_events(w->store, number, &events);
    for (size_t i = 0; i < n; i++)
        answered |= (int64_t)events[i].seq > seq && events[i].kind == EVENT_MESSAGE &&
                    events[i].source == SOURCE_AGENT;
    return answered;
}

/* ---- frames ---- */

static bool frame_has(struct fake_frame f, const char *part)
{
    return str_find(bytes_str(f.text), str_from(part)) >= 0;
}

bool frame_is_full(struct fake_frame f)
{
    return frame_has(f, "\"full_state\"");
}

bool frame_is_delta(struct fake_frame f)
{
    return frame_has(f, "\"StreamingDeltaEvent\"");
}

unsigned full_states(struct world *w, uint64_t socket)
{
    unsigned found = 0;
    for (size_t i = 1, n = fake_socket_count(w->server, socket); i < n; i++)
        found += frame_is_full(fake_socket_frame(w->server, socket, i));
    return found;
}

uint64_t full_state_at(struct world *w, uint64_t socket, unsigned which)
{
    for (size_t i = 1, n = fake_socket_count(w->server, socket); i < n; i++) {
        struct fake_frame f = fake_socket_frame(w->server, socket, i);
        if (frame_is_full(f) && --which == 0)
            return f.at_ns;
    }
    return 0;
}

static bool frame_is_event(struct fake_frame f)
{
    return !frame_is_full(f) && !frame_is_delta(f) && !frame_has(f, "\"key\":\"stats\"");
}

size_t frame_events(struct world *w, uint64_t socket)
{
    size_t found = 0;
    for (size_t i = 1, n = fake_socket_count(w->server, socket); i < n; i++)
        found += frame_is_event(fake_socket_frame(w->server, socket, i));
    return found;
}

bool frame_last(struct world *w, uint64_t socket, struct fake_frame *f)
{
    size_t n = fake_socket_count(w->server, socket);
    if (n > 1)
        *f = fake_socket_frame(w->server, socket, n - 1);
    return n > 1;
}

void assert_frames(struct world *w, uint64_t socket, int64_t number, uint32_t from, bool whole)
{
    autofree struct fake_event *events = NULL;
    size_t n = fake_store_events(w->store, number, &events), at = from;
    size_t frames = fake_socket_count(w->server, socket);
    assert_true(frames == 0 || frame_is_full(fake_socket_frame(w->server, socket, 0)));
    for (size_t i = 1; i < frames; i++) {
        struct fake_frame f = fake_socket_frame(w->server, socket, i);
        if (!frame_is_event(f))
            continue;
        if (at >= n || !str_eq(events[at].json, bytes_str(f.text))) {
            log_print(w, number);
            fail_msg("frame %zu is not event %zu: %.300s", i, at, f.text->p);
        }
        at++;
    }
    if (whole && at != n) {
        log_print(w, number);
        fail_msg("the socket got events up to %zu of %zu", at, n);
    }
}
