/* skill_hand: skills that a hand finds in files: what to ask it for (OP_SKILLS), and what its answer means. The answer is
 * a stranger's. */
#pragma once
#include "agent/skill/skill.h"
#include "base/buf.h"

enum skill_place {
    SKILL_PLACE_PROJECT, /* a workspace, and the repository that it lies in */
    SKILL_PLACE_USER,    /* the home directory of the hand's user */
};
/* Adds the call's fields. `dir` (absolute) is not used for SKILL_PLACE_USER. */
void skill_hand_fields(enum skill_place place, struct str dir, struct buf *fields);
/* Adds the skills of a RESULT to `set`, in the arena; of several with one name the first. What cannot be used is left out
 * with a line in the log. */
void skill_hand_decode(struct str fields, struct arena *arena, struct skill_set *set);
