#include "llm/provider.h"

/* What a LiteLLM proxy says a call cost; it knows the prices of the model behind it. */
static const char *const cost_headers[] = {"x-litellm-response-cost", "llm_provider-x-litellm-response-cost"};

double llm_cost(const struct llm *l, const struct llm_usage *usage, struct str headers)
{
    for (size_t i = 0; i < ARRAY_LEN(cost_headers); i++) {
        double cost;
        if (str_to_f64(outward_header(headers, str_from(cost_headers[i])), &cost) && cost >= 0 && cost < 1e9)
            return cost;
    }
    if (!l->has_prices)
        return 0;
    return (double)usage->prompt_tokens * l->input_price + (double)usage->completion_tokens * l->output_price;
}
