/* tool_arguments: what a model gives as a call's name and arguments. What is accepted must be JSON that the same tool accepts
 * again with the same result. The first byte chooses the tool, the first line is the name. */
#include "agent/internal.h"
#include <stdlib.h>

static const struct tool_set all = {.at = {&tool_terminal, &tool_file_editor, &tool_finish, &tool_think,
                                           &tool_task_tracker, &tool_apply_patch, &tool_grep, &tool_glob},
                                    .n = 8};

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* The action without its kind is a call of its own. */
static void again(const struct tool *tool, struct str action, struct arena *arena)
{
    autobuf call = {0};
    autoerr e = NULL;
    struct tool_arguments out;
    autojson doc = json_parse(action, NULL, &e);
    must(doc != NULL);
    struct json_writer w = json_writer(&call);
    jw_object(&w);
    for (struct json_iter it = json_iter(json_root(doc)); json_next(&it);) {
        if (str_is(it.key, "kind"))
            continue;
        jw_key_str(&w, it.key);
        jw_value(&w, it.value);
    }
    jw_object_end(&w);
    must(tool_decode(tool, buf_str(&call), true, NULL, arena, &out, &e));
    must(str_eq(out.action, action));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_make(data, size), name;
    if (size == 0 || !str_split(&rest, '\n', &name))
        return 0;
    autoarena arena = arena_new();
    autoerr e = NULL;
    struct str arguments = rest.p ? rest : STR("");
    const struct tool *tool = tool_resolve(&all, name, &arguments, arena);
    if (!tool)
        tool = all.at[data[0] % all.n];
    struct tool_arguments out;
    if (!tool_decode(tool, arguments, data[0] & 1, NULL, arena, &out, &e)) {
        must(e != NULL);
        return 0;
    }
    autojson normalized = json_parse(out.normalized, NULL, NULL);
    must(normalized != NULL);
    must(out.summary.n > 0 && out.risk.n > 0);
    again(tool, out.action, arena);
    return 0;
}
