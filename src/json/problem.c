#include "json/problem.h"
#include "base/utf8.h"

/* What a problem shows of its input: enough to recognise it, however large it was. */
#define SHOWN_BYTES_MAX 1024
#define SHOWN_STRING_MAX 200
#define SHOWN_ITEMS_MAX 20
#define SHOWN_DEPTH_MAX 4

#define MASK "**********"

/* A member is not shown when its name contains one of these: it may hold a key or a password. */
static const struct str secret_words[] = {
    STR_INIT("key"),  STR_INIT("secret"),     STR_INIT("token"),  STR_INIT("password"), STR_INIT("passwd"),
    STR_INIT("auth"), STR_INIT("credential"), STR_INIT("cookie"), STR_INIT("header"),
};
/* The same for whole names. */
static const struct str secret_names[] = {STR_INIT("value"), STR_INIT("env"), STR_INIT("environment"),
                                          STR_INIT("cipher")};

static bool is_secret_name(struct str name)
{
    for (size_t i = 0; i < sizeof(secret_words) / sizeof(secret_words[0]); i++)
        if (str_find_nocase(name, secret_words[i]) >= 0)
            return true;
    for (size_t i = 0; i < sizeof(secret_names) / sizeof(secret_names[0]); i++)
        if (str_eq_nocase(name, secret_names[i]))
            return true;
    return false;
}

static bool is_secret_path(const struct json_path *path)
{
    for (; path; path = path->parent)
        if (is_secret_name(path->name))
            return true;
    return false;
}

static void show_text(struct json_writer *w, struct str text)
{
    struct str shown = utf8_prefix_bytes(text, SHOWN_STRING_MAX);
    if (shown.n == text.n) {
        jw_str(w, text);
        return;
    }
    autobuf cut = {0};
    buf_add(&cut, shown);
    buf_add(&cut, STR("..."));
    jw_str(w, buf_str(&cut));
}

static bool show_more(const struct json_writer *w, const struct json_iter *it)
{
    return it->index < SHOWN_ITEMS_MAX && w->out->n < SHOWN_BYTES_MAX;
}

static void show(struct json_writer *w, const struct json_value *v, unsigned depth)
{
    enum json_type type = json_type(v);
    if (type == JSON_STRING) {
        show_text(w, json_str(v));
    } else if (type != JSON_ARRAY && type != JSON_OBJECT) {
        autobuf number = {0}; /* one beyond 64 bits may have any length */
        json_add(&number, v);
        if (number.n > SHOWN_STRING_MAX)
            show_text(w, buf_str(&number));
        else
            jw_raw(w, buf_str(&number));
    } else if (depth == SHOWN_DEPTH_MAX && json_count(v) > 0) {
        jw_cstr(w, "...");
    } else if (type == JSON_ARRAY) {
        jw_array(w);
        for (struct json_iter it = json_iter(v); json_next(&it) && show_more(w, &it);)
            show(w, it.value, depth + 1);
        jw_array_end(w);
    } else {
        jw_object(w);
        for (struct json_iter it = json_iter(v); json_next(&it) && show_more(w, &it);) {
            if (it.key.n > SHOWN_STRING_MAX)
                continue;
            jw_key_str(w, it.key);
            if (is_secret_name(it.key) && !json_is_null(it.value))
                jw_cstr(w, MASK);
            else
                show(w, it.value, depth + 1);
        }
        jw_object_end(w);
    }
}

/* What is missing without anything around it was null. */
static struct str shown_input(struct arena *arena, const struct json_path *path, const char *type,
                              const struct json_input *input)
{
    if (!input || (!input->value && !input->text.p))
        return strcmp(type, "missing") == 0 ? STR("null") : STR_NONE;
    autobuf text = {0};
    struct json_writer w = json_writer(&text);
    if (is_secret_path(path) && !(input->value && json_is_null(input->value)))
        jw_cstr(&w, MASK);
    else if (input->value)
        show(&w, input->value, 0);
    else
        show_text(&w, input->text);
    return arena_str(arena, buf_str(&text));
}

static void write_path(struct json_writer *w, const struct json_path *path)
{
    if (!path)
        return;
    write_path(w, path->parent);
    if (path->name.p)
        show_text(w, path->name);
    else
        jw_int(w, (int64_t)path->index);
}

static bool add_problem(struct json_problems *problems, struct json_problem problem)
{
    if (!problems || problems->count >= JSON_PROBLEMS_MAX)
        return false;
    struct json_problem *added = ARENA_NEW(problems->arena, struct json_problem);
    *added = problem;
    if (problems->last)
        problems->last->next = added;
    else
        problems->first = added;
    problems->last = added;
    problems->count++;
    return true;
}

void json_problem_at(struct json_problems *problems, const struct json_path *path, const char *type,
                     struct str message, const struct json_input *input, struct str context)
{
    if (!problems || problems->count >= JSON_PROBLEMS_MAX)
        return;
    struct arena *arena = problems->arena;
    autobuf loc = {0};
    struct json_writer w = json_writer(&loc);
    jw_array(&w);
    write_path(&w, path);
    jw_array_end(&w);
    add_problem(problems, (struct json_problem){
                              .type = type,
                              .loc = arena_str(arena, buf_str(&loc)),
                              .message = arena_str(arena, message),
                              .input = shown_input(arena, path, type, input),
                              .context = arena_str(arena, context),
                          });
}

/* A field of digits only is a position, as in ["body", 17]. */
void json_problem_add(struct json_problems *problems, const char *type, const char *where, const char *field,
                      const char *message)
{
    uint64_t index;
    struct json_path outer = {.name = str_from(where)};
    struct json_path inner = {.parent = where ? &outer : NULL, .name = str_from(field)};
    if (str_to_u64(inner.name, &index)) {
        inner.name = STR_NONE;
        inner.index = (size_t)index;
    }
    const struct json_path *path = field ? &inner : inner.parent;
    json_problem_at(problems, path, type, str_from(message), NULL, STR_NONE);
}

void json_problems_write(const struct json_problems *problems, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_key(&w, "detail");
    jw_array(&w);
    for (const struct json_problem *p = problems->first; p; p = p->next) {
        jw_object(&w);
        jw_member_cstr(&w, "type", p->type);
        jw_member_raw(&w, "loc", p->loc);
        jw_member_str(&w, "msg", p->message);
        if (p->input.p)
            jw_member_raw(&w, "input", p->input);
        if (p->context.p)
            jw_member_raw(&w, "ctx", p->context);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    jw_object_end(&w);
}

/* "agent.llm.model"; the first part says only "body" or "query" and is left out where more follows. */
static void add_place(struct buf *out, struct str loc)
{
    autojson doc = json_parse_trusted(loc, NULL);
    const struct json_value *parts = json_root(doc);
    for (struct json_iter it = json_iter(parts); json_next(&it);) {
        if (it.index == 0 && json_count(parts) > 1)
            continue;
        if (it.index > 1)
            buf_add_char(out, '.');
        if (json_type(it.value) == JSON_STRING)
            buf_add(out, json_str(it.value));
        else
            buf_add_i64(out, json_int(it.value, 0));
    }
}

void json_problems_text(const struct json_problems *problems, struct buf *out)
{
    for (const struct json_problem *p = problems->first; p; p = p->next) {
        if (p != problems->first)
            buf_add(out, STR("; "));
        size_t before = out->n;
        add_place(out, p->loc);
        if (out->n > before)
            buf_add(out, STR(": "));
        buf_add(out, p->message);
    }
}
