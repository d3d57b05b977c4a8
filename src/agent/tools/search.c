#include "agent/tools/search.h"
#include "base/utf8.h"
#include <ctype.h>
#include <limits.h>

#define SEARCH_TIMEOUT_MS 45000 /* the hand gives up before that */
#define SEARCH_TEXT_MAX 30000   /* characters for the model */

/* --- names ---------------------------------------------------------------------------------- */

static bool is_plain(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (iscntrl((unsigned char)name.p[i]))
            return false;
    return utf8_valid(name);
}

/* A name with control characters, or that is no UTF-8, as a shell would take it: $'…'. It stays on its line. */
static void name_add(struct buf *out, struct str name)
{
    if (is_plain(name)) {
        buf_add(out, name);
        return;
    }
    uint32_t c;
    buf_add(out, STR("$'"));
    for (unsigned n; (n = utf8_next(name, &c)) > 0; name = str_sub(name, n, name.n)) {
        unsigned char byte = (unsigned char)name.p[0];
        if (byte == '\n')
            buf_add(out, STR("\\n"));
        else if (iscntrl(byte) || (n == 1 && byte >= 0x80))
            buf_addf(out, "\\x%02x", byte);
        else if (byte == '\'' || byte == '\\')
            buf_addf(out, "\\%c", byte);
        else
            buf_add(out, str_sub(name, 0, n));
    }
    buf_add_char(out, '\'');
}

/* --- the answer ----------------------------------------------------------------------------- */

struct items {
    struct wire_fields fields;
    size_t n;
};

/* The next path; what cannot be one (the hand is a stranger) is passed over. */
static bool items_next(struct items *it, struct str *path)
{
    enum wire_field tag;
    while (it->n < SEARCH_RESULTS && wire_fields_next(&it->fields, &tag, path, NULL))
        if (tag == F_ITEM && path->n > 0 && path->n < PATH_MAX) {
            it->n++;
            return true;
        }
    return false;
}

static size_t items_count(struct str answer)
{
    struct items it = {{answer}, 0};
    struct str path;
    while (items_next(&it, &path))
        ;
    return it.n;
}

static void list_write(const struct tool_run *run, struct str answer, const char *key, struct json_writer *w)
{
    struct items it = {{answer}, 0};
    struct str path;
    jw_key(w, key);
    jw_array(w);
    while (items_next(&it, &path))
        jw_str(w, tool_masked(run, path));
    jw_array_end(w);
}

static void paths_add(struct str answer, struct buf *text)
{
    struct items it = {{answer}, 0};
    struct str path;
    while (items_next(&it, &path)) {
        buf_add_char(text, '\n');
        name_add(text, path);
    }
}

static void words_add(const struct tool_run *run, const struct search_words *words, struct str answer,
                      struct str dir, struct buf *text)
{
    struct str pattern = json_get_str(run->action, "pattern"), stopped = wire_get_str(answer, F_MESSAGE);
    int64_t partly = wire_get_int(answer, F_ELIDED, 0);
    size_t n = items_count(answer);
    if (n == 0)
        buf_add(text, STR("No file "));
    else
        buf_addf(text, "%zu file%s ", n, n == 1 ? "" : "s");
    buf_addf(text, "%s `%.*s` in ", n > 1 ? words->found : words->single, STR_ARG(pattern));
    name_add(text, dir);
    buf_add(text, words->more);
    buf_add_cstr(text, n > 1 ? ", newest first:" : n == 1 ? ":" : ".");
    paths_add(answer, text);
    if (wire_get_int(answer, F_TRUNCATED, 0) == 1)
        buf_addf(
            text,
            "\n\n[There are more; these are the newest %zu. A narrower pattern or another path finds the rest.]",
            n);
    if (stopped.n > 0)
        buf_addf(text, "\n\n[The search ended early: %.*s.]", STR_ARG(stopped));
    if (partly > 0)
        buf_addf(
            text,
            "\n\n[%lld more file%s could not be searched to the end: too large, or the expression takes too "
            "long.]",
            (long long)partly, partly == 1 ? "" : "s");
}

static void refusal_add(const struct tool_run *run, struct str answer, struct str dir, struct buf *text)
{
    struct str why = wire_get_str(answer, F_MESSAGE);
    int64_t status = wire_get_int(answer, F_STATUS, WIRE_OK);
    if (status == WIRE_INVALID && wire_has(answer, F_PATH)) {
        buf_addf(text, "Invalid `pattern` `%.*s`: %.*s.", STR_ARG(json_get_str(run->action, "pattern")),
                 STR_ARG(why));
        return;
    }
    buf_add(text, STR("Invalid `path` "));
    name_add(text, dir);
    buf_add_cstr(text, status == WIRE_NOT_FOUND || status == WIRE_NOT_DIR ? ": it is not a directory."
                                                                          : ": it cannot be searched");
    if (status != WIRE_NOT_FOUND && status != WIRE_NOT_DIR)
        buf_addf(text, " (%.*s).", STR_ARG(why));
}

/* Is the search itself to blame, so that the model can do better? */
static bool is_refusal(int64_t status)
{
    return status == WIRE_INVALID || status == WIRE_NOT_FOUND || status == WIRE_NOT_DIR ||
           status == WIRE_REFUSED;
}

bool search_run(const struct tool_run *run, enum wire_op op, struct buf *fields,
                const struct search_words *words, struct tool_result *result, struct json_writer *w,
                struct err **e)
{
    static const struct str notice = STR_INIT("\n[… paths left out …]\n");
    char key[UUID_DASHED_LEN + 1];
    autobuf answer = {0}, text = {0};
    autoerr why = NULL;
    struct str path = json_get_str(run->action, "path");
    wire_add_str(fields, F_KEY, uuid_dashed(&run->action_id, key));
    wire_add_str(fields, F_CWD, run->host->hand.working_dir);
    wire_add_str(fields, F_PATTERN, json_get_str(run->action, "pattern"));
    wire_add_int(fields, F_LIMIT, SEARCH_RESULTS);
    if (path.n > 0)
        wire_add_str(fields, F_PATH, path);
    if (!hand_call_wait(run->host->hands, &run->host->hand, op, fields, SEARCH_TIMEOUT_MS, run->host->mailbox,
                        &answer, NULL, 0, &why))
        return tool_call_failed(e, why);
    struct str facts = buf_str(&answer), dir = wire_get_str(facts, F_PATH);
    result->is_error = is_refusal(wire_get_int(facts, F_STATUS, WIRE_OK));
    if (!result->is_error && !tool_result_check(run, facts, e))
        return false;
    if (dir.n == 0 || dir.n >= PATH_MAX)
        dir = path.n > 0 ? path : run->host->hand.working_dir;
    if (result->is_error)
        refusal_add(run, facts, dir, &text);
    else
        words_add(run, words, facts, dir, &text);
    text_cut_middle(tool_masked(run, buf_str(&text)), SEARCH_TEXT_MAX, notice, &result->text);
    list_write(run, result->is_error ? STR("") : facts, words->list, w);
    jw_member_str(w, "pattern", tool_masked(run, json_get_str(run->action, "pattern")));
    jw_member_str(w, "search_path", tool_masked(run, dir));
    jw_member_bool(w, "truncated", !result->is_error && wire_get_int(facts, F_TRUNCATED, 0) == 1);
    return true;
}
