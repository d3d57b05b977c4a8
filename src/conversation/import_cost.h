/* import_cost: what an imported conversation had cost by the time of each answer of a model. The state that comes with the
 * log has the model calls of each usage id in their order; an event tells its call by llm_response_id. One thread. */
#pragma once
#include "conversation/state.h"
#include "json/json.h"

struct import_costs;

/* `state`: what base_state.json says; it has to stay as long. */
struct import_costs *import_costs_new(const struct json_value *state);
void import_costs_free(struct import_costs *c);
/* The sums up to and with the call that the next event of the log came of; a reference. NULL: none was made yet. */
struct stats *import_costs_at(struct import_costs *c, const struct json_value *event);

/* Tokens of one call or of a sum of them, as Metrics have them, into `u`; what is no count is 0. import_state.c */
void import_tokens_read(const struct json_value *v, struct store_usage *u);
