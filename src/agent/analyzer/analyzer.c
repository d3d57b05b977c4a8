/* The kinds of analyzers, and how each judges. */
#include "agent/analyzer/analyzer.h"
#include "agent/analyzer/pattern.h"
#include "agent/internal.h"
#include "base/utf8.h"

enum analyzer_kind { ANALYZER_LLM, ANALYZER_PATTERN, ANALYZER_RAILS, ANALYZER_ENSEMBLE, ANALYZER_KINDS };

static const char *const kinds[ANALYZER_KINDS] = {
    [ANALYZER_LLM] = "LLMSecurityAnalyzer",
    [ANALYZER_PATTERN] = "PatternSecurityAnalyzer",
    [ANALYZER_RAILS] = "PolicyRailSecurityAnalyzer",
    [ANALYZER_ENSEMBLE] = "EnsembleSecurityAnalyzer",
};
/* Known, but they ask somebody else for each action. */
static const char *const elsewhere[] = {"GraySwanAnalyzer", "ToolShieldLLMSecurityAnalyzer"};

struct analyzer {
    enum analyzer_kind kind;
    struct pattern_set *patterns;
    struct analyzer *children[ANALYZERS_MAX];
    size_t child_count;
    bool propagate_unknown;
};

void analyzer_free(struct analyzer *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->child_count; i++)
        analyzer_free(a->children[i]);
    pattern_set_free(a->patterns);
    free(a);
}

/* --- configuration --- */

static const struct {
    const char *key;
    enum risk risk;
    enum pattern_place place;
} lists[] = {
    {"high_patterns", RISK_HIGH, PATTERN_ACTION},
    {"medium_patterns", RISK_MEDIUM, PATTERN_ACTION},
    {"injection_high_patterns", RISK_HIGH, PATTERN_EVERYWHERE},
    {"injection_medium_patterns", RISK_MEDIUM, PATTERN_EVERYWHERE},
};

/* A list of [regex, description, id]; what is absent is built in. */
static bool list_read(struct analyzer *a, const struct json_value *config, size_t list, struct err **e)
{
    const struct json_value *given = json_get(config, lists[list].key);
    if (json_is_null(given)) {
        pattern_set_add_builtin(a->patterns, lists[list].risk, lists[list].place);
        return true;
    }
    if (json_type(given) != JSON_ARRAY || json_count(given) > ANALYZER_PATTERNS_MAX)
        return err_set(e, ERR_INVALID, "%s should be a list of at most %d patterns", lists[list].key,
                       ANALYZER_PATTERNS_MAX);
    for (struct json_iter it = json_iter(given); json_next(&it);) {
        struct json_iter parts = json_iter(it.value);
        if (json_type(it.value) != JSON_ARRAY || !json_next(&parts) || json_type(parts.value) != JSON_STRING)
            return err_set(e, ERR_INVALID, "%s.%zu should be a list: pattern, description, id",
                           lists[list].key, it.index);
        if (!pattern_set_add(a->patterns, json_str(parts.value), lists[list].risk, lists[list].place, e))
            return err_prefix(e, "%s.%zu", lists[list].key, it.index);
    }
    return true;
}

static bool patterns_read(struct analyzer *a, const struct json_value *config, struct err **e)
{
    a->patterns = pattern_set_new();
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (!list_read(a, config, i, e))
            return false;
    return true;
}

static struct analyzer *one_new(const struct json_value *config, unsigned depth, struct err **e);

static bool ensemble_read(struct analyzer *a, const struct json_value *config, unsigned depth, struct err **e)
{
    const struct json_value *children = json_get(config, "analyzers");
    size_t n = json_count(children);
    if (json_type(children) != JSON_ARRAY || n == 0 || n > ANALYZERS_MAX)
        return err_set(e, ERR_INVALID, "analyzers should be a list of 1 to %d analyzers", ANALYZERS_MAX);
    if (depth == ANALYZER_DEPTH_MAX)
        return err_set(e, ERR_INVALID, "ensembles are nested too deeply");
    a->propagate_unknown = json_get_bool(config, "propagate_unknown", false);
    for (struct json_iter it = json_iter(children); json_next(&it);) {
        struct analyzer *child = one_new(it.value, depth + 1, e);
        if (!child)
            return err_prefix(e, "analyzers.%zu", it.index);
        a->children[a->child_count++] = child;
    }
    return true;
}

static bool kind_read(struct str name, enum analyzer_kind *kind, struct err **e)
{
    for (size_t i = 0; i < ANALYZER_KINDS; i++)
        if (str_is(name, kinds[i])) {
            *kind = (enum analyzer_kind)i;
            return true;
        }
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++)
        if (str_is(name, elsewhere[i])) {
            err_set(e, ERR_INVALID,
                    "%s asks another service about each action, and this server cannot do that",
                    elsewhere[i]);
            err_set_code(e, "union_tag_invalid");
            return false;
        }
    err_set(e, ERR_INVALID,
            "Input tag 'kind' should be one of 'LLMSecurityAnalyzer', 'PatternSecurityAnalyzer', "
            "'PolicyRailSecurityAnalyzer' and 'EnsembleSecurityAnalyzer'");
    err_set_code(e, "union_tag_invalid");
    return false;
}

static struct analyzer *one_new(const struct json_value *config, unsigned depth, struct err **e)
{
    enum analyzer_kind kind;
    if (!kind_read(json_get_str(config, "kind"), &kind, e))
        return NULL;
    struct analyzer *a = xcalloc(1, sizeof(*a));
    a->kind = kind;
    bool ok = true;
    if (kind == ANALYZER_PATTERN)
        ok = patterns_read(a, config, e);
    else if (kind == ANALYZER_ENSEMBLE)
        ok = ensemble_read(a, config, depth, e);
    if (ok)
        return a;
    analyzer_free(a);
    return NULL;
}

struct analyzer *analyzer_broken(void)
{
    struct analyzer *a = xcalloc(1, sizeof(*a));
    a->kind = ANALYZER_KINDS;
    return a;
}

struct analyzer *analyzer_new(const struct json_value *config, struct err **e)
{
    return one_new(config, 0, e);
}

bool analyzer_wants_risk(const struct analyzer *a)
{
    bool wants = a->kind == ANALYZER_LLM;
    for (size_t i = 0; i < a->child_count; i++)
        wants |= analyzer_wants_risk(a->children[i]);
    return wants;
}

static bool config_wants_risk(const struct json_value *config, unsigned depth)
{
    bool wants = str_is(json_get_str(config, "kind"), kinds[ANALYZER_LLM]);
    for (struct json_iter it = json_iter(json_get(config, "analyzers"));
         depth > 0 && !wants && json_next(&it);)
        wants = config_wants_risk(it.value, depth - 1);
    return wants;
}

bool analyzer_config_wants_risk(const struct json_value *config)
{
    return config_wants_risk(config, ANALYZER_DEPTH_MAX);
}

/* --- judging --- */

struct material { /* made when it is first wanted, once for all analyzers */
    const struct analyzed *given;
    bool made;
    struct buf action,
        said; /* plain text: texts of the action as they are and as a shell reads them; words about it */
    struct buf segment_ends; /* size_t: where each text of the action ends, for rules about one of them */
    bool destroys, feeds, uncertain, too_much;
};

static void words_add(struct buf *out, struct str text)
{
    if (text.n > 0) {
        analyzer_normalize(text, out);
        buf_add_char(out, '\n');
    }
}

static void text_add(struct material *m, struct str text)
{
    struct shell_scan scan;
    autobuf plain = {0};
    if (str_trim(text).n == 0)
        return;
    analyzer_normalize(text, &plain);
    shell_scan(buf_str(&plain), &scan);
    buf_add(&m->action, buf_str(&plain));
    buf_add_char(&m->action, '\n');
    utf8_scrub(&m->action, buf_str(&scan.text));
    m->destroys |= scan.destroys;
    m->feeds |= scan.feeds;
    m->uncertain |= scan.uncertain;
    m->too_much |= scan.too_much;
    shell_scan_deinit(&scan);
    buf_add_bytes(&m->segment_ends, &m->action.n, sizeof(m->action.n));
}

/* Keys are the tool's, texts are what it will do. A key of a stranger's tool is looked at as well. */
static void value_add(struct material *m, const struct json_value *v, bool top)
{
    if (json_type(v) == JSON_STRING)
        text_add(m, json_str(v));
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        if (top && str_is(it.key, "kind"))
            continue;
        if (!top)
            words_add(&m->action, it.key);
        value_add(m, it.value, false);
    }
}

static void material_make(struct material *m)
{
    if (m->made)
        return;
    m->made = true;
    autojson doc = json_parse_trusted(m->given->action, NULL);
    if (doc)
        value_add(m, json_root(doc), true);
    else
        text_add(m, m->given->action);
    words_add(&m->action, m->given->tool);
    words_add(&m->said, m->given->summary);
    words_add(&m->said, m->given->reasoning);
    words_add(&m->said, m->given->thought);
}

static enum risk judge_patterns(const struct analyzer *a, struct material *m)
{
    material_make(m);
    if (m->destroys || m->feeds || m->too_much)
        return RISK_HIGH;
    enum risk risk = pattern_set_judge(a->patterns, buf_str(&m->action), buf_str(&m->said));
    return risk == RISK_LOW && m->uncertain ? RISK_UNKNOWN : risk;
}

static enum risk judge_rails(struct material *m)
{
    material_make(m);
    size_t from = 0;
    for (size_t i = 0; i < m->segment_ends.n / sizeof(size_t); i++) {
        size_t to;
        memcpy(&to, m->segment_ends.p + i * sizeof(to), sizeof(to));
        if (rails_fire(str_sub(buf_str(&m->action), from, to)))
            return RISK_HIGH;
        from = to;
    }
    return m->feeds || m->too_much ? RISK_HIGH : RISK_LOW;
}

static enum risk judge(const struct analyzer *a, struct material *m);

/* The worst that is known; with propagate_unknown, not to know is an answer, too. */
static enum risk judge_ensemble(const struct analyzer *a, struct material *m)
{
    enum risk worst = RISK_UNKNOWN;
    bool unknown = false;
    for (size_t i = 0; i < a->child_count; i++) {
        enum risk risk = judge(a->children[i], m);
        unknown |= risk == RISK_UNKNOWN;
        worst = risk > worst ? risk : worst;
    }
    return unknown && a->propagate_unknown ? RISK_UNKNOWN : worst;
}

static enum risk judge(const struct analyzer *a, struct material *m)
{
    switch (a->kind) {
    case ANALYZER_LLM: return m->given->said;
    case ANALYZER_PATTERN: return judge_patterns(a, m);
    case ANALYZER_RAILS: return judge_rails(m);
    case ANALYZER_ENSEMBLE: return judge_ensemble(a, m);
    case ANALYZER_KINDS: break;
    }
    return RISK_HIGH;
}

enum risk analyzer_judge(const struct analyzer *a, const struct analyzed *action)
{
    struct material m = {.given = action};
    enum risk risk = judge(a, &m);
    buf_deinit(&m.action);
    buf_deinit(&m.said);
    buf_deinit(&m.segment_ends);
    return risk;
}
