/* Carrying a template out: a walk over the tree, counted in steps. */
#include "agent/jinja/internal.h"
#include "json/writer.h"
#include "base/cleanup.h"

struct jinja_binding { /* a name that the template made; newer ones are in front */
    struct jinja_binding *before;
    struct str name;
    struct jinja_value value;
};

bool jinja_fail(const struct jinja_run *r, struct err **e, const char *fmt, ...)
{
    autobuf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vaddf(&text, fmt, args);
    va_end(args);
    return err_set(e, ERR_INVALID, "line %u: %.*s", r->line, STR_ARG(buf_str(&text)));
}

bool jinja_spend(struct jinja_run *r, size_t bytes, struct err **e)
{
    if (bytes / JINJA_BYTES_PER_STEP > JINJA_STEPS_MAX)
        r->steps = JINJA_STEPS_MAX;
    else
        r->steps += (unsigned)(bytes / JINJA_BYTES_PER_STEP);
    return r->steps <= JINJA_STEPS_MAX ||
           jinja_fail(r, e, "the template takes more than %d steps", JINJA_STEPS_MAX);
}

static bool step(struct jinja_run *r, unsigned line, struct err **e)
{
    r->line = line;
    if (++r->steps > JINJA_STEPS_MAX)
        return jinja_fail(r, e, "the template takes more than %d steps", JINJA_STEPS_MAX);
    if (arena_size(r->arena) > JINJA_MEMORY_MAX)
        return jinja_fail(r, e, "the template takes too much memory");
    return true;
}

/* ---- expressions ---- */

static bool eval(struct jinja_run *r, const struct jinja_expr *x, struct jinja_value *out, struct err **e);

static bool lookup(struct jinja_run *r, struct str name, struct jinja_value *out, struct err **e)
{
    size_t walked = 0;
    for (const struct jinja_binding *b = r->names; b; b = b->before, walked++) {
        if (!str_eq(b->name, name))
            continue;
        *out = b->value;
        return jinja_spend(r, walked * JINJA_ITEM_BYTES, e);
    }
    *out = jinja_from_json(json_get_str_key(r->variables, name));
    if (out->type == JINJA_UNDEFINED)
        out->str = name;
    return jinja_spend(r, (walked + json_count(r->variables)) * JINJA_ITEM_BYTES, e);
}

static bool eval_list(struct jinja_run *r, const struct jinja_expr *x, struct jinja_value *out,
                      struct err **e)
{
    struct jinja_value *items = arena_alloc(r->arena, (x->arg_count + 1) * sizeof(*items));
    for (size_t i = 0; i < x->arg_count; i++) {
        if (!eval(r, x->args[i], &items[i], e))
            return false;
    }
    *out = (struct jinja_value){.type = JINJA_ITEMS, .items = items, .n = x->arg_count};
    return true;
}

/* a.name: a member of an object, and nothing else. */
static bool member(struct jinja_run *r, const struct jinja_value *a, struct str name, struct jinja_value *out,
                   struct err **e)
{
    if (a->type == JINJA_UNDEFINED)
        return jinja_fail(r, e, "'%.*s' is undefined", STR_ARG(str_sub(a->str, 0, 60)));
    *out = jinja_from_json(a->type == JINJA_JSON ? json_get_str_key(a->json, name) : NULL);
    if (out->type == JINJA_UNDEFINED)
        out->str = name;
    return jinja_spend(r, jinja_count(a) * JINJA_ITEM_BYTES, e);
}

static bool eval_index(struct jinja_run *r, const struct jinja_expr *x, struct jinja_value *out,
                       struct err **e)
{
    struct jinja_value a, b;
    if (!eval(r, x->a, &a, e) || !eval(r, x->b, &b, e))
        return false;
    if (b.type == JINJA_STR)
        return member(r, &a, b.str, out, e);
    if (b.type != JINJA_INT || (a.type != JINJA_ITEMS && a.type != JINJA_JSON))
        return jinja_fail(r, e, "this cannot be indexed so");
    if (a.type == JINJA_JSON && json_type(a.json) == JSON_OBJECT) {
        *out = (struct jinja_value){.type = JINJA_UNDEFINED};
        return true;
    }
    int64_t n = (int64_t)jinja_count(&a), at = b.number < 0 ? b.number + n : b.number;
    *out = (struct jinja_value){.type = JINJA_UNDEFINED};
    if (at >= 0)
        *out = jinja_at(&a, (size_t)at);
    return jinja_spend(r, (size_t)n * JINJA_ITEM_BYTES, e);
}

static bool eval_pairs(struct jinja_run *r, const struct jinja_expr *x, struct jinja_value *out,
                       struct err **e)
{
    struct jinja_value a;
    size_t n = 0;
    if (!eval(r, x->a, &a, e))
        return false;
    if (a.type != JINJA_JSON || json_type(a.json) != JSON_OBJECT)
        return jinja_fail(r, e, ".%.*s() is for objects", STR_ARG(x->text));
    struct jinja_value *items = arena_alloc(r->arena, (jinja_count(&a) + 1) * sizeof(*items));
    for (struct json_iter it = json_iter(a.json); json_next(&it); n++) {
        struct jinja_value key = jinja_text(it.key), value = jinja_from_json(it.value);
        if (str_is(x->text, "items")) {
            struct jinja_value *pair = arena_alloc(r->arena, 2 * sizeof(*pair));
            pair[0] = key;
            pair[1] = value;
            items[n] = (struct jinja_value){.type = JINJA_ITEMS, .items = pair, .n = 2};
        } else {
            items[n] = str_is(x->text, "keys") ? key : value;
        }
    }
    *out = (struct jinja_value){.type = JINJA_ITEMS, .items = items, .n = n};
    return true;
}

static bool eval_filter(struct jinja_run *r, const struct jinja_expr *x, struct jinja_value *out,
                        struct err **e)
{
    struct jinja_value v, args;
    if (!eval(r, x->a, &v, e) || !eval_list(r, x, &args, e))
        return false;
    r->line = x->line;
    return x->filter->run(r, &v, args.items, args.n, out, e);
}

static bool is_number(const struct jinja_value *v)
{
    return v->type == JINJA_BOOL || v->type == JINJA_INT || v->type == JINJA_FLOAT;
}

static double number_of(const struct jinja_value *v)
{
    return v->type == JINJA_FLOAT ? v->real : (double)v->number;
}

static bool compare(struct jinja_run *r, enum jinja_op op, const struct jinja_value *a,
                    const struct jinja_value *b, struct jinja_value *out, struct err **e)
{
    int order;
    if (is_number(a) && is_number(b))
        order = number_of(a) < number_of(b) ? -1 : number_of(a) > number_of(b);
    else if (a->type == JINJA_STR && b->type == JINJA_STR)
        order = str_cmp(a->str, b->str);
    else
        return jinja_fail(r, e, "these cannot be compared");
    *out = jinja_bool(op == JINJA_LT   ? order < 0
                      : op == JINJA_LE ? order <= 0
                      : op == JINJA_GT ? order > 0
                                       : order >= 0);
    return true;
}

static bool contains(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b,
                     struct jinja_value *out, struct err **e)
{
    bool found = false;
    if (b->type == JINJA_STR && a->type == JINJA_STR) {
        found = str_find(b->str, a->str) >= 0;
    } else if (b->type == JINJA_JSON && json_type(b->json) == JSON_OBJECT) {
        found = a->type == JINJA_STR && json_get_str_key(b->json, a->str);
    } else if (b->type == JINJA_ITEMS) {
        for (size_t i = 0; i < b->n && !found; i++)
            found = jinja_equal(a, &b->items[i]);
    } else if (b->type == JINJA_JSON) {
        for (struct json_iter it = json_iter(b->json); !found && json_next(&it);) {
            struct jinja_value item = jinja_from_json(it.value);
            found = jinja_equal(a, &item);
        }
    } else if (b->type != JINJA_UNDEFINED) {
        return jinja_fail(r, e, "`in` needs a list, an object or a text");
    }
    *out = jinja_bool(found);
    return true;
}

/* What looking through a value may cost; how much lies inside a list of the variables is not known. */
#define JSON_COMPARE_BYTES (10000 * JINJA_BYTES_PER_STEP)
static size_t cost_of(const struct jinja_value *v)
{
    size_t cost = 0;
    for (size_t i = 0; v->type == JINJA_ITEMS && i < v->n; i++)
        cost += v->items[i].type == JINJA_JSON ? JSON_COMPARE_BYTES : JINJA_ITEM_BYTES;
    return v->type == JINJA_STR ? v->str.n : v->type == JINJA_JSON ? JSON_COMPARE_BYTES : cost;
}

static bool concat(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b,
                   struct jinja_value *out, struct err **e)
{
    autobuf text = {0};
    jinja_print(a, &text);
    jinja_print(b, &text);
    if (text.n > JINJA_OUTPUT_MAX)
        return jinja_fail(r, e, "a text has more than %d bytes", JINJA_OUTPUT_MAX);
    *out = jinja_text(arena_str(r->arena, buf_str(&text)));
    return jinja_spend(r, text.n, e);
}

static bool add(struct jinja_run *r, enum jinja_op op, const struct jinja_value *a,
                const struct jinja_value *b, struct jinja_value *out, struct err **e)
{
    if (op == JINJA_ADD && a->type == JINJA_STR && b->type == JINJA_STR)
        return concat(r, a, b, out, e);
    if (!is_number(a) || !is_number(b))
        return jinja_fail(r, e, "only numbers and texts can be added");
    if (a->type == JINJA_FLOAT || b->type == JINJA_FLOAT) {
        double y = op == JINJA_ADD ? number_of(b) : -number_of(b);
        *out = (struct jinja_value){.type = JINJA_FLOAT, .real = number_of(a) + y};
        return true;
    }
    int64_t sum;
    bool over = op == JINJA_ADD ? __builtin_add_overflow(a->number, b->number, &sum)
                                : __builtin_sub_overflow(a->number, b->number, &sum);
    if (over)
        return jinja_fail(r, e, "a number is too large");
    *out = (struct jinja_value){.type = JINJA_INT, .number = sum};
    return true;
}

static bool eval_binary(struct jinja_run *r, const struct jinja_expr *x, struct jinja_value *out,
                        struct err **e)
{
    struct jinja_value a, b;
    if (!eval(r, x->a, &a, e) || !eval(r, x->b, &b, e))
        return false;
    r->line = x->line;
    bool deep = a.type == JINJA_JSON; /* in a list of the variables every item is compared with it */
    if (!jinja_spend(r, cost_of(b.type == JINJA_JSON && !deep ? &a : &b), e) ||
        !jinja_spend(r, deep || b.type != JINJA_JSON ? cost_of(&a) : jinja_count(&b) * JINJA_ITEM_BYTES, e))
        return false;
    switch ((int)x->op) {
    case JINJA_EQ:
    case JINJA_NE: *out = jinja_bool(jinja_equal(&a, &b) == (x->op == JINJA_EQ)); return true;
    case JINJA_IN: return contains(r, &a, &b, out, e);
    case JINJA_CONCAT: return concat(r, &a, &b, out, e);
    case JINJA_ADD:
    case JINJA_SUBTRACT: return add(r, x->op, &a, &b, out, e);
    default: return compare(r, x->op, &a, &b, out, e);
    }
}

/* and, or, if: what is not needed is not looked at. */
static bool eval_branch(struct jinja_run *r, const struct jinja_expr *x, struct jinja_value *out,
                        struct err **e)
{
    if (!eval(r, x->op == JINJA_CHOICE ? x->b : x->a, out, e))
        return false;
    bool truth = jinja_truth(out);
    if (x->op == JINJA_CHOICE) {
        const struct jinja_expr *chosen = truth ? x->a : x->c;
        *out = (struct jinja_value){.type = JINJA_UNDEFINED};
        return !chosen || eval(r, chosen, out, e);
    }
    return truth == (x->op == JINJA_OR) || eval(r, x->b, out, e);
}

static bool eval_unary(struct jinja_run *r, const struct jinja_expr *x, struct jinja_value *out,
                       struct err **e)
{
    struct jinja_value a;
    if (!eval(r, x->a, &a, e))
        return false;
    r->line = x->line;
    if (x->op == JINJA_ATTRIBUTE)
        return member(r, &a, x->text, out, e);
    if (x->op == JINJA_NOT || x->op == JINJA_TEST) {
        *out = jinja_bool(x->op == JINJA_NOT ? !jinja_truth(&a) : jinja_test(x->text, &a));
        return true;
    }
    struct jinja_value zero = {.type = JINJA_INT};
    return add(r, JINJA_SUBTRACT, &zero, &a, out, e);
}

static bool eval(struct jinja_run *r, const struct jinja_expr *x, struct jinja_value *out, struct err **e)
{
    if (!step(r, x->line, e))
        return false;
    switch (x->op) {
    case JINJA_LITERAL: *out = x->literal; return true;
    case JINJA_NAME: return lookup(r, x->text, out, e);
    case JINJA_LIST: return eval_list(r, x, out, e);
    case JINJA_INDEX: return eval_index(r, x, out, e);
    case JINJA_PAIRS: return eval_pairs(r, x, out, e);
    case JINJA_FILTER: return eval_filter(r, x, out, e);
    case JINJA_ATTRIBUTE:
    case JINJA_TEST:
    case JINJA_NOT:
    case JINJA_NEGATE: return eval_unary(r, x, out, e);
    case JINJA_AND:
    case JINJA_OR:
    case JINJA_CHOICE: return eval_branch(r, x, out, e);
    case JINJA_EQ:
    case JINJA_NE:
    case JINJA_LT:
    case JINJA_LE:
    case JINJA_GT:
    case JINJA_GE:
    case JINJA_IN:
    case JINJA_CONCAT:
    case JINJA_ADD:
    case JINJA_SUBTRACT: return eval_binary(r, x, out, e);
    }
    return jinja_fail(r, e, "this cannot be computed");
}

/* ---- statements ---- */

static bool run_all(struct jinja_run *r, const struct jinja_statement *s, struct err **e);

static void bind(struct jinja_run *r, struct str name, struct jinja_value value)
{
    struct jinja_binding *b = ARENA_NEW(r->arena, struct jinja_binding);
    *b = (struct jinja_binding){r->names, name, value};
    r->names = b;
}

static bool run_if(struct jinja_run *r, const struct jinja_statement *s, struct err **e)
{
    for (;;) {
        struct jinja_value v;
        if (!eval(r, s->expr, &v, e))
            return false;
        if (jinja_truth(&v))
            return run_all(r, s->body, e);
        const struct jinja_statement *other = s->other;
        if (!other || other->kind != JINJA_IF || other->next)
            return run_all(r, other, e);
        s = other; /* elif: a long chain is no deep one */
    }
}

/* What `loop` is inside: made as JSON, so that its members are read as any other's. */
static bool bind_loop(struct jinja_run *r, size_t i, size_t n, struct json_doc **doc, struct err **e)
{
    autobuf text = {0};
    struct json_writer w = json_writer(&text);
    jw_object(&w);
    jw_member_int(&w, "index", (int64_t)i + 1);
    jw_member_int(&w, "index0", (int64_t)i);
    jw_member_bool(&w, "first", i == 0);
    jw_member_bool(&w, "last", i + 1 == n);
    jw_member_int(&w, "length", (int64_t)n);
    jw_object_end(&w);
    if (!(*doc = json_parse_trusted(buf_str(&text), e)))
        return false;
    bind(r, STR("loop"), jinja_from_json(json_root(*doc)));
    return true;
}

static bool bind_item(struct jinja_run *r, const struct jinja_statement *s, struct jinja_value item,
                      struct err **e)
{
    if (!s->second.p) {
        bind(r, s->text, item);
        return true;
    }
    if ((item.type != JINJA_ITEMS && item.type != JINJA_JSON) || jinja_count(&item) != 2)
        return jinja_fail(r, e, "two names in `for` need pairs");
    bind(r, s->text, jinja_at(&item, 0));
    bind(r, s->second, jinja_at(&item, 1));
    return true;
}

/* The items that pass the condition. */
static bool loop_items(struct jinja_run *r, const struct jinja_statement *s, struct jinja_value **items,
                       size_t *n, struct err **e)
{
    struct jinja_value list;
    struct jinja_binding *outside = r->names;
    if (!eval(r, s->expr, &list, e))
        return false;
    if (list.type != JINJA_ITEMS && list.type != JINJA_JSON && list.type != JINJA_UNDEFINED)
        return jinja_fail(r, e, "`for` needs a list or an object");
    size_t count = jinja_count(&list), i = 0;
    struct jinja_value *all = arena_alloc(r->arena, (count + 1) * sizeof(*all));
    if (list.type == JINJA_ITEMS && count > 0)
        memcpy(all, list.items, count * sizeof(*all));
    for (struct json_iter it = json_iter(list.type == JINJA_JSON ? list.json : NULL); json_next(&it);)
        all[i++] = it.key.p ? jinja_text(it.key) : jinja_from_json(it.value);
    *n = s->where ? 0 : count;
    for (i = 0; s->where && i < count; i++) {
        struct jinja_value pass;
        if (!bind_item(r, s, all[i], e) || !eval(r, s->where, &pass, e))
            return false;
        r->names = outside;
        if (jinja_truth(&pass))
            all[(*n)++] = all[i];
    }
    *items = all;
    return true;
}

static bool run_for(struct jinja_run *r, const struct jinja_statement *s, struct err **e)
{
    struct jinja_binding *outside = r->names;
    struct jinja_value *items;
    size_t n = 0;
    if (!loop_items(r, s, &items, &n, e))
        return false;
    if (n == 0)
        return run_all(r, s->other, e);
    for (size_t i = 0; i < n; i++) {
        autojson loop = NULL;
        bool ok = step(r, s->line, e) && bind_loop(r, i, n, &loop, e) && bind_item(r, s, items[i], e) &&
                  run_all(r, s->body, e);
        r->names = outside; /* what is set inside ends with the turn */
        if (!ok)
            return false;
    }
    return true;
}

static bool run_out(struct jinja_run *r, const struct jinja_statement *s, struct err **e)
{
    struct jinja_value v;
    if (!eval(r, s->expr, &v, e))
        return false;
    jinja_print(&v, r->out);
    return true;
}

static bool run_set(struct jinja_run *r, const struct jinja_statement *s, struct err **e)
{
    struct jinja_value v;
    if (!eval(r, s->expr, &v, e))
        return false;
    bind(r, s->text, v);
    return true;
}

static bool run_one(struct jinja_run *r, const struct jinja_statement *s, struct err **e)
{
    switch (s->kind) {
    case JINJA_TEXT: buf_add(r->out, s->text); return true;
    case JINJA_OUT: return run_out(r, s, e);
    case JINJA_IF: return run_if(r, s, e);
    case JINJA_FOR: return run_for(r, s, e);
    case JINJA_SET: return run_set(r, s, e);
    }
    return jinja_fail(r, e, "this cannot be carried out");
}

static bool run_all(struct jinja_run *r, const struct jinja_statement *s, struct err **e)
{
    for (; s; s = s->next) {
        if (!step(r, s->line, e) || !run_one(r, s, e))
            return false;
        if (r->out->n > JINJA_OUTPUT_MAX)
            return jinja_fail(r, e, "the result has more than %d bytes", JINJA_OUTPUT_MAX);
    }
    return true;
}

bool jinja_render(struct str text, const struct json_value *variables, struct buf *out, struct err **e)
{
    autoarena arena = arena_new();
    autobuf result = {0};
    struct jinja_statement *first;
    struct jinja_run r = {.arena = arena, .out = &result, .variables = variables, .line = 1};
    if (!jinja_parse(text, arena, &first, e) || !run_all(&r, first, e))
        return false;
    buf_add(out, str_trim(buf_str(&result)));
    return true;
}
