/* What the tests of the terminal share: a hand, and questions to its terminal. Included by one C file per program. */
#pragma once
#include "hand_peer.h"
#include "base/utf8.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* ASK(p, "command") */

/* --- asking ------------------------------------------------------------------------------------- */

struct ask {
    const char *command;
    struct str text; /* instead of command */
    bool input, reset;
    int hard_ms, soft_ms, most_ms; /* 0: absent */
    const char *cwd, *name;
    const char *env[3];
};

static inline uint32_t begin(struct peer *p, const struct ask *a)
{
    struct buf fields = {0};
    wire_add_str(&fields, F_NAME, str_from(a->name ? a->name : "t"));
    wire_add_str(&fields, F_COMMAND, a->text.p ? a->text : str_from(a->command));
    if (a->input)
        wire_add_int(&fields, F_INPUT, 1);
    if (a->reset)
        wire_add_int(&fields, F_RESET, 1);
    if (a->hard_ms)
        wire_add_int(&fields, F_TIMEOUT_MS, a->hard_ms);
    if (a->soft_ms)
        wire_add_int(&fields, F_SOFT_TIMEOUT_MS, a->soft_ms);
    if (a->most_ms)
        wire_add_int(&fields, F_CALL_MAX_MS, a->most_ms);
    if (a->cwd)
        wire_add_str(&fields, F_CWD, str_from(a->cwd));
    for (size_t i = 0; i < ARRAY_LEN(a->env); i++)
        if (a->env[i])
            wire_add_str(&fields, F_ENV, str_from(a->env[i]));
    return peer_begin(p, OP_TERMINAL, &fields);
}

#define ASK(p, ...) peer_wait((p), begin((p), &(struct ask){__VA_ARGS__}))

static inline struct str field(const struct outcome *o, enum wire_field tag)
{
    return wire_get_str(buf_str(&o->result), tag);
}

static inline void assert_kind(const struct outcome *o, enum wire_terminal kind)
{
    assert_status(o, WIRE_OK);
    if (outcome_int(o, F_KIND) != (int64_t)kind)
        fail_msg("kind %d, not %d: %.*s", (int)outcome_int(o, F_KIND), (int)kind, STR_ARG(field(o, F_TEXT)));
}

static inline void assert_output(const struct outcome *o, const char *expected)
{
    struct str text = field(o, F_TEXT);
    if (!str_eq(text, str_from(expected)))
        fail_msg("output is \"%.*s\", not \"%s\"", STR_ARG(text), expected);
}

static inline void assert_contains(const struct outcome *o, const char *part)
{
    struct str text = field(o, F_TEXT);
    if (str_find(text, str_from(part)) < 0)
        fail_msg("output is \"%.*s\", without \"%s\"", STR_ARG(text), part);
}

static inline void assert_lacks(const struct outcome *o, const char *part)
{
    struct str text = field(o, F_TEXT);
    if (str_find(text, str_from(part)) >= 0)
        fail_msg("output is \"%.*s\", with \"%s\"", STR_ARG(text), part);
}

/* The command ends with this exit code and this output. */
static inline void assert_runs(struct peer *p, const char *command, int code, const char *output)
{
    struct outcome *o = ASK(p, command);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_output(o, output);
    assert_int_equal(outcome_int(o, F_EXIT_CODE), code);
}

static inline int64_t shell_pid(struct peer *p)
{
    int64_t pid = 0;
    struct outcome *o = ASK(p, "echo $$");
    assert_kind(o, TERMINAL_COMPLETED);
    assert_true(str_to_i64(field(o, F_TEXT), &pid));
    return pid;
}

static inline int setup(void **state)
{
    *state = peer_new();
    return 0;
}

static inline int teardown(void **state)
{
    peer_free(*state, 0);
    return 0;
}

/* --- the ordinary ------------------------------------------------------------------------------- */
