/* analyzer_pattern: regular expressions with a limit on what they may cost. Internal to the analyzer. */
#pragma once
#include "agent/analyzer/analyzer.h"

struct pattern_set; /* patterns and the risk that each stands for; immutable */

enum pattern_place {
    PATTERN_ACTION,
    PATTERN_EVERYWHERE
}; /* looked for in what is done, or also in what is said */

struct pattern_set *pattern_set_new(void);
void pattern_set_free(struct pattern_set *set);
/* ERR_INVALID when it is no regular expression, or too long. */
bool pattern_set_add(struct pattern_set *set, struct str regex, enum risk risk, enum pattern_place place,
                     struct err **e);
/* The built-in ones of a risk and place. */
void pattern_set_add_builtin(struct pattern_set *set, enum risk risk, enum pattern_place place);
/* The highest risk of those that are found; RISK_LOW: none. What costs too much is RISK_HIGH. Texts are valid UTF-8. */
enum risk pattern_set_judge(const struct pattern_set *set, struct str action, struct str said);

/* Rules of several patterns that have to be found in one text. */
bool rails_fire(struct str text);
