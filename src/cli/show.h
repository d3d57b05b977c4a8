/* show: an agent's work for a person to read, as events come in; or as lines of JSON for a program. What programs and
 * models say never reaches a terminal as control characters. One thread. */
#pragma once
#include "cli/console.h"
#include "json/json.h"

struct show;

/* `json`: every event of the log as one line on standard output, and all else on standard error. */
struct show *show_new(bool json);
void show_free(struct show *s);
struct console *show_console(struct show *s);

/* The state at attaching, or at a run's end: the value of a full_state. */
void show_take_state(struct show *s, const struct json_value *state);
/* `text` is the event's JSON. */
void show_event(struct show *s, const struct json_value *event, struct str text);
/* An event of before we came: only to know which actions wait. */
void show_take_past(struct show *s, const struct json_value *event);
void show_tick(struct show *s); /* draws the status again, as time goes by */
/* What the user wants now, shown in place of what the agent does; NULL: nothing. */
void show_set_wish(struct show *s, const char *text);
void show_note(struct show *s, enum style style, const char *text);
/* The actions that wait for the user's word, each with its risk. */
void show_question(struct show *s);
/* Actions were shown before the user joined: their titles again. */
void show_waiting_in_full(struct show *s);
/* The line at the end: how it ended, how long it took, what it cost; and how to go on, for a person. `more` stands
 * behind the command that does. */
void show_end(struct show *s, struct str status, struct str conversation, const char *more);
/* What the server in this process logs: on a terminal a line of its own, otherwise on standard error. */
void show_notice(struct show *s, struct str text);
/* Why nothing can be shown any more: an errno. 0: all is well. */
int show_gone(const struct show *s);
