/* From the text of a call's arguments to a validated action. Models make mistakes that are easy to see through; those are
 * repaired here, and everything else becomes an error that tells the model what to do. */
#include "agent/internal.h"
#include "base/utf8.h"
#include <ctype.h>

#define NAMES_SHOWN_MAX 20      /* parameters listed in an error */
#define NAME_SHOWN_MAX 64       /* bytes of each */
#define SUMMARY_MAX 2000        /* bytes of a summary */
#define SUMMARY_DEFAULT_MAX 200 /* bytes of arguments in a summary that we make up */

struct argument {
    struct str key;
    const struct json_value *value;
    struct str text; /* instead of `value`: JSON */
};

struct arguments {
    struct argument at[TOOL_ARGUMENTS_COUNT_MAX];
    size_t n;
    struct str summary, risk;
    const struct mask *mask;
    struct json_doc *decoded[TOOL_ARGUMENTS_COUNT_MAX]; /* of texts that held JSON */
    size_t decoded_n;
};

/* What will be seen and has to be cut is masked first, so that no beginning of a secret is left. */
static struct str shown(const struct arguments *a, struct str text, size_t max, struct arena *arena)
{
    autobuf masked = {0};
    if (!mask_apply(a->mask, text, &masked))
        return utf8_prefix_bytes(text, max);
    return arena_str(arena, utf8_prefix_bytes(buf_str(&masked), max));
}

static void arguments_deinit(struct arguments *a)
{
    for (size_t i = 0; i < a->decoded_n; i++)
        json_doc_free(a->decoded[i]);
}

/* --- parsing --- */

/* Escapes control characters inside of string literals. False if there were none. */
static bool controls_escape(struct str text, struct buf *out)
{
    bool quoted = false, escaped = false, changed = false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (quoted && (unsigned char)c < 0x20) {
            json_escape(out, str_make(&c, 1), false);
            changed = true;
            escaped = false;
            continue;
        }
        if (c == '"' && !escaped)
            quoted = !quoted;
        escaped = quoted && c == '\\' && !escaped;
        buf_add_char(out, c);
    }
    return changed;
}

struct json_doc *arguments_parse(struct str text, struct err **e)
{
    autoerr first = NULL;
    if (str_trim(text).n == 0)
        text = STR("{}");
    struct json_doc *doc = json_parse(text, NULL, &first);
    autobuf escaped = {0};
    if (!doc && controls_escape(text, &escaped))
        doc = json_parse(buf_str(&escaped), NULL, NULL);
    if (!doc)
        err_set(e, ERR_INVALID, "%s", err_text(first));
    return doc;
}

/* --- repairs --- */

static const struct json_field *field_find(const struct tool *tool, struct str key)
{
    if (!tool->parameters)
        return NULL;
    for (size_t i = 0; i < tool->parameters->count; i++) {
        const struct json_field *f = &tool->parameters->fields[i];
        if (str_is(key, f->name) || (f->alias && str_is(key, f->alias)))
            return f;
    }
    return NULL;
}

/* "security risk", "securityRisk", "security_risks", "risk_level" … all mean security_risk. */
static bool is_risk_key(struct str key)
{
    static const char *const spellings[] = {
        "securityrisk",      "securityrisks",     "secuirtyrisk", "secrutiyrisk", "securtyrisk",
        "securityrisklevel", "securityriskvalue", "risklevel",    "security",     "risk"};
    char letters[32];
    size_t n = 0;
    for (size_t i = 0; i < key.n; i++) {
        if (!isalpha((unsigned char)key.p[i]))
            continue;
        if (n == sizeof(letters))
            return false;
        letters[n++] = (char)tolower((unsigned char)key.p[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(spellings); i++) {
        if (str_is(str_make(letters, n), spellings[i]))
            return true;
    }
    return false;
}

static bool is_meta(struct str key)
{
    return str_is(key, "summary") || str_is(key, "security_risk");
}

/* A list or object that was given as text. */
static void decode_nested(struct arguments *a, const struct json_field *field, struct argument *arg)
{
    if (!field || (field->type != FIELD_ARRAY && field->type != FIELD_OBJECT))
        return;
    struct str text = str_trim(json_str(arg->value));
    if (text.n == 0 || (text.p[0] != '[' && text.p[0] != '{'))
        return;
    struct json_doc *doc = arguments_parse(text, NULL);
    if (!doc)
        return;
    a->decoded[a->decoded_n++] = doc;
    arg->value = json_root(doc);
}

static bool argument_has(const struct arguments *a, const char *key)
{
    for (size_t i = 0; i < a->n; i++) {
        if (str_is(a->at[i].key, key))
            return true;
    }
    return false;
}

/* A file_editor call without `command` usually shows by its other arguments what it means. */
static void command_infer(const struct tool *tool, struct arguments *a)
{
    static const char *const signs[][2] = {{"old_str", "\"str_replace\""},
                                           {"insert_line", "\"insert\""},
                                           {"file_text", "\"create\""},
                                           {"path", "\"view\""}};
    if (tool != &tool_file_editor || argument_has(a, "command") || a->n == ARRAY_LEN(a->at))
        return;
    for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
        if (!argument_has(a, signs[i][0]))
            continue;
        memmove(a->at + 1, a->at, a->n++ * sizeof(a->at[0]));
        a->at[0] = (struct argument){.key = STR("command"), .text = str_from(signs[i][1])};
        return;
    }
}

static bool arguments_collect(const struct tool *tool, const struct json_value *root, struct arguments *a,
                              struct arena *arena, struct err **e)
{
    if (tool->text_param && json_str(root).p) { /* a bare string */
        autobuf text = {0};
        json_add(&text, root);
        a->at[a->n++] =
            (struct argument){.key = str_from(tool->text_param), .text = arena_str(arena, buf_str(&text))};
        return true;
    }
    if (json_type(root) != JSON_OBJECT)
        return true;
    for (struct json_iter it = json_iter(root); json_next(&it);) {
        if (json_is_null(it.value))
            continue;
        if (a->n == ARRAY_LEN(a->at))
            return err_set(e, ERR_INVALID, "more than %d arguments", TOOL_ARGUMENTS_COUNT_MAX);
        struct argument arg = {.key = it.key, .value = it.value};
        const struct json_field *field = field_find(tool, it.key);
        if (!field && !is_meta(it.key) && is_risk_key(it.key) && !json_get(root, "security_risk") &&
            !argument_has(a, "security_risk")) /* of several spellings the first counts */
            arg.key = STR("security_risk");
        decode_nested(a, field, &arg);
        a->at[a->n++] = arg;
    }
    command_infer(tool, a);
    return true;
}

/* --- meta arguments --- */

static bool take_risk(struct arguments *a, const struct json_value *value, bool wanted, struct arena *arena,
                      struct err **e)
{
    char upper[16];
    struct str name = str_trim(json_str(value));
    if (!wanted)
        return true;
    for (size_t i = 0; i < name.n && i < sizeof(upper); i++)
        upper[i] = (char)toupper((unsigned char)name.p[i]);
    if (name.n > sizeof(upper) || (int)risk_parse(str_make(upper, name.n)) < 0)
        return err_set(e, ERR_INVALID, "security_risk must be one of UNKNOWN, LOW, MEDIUM and HIGH");
    a->risk = arena_str(arena, str_make(upper, name.n));
    return true;
}

static bool take_meta(const struct tool *tool, struct arguments *a, bool with_risk, struct arena *arena,
                      struct err **e)
{
    size_t kept = 0;
    a->risk = STR("UNKNOWN");
    for (size_t i = 0; i < a->n; i++) {
        const struct argument *arg = &a->at[i];
        if (!is_meta(arg->key)) {
            a->at[kept++] = *arg;
        } else if (str_is(arg->key, "summary")) {
            struct str text = str_trim(json_str(arg->value));
            if (text.n > 0)
                a->summary = arena_str(arena, shown(a, text, SUMMARY_MAX, arena));
        } else if (!take_risk(a, arg->value, with_risk && !tool->read_only, arena, e)) {
            return false;
        }
    }
    a->n = kept;
    return true;
}

/* --- writing --- */

static void arguments_write(const struct arguments *a, struct json_writer *w)
{
    jw_object(w);
    for (size_t i = 0; i < a->n; i++) {
        jw_key_str(w, a->at[i].key);
        if (a->at[i].text.p)
            jw_raw(w, a->at[i].text);
        else
            jw_value(w, a->at[i].value);
    }
    jw_object_end(w);
}

static void members_write(const struct json_schema *schema, const void *from, struct json_writer *w);

/* A value of a type in memory: a field's, or an item's of its list. */
static void value_write(const struct json_field *f, enum json_field_type type, const void *at,
                        struct json_writer *w)
{
    const struct json_list *list = at;
    const void *const *object = at;
    switch (type) {
    case FIELD_STR: jw_str(w, *(const struct str *)at); break;
    case FIELD_BOOL: jw_bool(w, *(const bool *)at); break;
    case FIELD_INT: jw_int(w, *(const int64_t *)at); break;
    case FIELD_FLOAT: jw_float(w, *(const double *)at); break;
    case FIELD_ENUM: jw_cstr(w, f->names[*(const int *)at]); break;
    case FIELD_ARRAY:
        jw_array(w);
        for (size_t i = 0; i < list->n; i++) {
            const char *items = list->items;
            if (f->schema)
                members_write(f->schema, items + i * f->schema->size, w);
            else
                value_write(f, f->item, items + i * json_item_size(f->item), w);
        }
        jw_array_end(w);
        break;
    case FIELD_OBJECT:
        if (f->schema)
            members_write(f->schema, *object, w);
        else
            jw_value(w, *object);
        break;
    case FIELD_ANY: jw_value(w, *object); break;
    case FIELD_UUID:
    case FIELD_TIME: jw_null(w); break; /* no tool takes them */
    }
}

/* Is there something to be written? What was not given and has no default is left out, as nulls are. */
static bool field_is_there(const struct json_field *f, const void *at, const char *from)
{
    if (f->given && !*(const bool *)(from + f->given))
        return false;
    if (f->type == FIELD_STR)
        return ((const struct str *)at)->p != NULL;
    if (f->type == FIELD_OBJECT || f->type == FIELD_ANY)
        return *(const void *const *)at != NULL;
    return f->type != FIELD_UUID && f->type != FIELD_TIME;
}

static void fields_write(const struct json_schema *schema, const void *from, struct json_writer *w)
{
    for (size_t i = 0; i < schema->count; i++) {
        const struct json_field *f = &schema->fields[i];
        const void *at = (const char *)from + f->offset;
        if (!field_is_there(f, at, from))
            continue;
        jw_key(w, f->name);
        value_write(f, f->type, at, w);
    }
}

static void members_write(const struct json_schema *schema, const void *from, struct json_writer *w)
{
    jw_object(w);
    fields_write(schema, from, w);
    jw_object_end(w);
}

/* Defaults filled in, nulls left out, `kind` last. */
static void action_write(const struct tool *tool, const void *decoded, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_object(&w);
    fields_write(tool->parameters, decoded, &w);
    jw_member_cstr(&w, "kind", tool->action);
    jw_object_end(&w);
}

/* What a server's tool is given is the server's business. */
static void action_wrap(const struct tool *tool, const struct arguments *a, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_key(&w, "data");
    arguments_write(a, &w);
    jw_member_cstr(&w, "kind", tool->action);
    jw_object_end(&w);
}

/* --- the whole --- */

static bool refuse(const struct tool *tool, const struct arguments *a, const char *why, struct arena *arena,
                   struct err **e)
{
    autobuf names = {0};
    for (size_t i = 0; a && i < a->n && i < NAMES_SHOWN_MAX; i++)
        buf_addf(&names, "%s%.*s", i ? ", " : "", STR_ARG(shown(a, a->at[i].key, NAME_SHOWN_MAX, arena)));
    if (names.n == 0)
        buf_add(&names, STR("none"));
    if (!a)
        return err_set(e, ERR_INVALID, "Error validating tool '%s': the arguments are not valid JSON (%s).",
                       tool->name, why);
    return err_set(e, ERR_INVALID, "Error validating tool '%s': %s. Parameters given: %.*s.", tool->name, why,
                   STR_ARG(buf_str(&names)));
}

static bool action_decode(const struct tool *tool, const struct arguments *a, struct arena *arena,
                          struct buf *out, struct err **e)
{
    autobuf text = {0};
    if (!tool->parameters) {
        action_wrap(tool, a, out);
        return true;
    }
    struct json_writer w = json_writer(&text);
    arguments_write(a, &w);
    autojson doc = json_parse_trusted(buf_str(&text), e);
    if (!doc)
        return false;
    struct json_problems problems = {.arena = arena};
    void *decoded = arena_alloc(arena, tool->parameters->size);
    if (!json_decode(tool->parameters, json_root(doc), "arguments", arena, decoded, &problems)) {
        autobuf why = {0};
        json_problems_text(&problems, &why);
        return err_set(e, ERR_INVALID, "%.*s", STR_ARG(buf_str(&why)));
    }
    action_write(tool, decoded, out);
    return true;
}

static bool decode(const struct tool *tool, const struct json_value *root, bool with_risk,
                   struct arena *arena, struct arguments *a, struct tool_arguments *out, struct err **e)
{
    autobuf normalized = {0}, action = {0};
    autoerr why = NULL;
    if (!arguments_collect(tool, root, a, arena, &why))
        return refuse(tool, a, err_text(why), arena, e);
    struct json_writer w = json_writer_python(&normalized);
    arguments_write(a, &w);
    if (!take_meta(tool, a, with_risk, arena, &why) || !action_decode(tool, a, arena, &action, &why))
        return refuse(tool, a, err_text(why), arena, e);
    if (!a->summary.p)
        a->summary = arena_printf(arena, "%s: %.*s", tool->name,
                                  STR_ARG(shown(a, buf_str(&normalized), SUMMARY_DEFAULT_MAX, arena)));
    *out = (struct tool_arguments){
        .action = arena_str(arena, buf_str(&action)),
        .normalized = arena_str(arena, buf_str(&normalized)),
        .summary = a->summary,
        .risk = a->risk,
    };
    return true;
}

bool tool_decode(const struct tool *tool, struct str arguments, bool with_risk, const struct mask *mask,
                 struct arena *arena, struct tool_arguments *out, struct err **e)
{
    autoerr why = NULL;
    if (arguments.n > LLM_ARGUMENTS_MAX)
        return err_set(
            e, ERR_TOO_LARGE,
            "Error validating tool '%s': the arguments have %zu bytes, more than the %d allowed. Split the work "
            "into smaller calls.",
            tool->name, arguments.n, LLM_ARGUMENTS_MAX);
    autojson doc = arguments_parse(arguments, &why);
    if (!doc)
        return refuse(tool, NULL, err_text(why), arena, e);
    struct arguments *a = ARENA_NEW(arena, struct arguments);
    a->mask = mask;
    bool ok = decode(tool, json_root(doc), with_risk, arena, a, out, e);
    arguments_deinit(a);
    return ok;
}
