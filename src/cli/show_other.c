/* What happens to the agent beside its own words and actions: failures, rejections, hooks, condensations. */
#include "cli/show_internal.h"

/* What a person can do about it from here. */
static void add_hint(struct buf *text, struct str code)
{
    if (str_is(code, "LLMAuthenticationError"))
        buf_add(text, STR("\nhandsd run takes the key from LLM_API_KEY when a conversation begins."));
}

void show_failure(struct show *s, const char *before, const struct json_value *event)
{
    autobuf text = {0};
    struct str code = json_get_str(event, "code");
    buf_add_cstr(&text, before);
    if (code.n > 0)
        buf_addf(&text, "%.*s: ", STR_ARG(code));
    buf_add(&text, json_get(event, "detail") ? json_get_str(event, "detail") : json_get_str(event, "error"));
    if (*before && str_eq(buf_str(&text), buf_str(&s->complaint))) /* title and run: both without a key */
        return;
    buf_clear(&s->complaint);
    buf_add(&s->complaint, buf_str(&text));
    add_hint(&text, code);
    show_said(s);
    show_block(s,
               &(struct block){.first = *before ? "" : "  ", .next = "  ", .style = STYLE_RED, .words = true},
               buf_str(&text));
}

void show_rejected(struct show *s, const struct json_value *event)
{
    autobuf text = {0};
    struct str reason = json_get_str(event, "rejection_reason");
    bool hook = str_is(json_get_str(event, "rejection_source"), "hook");
    buf_addf(&text, "%s: %.*s", hook ? "blocked by a hook" : "rejected", STR_ARG(reason));
    show_block(s, &(struct block){.first = "  ", .next = "  ", .style = STYLE_YELLOW, .words = true},
               buf_str(&text));
}

/* A hook that did its work is not worth a line; what one has against an action is said by the rejection. */
void show_hook(struct show *s, const struct json_value *event)
{
    bool ok = json_get_bool(event, "success", true), blocked = json_get_bool(event, "blocked", false);
    autobuf text = {0};
    if (ok && !blocked)
        return;
    text_style(&text, blocked ? STYLE_YELLOW : STYLE_RED);
    buf_addf(&text, "hook %.*s %s  ", STR_ARG(json_get_str(event, "hook_event_type")),
             blocked ? "blocked" : "failed");
    text_style(&text, STYLE_DIM);
    buf_add(&text, STR("# "));
    text_add_first_line(&text, json_get_str(event, "hook_command"), SHOW_ARGUMENTS_CELLS, s->glyphs->more);
    console_print(s->console, "  ", "    ", buf_str(&text), true);
    struct str words = json_get_str(event, blocked ? "reason" : "error");
    if (words.n == 0 && !blocked)
        words = json_get_str(event, "stderr");
    show_block(s,
               &(struct block){.first = "    ",
                               .next = "    ",
                               .style = blocked ? STYLE_YELLOW : STYLE_RED,
                               .max = SHOW_LIST_LINES,
                               .words = true},
               words);
}

void show_condensation(struct show *s, const struct json_value *event)
{
    autobuf text = {0};
    size_t n = json_count(json_get(event, "forgotten_event_ids"));
    show_said(s);
    console_gap(s->console);
    buf_addf(&text, "%s the model's view was condensed: a summary in place of %zu event%s", s->glyphs->bullet,
             n, n == 1 ? "" : "s");
    show_line(s, STYLE_DIM, "", buf_str(&text));
}
