/* Questions beside the run. */
#include "agent/agent_config.h"

#define QUESTION_BEGIN                                                                                                         \
    "<QUESTION>\nThis is a question beside the task, about what has happened so far. Answer it in words, from what you know; " \
    "call no tool and do not go on with the task.\n\n"
#define QUESTION_END "\n</QUESTION>"

/* A last message of the user's takes the question in, since some providers refuse two in a row. */
static void question_add(struct str text, const struct llm_message *history, size_t n, struct arena *arena,
                         struct llm_request *out)
{
    bool joins = n > 0 && history[n - 1].role == LLM_USER;
    size_t parts_n = joins ? history[n - 1].part_count : 0, count = joins ? n : n + 1;
    struct llm_message *all = arena_alloc(arena, count * sizeof(*all));
    struct llm_part *parts = arena_alloc(arena, (parts_n + 1) * sizeof(*parts));
    if (n > 0)
        memcpy(all, history, n * sizeof(*all));
    if (parts_n > 0)
        memcpy(parts, history[n - 1].parts, parts_n * sizeof(*parts));
    parts[parts_n] = (struct llm_part){.type = LLM_TEXT, .text = text};
    all[count - 1] = (struct llm_message){.role = LLM_USER, .parts = parts, .part_count = parts_n + 1};
    out->messages = all;
    out->message_count = count;
}

void agent_ask(struct agent *a, const struct view *view, struct str question, struct arena *arena,
               struct llm_request *out)
{
    autobuf text = {0};
    const struct llm_message *history;
    size_t n;
    buf_add(&text, STR(QUESTION_BEGIN));
    buf_add(&text, question);
    buf_add(&text, STR(QUESTION_END));
    *out = (struct llm_request){.turn = view_turns(view)};
    view_messages(view, llm_max_message_chars(a->llm), arena, &history, &n);
    question_add(arena_str(arena, buf_str(&text)), history, n, arena, out);
    out->tools = step_llm_tools(&a->tools, a->has_analyzer, arena);
    out->tool_count = a->tools.n;
}
