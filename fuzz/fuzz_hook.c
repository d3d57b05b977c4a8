/* hook: a hook configuration, which anybody may send or put into a repository, and what a hook prints. The first byte
 * chooses. What is accepted must be accepted again as it is shown, and be shown the same. */
#include "agent/hook/hook.h"
#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void one_config(struct str text)
{
    autojson doc = json_parse(text, NULL, NULL);
    autoarena arena = arena_new();
    size_t n;
    struct hook_config *c = doc ? hook_config_new(json_root(doc), NULL, NULL) : NULL;
    if (!c)
        return;
    autojson shown = json_parse(hook_config_text(c), NULL, NULL);
    must(shown != NULL);
    struct hook_config *again = hook_config_new(json_root(shown), NULL, NULL);
    must(again && str_eq(hook_config_text(c), hook_config_text(again)));
    for (int event = 0; event < HOOK_EVENTS; event++) {
        const struct hook *const *hooks =
            hook_config_select(c, (enum hook_event)event, STR("terminal"), arena, &n);
        for (size_t i = 0; i < n; i++) {
            autobuf label = {0};
            hook_label(hooks[i], &label);
            must(label.n > 0);
        }
    }
    hook_config_free(again);
    hook_config_free(c);
}

static void one_answer(struct str text, int64_t exit_code)
{
    struct hook_result r = {.exit_code = exit_code};
    struct event_draft d;
    autobuf whole = {0};
    buf_add(&r.out, text);
    hook_result_read(&r);
    must(exit_code != 2 || r.blocked);
    event_draft_init(&d, EVENT_HOOK_EXECUTION, SOURCE_HOOK);
    hook_event_body(&d, &(struct hook_call){.event = HOOK_STOP, .reason = STR("x")}, text, &r);
    buf_add_char(&whole, '{');
    buf_add(&whole, buf_str(&d.body));
    buf_add_char(&whole, '}');
    autojson doc = json_parse(buf_str(&whole), NULL, NULL);
    must(doc != NULL);
    event_draft_deinit(&d);
    hook_result_deinit(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str rest = str_make(data + 1, size - 1);
    if (data[0] == 'c')
        one_config(rest);
    else
        one_answer(rest, data[0] & 3);
    return 0;
}
