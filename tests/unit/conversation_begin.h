/* How tests of one conversation begin and end. Included by one C file per program. */
#pragma once
#include "conversation_fixture.h"
#include "base/vec.h"

static struct world *here;
static int64_t here_number;

static inline void on_expired(void)
{
    if (here)
        log_print(here, here_number);
}

static inline struct conversation *begin(struct world *w, const char *lines)
{
    world_script(w, "script", lines);
    struct conversation *c = world_create(w, "script", NULL);
    here = w;
    here_number = c->number;
    fake_on_expired = on_expired;
    return c;
}

static inline void end(struct world *w, struct conversation *c)
{
    conversation_unref(c);
    world_free(w, false);
    here = NULL;
}

static inline bool rests_with(struct conversation *c, enum status status)
{
    return is_at_rest(c) && has_status(c, status);
}

#define TERMINAL(command) "{\"name\":\"terminal\",\"arguments\":{\"command\":\"" command "\"}}"
#define FOREVER "{\"text\":\"an answer\",\"repeat\":true}\n"

static inline int set_secret(struct world *w, struct conversation *c, const char *json)
{
    struct answer a;
    answer_init(&a, w);
    autojson doc = json_parse(str_from(json), NULL, NULL);
    conversation_set_secrets(c, json_root(doc), answer_done, &a);
    AWAIT(atomic_load(&a.came));
    int kind = a.error ? (int)a.error->kind : -1;
    answer_deinit(&a);
    return kind;
}
