/* skill: what an agent is taught beside its prompt, from the client's agent_context or from files of the workspace.
 *
 * Without a trigger and not in the AgentSkills format a skill is always in the system prompt. One with trigger words is put
 * behind the first user message that holds one of them, and one in the AgentSkills format is loaded by the model itself
 * (invoke_skill); both are listed in the prompt by name and description, unless only their trigger may activate them.
 *
 * Skills are immutable; their texts live in the arena that they were decoded into. No I/O here. */
#pragma once
#include "base/arena.h"
#include "base/vec.h"
#include "json/writer.h"

#define SKILLS_MAX 2000 /* of one agent */
#define SKILL_WORDS_MAX \
    5000                   /* trigger words of all skills of one agent: each is looked for in each message */
#define SKILL_NAME_MAX 512 /* bytes of a name or a trigger word */
#define SKILL_DESCRIPTION_MAX 1024 /* characters */
#define SKILL_FILE_MAX (256 * 1024)
#define SKILL_MATCH_MAX (256 * 1024) /* bytes of a message that trigger words are looked for in */

enum skill_trigger { SKILL_ALWAYS, SKILL_KEYWORD, SKILL_TASK, SKILL_PATH };

struct skill {
    struct str name, content;
    struct str source, description; /* STR_NONE: not known */
    enum skill_trigger trigger;
    const struct str *words; /* trigger words, or path patterns */
    size_t word_count;
    bool is_agentskills;
    bool trigger_only; /* disable_model_invocation */
};

struct skill_set {
    VEC(const struct skill *) list; /* names are unique */
};
void skill_set_deinit(struct skill_set *set);
const struct skill *skill_set_find(const struct skill_set *set, struct str name);
/* Adds to the end. ERR_INVALID: there is one of this name, or a limit is reached. */
bool skill_set_add(struct skill_set *set, const struct skill *skill, struct err **e);

/* --- as JSON (skill.c) --- */

/* A Skill object as clients send it, today's form and older ones. Errors name the member. Copies what it needs. */
bool skill_decode(const struct json_value *v, struct arena *arena, struct skill *out, struct err **e);
void skill_write(const struct skill *s, struct json_writer *w); /* a Skill that skill_decode takes back */
void skill_info_write(const struct skill *s,
                      struct json_writer *w); /* SkillInfo, the answer of /api/skills */

/* --- as a file (skill_file.c) --- */

enum skill_file {
    SKILL_FILE_GUIDE, /* AGENTS.md and its like: the whole text, always in the prompt */
    SKILL_FILE_PLAIN, /* NAME.md with optional front matter */
    SKILL_FILE_AGENT, /* NAME/SKILL.md, the AgentSkills format */
};
/* The skill's name that a file of this name at a repository's root stands for, or NULL if it is no such file. */
const char *skill_guide_name(struct str file_name);
/* `path` is where the file lies (for `source`), `name` what the skill is called unless its front matter says otherwise.
 * ERR_INVALID says what is wrong: bad UTF-8 or YAML, aliases, a wrong type, a name that its directory does not have. */
bool skill_file_decode(enum skill_file kind, struct str path, struct str name, struct str text,
                       struct arena *arena, struct skill *out, struct err **e);
/* Front matter (the text between its two lines of dashes) as a JSON object; every scalar but null is a string. */
bool skill_yaml_to_json(struct str yaml, struct buf *out, struct err **e);

/* --- matching (skill_match.c) --- */

/* Adds `text` in lower case, as far as skill_match wants it. */
void skill_fold(struct buf *out, struct str text);
/* The first trigger word that stands in `folded` (of skill_fold) with no letter or digit of ASCII directly beside it;
 * STR_NONE if there is none. */
struct str skill_match(const struct skill *s, struct str folded);
/* The first path pattern that matches `path` (relative to the workspace), or STR_NONE. `**` crosses directories, `*` and
 * `?` do not; a pattern without a slash means the file's name at any depth. `*steps` counts, from 0 for each path, over all
 * skills: patterns are written by strangers, with many stars perhaps; past SKILL_PATH_STEPS_MAX nothing matches. */
#define SKILL_PATH_STEPS_MAX 1000000
struct str skill_match_path(const struct skill *s, struct str path, unsigned *steps);

/* --- for the model (skill_prompt.c) --- */

/* Adds the system prompt's parts, each with an empty line behind; nothing if there is nothing to say. `model` decides about
 * files that are meant for models of one maker. */
void skill_prompt(const struct skill_set *set, struct str model, struct buf *out);
/* Adds what goes behind a user message because it holds `word`. */
void skill_triggered_text(const struct skill *s, struct str word, struct buf *out);
/* Adds what goes behind a tool's result because it worked on a file that `pattern` matches. */
void skill_rule_text(const struct skill *s, struct str pattern, struct buf *out);
/* Can the model load one? */
bool skill_set_invocable(const struct skill_set *set);
