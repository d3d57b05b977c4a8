#include "llm/provider.h"

/* Services by the prefix of `model`. The first row is where a model without a known prefix goes. Those that offer an
 * address in the shape of OpenAI's chat completions are reached by that one. */
static const struct llm_provider llm_providers[] = {
    {.prefix = "openai",
     .dialect = &llm_openai_chat,
     .base = "https://api.openai.com/v1",
     .env_base = {"OPENAI_BASE_URL", "OPENAI_API_BASE"},
     .env_key = {"OPENAI_API_KEY"},
     .bare = "gpt- o1 o3 o4 chatgpt- codex-"},
    {.prefix = "scripted", .play = llm_scripted_play, .keyless = true},
    {.prefix = "openhands",
     .dialect = &llm_openai_chat,
     .base = "https://llm-proxy.app.all-hands.dev/v1",
     .env_key = {"OPENHANDS_API_KEY", "LITELLM_PROXY_API_KEY"}},
    {.prefix = "litellm_proxy",
     .dialect = &llm_openai_chat,
     .base = "http://localhost:4000",
     .env_base = {"LITELLM_PROXY_API_BASE"},
     .env_key = {"LITELLM_PROXY_API_KEY"},
     .keyless = true},
    {.prefix = "anthropic",
     .dialect = &llm_openai_chat,
     .base = "https://api.anthropic.com/v1",
     .env_base = {"ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"},
     .env_key = {"ANTHROPIC_API_KEY"},
     .bare = "claude-"},
    {.prefix = "gemini",
     .dialect = &llm_openai_chat,
     .base = "https://generativelanguage.googleapis.com/v1beta/openai",
     .env_base = {"GEMINI_API_BASE"},
     .env_key = {"GEMINI_API_KEY", "GOOGLE_API_KEY"},
     .bare = "gemini-"},
    {.prefix = "deepseek",
     .dialect = &llm_openai_chat,
     .base = "https://api.deepseek.com/v1",
     .env_base = {"DEEPSEEK_API_BASE"},
     .env_key = {"DEEPSEEK_API_KEY"},
     .bare = "deepseek-"},
    {.prefix = "mistral",
     .dialect = &llm_openai_chat,
     .base = "https://api.mistral.ai/v1",
     .env_base = {"MISTRAL_API_BASE"},
     .env_key = {"MISTRAL_API_KEY"},
     .bare = "mistral- devstral- codestral-"},
    {.prefix = "openrouter",
     .dialect = &llm_openai_chat,
     .base = "https://openrouter.ai/api/v1",
     .env_base = {"OPENROUTER_API_BASE"},
     .env_key = {"OPENROUTER_API_KEY"}},
    {.prefix = "groq",
     .dialect = &llm_openai_chat,
     .base = "https://api.groq.com/openai/v1",
     .env_base = {"GROQ_API_BASE"},
     .env_key = {"GROQ_API_KEY"}},
    {.prefix = "xai",
     .dialect = &llm_openai_chat,
     .base = "https://api.x.ai/v1",
     .env_base = {"XAI_API_BASE"},
     .env_key = {"XAI_API_KEY"},
     .bare = "grok-"},
    {.prefix = "hosted_vllm",
     .dialect = &llm_openai_chat,
     .base = "http://localhost:8000/v1",
     .env_base = {"HOSTED_VLLM_API_BASE"},
     .env_key = {"HOSTED_VLLM_API_KEY"},
     .keyless = true},
    {.prefix = "lm_studio",
     .dialect = &llm_openai_chat,
     .base = "http://localhost:1234/v1",
     .env_base = {"LM_STUDIO_API_BASE"},
     .env_key = {"LM_STUDIO_API_KEY"},
     .keyless = true},
    {.prefix = "ollama_chat",
     .dialect = &llm_openai_chat,
     .base = "http://localhost:11434/v1",
     .env_base = {"OLLAMA_API_BASE"},
     .keyless = true},
    {.prefix = "ollama",
     .dialect = &llm_openai_chat,
     .base = "http://localhost:11434/v1",
     .env_base = {"OLLAMA_API_BASE"},
     .keyless = true},
};

const struct llm_provider *llm_provider_find(struct str model, struct str *wire)
{
    *wire = model;
    ssize_t slash = str_find_char(model, '/');
    if (slash > 0)
        for (size_t i = 0; i < ARRAY_LEN(llm_providers); i++)
            if (str_is(str_sub(model, 0, (size_t)slash), llm_providers[i].prefix)) {
                *wire = str_sub(model, (size_t)slash + 1, model.n);
                return &llm_providers[i];
            }
    for (size_t i = 0; i < ARRAY_LEN(llm_providers); i++) {
        struct str rest = str_from(llm_providers[i].bare), start;
        while (str_split(&rest, ' ', &start))
            if (str_starts(model, start))
                return &llm_providers[i];
    }
    return &llm_providers[0];
}

/* The first row whose `start` begins the model's name (behind its last slash) counts. Windows are those that the
 * makers state; what is missing here works all the same, only without these refinements. */
static const struct {
    const char *start;
    int64_t window;
    unsigned traits;
} models[] = {
    {"gpt-5-chat", 128000, LLM_COMPLETION_TOKENS},
    {"gpt-5", 272000, LLM_TAKES_EFFORT | LLM_NO_SAMPLING | LLM_COMPLETION_TOKENS},
    {"codex-", 200000, LLM_TAKES_EFFORT | LLM_NO_SAMPLING | LLM_COMPLETION_TOKENS},
    {"gpt-4.1", 1047576, 0},
    {"gpt-4o", 128000, 0},
    {"chatgpt-4o", 128000, 0},
    {"gpt-4-turbo", 128000, 0},
    {"gpt-4", 8192, LLM_TEXT_ONLY},
    {"gpt-3.5", 16385, LLM_TEXT_ONLY},
    {"gpt-oss", 131072, LLM_TAKES_EFFORT | LLM_TEXT_ONLY},
    {"o1-mini", 128000, LLM_NO_SAMPLING | LLM_COMPLETION_TOKENS | LLM_TEXT_ONLY},
    {"o1-preview", 128000, LLM_NO_SAMPLING | LLM_COMPLETION_TOKENS | LLM_TEXT_ONLY},
    {"o3-mini", 200000, LLM_TAKES_EFFORT | LLM_NO_SAMPLING | LLM_COMPLETION_TOKENS | LLM_TEXT_ONLY},
    {"o1", 200000, LLM_TAKES_EFFORT | LLM_NO_SAMPLING | LLM_COMPLETION_TOKENS},
    {"o3", 200000, LLM_TAKES_EFFORT | LLM_NO_SAMPLING | LLM_COMPLETION_TOKENS},
    {"o4", 200000, LLM_TAKES_EFFORT | LLM_NO_SAMPLING | LLM_COMPLETION_TOKENS},
    {"claude-", 200000, LLM_CACHE_MARKS},
    {"gemini-2.5", 1048576, LLM_TAKES_EFFORT},
    {"gemini-3", 1048576, LLM_TAKES_EFFORT},
    {"gemini-", 1048576, 0},
    {"deepseek-", 131072, LLM_TEXT_ONLY | LLM_WANTS_REASONING},
    {"kimi-k2-thinking", 262144, LLM_TEXT_ONLY | LLM_WANTS_REASONING},
    {"kimi-k2", 262144, LLM_TEXT_ONLY},
    {"minimax-m2", 204800, LLM_TEXT_ONLY | LLM_WANTS_REASONING},
    {"grok-3-mini", 131072, LLM_TAKES_EFFORT | LLM_TEXT_ONLY},
    {"grok-code", 262144, LLM_TEXT_ONLY},
    {"qwen3-coder", 262144, LLM_TEXT_ONLY},
    {"devstral", 131072, LLM_TEXT_ONLY},
    {"codestral", 262144, LLM_TEXT_ONLY},
};

unsigned llm_model_traits(struct str wire_model, int64_t *context_window)
{
    ssize_t slash = str_rfind_char(wire_model, '/');
    struct str name = str_sub(wire_model, (size_t)(slash + 1), wire_model.n);
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        if (str_starts_nocase(name, str_from(models[i].start))) {
            *context_window = models[i].window;
            return models[i].traits;
        }
    *context_window = 0;
    return 0;
}
