/* openai_chat: the two halves of one dialect. */
#pragma once
#include "llm/provider.h"

bool openai_chat_request(const struct llm *l, const struct llm_request *request,
                         const struct llm_attempt *attempt, struct llm_http *out, struct err **e);
