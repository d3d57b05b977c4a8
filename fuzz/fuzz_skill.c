/* skill: a file of a stranger's repository: front matter, triggers, and what the model would read of it. What is accepted must
 * be a skill that is the same when it is read back from the form in which it is stored. The first byte chooses the kind. */
#include "agent/skill/skill.h"
#include "base/utf8.h"
#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void same(const struct skill *s, struct arena *arena)
{
    autobuf json = {0};
    autoerr e = NULL;
    struct skill back;
    struct json_writer w = json_writer(&json);
    skill_write(s, &w);
    autojson doc = json_parse(buf_str(&json), NULL, &e);
    must(doc && skill_decode(json_root(doc), arena, &back, &e));
    must(str_eq(s->name, back.name) && str_eq(s->content, back.content) && s->trigger == back.trigger &&
         s->word_count == back.word_count && s->trigger_only == back.trigger_only);
    for (size_t i = 0; i < s->word_count; i++)
        must(str_eq(s->words[i], back.words[i]));
}

static void use(const struct skill *s)
{
    autobuf folded = {0}, text = {0};
    struct skill_set set = {0};
    skill_fold(&folded, s->content);
    struct str word = skill_match(s, buf_str(&folded));
    if (word.p)
        skill_triggered_text(s, word, &text);
    unsigned steps = 0;
    skill_match_path(s, utf8_prefix_bytes(s->content, 200), &steps);
    skill_set_add(&set, s, NULL);
    skill_prompt(&set, STR("claude"), &text);
    skill_set_deinit(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    autoarena arena = arena_new();
    autoerr e = NULL;
    struct skill s;
    struct str text = str_make(data + 1, size - 1);
    if (!skill_file_decode((enum skill_file)(data[0] % 3), STR("/w/x.md"), STR("x"), text, arena, &s, &e)) {
        must(e != NULL);
        return 0;
    }
    same(&s, arena);
    use(&s);
    return 0;
}
