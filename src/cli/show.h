/* show: an agent's work for a person to read, as events come in. Plain text when standard output is no terminal; what
 * programs and models say never reaches a terminal as control characters. */
#pragma once
#include "base/buf.h"
#include "json/json.h"

struct show {
    bool colour;
    bool json; /* every event as one line, nothing else */
    uint64_t started_ns, action_ns;
    unsigned steps; /* actions so far */
    double cost;
    int64_t tokens_in, tokens_out;
};

void show_init(struct show *s, bool json);
void show_event(struct show *s, const struct json_value *event, struct str text);
/* The line at the end: how it ended, how long it took, what it cost. */
void show_end(struct show *s, const char *status, struct str conversation);
void show_note(struct show *s, const char *text);
