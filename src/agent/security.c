/* Confirmation policies: which calls wait for a person. */
#include "agent/analyzer/analyzer.h"
#include "agent/internal.h"

static const char *const risks[] = {"UNKNOWN", "LOW", "MEDIUM", "HIGH"};
static const char *const policies[] = {
    [POLICY_NEVER] = "NeverConfirm", [POLICY_ALWAYS] = "AlwaysConfirm", [POLICY_RISKY] = "ConfirmRisky"};

enum risk risk_parse(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(risks); i++) {
        if (str_is(name, risks[i]))
            return (enum risk)i;
    }
    return (enum risk) - 1;
}

const char *risk_name(enum risk risk)
{
    return risks[risk];
}

bool policy_decode(const struct json_value *v, const char *where, struct policy *out,
                   struct json_problems *problems)
{
    *out = (struct policy){.kind = POLICY_NEVER, .threshold = RISK_HIGH, .confirm_unknown = true};
    if (json_type(v) != JSON_OBJECT) {
        json_problem_add(problems, "model_attributes_type", where, "confirmation_policy",
                         "Input should be an object");
        return false;
    }
    struct str kind = json_get_str(v, "kind");
    size_t i = 0;
    while (i < ARRAY_LEN(policies) && !str_is(kind, policies[i]))
        i++;
    if (i == ARRAY_LEN(policies)) {
        json_problem_add(problems, "union_tag_invalid", where, "confirmation_policy",
                         "kind should be NeverConfirm, AlwaysConfirm or ConfirmRisky");
        return false;
    }
    out->kind = (enum policy_kind)i;
    if (out->kind != POLICY_RISKY)
        return true;
    out->confirm_unknown = json_get_bool(v, "confirm_unknown", true);
    if (!json_is_null(json_get(v, "threshold"))) {
        out->threshold = risk_parse(json_get_str(v, "threshold"));
        if ((int)out->threshold <=
            RISK_UNKNOWN) { /* upstream refuses a threshold that compares with nothing, too */
            json_problem_add(problems, "enum", where, "confirmation_policy",
                             "threshold should be LOW, MEDIUM or HIGH");
            return false;
        }
    }
    return true;
}

void policy_write(const struct policy *p, struct json_writer *w)
{
    jw_object(w);
    if (p->kind == POLICY_RISKY) {
        jw_member_cstr(w, "threshold", risks[p->threshold]);
        jw_member_bool(w, "confirm_unknown", p->confirm_unknown);
    }
    jw_member_cstr(w, "kind", policies[p->kind]);
    jw_object_end(w);
}

bool policy_asks(const struct policy *p, enum risk risk)
{
    switch (p->kind) {
    case POLICY_NEVER: return false;
    case POLICY_ALWAYS: return true;
    case POLICY_RISKY: break;
    }
    return risk == RISK_UNKNOWN ? p->confirm_unknown : risk >= p->threshold;
}
