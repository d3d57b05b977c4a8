/* Why a run or a call failed, in the few words that clients act on (retry, open the settings, give up). */
#include "agent/internal.h"

struct classification {
    const char *kind, *user_action;
    bool retryable;
};

static const struct classification classifications[] = {
    {"auth", "settings", false},   {"quota", "settings", false}, {"rate_limit", "retry", true},
    {"config", "settings", false}, {"transient", "retry", true}, {"agent_action", "retry", true},
    {"internal", "none", false},   {"unknown", "none", false},
};

static const struct {
    const char *code, *kind;
    bool final; /* agent_action that a retry does not help */
} codes[] = {
    {"LLMAuthenticationError", "auth", false},
    {"ACPAuthRequired", "auth", false},
    {"LLMRateLimitError", "rate_limit", false},
    {"MaxBudgetReached", "quota", false},
    {"LLMBadRequestError", "config", false},
    {"NotFoundError", "config", false},
    {"LibTmuxException", "config", false},
    {"LLMContextWindowExceedError", "agent_action", false},
    {"LLMMalformedConversationHistoryError", "agent_action", false},
    {"MaxIterationsReached", "agent_action", true},
    {"ConversationOwnershipLostError", "agent_action", true},
    {"KeyError", "internal", false},
    {"AssertionError", "internal", false},
    {"AttributeError", "internal", false},
    {"TypeError", "internal", false},
    {"PydanticSerializationError", "internal", false},
};

/* Looked for in the detail, without regard to case; the first that occurs decides. */
static const struct {
    const char *part, *kind;
} parts[] = {
    {"insufficient_quota", "quota"},
    {"exceeded your current quota", "quota"},
    {"billing", "quota"},
    {"insufficient credit", "quota"},
    {"budget has been exceeded", "quota"},
    {"rate limit", "rate_limit"},
    {"rate_limit", "rate_limit"},
    {"too many requests", "rate_limit"},
    {"invalid api key", "auth"},
    {"invalid_api_key", "auth"},
    {"incorrect api key", "auth"},
    {"authentication", "auth"},
    {"unauthorized", "auth"},
    {"permission denied by the model", "auth"},
    {"model not found", "config"},
    {"model_not_found", "config"},
    {"unsupported parameter", "config"},
    {"timed out", "transient"},
    {"connection refused", "transient"},
    {"connection reset", "transient"},
    {"overloaded", "transient"},
    {"temporarily unavailable", "transient"},
};

static const char *const transient_codes[] = {
    "LLMServiceUnavailableError", "LLMTimeoutError", "LLMNoResponseError", "LLMConnectionError",
    "LLMInternalServerError",     "TimeoutError",    "ConnectionError",
};

static struct classification classification_get(const char *kind)
{
    for (size_t i = 0; i < ARRAY_LEN(classifications); i++) {
        if (strcmp(classifications[i].kind, kind) == 0)
            return classifications[i];
    }
    return classifications[ARRAY_LEN(classifications) - 1];
}

static struct classification error_classify(const char *code, struct str detail)
{
    struct str name = str_from(code);
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        if (!str_is(name, codes[i].code))
            continue;
        struct classification c = classification_get(codes[i].kind);
        if (codes[i].final)
            c = (struct classification){c.kind, "none", false};
        return c;
    }
    if (str_starts(name, STR("ACP")) && str_ends(name, STR("Error")))
        return classification_get("config");
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (str_find_nocase(detail, str_from(parts[i].part)) >= 0)
            return classification_get(parts[i].kind);
    }
    for (size_t i = 0; i < ARRAY_LEN(transient_codes); i++) {
        if (str_is(name, transient_codes[i]))
            return classification_get("transient");
    }
    return classification_get("unknown");
}

static void classification_write(struct json_writer *w, struct classification c)
{
    jw_key(w, "classification");
    jw_object(w);
    jw_member_cstr(w, "kind", c.kind);
    jw_member_bool(w, "retryable", c.retryable);
    jw_member_cstr(w, "user_action", c.user_action);
    jw_object_end(w);
}

void event_error_body(struct event_draft *d, const char *code, struct str detail)
{
    struct json_writer w = event_body_writer(d);
    jw_member_cstr(&w, "code", code ? code : "Error");
    jw_member_str(&w, "detail", detail.p ? detail : STR(""));
    classification_write(&w, error_classify(code ? code : "", detail));
    event_draft_reduce(d);
}

void event_agent_error_body(struct event_draft *d, struct str tool_name, struct str tool_call_id,
                            struct str error, const char *classification)
{
    struct json_writer w = event_body_writer(d);
    jw_member_str(&w, "tool_name", tool_name);
    jw_member_str(&w, "tool_call_id", tool_call_id);
    jw_member_str(&w, "error", error);
    classification_write(&w, classification_get(classification));
    event_draft_reduce(d);
}
