/* Names of secrets in texts. */
#include "base/cleanup.h"
#include "json/writer.h"
#include "mcp/mcp.h"

static bool is_name_char(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

static struct str name_at(struct str s)
{
    size_t n = 0;
    while (n < s.n && is_name_char(s.p[n], n == 0))
        n++;
    return str_sub(s, 0, n);
}

/* Behind a '$'. Returns how many bytes of `s` the reference has; 0: it is none, or nobody knows the name. */
static size_t reference(struct str s, mcp_lookup *lookup, const void *arg, bool defaults, bool bare,
                        struct buf *out)
{
    bool braced = s.n > 0 && s.p[0] == '{';
    struct str name = name_at(str_sub(s, braced, s.n));
    struct str value = name.n > 0 ? lookup(arg, name) : STR_NONE;
    struct str rest = str_sub(s, braced + name.n, s.n);
    if (name.n == 0 || (!braced && !bare))
        return 0;
    if (braced) {
        ssize_t end = str_find_char(rest, '}');
        bool otherwise = str_starts(rest, STR(":-"));
        if (end < 0 || (end > 0 && !otherwise))
            return 0;
        if (otherwise && defaults && !value.p)
            value = str_sub(rest, 2, (size_t)end);
        rest = str_sub(rest, (size_t)end + 1, rest.n);
    }
    if (!value.p)
        return 0;
    buf_add(out, value);
    return s.n - rest.n;
}

void mcp_expand(struct str text, mcp_lookup *lookup, const void *arg, bool defaults, bool bare,
                struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        size_t used =
            text.p[i] == '$' ? reference(str_sub(text, i + 1, text.n), lookup, arg, defaults, bare, out) : 0;
        if (used == 0)
            buf_add_char(out, text.p[i]);
        i += used;
    }
}

struct expansion {
    mcp_lookup *lookup;
    const void *arg;
    bool defaults, bare;
};

static struct str expanded(const struct expansion *x, struct str text, struct buf *out)
{
    mcp_expand(text, x->lookup, x->arg, x->defaults, x->bare, out);
    return buf_str(out);
}

static void walk(const struct expansion *x, const struct json_value *v, struct json_writer *w)
{
    autobuf text = {0};
    switch (json_type(v)) {
    case JSON_STRING: jw_str(w, expanded(x, json_str(v), &text)); break;
    case JSON_ARRAY:
        jw_array(w);
        for (struct json_iter it = json_iter(v); json_next(&it);)
            walk(x, it.value, w);
        jw_array_end(w);
        break;
    case JSON_OBJECT:
        jw_object(w);
        for (struct json_iter it = json_iter(v); json_next(&it);) {
            autobuf key = {0};
            jw_key_str(w, expanded(x, it.key, &key));
            walk(x, it.value, w);
        }
        jw_object_end(w);
        break;
    case JSON_ABSENT:
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_INT:
    case JSON_FLOAT: jw_value(w, v); break;
    }
}

void mcp_expand_json(const struct json_value *v, mcp_lookup *lookup, const void *arg, bool defaults,
                     bool bare, struct buf *out)
{
    struct expansion x = {lookup, arg, defaults, bare};
    struct json_writer w = json_writer(out);
    walk(&x, v, &w);
}
