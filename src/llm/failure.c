/* What a failed call is called, and whether another attempt makes sense. Codes are the reference's, since clients and
 * ConversationErrorEvent compare them; the substrings are what providers are known to write. */
#include "base/clock.h"
#include "base/utf8.h"
#include "llm/provider.h"
#include <time.h>

#define SEARCHED_MAX 16384 /* bytes of an error's body that are searched */
#define SHOWN_MAX 2000     /* bytes of it that are shown */
#define SECRET_MIN 8       /* what is shorter is no secret and may be a word */

/* --- the tables ---------------------------------------------------------------------------------- */

static const struct failure_code {
    const char *code;
    bool retry;
} codes[] = {
    {"LLMServiceUnavailableError", true},
    {"LLMRateLimitError", true},
    {"LLMTimeoutError", true},
    {"LLMNoResponseError", true},
    {"LLMBadRequestError", false},
    {"LLMAuthenticationError", false},
    {"LLMContextWindowExceedError", false},
    {"LLMMalformedConversationHistoryError", false},
    {"LLMContentPolicyViolationError", false},
    {"LLMResponseError", false},
    {"NotFoundError", false},
};

/* All lower case. The first row with a pattern in the text decides, before the status does. */
static const struct {
    const char *code;
    const char *patterns[16];
} texts[] = {
    {"LLMContextWindowExceedError",
     {"contextwindowexceedederror", "context_length_exceeded", "context_window_exceeded",
      "maximum context length", "context length exceeded", "prompt is too long", "exceed context limit",
      "please reduce the length of", "exceeds the available context size", "exceeds the context window",
      "context window exceeds limit", "input is too long", "input token count exceeds",
      "too many input tokens", "exceed_context_size"}},
    {"LLMMalformedConversationHistoryError",
     {"without `tool_result` blocks immediately after", "must have a corresponding `tool_result` block",
      "must have a corresponding `tool_use` block", "each tool_use must have a single result",
      "found multiple `tool_result` blocks with id", "unexpected `tool_use_id` found in `tool_result` blocks",
      "must be followed by tool messages", "must be a response to a preceeding message with 'tool_calls'",
      "must be a response to a preceding message with 'tool_calls'",
      "failed to parse tool call arguments as json", "tool call id was not found", "unexpected role 'tool'"}},
    {"LLMContentPolicyViolationError",
     {"content_policy_violation", "contentpolicyviolationerror", "content management policy",
      "content_filter", "output blocked by content filtering", "responsibleaipolicyviolation"}},
};

/* Only for client errors: a gateway's 503 may quote any of them. */
static const char *const auth_patterns[] = {"invalid api key",  "incorrect api key",      "invalid_api_key",
                                            "missing api key",  "invalid authentication", "invalid x-api-key",
                                            "api key not valid"};

/* Money, not haste: the same request fails until somebody pays. */
static const char *const quota_patterns[] = {"insufficient_quota",
                                             "exceeded your current quota",
                                             "insufficient balance",
                                             "insufficient credits",
                                             "billing",
                                             "exceededbudget"};

static const struct {
    enum llm_param param;
    const char *name;
} params[] = {
    {LLM_PARAM_MAX_COMPLETION_TOKENS, "max_completion_tokens"}, /* before the names that are part of it */
    {LLM_PARAM_MAX_TOKENS, "max_tokens"},
    {LLM_PARAM_TEMPERATURE, "temperature"},
    {LLM_PARAM_TOP_P, "top_p"},
    {LLM_PARAM_TOP_K, "top_k"},
    {LLM_PARAM_SEED, "seed"},
    {LLM_PARAM_EFFORT, "reasoning_effort"},
    {LLM_PARAM_STREAM_OPTIONS, "stream_options"},
};
static const char *const refusal_patterns[] = {"unsupported", "not support",  "unrecognized",
                                               "unknown",     "extra inputs", "not permitted",
                                               "unexpected",  "not allowed"};

/* --- reading an error's text ----------------------------------------------------------------------- */

static bool has_any(struct str text, const char *const *patterns, size_t n)
{
    for (size_t i = 0; i < n && patterns[i]; i++)
        if (str_find(text, str_from(patterns[i])) >= 0)
            return true;
    return false;
}

static void lower_add(struct buf *out, struct str s)
{
    buf_add(out, str_sub(s, 0, SEARCHED_MAX));
    for (size_t i = 0; i < out->n; i++)
        if (out->p[i] >= 'A' && out->p[i] <= 'Z')
            out->p[i] = (char)(out->p[i] + 32);
}

/* The sentence meant for people: {"error":{"message":…}}, {"error":"…"}, {"message":…}, {"detail":…}. */
static void message_add(struct buf *out, const struct json_value *v)
{
    static const char *const keys[] = {"message", "error", "detail", "error_description", "msg"};
    if (json_type(v) == JSON_ARRAY) {
        struct json_iter it = json_iter(v);
        if (json_next(&it))
            v = it.value;
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct json_value *member = json_get(v, keys[i]);
        if (json_type(member) == JSON_STRING) {
            buf_add(out, json_str(member));
            return;
        }
        if (json_type(member) == JSON_OBJECT || json_type(member) == JSON_ARRAY) {
            size_t before = out->n;
            message_add(out, member);
            if (out->n == before)
                json_add(out, member);
            return;
        }
    }
}

/* A header's value, or what follows its scheme ("Bearer …"): servers repeat either. */
static size_t header_secret_at(struct str header, struct str text)
{
    ssize_t colon = str_find_char(header, ':');
    struct str value = str_trim(str_sub(header, (size_t)(colon + 1), header.n));
    if (value.n >= SECRET_MIN && str_starts(text, value))
        return value.n;
    ssize_t space = str_find_char(value, ' ');
    value = str_trim(str_sub(value, (size_t)(space + 1), value.n));
    return value.n >= SECRET_MIN && str_starts(text, value) ? value.n : 0;
}

/* Bytes of the longest secret that `text` begins with. */
static size_t secret_at(const struct llm *l, struct str text)
{
    size_t longest = l->api_key.n >= SECRET_MIN && str_starts(text, l->api_key) ? l->api_key.n : 0;
    for (size_t i = 0; i < l->header_count; i++) {
        size_t n = header_secret_at(l->headers[i], text);
        longest = n > longest ? n : longest;
    }
    return longest;
}

/* Some servers repeat the key, or whatever else they were given. Ends where no more is shown. */
static void masked_add(struct buf *out, const struct llm *l, struct str text)
{
    for (size_t at = 0, n; at < text.n && out->n < 2 * SHOWN_MAX; at += n) {
        n = secret_at(l, str_sub(text, at, text.n));
        if (n > 0)
            buf_add_cstr(out, "**********");
        else
            buf_add_char(out, text.p[at]);
        n += n == 0;
    }
}

static void shown_add(struct buf *out, const struct llm *l, struct str text)
{
    autobuf clean = {0}, masked = {0};
    masked_add(&masked, l, str_trim(text));
    utf8_scrub(&clean, buf_str(&masked));
    struct str shown = utf8_prefix_bytes(str_trim(buf_str(&clean)), SHOWN_MAX);
    for (size_t i = 0; i < shown.n; i++)
        buf_add_char(out, (unsigned char)shown.p[i] < ' ' ? ' ' : shown.p[i]);
    if (shown.n < str_trim(buf_str(&clean)).n)
        buf_add_cstr(out, " …");
}

/* "gpt-4o at api.example.org": whom the error is about, without what a URL may hide. */
static void subject_add(struct buf *out, const struct llm *l)
{
    buf_add(out, l->model);
    ssize_t scheme = str_find(l->url, STR("://"));
    if (scheme < 0)
        return;
    struct str host = str_sub(l->url, (size_t)scheme + 3, l->url.n);
    ssize_t slash = str_find_char(host, '/');
    host = str_sub(host, 0, slash < 0 ? host.n : (size_t)slash);
    ssize_t user = str_rfind_char(host, '@');
    buf_addf(out, " at %.*s", STR_ARG(str_sub(host, (size_t)(user + 1), host.n)));
}

/* --- classification -------------------------------------------------------------------------------- */

static void retry_by_code(struct llm_failure *failure, const char *code)
{
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (strcmp(codes[i].code, code) == 0)
            failure->retry = codes[i].retry;
    failure->no_answer = strcmp(code, "LLMNoResponseError") == 0;
}

static bool fail_with(const struct llm *l, const char *code, enum err_kind kind, struct str text,
                      struct llm_failure *failure, struct err **e)
{
    autobuf out = {0};
    subject_add(&out, l);
    buf_add_cstr(&out, ": ");
    shown_add(&out, l, text);
    retry_by_code(failure, code);
    if (e && !*e) {
        err_set(e, kind, "%.*s", STR_ARG(buf_str(&out)));
        err_set_code(e, code);
    }
    return false;
}

bool llm_fail(const struct llm *l, const char *code, struct llm_failure *failure, struct err **e,
              const char *fmt, ...)
{
    autobuf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vaddf(&text, fmt, args);
    va_end(args);
    return fail_with(l, code, ERR_UPSTREAM, buf_str(&text), failure, e);
}

static const char *code_by_status(int status)
{
    switch (status) {
    case 401:
    case 403:
    case 407: return "LLMAuthenticationError";
    case 404: return "NotFoundError";
    case 408: return "LLMTimeoutError";
    case 429: return "LLMRateLimitError";
    default: return status >= 500 ? "LLMServiceUnavailableError" : "LLMBadRequestError";
    }
}

static const char *code_of(int status, struct str lower)
{
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (has_any(lower, texts[i].patterns, ARRAY_LEN(texts[i].patterns)))
            return texts[i].code;
    if (status < 500 && status != 429 && has_any(lower, auth_patterns, ARRAY_LEN(auth_patterns)))
        return "LLMAuthenticationError";
    return code_by_status(status);
}

static unsigned refused_params(int status, struct str lower, const struct json_value *error)
{
    if (status != 400 && status != 422)
        return 0;
    struct str param = json_get_str(error, "param");
    for (size_t i = 0; i < ARRAY_LEN(params); i++)
        if (str_is(param, params[i].name))
            return params[i].param;
    if (!has_any(lower, refusal_patterns, ARRAY_LEN(refusal_patterns)))
        return 0;
    /* The first one named is the one refused; others may be named as the remedy. */
    unsigned found = 0;
    ssize_t first = -1;
    for (size_t i = 0; i < ARRAY_LEN(params); i++) {
        ssize_t at = str_find(lower, str_from(params[i].name));
        if (at >= 0 && (first < 0 || at < first)) {
            first = at;
            found = params[i].param;
        }
    }
    return found;
}

/* Seconds of Retry-After (a number or a date) or retry-after-ms; below 0: none. */
static double retry_after(struct str headers)
{
    double v;
    if (str_to_f64(outward_header(headers, STR("retry-after-ms")), &v) && v >= 0)
        return v / 1000;
    struct str text = outward_header(headers, STR("Retry-After"));
    if (str_to_f64(text, &v))
        return v >= 0 ? v : -1;
    struct tm tm = {0};
    char date[64];
    if (text.n == 0 || text.n >= sizeof(date))
        return -1;
    memcpy(date, text.p, text.n);
    date[text.n] = 0;
    const char *end = strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (!end)
        return -1;
    double wait = (double)timegm(&tm) - (double)clock_wall_us() / 1e6;
    return wait > 0 ? wait : 0;
}

/* Without its query, which may hold a key. */
static void redirect_add(struct buf *text, struct str location)
{
    size_t end = 0;
    while (end < location.n && str_find_char(STR("?#"), location.p[end]) < 0)
        end++;
    buf_addf(text, ": the server redirects to %.*s%s", (int)end, location.p ? location.p : "",
             end < location.n ? "?…" : "");
}

bool llm_fail_status(const struct llm *l, int status, struct str headers, struct str body,
                     struct llm_failure *failure, struct err **e)
{
    *failure = (struct llm_failure){.retry_after = retry_after(headers)};
    autobuf lower = {0}, text = {0}, message = {0}, clean = {0};
    lower_add(&lower, body);
    utf8_scrub(&clean, body);
    autojson doc = json_parse(str_trim(buf_str(&clean)), NULL, NULL);
    const struct json_value *root = json_root(doc);
    const char *code = code_of(status, buf_str(&lower));
    bool keyless = l->api_key.n == 0 && strcmp(code, "LLMAuthenticationError") == 0;
    buf_addf(&text, "status %d%s", status, keyless ? " (set api_key: there is none)" : "");
    message_add(&message, root);
    struct str shown = message.n > 0 ? buf_str(&message) : str_trim(body);
    if (str_starts(shown, STR("<")))
        shown = STR("the answer is a web page");
    if (status >= 300 && status < 400)
        redirect_add(&text, outward_header(headers, STR("Location")));
    else if (shown.n > 0)
        buf_addf(&text, ": %.*s", STR_ARG(shown));
    fail_with(l, code, status == 408 ? ERR_TIMEOUT : ERR_UPSTREAM, buf_str(&text), failure, e);
    const struct json_value *error = json_get(root, "error");
    failure->refused = refused_params(status, buf_str(&lower), error ? error : root);
    if (status == 429 && has_any(buf_str(&lower), quota_patterns, ARRAY_LEN(quota_patterns)))
        failure->retry = false;
    return false;
}

bool llm_fail_object(const struct llm *l, const struct json_value *error, struct llm_failure *failure,
                     struct err **e)
{
    autobuf body = {0};
    int64_t status = json_get_int(error, "status", json_get_int(error, "code", 0));
    if (status < 400 || status > 599) /* an error that calls itself by a word, or not at all */
        status = str_find(json_get_str(error, "type"), STR("invalid_request")) >= 0 ? 400 : 500;
    buf_add_cstr(&body, "{\"error\":");
    json_add(&body, error);
    buf_add_char(&body, '}');
    return llm_fail_status(l, (int)status, STR_NONE, buf_str(&body), failure, e);
}

bool llm_fail_transport(const struct llm *l, const struct err *transport, struct llm_failure *failure,
                        struct err **e)
{
    *failure = (struct llm_failure){.retry_after = -1};
    struct str text = str_from(err_text(transport));
    switch (transport->kind) {
    case ERR_TIMEOUT: return fail_with(l, "LLMTimeoutError", ERR_TIMEOUT, text, failure, e);
    case ERR_INVALID: return fail_with(l, "LLMBadRequestError", ERR_INVALID, text, failure, e);
    case ERR_TOO_LARGE: return fail_with(l, "LLMResponseError", ERR_UPSTREAM, text, failure, e);
    case ERR_CANCELLED: return err_set(e, ERR_CANCELLED, "cancelled");
    case ERR_INTERNAL:
    case ERR_UNAUTHORIZED:
    case ERR_FORBIDDEN:
    case ERR_NOT_FOUND:
    case ERR_CONFLICT:
    case ERR_BUSY:
    case ERR_IO:
    case ERR_LOST:
    case ERR_UPSTREAM:
    case ERR_TOO_MANY:
    case ERR_GONE: break;
    }
    return fail_with(l, "LLMServiceUnavailableError", ERR_UPSTREAM, text, failure, e);
}
