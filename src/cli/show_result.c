/* Results: what came of an action. */
#include "cli/diff.h"
#include "cli/show_internal.h"
#include <stdio.h>

#define DIFF_CONTEXT 2 /* unchanged lines around a change */

/* ---- edits ---- */

static int digits_of(const struct diff *d)
{
    size_t most = 1;
    for (size_t i = 0; i < d->lines.n; i++)
        if (d->lines.at[i].number > most)
            most = d->lines.at[i].number;
    return snprintf(NULL, 0, "%zu", most);
}

static void show_diff_line(struct show *s, const struct diff_line *line, int digits)
{
    static const struct {
        char sign;
        enum style style;
    } looks[] = {
        [DIFF_SAME] = {' ', STYLE_DIM}, [DIFF_OLD] = {'-', STYLE_RED}, [DIFF_NEW] = {'+', STYLE_GREEN}};
    autobuf text = {0}, next = {0};
    text_style(&text, STYLE_DIM);
    if (digits > 0)
        buf_addf(&text, "%*zu ", digits, line->number);
    text_style(&text, looks[line->kind].style);
    buf_addf(&text, "%c ", looks[line->kind].sign);
    text_add(&text, line->text);
    text_style(&text, STYLE_NONE);
    if (!s->careful)
        show_shorten(s, &text);
    buf_addf(&next, "  %*s  ", digits > 0 ? digits + 1 : 0, "");
    console_print(s->console, "  ", next.p, buf_str(&text), false);
}

void show_diff(struct show *s, struct str before, struct str after, bool numbered)
{
    struct diff d = {0};
    diff_make(&d, before, after, DIFF_CONTEXT);
    int digits = numbered ? digits_of(&d) : 0;
    size_t max = s->careful ? SIZE_MAX : SHOW_DIFF_LINES;
    for (size_t i = 0; i < d.lines.n && i < max; i++) {
        const struct diff_line *line = &d.lines.at[i];
        /* Lines that are the same count by the new text; a jump means that something is left out. */
        if (i > 0 && line->kind == DIFF_SAME && line[-1].kind == DIFF_SAME &&
            line->number != line[-1].number + 1)
            show_line(s, STYLE_DIM, "  ", str_from(s->glyphs->more));
        show_diff_line(s, line, digits);
    }
    if (d.lines.n > max) {
        autobuf left = {0};
        buf_addf(&left, "%s %zu more lines (+%zu -%zu in all)", s->glyphs->more, d.lines.n - max, d.added,
                 d.removed);
        show_line(s, STYLE_DIM, "  ", buf_str(&left));
    }
    diff_deinit(&d);
}

static size_t lines_of(struct str text)
{
    size_t n = text.n > 0;
    for (size_t i = 0; i + 1 < text.n; i++)
        n += text.p[i] == '\n';
    return n;
}

static void show_count(struct show *s, size_t n, const char *one, const char *many)
{
    autobuf text = {0};
    buf_addf(&text, "%zu %s", n, n == 1 ? one : many);
    show_line(s, STYLE_DIM, "  ", buf_str(&text));
}

static void result_edit(struct show *s, const struct json_value *o, struct str text, bool proposed)
{
    struct str command = json_get_str(o, "command"), before = json_get_str(o, "old_content"),
               after = json_get_str(o, "new_content");
    if (str_is(command, "view"))
        show_count(s, lines_of(text), "line", "lines");
    else if (!after.p && !before.p)
        show_block(s, &(struct block){.first = "  ", .next = "  ", .style = STYLE_DIM, .max = 2}, text);
    else if (!proposed)
        show_diff(s, before, after, true);
}

static void result_patch(struct show *s, const struct json_value *o)
{
    const struct json_value *changes = json_get(json_get(o, "commit"), "changes");
    for (struct json_iter it = json_iter(changes); json_next(&it);) {
        autobuf title = {0};
        text_add(&title, json_get_str(it.value, "type"));
        buf_add_char(&title, ' ');
        text_add(&title, show_path(s, it.key));
        show_line(s, STYLE_BOLD, "  ", buf_str(&title));
        show_diff(s, json_get_str(it.value, "old_content"), json_get_str(it.value, "new_content"), true);
    }
}

/* ---- lists ---- */

static void result_list(struct show *s, const struct json_value *list, bool truncated, const char *one,
                        const char *many)
{
    autobuf text = {0}, count = {0};
    size_t n = json_count(list);
    for (struct json_iter it = json_iter(list); json_next(&it) && it.index < SHOW_LIST_LINES;) {
        buf_add(&text, show_path(s, json_str(it.value)));
        buf_add_char(&text, '\n');
    }
    if (text.n > 0)
        show_block(s, &(struct block){.first = "  ", .next = "    ", .style = STYLE_DIM},
                   str_trim_right(buf_str(&text)));
    buf_addf(&count, "%zu%s %s", n, truncated ? " or more" : "", n == 1 ? one : many);
    show_line(s, STYLE_DIM, "  ", buf_str(&count));
}

void show_tasks(struct show *s, const struct json_value *list)
{
    for (struct json_iter it = json_iter(list); json_next(&it);) {
        struct str status = json_get_str(it.value, "status"), notes = json_get_str(it.value, "notes");
        bool done = str_is(status, "done"), doing = str_is(status, "in_progress");
        autobuf text = {0}, first = {0};
        buf_addf(&first, "  %s ", done ? s->glyphs->ticked : doing ? s->glyphs->doing : s->glyphs->todo);
        text_style(&text, done ? STYLE_DIM : doing ? STYLE_BOLD : STYLE_NONE);
        text_add(&text, json_get_str(it.value, "title"));
        text_style(&text, STYLE_DIM);
        if (notes.n > 0) {
            buf_add_cstr(&text, ": ");
            text_add_first_line(&text, notes, SHOW_ARGUMENTS_CELLS, s->glyphs->more);
        }
        text_style(&text, STYLE_NONE);
        console_print(s->console, first.p, "      ", buf_str(&text), true);
    }
}

/* ---- commands and the rest ---- */

static void add_time(struct buf *out, uint64_t started_ns)
{
    if (started_ns == 0)
        return;
    buf_add_cstr(out, ", ");
    show_duration(out, clock_mono_ns() - started_ns, true);
}

static void result_command(struct show *s, const struct json_value *o, struct str text, uint64_t started_ns)
{
    autobuf end = {0};
    show_block(s,
               &(struct block){
                   .first = "  ", .next = "  ", .style = STYLE_DIM, .max = SHOW_OUTPUT_LINES, .ends = true},
               text);
    if (json_is_null(json_get(o, "exit_code")))
        return;
    int64_t code = json_get_int(o, "exit_code", 0);
    if (code < 0) {
        buf_add_cstr(&end, "still running");
        add_time(&end, started_ns);
        show_line(s, STYLE_YELLOW, "  ", buf_str(&end));
        return;
    }
    buf_addf(&end, "exit code %lld", (long long)code);
    add_time(&end, started_ns);
    show_line(s, code == 0 ? STYLE_DIM : STYLE_RED, "  ", buf_str(&end));
}

static void result_failed(struct show *s, struct str text)
{
    show_block(s, &(struct block){.first = "  ", .next = "  ", .style = STYLE_RED, .max = SHOW_RESULT_LINES},
               text);
    show_line(s, STYLE_RED, "  ", STR("failed"));
}

static void result_other(struct show *s, const struct json_value *o, struct str text)
{
    size_t images = 0;
    show_block(s, &(struct block){.first = "  ", .next = "  ", .style = STYLE_DIM, .max = SHOW_RESULT_LINES},
               text);
    for (struct json_iter it = json_iter(json_get(o, "content")); json_next(&it);)
        images += json_count(json_get(it.value, "image_urls"));
    if (images > 0)
        show_count(s, images, "image", "images");
}

void show_result(struct show *s, const struct json_value *event, const struct json_value *action,
                 uint64_t started_ns, bool named)
{
    const struct json_value *o = json_get(event, "observation");
    struct str kind = json_get_str(o, "kind");
    autobuf text = {0};
    if (str_is(kind, "FinishObservation") || str_is(kind, "ThinkObservation"))
        return;
    if (named && action) {
        autobuf title = {0}, first = {0};
        buf_addf(&first, "%s ", s->glyphs->arrow);
        show_action_title(s, action, SHOW_ARGUMENTS_CELLS, &title);
        console_print(s->console, first.p, "  ", buf_str(&title), true);
    }
    show_texts(&text, json_get(o, "content"));
    struct str said = buf_str(&text);
    if (str_is(kind, "TerminalObservation"))
        result_command(s, o, said, started_ns);
    else if (json_get_bool(o, "is_error", false))
        result_failed(s, said);
    else if (str_is(kind, "FileEditorObservation"))
        result_edit(s, o, said, s->careful);
    else if (str_is(kind, "ApplyPatchObservation"))
        result_patch(s, o);
    else if (str_is(kind, "GlobObservation"))
        result_list(s, json_get(o, "files"), json_get_bool(o, "truncated", false), "file", "files");
    else if (str_is(kind, "GrepObservation"))
        result_list(s, json_get(o, "matches"), json_get_bool(o, "truncated", false), "match", "matches");
    else if (str_is(kind, "TaskTrackerObservation") &&
             !(s->careful && str_is(json_get_str(o, "command"), "plan")))
        show_tasks(s, json_get(o, "task_list"));
    else if (str_is(kind, "InvokeSkillObservation"))
        show_count(s, lines_of(said), "line", "lines");
    else
        result_other(s, o, said);
}
