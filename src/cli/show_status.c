/* What lives at the bottom of a terminal: the beginning of a line that is being streamed, and what the agent is doing,
 * for how long, and what it has cost. */
#include "cli/show_internal.h"
#include <stdio.h>

#define PARTS 6
#define ACTIVITY_MAX(columns) ((columns)*2 / 3) /* for what the agent does, before the rest gives way */
#define FRAME_NS (120 * NS_PER_MS)              /* of the spinner */

static void add_tokens(struct buf *out, int64_t n)
{
    if (n < 1000)
        buf_addf(out, "%lld", (long long)n);
    else if (n < 1000000)
        buf_addf(out, "%.1fk", (double)n / 1000);
    else
        buf_addf(out, "%.1fM", (double)n / 1000000);
}

/* In the order in which they give way on a narrow terminal, the last first. */
static void make_parts(const struct show *s, uint64_t now, struct buf parts[PARTS])
{
    size_t n = 0;
    show_duration(&parts[n++], now - s->started_ns, false);
    if (s->steps > 0)
        buf_addf(&parts[n++], "%u step%s", s->steps, s->steps == 1 ? "" : "s");
    if (s->cost > 0)
        buf_addf(&parts[n++], "$%.*f", s->cost < 1 ? 4 : 2, s->cost);
    if (s->tokens_in > 0) {
        add_tokens(&parts[n], s->tokens_in);
        buf_add_cstr(&parts[n], " in, ");
        add_tokens(&parts[n], s->tokens_out);
        buf_add_cstr(&parts[n++], " out");
    }
    if (!s->wish)
        buf_add_cstr(&parts[n++], "Ctrl-C pauses");
}

static void add_activity(const struct show *s, uint64_t now, size_t cells, struct buf *out)
{
    uint64_t since = s->waiting_ns;
    if (s->wish) {
        text_add_styled(out, STYLE_YELLOW, str_from(s->wish));
        buf_add_cstr(out, s->open.n > 0 ? ": " : "");
    }
    if (s->open.n > 0) {
        const struct open_action *last = &s->open.at[s->open.n - 1];
        since = last->started_ns;
        if (s->open.n > 1)
            buf_addf(out, "%zu calls: ", s->open.n);
        show_action_title(s, json_root(last->doc), cells, out);
    } else if (!s->wish) {
        buf_add_cstr(out, s->said.n > 0 ? "answering" : s->reasoning.n > 0 ? "thinking" : "asking the model");
    }
    autobuf time = {0};
    if (since > 0 && now - since >= NS_PER_S) {
        buf_addf(&time, " (");
        show_duration(&time, now - since, false);
        buf_add_char(&time, ')');
    }
    text_cut(out, cells > time.n ? cells - time.n : 0, s->glyphs->more);
    buf_add(out, buf_str(&time));
}

static const char *spinner(const struct show *s, uint64_t now)
{
    size_t n = 1; /* there is always a first one */
    while (n < ARRAY_LEN(s->glyphs->spinner) && s->glyphs->spinner[n])
        n++;
    return s->glyphs->spinner[now / FRAME_NS % n];
}

static void make_status(const struct show *s, struct buf *out)
{
    struct buf parts[PARTS] = {0};
    uint64_t now = clock_mono_ns();
    autobuf activity = {0}, tail = {0};
    size_t room = console_width(s->console) - 5; /* without the spinner, a space, and what stays free */
    add_activity(s, now, room, &activity);
    size_t wanted = text_cells(buf_str(&activity));
    if (wanted > ACTIVITY_MAX(room))
        wanted = ACTIVITY_MAX(room);
    make_parts(s, now, parts);
    size_t used = 0;
    for (size_t i = 0; i < PARTS && parts[i].n > 0; i++) {
        size_t cells = parts[i].n + 3;
        if (used + cells + wanted > room)
            break;
        used += cells;
        buf_addf(&tail, " %s ", s->glyphs->dot);
        buf_add(&tail, buf_str(&parts[i]));
    }
    buf_clear(&activity);
    add_activity(s, now, room - used, &activity);
    text_style(out, STYLE_CYAN);
    buf_addf(out, "%s ", spinner(s, now));
    text_style(out, STYLE_NONE);
    buf_add(out, buf_str(&activity));
    text_style(out, STYLE_DIM);
    buf_add(out, buf_str(&tail));
    text_style(out, STYLE_NONE);
    for (size_t i = 0; i < PARTS; i++)
        buf_deinit(&parts[i]);
}

/* The end of what the model thinks, on one line. */
static void add_reasoning(const struct show *s, size_t cells, struct buf *out)
{
    autobuf clean = {0};
    text_add(&clean, buf_str(&s->reasoning));
    for (size_t i = 0; i < clean.n; i++)
        if (clean.p[i] == '\n')
            clean.p[i] = ' ';
    struct str tail = buf_str(&clean), line;
    while (text_cells(tail) > cells && text_take_line(&tail, cells / 2, true, &line))
        ;
    text_style(out, STYLE_DIM);
    buf_add_cstr(out, "  ");
    buf_add(out, tail);
    text_style(out, STYLE_NONE);
}

void show_live(struct show *s)
{
    autobuf line = {0}, status = {0};
    if (!console_is_live(s->console))
        return;
    if (s->rest.n > 0) {
        buf_addf(&line, "%s ", s->said_some ? " " : s->glyphs->bullet);
        buf_add(&line, buf_str(&s->rest));
    } else if (s->reasoning.n > 0 && s->said.n == 0) {
        add_reasoning(s, console_width(s->console) - 4, &line);
    }
    make_status(s, &status);
    console_set_live(s->console, buf_str(&line), buf_str(&status));
}
