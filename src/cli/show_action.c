/* Actions: what the agent is about to do. */
#include "base/path.h"
#include "base/utf8.h"
#include "cli/show_internal.h"

/* ---- titles ---- */

static void add_word(struct buf *out, const char *word, struct str text)
{
    text_style(out, STYLE_BOLD);
    buf_addf(out, "%s%s", word, *word && text.n > 0 ? " " : "");
    text_add(out, text);
    text_style(out, STYLE_NONE);
}

static void title_edit(const struct show *s, const struct json_value *action, struct buf *out)
{
    struct str command = json_get_str(action, "command");
    const struct json_value *range = json_get(action, "view_range");
    const char *word = str_is(command, "view")        ? "view"
                       : str_is(command, "create")    ? "create"
                       : str_is(command, "undo_edit") ? "undo edit of"
                                                      : "edit";
    add_word(out, word, show_path(s, json_get_str(action, "path")));
    if (json_count(range) > 0) {
        autobuf numbers = {0};
        for (struct json_iter it = json_iter(range); json_next(&it);)
            buf_addf(&numbers, "%s%lld", it.index > 0 ? " to " : "", (long long)json_int(it.value, 0));
        buf_addf(out, ", lines %s", numbers.p);
    }
}

static void title_search(const struct show *s, const struct json_value *action, const char *word,
                         struct buf *out)
{
    struct str path = json_get_str(action, "path"), include = json_get_str(action, "include");
    add_word(out, word, json_get_str(action, "pattern"));
    if (path.n > 0) {
        buf_add_cstr(out, " in ");
        text_add(out, show_path(s, path));
    }
    if (include.n > 0) {
        buf_add_cstr(out, ", files ");
        text_add(out, include);
    }
}

/* Any other tool: its name, and arguments as they would be written by hand. */
static void title_call(const struct json_value *event, const struct json_value *action, struct buf *out)
{
    const struct json_value *data = json_get(action, "data");
    autojson parsed = NULL;
    if (!data) {
        parsed = json_parse(json_get_str(json_get(event, "tool_call"), "arguments"), NULL, NULL);
        data = json_root(parsed);
    }
    add_word(out, "", json_get_str(event, "tool_name"));
    autobuf text = {0};
    for (struct json_iter it = json_iter(data); json_next(&it);) {
        if (str_is(it.key, "security_risk") || str_is(it.key, "summary"))
            continue;
        buf_addf(&text, "%s%.*s: ", text.n > 0 ? ", " : "", STR_ARG(it.key));
        if (json_str(it.value).p)
            buf_add(&text, utf8_prefix_bytes(json_str(it.value), 4 * SHOW_ARGUMENTS_CELLS));
        else
            json_add(&text, it.value);
    }
    if (text.n == 0)
        return;
    buf_add_char(out, ' ');
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\n')
            text.p[i] = ' ';
    text_add_first_line(out, buf_str(&text), SHOW_ARGUMENTS_CELLS, "...");
}

void show_action_title(const struct show *s, const struct json_value *event, size_t cells, struct buf *out)
{
    const struct json_value *action = json_get(event, "action");
    struct str kind = json_get_str(action, "kind");
    if (str_is(kind, "TerminalAction")) {
        text_style(out, STYLE_BOLD);
        buf_add_cstr(out, json_get_bool(action, "is_input", false) ? "> " : "$ ");
        text_add_first_line(out, json_get_str(action, "command"), cells, s->glyphs->more);
        text_style(out, STYLE_NONE);
    } else if (str_is(kind, "FileEditorAction")) {
        title_edit(s, action, out);
    } else if (str_is(kind, "GlobAction")) {
        title_search(s, action, "glob", out);
    } else if (str_is(kind, "GrepAction")) {
        title_search(s, action, "grep", out);
    } else if (str_is(kind, "TaskTrackerAction")) {
        add_word(out, str_is(json_get_str(action, "command"), "plan") ? "plan" : "look at the plan", STR(""));
    } else if (str_is(kind, "ApplyPatchAction")) {
        add_word(out, "apply a patch", STR(""));
    } else if (str_is(kind, "InvokeSkillAction")) {
        add_word(out, "skill", json_get_str(action, "name"));
    } else if (str_is(kind, "ThinkAction")) {
        add_word(out, "think", STR(""));
    } else if (str_is(kind, "FinishAction")) {
        add_word(out, "finish", STR(""));
    } else {
        title_call(event, action, out);
    }
}

void show_risk(const struct json_value *event, bool always, struct buf *out)
{
    struct str risk = json_get_str(event, "security_risk");
    if (str_is(risk, "HIGH"))
        text_add_styled(out, STYLE_RED, STR("risk: high"));
    else if (str_is(risk, "MEDIUM"))
        text_add_styled(out, STYLE_YELLOW, STR("risk: medium"));
    else if (always && str_is(risk, "LOW"))
        text_add_styled(out, STYLE_GREEN, STR("risk: low"));
    else if (always)
        text_add_styled(out, STYLE_YELLOW, STR("risk: unknown"));
}

/* ---- showing ---- */

/* What the model says of its call, as a shell's comment. The server makes one up where it says nothing: name and
 * arguments again. */
static void add_summary(const struct show *s, const struct json_value *event, struct buf *out)
{
    struct str summary = json_get_str(event, "summary");
    autobuf made_up = {0};
    buf_addf(&made_up, "%.*s: {", STR_ARG(json_get_str(event, "tool_name")));
    if (summary.n == 0 || str_starts(summary, buf_str(&made_up)))
        return;
    buf_add_cstr(out, "  ");
    text_style(out, STYLE_DIM);
    buf_add_cstr(out, "# ");
    text_add_first_line(out, summary, SHOW_ARGUMENTS_CELLS, s->glyphs->more);
    text_style(out, STYLE_NONE);
}

static void show_command(struct show *s, const struct json_value *event, const struct json_value *action,
                         bool explain)
{
    struct str command = str_trim(json_get_str(action, "command"));
    bool input = json_get_bool(action, "is_input", false);
    if (json_get_bool(action, "reset", false))
        show_line(s, STYLE_DIM, "", STR("a new shell"));
    if (command.n == 0) {
        show_line(s, STYLE_DIM, input ? "> " : "$ ", input ? STR("(waits)") : STR("(looks)"));
        return;
    }
    autobuf text = {0}, risk = {0};
    text_style(&text, STYLE_BOLD);
    text_add(&text, command);
    text_style(&text, STYLE_NONE);
    show_risk(event, false, &risk);
    if (explain && str_find_char(command, '\n') < 0)
        add_summary(s, event, &text);
    if (risk.n > 0) {
        buf_add_cstr(&text, "  ");
        buf_add(&text, buf_str(&risk));
    }
    struct str rest = buf_str(&text), line;
    size_t lines = 0;
    bool more = true;
    autobuf part = {0};
    while (more && (s->careful || lines < SHOW_COMMAND_LINES)) {
        more = text_take_line(&rest, SIZE_MAX, false, &line);
        buf_clear(&part);
        text_style(&part, STYLE_BOLD);
        buf_add(&part, line);
        if (!s->careful)
            show_shorten(s, &part);
        /* As a shell shows it. */
        console_print(s->console, lines++ > 0 || input ? "> " : "$ ", "  ", buf_str(&part), false);
    }
    if (more) {
        for (lines = 1; text_take_line(&rest, SIZE_MAX, false, &line); lines++)
            ;
        autobuf left = {0};
        buf_addf(&left, "%s %zu more line%s", s->glyphs->more, lines, lines == 1 ? "" : "s");
        show_line(s, STYLE_DIM, "  ", buf_str(&left));
    }
}

/* A tool of an MCP server: each argument in full. */
static void show_arguments(struct show *s, const struct json_value *arguments)
{
    for (struct json_iter it = json_iter(arguments); json_next(&it);) {
        autobuf text = {0};
        buf_addf(&text, "%.*s: ", STR_ARG(it.key));
        if (json_str(it.value).p)
            buf_add(&text, json_str(it.value));
        else
            json_add(&text, it.value);
        show_block(s, &(struct block){.first = "  ", .next = "    ", .style = STYLE_DIM}, buf_str(&text));
    }
}

/* What an edit would do, for a user who is asked about it. */
static void show_proposal(struct show *s, const struct json_value *action)
{
    struct str text = json_get_str(action, "file_text"), patch = json_get_str(action, "patch");
    if (text.p)
        show_diff(s, STR(""), text, true);
    else if (patch.p)
        show_block(s, &(struct block){.first = "  ", .next = "  ", .style = STYLE_DIM}, patch);
    else
        show_diff(s, json_get_str(action, "old_str"), json_get_str(action, "new_str"), false);
}

static void show_call(struct show *s, const struct json_value *event, const struct json_value *action,
                      bool explain)
{
    struct str kind = json_get_str(action, "kind");
    autobuf title = {0}, risk = {0};
    const struct json_value *foreign = s->careful ? json_get(action, "data") : NULL;
    if (foreign)
        add_word(&title, "", json_get_str(event, "tool_name"));
    else
        show_action_title(s, event, SHOW_ARGUMENTS_CELLS, &title);
    show_risk(event, false, &risk);
    if (explain)
        add_summary(s, event, &title);
    if (risk.n > 0) {
        buf_add_cstr(&title, "  ");
        buf_add(&title, buf_str(&risk));
    }
    console_print(s->console, "", "  ", buf_str(&title), true);
    if (s->careful && (str_is(kind, "FileEditorAction") || str_is(kind, "ApplyPatchAction")))
        show_proposal(s, action);
    if (s->careful && str_is(kind, "TaskTrackerAction"))
        show_tasks(s, json_get(action, "task_list"));
    show_arguments(s, foreign);
}

void show_action(struct show *s, const struct json_value *event)
{
    const struct json_value *action = json_get(event, "action");
    struct str kind = json_get_str(action, "kind");
    bool spoken = json_count(json_get(event, "thought")) > 0;
    autobuf first = {0};
    if (str_is(kind, "FinishAction")) {
        console_gap(s->console);
        buf_addf(&first, "%s ", s->glyphs->done);
        show_block(s, &(struct block){.first = first.p, .next = "  ", .style = STYLE_GREEN, .words = true},
                   json_get_str(action, "message"));
    } else if (str_is(kind, "ThinkAction")) {
        console_gap(s->console);
        buf_addf(&first, "%s ", s->glyphs->bullet);
        show_block(s, &(struct block){.first = first.p, .next = "  ", .style = STYLE_DIM, .words = true},
                   json_get_str(action, "thought"));
    } else if (str_is(kind, "TerminalAction")) {
        show_command(s, event, action, !spoken);
    } else {
        show_call(s, event, action, !spoken);
    }
}
