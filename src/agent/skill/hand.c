#include "agent/skill/hand.h"
#include "base/log.h"
#include "base/path.h"
#include "base/utf8.h"
#include "wire/wire.h"

#define PATH_SHOWN_MAX 300 /* bytes of a path in the log */

void skill_hand_fields(enum skill_place place, struct str dir, struct buf *fields)
{
    static const char *const guides[] = {".cursorrules", "agents.md", "agent.md", "claude.md", "gemini.md"};
    /* Where several have a skill of the same name, the first counts. */
    static const char *const dirs[] = {".agents/skills", ".openhands/skills", ".openhands/microagents"};
    bool project = place == SKILL_PLACE_PROJECT;
    wire_add_str(fields, F_PATH, project ? dir : STR("~"));
    wire_add_int(fields, F_UPWARD, project);
    wire_add_int(fields, F_LIMIT, SKILL_FILE_MAX);
    for (size_t i = 0; project && i < ARRAY_LEN(guides); i++)
        wire_add_str(fields, F_NAME, str_from(guides[i]));
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
        wire_add_str(fields, F_INCLUDE, str_from(dirs[i]));
}

static bool item_decode(struct str item, struct arena *arena, struct skill *out, struct err **e)
{
    struct str path = wire_get_str(item, F_PATH), name = wire_get_str(item, F_NAME);
    struct str text = wire_get_str(item, F_TEXT), kind = wire_get_str(item, F_KIND);
    struct str why = wire_get_str(item, F_MESSAGE);
    const char *guide = skill_guide_name(path_base(path));
    if (!text.p)
        return err_set(e, ERR_INVALID, "%.*s",
                       STR_ARG(why.p ? utf8_prefix_bytes(why, PATH_SHOWN_MAX) : STR("it has no text")));
    if (!utf8_valid(path) || !utf8_valid(name))
        return err_set(e, ERR_INVALID, "its name is not valid UTF-8");
    if (guide)
        return skill_file_decode(SKILL_FILE_GUIDE, path, str_from(guide), text, arena, out, e);
    return skill_file_decode(str_is(kind, "s") ? SKILL_FILE_AGENT : SKILL_FILE_PLAIN, path, name, text, arena,
                             out, e);
}

static void item_add(struct str item, struct arena *arena, struct skill_set *set)
{
    struct skill *s = ARENA_NEW(arena, struct skill);
    autoerr e = NULL;
    if (item_decode(item, arena, s, &e) && (skill_set_find(set, s->name) || skill_set_add(set, s, &e)))
        return;
    autobuf path = {0};
    utf8_scrub(&path, str_sub(wire_get_str(item, F_PATH), 0, PATH_SHOWN_MAX));
    log_warn("%.*s is left out of the skills: %s", STR_ARG(buf_str(&path)), err_text(e));
}

void skill_hand_decode(struct str fields, struct arena *arena, struct skill_set *set)
{
    struct wire_fields f = {fields};
    enum wire_field tag;
    struct str item;
    while (wire_fields_next(&f, &tag, &item, NULL)) {
        if (tag == F_ITEM && wire_fields_valid(item))
            item_add(item, arena, set);
    }
    if (wire_get_int(fields, F_TRUNCATED, 0))
        log_warn("there are more skill files than are read");
}
