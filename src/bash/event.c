#include "bash/internal.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "json/writer.h"
#include <stdio.h>

/* ---- text ---- */

void text_piece(struct text *t, struct str data, struct buf *piece)
{
    autobuf whole = {0}, good = {0};
    if (t->held_n > 0) {
        buf_add_bytes(&whole, t->held, t->held_n);
        buf_add(&whole, data);
        data = buf_str(&whole);
    }
    struct str ready = utf8_prefix_bytes(data, data.n);
    struct str rest = str_sub(data, ready.n, data.n);
    utf8_scrub(&good, ready);
    json_escape(piece, buf_str(&good), false);
    t->held_n = (unsigned)rest.n; /* at most three bytes */
    memcpy(t->held, rest.p, rest.n);
}

void text_end(struct text *t, struct buf *piece)
{
    autobuf good = {0};
    utf8_scrub(&good, str_make(t->held, t->held_n));
    json_escape(piece, buf_str(&good), false);
    t->held_n = 0;
}

void text_deinit(struct text *t)
{
    buf_deinit(&t->escaped);
}

/* ---- events ---- */

/* Later than the one before, also when the clock goes back; never a whole second, so that every one looks alike. */
int64_t stamp_next(struct bash *b)
{
    int64_t now = clock_wall_us();
    if (now <= b->last_us)
        now = b->last_us + 1;
    if (now % 1000000 == 0)
        now++;
    b->last_us = now;
    return now;
}

static struct entry *entry_new(struct bash *b, enum bash_kind kind, const struct uuid *id,
                               const struct uuid *command)
{
    struct entry *entry = xcalloc(1, sizeof(*entry));
    *entry = (struct entry){.id = *id, .kind = kind, .command_id = *command, .time_us = stamp_next(b)};
    uuid_hex(command, entry->command_hex);
    return entry;
}

void entry_free(struct entry *entry)
{
    bytes_unref(entry->json);
    free(entry);
}

static void add_id(struct buf *out, const struct entry *entry)
{
    char hex[UUID_HEX_LEN + 1], time[CLOCK_TEXT_MAX];
    uuid_hex(&entry->id, hex);
    clock_format_utc(entry->time_us, time);
    buf_addf(out, "\"id\":\"%s\",\"timestamp\":\"%s\"", hex, time);
}

struct entry *event_command(struct bash *b, const struct command *c)
{
    struct entry *entry = entry_new(b, BASH_COMMAND, &c->id, &c->id);
    autobuf json = {0};
    struct json_writer w = json_writer(&json);
    jw_object(&w);
    jw_member_cstr(&w, "command", c->text);
    jw_member_str(&w, "cwd", str_from(c->cwd));
    jw_member_int(&w, "timeout", c->timeout_s);
    buf_add_char(&json, ',');
    add_id(&json, entry);
    buf_add(&json, STR(",\"kind\":\"BashCommand\"}"));
    entry->json = bytes_take(&json);
    return entry;
}

static void add_text(struct buf *out, const char *name, struct str escaped)
{
    buf_addf(out, ",\"%s\":", name);
    if (escaped.n == 0) {
        buf_add(out, STR("null"));
        return;
    }
    buf_add_char(out, '"');
    buf_add(out, escaped);
    buf_add_char(out, '"');
}

struct entry *event_output(struct bash *b, const struct uuid *command, int64_t order, const int *exit_code,
                           struct str out, struct str err)
{
    struct uuid id = uuid_random();
    struct entry *entry = entry_new(b, BASH_OUTPUT, &id, command);
    autobuf json = {0};
    entry->order = order;
    entry->final = exit_code != NULL;
    snprintf(entry->side, sizeof(entry->side), "%lld", (long long)order);
    buf_reserve(&json, out.n + err.n + 512);
    buf_add_char(&json, '{');
    add_id(&json, entry);
    buf_addf(&json, ",\"command_id\":\"%s\",\"order\":%lld,\"exit_code\":", entry->command_hex,
             (long long)order);
    if (exit_code)
        buf_add_i64(&json, *exit_code);
    else
        buf_add(&json, STR("null"));
    add_text(&json, "stdout", out);
    add_text(&json, "stderr", err);
    buf_add(&json, STR(",\"kind\":\"BashOutput\"}"));
    entry->json = bytes_take(&json);
    return entry;
}
