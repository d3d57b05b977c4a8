/* A host for steps that keeps the log in memory: what is appended is stamped, written and added to the view at once. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/internal.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/vec.h"

struct logged {
    enum event_kind kind;
    char *json;
    size_t reduced_n;
    unsigned append; /* number of the commit it came with */
};

struct fake {
    struct agent_host host;
    struct view *view;
    struct agent *agent;
    struct mask *mask;
    VEC(struct logged) log;
    enum status status;
    unsigned appends, usages;
    int64_t time_us;
    struct buf deltas;
    unsigned delta_count;
    char dir[64];
};

static inline struct str S(const char *z) {
    return str_from(z);
}

static inline void
fake_event(struct fake *f, const struct event_draft *d)
{
    autobuf text = {0};
    struct uuid id = uuid_is_zero(&d->id) ? uuid_random() : d->id;
    autoerr e = NULL;
    event_write(&text, d, buf_str(&d->body), &id, f->time_us++, STR_NONE);
    struct str whole = buf_take(&text);
    autojson doc = json_parse(whole, NULL, &e);
    if (!doc)
        fail_msg("not JSON: %s: %.300s", err_text(e), whole.p);
    vec_push(&f->log, (struct logged){d->kind, (char *)whole.p, d->reduced.n, f->appends});
    if (d->on_branch)
        assert_true(view_add(f->view, d->kind, whole, &e));
}

static inline bool fake_append(void *arg, struct event_draft *drafts, size_t n,
                               const struct agent_update *update, struct err **e)
{
    struct fake *f = arg;
    (void)e;
    f->appends++;
    for (size_t i = 0; i < n; i++)
        fake_event(f, &drafts[i]);
    if (update && update->status)
        f->status = update->status;
    f->usages += update && update->usage;
    return true;
}

static inline void fake_delta(void *arg, struct str content, struct str reasoning)
{
    struct fake *f = arg;
    (void)reasoning;
    f->delta_count++;
    buf_add(&f->deltas, content);
}

static inline const struct mask *fake_mask(void *arg)
{
    return ((struct fake *)arg)->mask;
}

static inline struct str fake_cwd(void *arg)
{
    (void)arg;
    return STR_NONE;
}

static inline void fake_init(struct fake *f)
{
    *f = (struct fake){.view = view_new(), .time_us = 1700000000000001, .mask = mask_new(NULL, NULL, 0)};
    snprintf(f->dir, sizeof(f->dir), "/tmp/agent-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->host = (struct agent_host){
        .arg = f,
        .mailbox = mailbox_new(),
        .conversation = STR("7ad1d2a0-0000-4000-8000-000000000001"),
        .append = fake_append,
        .delta = fake_delta,
        .mask = fake_mask,
        .last_cwd = fake_cwd,
        .llm = {.scripts_dir = str_from(f->dir)},
    };
}

static inline void fake_secret(struct fake *f, const char *name, const char *value)
{
    mask_unref(f->mask);
    f->mask = mask_new(&(struct str){name, strlen(name)}, &(struct str){value, strlen(value)}, 1);
}

/* An agent whose model plays the given lines. */
static inline void fake_script(struct fake *f, const char *tools, const char *lines)
{
    autobuf path = {0}, config = {0};
    autoerr e = NULL;
    buf_addf(&path, "%s/script.jsonl", f->dir);
    assert_true(file_write_atomic(path.p, S(lines), 0600, &e));
    buf_addf(&config,
             "{\"kind\":\"Agent\",\"llm\":{\"model\":\"scripted/script\",\"stream\":true},\"tools\":%s}",
             tools);
    autojson doc = json_parse(buf_str(&config), NULL, &e);
    f->agent = agent_new(json_root(doc), NULL, &e);
    if (!f->agent)
        fail_msg("%s", err_text(e));
}

static inline void fake_user(struct fake *f, const char *text)
{
    struct event_draft d;
    event_draft_init(&d, EVENT_MESSAGE, SOURCE_USER);
    event_message_body(&d, "user", S(text));
    f->appends++;
    fake_event(f, &d);
    event_draft_deinit(&d);
}

static inline enum step fake_step(struct fake *f)
{
    enum step outcome = STEP_CONTINUE;
    autoerr e = NULL;
    if (!agent_step(f->agent, f->view, &f->host, &outcome, &e))
        fail_msg("step: %s", err_text(e));
    return outcome;
}

static inline void fake_deinit(struct fake *f)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/script.jsonl", f->dir);
    unlink(path);
    rmdir(f->dir);
    for (size_t i = 0; i < f->log.n; i++)
        free(f->log.at[i].json);
    vec_deinit(&f->log);
    buf_deinit(&f->deltas);
    view_free(f->view);
    agent_unref(f->agent);
    mask_unref(f->mask);
    mailbox_close(f->host.mailbox);
    mailbox_unref(f->host.mailbox);
}

/* Kinds of the log as one word per event, in order. */
static inline void assert_kinds(const struct fake *f, const char *expected)
{
    autobuf kinds = {0};
    for (size_t i = 0; i < f->log.n; i++)
        buf_addf(&kinds, "%s%s", i ? " " : "", event_kind_name(f->log.at[i].kind));
    assert_string_equal(kinds.p ? kinds.p : "", expected);
}

static inline void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not occur in: %.2000s", part, text);
}

static inline void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("\"%s\" occurs in: %.2000s", part, text);
}

static inline const char *last_json(const struct fake *f)
{
    return f->log.at[f->log.n - 1].json;
}
