/* The configuration of one model: decoding, environment defaults, the endpoint's URL. */
#include "llm/provider.h"

/* --- decoding ------------------------------------------------------------------------------------ */

static double seconds_get(const struct json_value *config, const char *key, double otherwise, double max)
{
    double v = json_get_float(config, key, otherwise);
    return v >= 0 && v <= max ? v : v > max ? max : otherwise;
}

static bool is_number(const struct json_value *v)
{
    return json_type(v) == JSON_INT || json_type(v) == JSON_FLOAT;
}

/* Clamped before it becomes an integer: of a number that does not fit, C makes anything. */
static int64_t integer_between(double v, int64_t low, int64_t high)
{
    return v > (double)low ? v < (double)high ? (int64_t)v : high : low;
}

static void numbers_read(struct llm *l, const struct json_value *config)
{
    const struct json_value *v = json_get(config, "temperature");
    l->has_temperature = is_number(v);
    l->temperature = json_float(v, 0);
    v = json_get(config, "top_p");
    l->has_top_p = is_number(v);
    l->top_p = json_float(v, 1);
    v = json_get(config, "top_k");
    l->has_top_k = is_number(v);
    l->top_k = integer_between(json_float(v, 0), LLM_TOP_K_MIN, LLM_TOP_K_MAX);
    v = json_get(config, "seed");
    l->has_seed = json_type(v) == JSON_INT;
    l->seed = json_int(v, 0);
    l->input_price = json_get_float(config, "input_cost_per_token", 0);
    l->output_price = json_get_float(config, "output_cost_per_token", 0);
    l->has_prices = l->input_price > 0 || l->output_price > 0;
    l->max_output_tokens = json_get_int(config, "max_output_tokens", 0);
    l->max_message_chars = json_get_int(config, "max_message_chars", 30000);
    if (l->max_message_chars < 1)
        l->max_message_chars = 30000;
    int64_t attempts = json_get_int(config, "num_retries", 5);
    l->attempts = attempts < 1 ? 1 : attempts > LLM_ATTEMPTS_MAX ? LLM_ATTEMPTS_MAX : (unsigned)attempts;
    l->timeout = seconds_get(config, "timeout", LLM_TIMEOUT_S, LLM_TIMEOUT_MAX_S);
    if (l->timeout == 0)
        l->timeout = LLM_TIMEOUT_S;
    l->retry_multiplier = seconds_get(config, "retry_multiplier", 8, 3600);
    l->retry_min = seconds_get(config, "retry_min_wait", 8, 3600);
    l->retry_max = seconds_get(config, "retry_max_wait", 64, 3600);
}

static void traits_read(struct llm *l, const struct json_value *config)
{
    struct str canonical = json_get_str(config, "model_canonical_name");
    l->traits = llm_model_traits(canonical.n > 0 ? canonical : l->wire_model, &l->context_window);
    l->context_window = json_get_int(config, "max_input_tokens", l->context_window);
    l->vision = !json_get_bool(config, "disable_vision", false) && !(l->traits & LLM_TEXT_ONLY);
    l->caching = json_get_bool(config, "caching_prompt", true) && (l->traits & LLM_CACHE_MARKS);
    l->stream = json_get_bool(config, "stream", false);
    l->drop_params = json_get_bool(config, "drop_params", true);
    l->native_tools = json_get_bool(config, "native_tool_calling", true);
    l->string_content = json_get_bool(config, "force_string_serializer", false);
    const struct json_value *effort = json_get(config, "reasoning_effort");
    l->effort = json_type(effort) == JSON_STRING ? json_str(effort) : effort ? STR_NONE : STR("high");
    if (str_is(l->effort, "none"))
        l->effort = STR_NONE;
}

/* --- where it goes ------------------------------------------------------------------------------- */

static struct str env_first(struct llm *l, const char *(*env)(const char *), const char *const names[3])
{
    for (size_t i = 0; env && i < 3 && names[i]; i++) {
        const char *value = env(names[i]);
        if (value && *value)
            return arena_str(l->arena, str_from(value));
    }
    return STR_NONE;
}

/* Configured addresses come in every form: with and without `/v1`, a slash behind, the whole endpoint, a query. A bare
 * host gets `/v1`. */
static struct str endpoint_url(struct arena *arena, struct str base, const char *path)
{
    struct str query = STR(""), endpoint = str_from(path);
    ssize_t mark = str_find_char(base, '?');
    if (mark >= 0) {
        query = str_sub(base, (size_t)mark, base.n);
        base = str_sub(base, 0, (size_t)mark);
    }
    while (str_ends(base, STR("/")))
        base.n--;
    if (str_ends(base, endpoint))
        base.n -= endpoint.n;
    ssize_t scheme = str_find(base, STR("://"));
    struct str host = str_sub(base, scheme < 0 ? 0 : (size_t)scheme + 3, base.n);
    const char *version = str_find_char(host, '/') < 0 ? "/v1" : "";
    return arena_printf(arena, "%.*s%s%s%.*s", STR_ARG(base), version, path, STR_ARG(query));
}

/* Scheme, host and port, as they are written and without the port that goes without saying. Whatever else stands before
 * the path (a user, a stray character) stays part of it, so that it equals no honest one. */
static struct str url_origin(struct str url)
{
    static const struct {
        struct str scheme, port;
    } usual[] = {{STR_INIT("http://"), STR_INIT(":80")}, {STR_INIT("https://"), STR_INIT(":443")}};
    ssize_t scheme = str_find(url, STR("://"));
    size_t end = scheme < 0 ? url.n : (size_t)scheme + 3;
    while (end < url.n && str_find_char(STR("/?#"), url.p[end]) < 0)
        end++;
    struct str origin = str_sub(url, 0, end);
    for (size_t i = 0; i < ARRAY_LEN(usual); i++)
        if (str_starts_nocase(origin, usual[i].scheme) && str_ends(origin, usual[i].port))
            origin.n -= usual[i].port.n;
    return origin;
}

/* The operator's key is for the operator's address and the service's own. A client may name any other; there goes the
 * client's key, or none. */
static bool key_is_for(const struct llm_provider *p, struct str base, struct str env_base)
{
    struct str origin = url_origin(base);
    return str_eq_nocase(origin, url_origin(str_from(p->base))) ||
           (env_base.n > 0 && str_eq_nocase(origin, url_origin(env_base)));
}

/* What is wrong here is an error of the run and not of creating the conversation: `unusable`. */
static void address_read(struct llm *l, const struct json_value *config, const char *(*env)(const char *))
{
    const struct llm_provider *p = l->provider;
    l->api_key = str_trim(json_get_str(config, "api_key"));
    if (!p->dialect)
        return;
    struct str base = str_trim(json_get_str(config, "base_url"));
    if (base.n == 0 && str_starts(str_from(p->prefix), STR("ollama")))
        base = str_trim(json_get_str(config, "ollama_base_url"));
    struct str env_base = str_trim(env_first(l, env, p->env_base));
    if (base.n == 0)
        base = env_base;
    bool own = base.n == 0; /* the service's own address */
    if (own)
        base = str_from(p->base);
    if (l->api_key.n == 0 && key_is_for(p, base, env_base))
        l->api_key = env_first(l, env, p->env_key);
    l->url = endpoint_url(l->arena, base, p->dialect->path);
    if (own && l->api_key.n == 0 && !p->keyless) {
        err_set(&l->unusable, ERR_INVALID, "there is no API key for the model %.*s: set api_key or %s",
                STR_ARG(l->model), p->env_key[0]);
        err_set_code(&l->unusable, "LLMAuthenticationError");
    } else if (!str_starts_nocase(base, STR("http://")) && !str_starts_nocase(base, STR("https://"))) {
        err_set(&l->unusable, ERR_INVALID, "base_url must begin with http:// or https://");
        err_set_code(&l->unusable, "LLMBadRequestError");
    }
}

static void headers_read(struct llm *l, const struct json_value *config)
{
    const struct json_value *extra = json_get(config, "extra_headers");
    struct str *headers = arena_alloc(l->arena, (json_count(extra) + 1) * sizeof(*headers));
    for (struct json_iter it = json_iter(extra); json_next(&it);)
        if (it.key.n > 0 && json_type(it.value) == JSON_STRING) {
            struct str value = json_str(it.value);
            headers[l->header_count++] =
                arena_printf(l->arena, "%.*s: %.*s", STR_ARG(it.key), STR_ARG(value));
        }
    l->headers = headers;
}

struct llm *llm_new(const struct json_value *config, const char *(*env)(const char *name), struct err **e)
{
    struct llm *l = xcalloc(1, sizeof(*l));
    atomic_init(&l->refs, 1);
    l->arena = arena_new();
    autobuf text = {0};
    json_add(&text, config);
    l->config = json_parse_trusted(buf_str(&text), e);
    if (text.n > 0)
        explicit_bzero(text.p, text.n); /* it holds the key */
    const struct json_value *own = json_root(l->config);
    l->model = json_get_str(own, "model");
    l->usage_id = json_get_str(own, "usage_id");
    if (l->usage_id.n == 0)
        l->usage_id = STR("default");
    l->provider = llm_provider_find(l->model, &l->wire_model);
    bool ok = l->config != NULL;
    if (ok && (l->wire_model.n == 0 || l->model.n > LLM_NAME_MAX))
        ok = err_set(e, ERR_INVALID, "model must be a name of 1 to %d bytes", LLM_NAME_MAX);
    if (ok) {
        numbers_read(l, own);
        traits_read(l, own);
        headers_read(l, own);
        l->extra_body = json_get(own, "litellm_extra_body");
        address_read(l, own, env);
    }
    if (ok)
        return l;
    llm_unref(l);
    return NULL;
}

struct llm *llm_ref(struct llm *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void llm_unref(struct llm *l)
{
    if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    json_doc_free(l->config);
    arena_free(l->arena);
    err_free(l->unusable);
    free(l);
}

const struct err *llm_problem(const struct llm *l)
{
    return l->unusable;
}

struct str llm_model(const struct llm *l)
{
    return l->model;
}

struct str llm_usage_id(const struct llm *l)
{
    return l->usage_id;
}

bool llm_streams(const struct llm *l)
{
    return l->stream;
}

int64_t llm_max_message_chars(const struct llm *l)
{
    return l->max_message_chars;
}

bool llm_vision(const struct llm *l)
{
    return l->vision;
}

int64_t llm_context_window(const struct llm *l)
{
    return l->context_window;
}
