/* Rules as regular expressions, in one table. */
#include "agent/analyzer/pattern.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/vec.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>

#define MATCH_LIMIT 1000000 /* steps from one place in a text: some 20 ms */
#define MATCH_HEAP_KIB 65536
#define MATCH_SECONDS 5       /* for all patterns and one action; past it the action is HIGH */
#define CALLOUTS_PER_LOOK 256 /* places in a text between two looks at the clock */

#define SHELL "\\b(?:ba|da|z|k|a|fi)?sh\\b"
#define PATH "(?:\\S{0,200}/)?" /* in front of a command's name, where something else stands before it */
#define RUNNER "\\b(?:(?:ba|da|z|k|a|fi)?sh|python[23]?|perl|ruby|node|php)\\b"
#define FETCH "\\b(?:curl|wget|aria2c)\\b"
#define DECODE \
    "\\b(?:base(?:64|32)\\s+(?:-\\w{0,20}d|--d)|xxd\\s+-\\w{0,20}r|openssl\\s+(?:enc|base64)|uudecode)"
#define PART "[^;|&\\n]" /* of one command */

/* What is looked for in what an action does, and (`PATTERN_EVERYWHERE`) also in what is said about it. All without regard to
 * case, with limited repetitions where a text could make them expensive. */
static const struct {
    enum risk risk;
    enum pattern_place place;
    const char *regex;
} rules[] = {
    /* destroying */
    {RISK_HIGH, PATTERN_ACTION,
     "\\brm\\b(?=" PART "{0,400}?\\s(?:-[a-z]*r|--rec))(?=" PART "{0,400}?\\s(?:-[a-z]*f|--for))"},
    {RISK_HIGH, PATTERN_ACTION, "\\b(?:sudo|doas)\\s+(?:-\\S+\\s+){0,6}" PATH "rm\\b"},
    {RISK_HIGH, PATTERN_ACTION, "\\bmkfs(?:\\.\\w+|\\s+-)"},
    {RISK_HIGH, PATTERN_ACTION, "\\bdd\\b" PART "{0,200}?\\bof=/dev/(?!null\\b|zero\\b|std|fd/|shm/)"},
    {RISK_HIGH, PATTERN_ACTION, ">\\s*/dev/(?:sd|hd|vd|xvd|nvme|mmcblk|disk/|mapper/)"},
    {RISK_HIGH, PATTERN_ACTION, "\\bchmod\\s+(?:-\\S+\\s+){0,4}(?:0?777|a\\+rwx)\\s+/(?:\\s|$|\\*)"},
    {RISK_HIGH, PATTERN_ACTION, ":\\s*\\(\\s*\\)\\s*\\{\\s*:\\s*\\|\\s*:"},
    /* programs made at run time */
    {RISK_HIGH, PATTERN_ACTION, "\\b(?:eval|exec)\\s*\\("},
    {RISK_HIGH, PATTERN_ACTION, "\\bos\\s*\\.\\s*(?:system|popen)\\s*\\("},
    {RISK_HIGH, PATTERN_ACTION,
     "\\bsubprocess\\s*\\.\\s*(?:call|run|popen|check_output|check_call|getoutput)\\s*\\("},
    /* what was fetched or decoded is run */
    {RISK_HIGH, PATTERN_ACTION, FETCH "[^|\\n]{0,2000}\\|\\s*(?:sudo\\s+(?:-\\S+\\s+){0,6})?" PATH SHELL},
    {RISK_HIGH, PATTERN_ACTION, DECODE "[^|\\n]{0,2000}\\|\\s*(?:sudo\\s+(?:-\\S+\\s+){0,6})?" PATH RUNNER},
    {RISK_HIGH, PATTERN_ACTION, "(?:" SHELL "|\\bsource|(?:^|\\s)\\.)\\s+<\\(\\s*(?:" FETCH "|" DECODE ")"},
    {RISK_HIGH, PATTERN_ACTION,
     "(?:\\beval|" SHELL "\\s+-\\w{0,20}c)\\s+[\"']?(?:\\$\\(|`)\\s*(?:" FETCH "|" DECODE ")"},
    /* a shell for somebody else */
    {RISK_HIGH, PATTERN_ACTION, "/dev/(?:tcp|udp)/[^\\s/]{1,300}/\\d"},
    {RISK_HIGH, PATTERN_ACTION,
     "\\b(?:nc|ncat|netcat)\\b" PART "{0,200}?\\s-\\w{0,20}[ec]\\b\\s{0,20}\\S{0,200}sh\\b"},
    /* network */
    {RISK_MEDIUM, PATTERN_ACTION, FETCH PART "{0,400}?\\b(?:https?|ftp)://"},
    /* words that want to take over */
    {RISK_HIGH, PATTERN_EVERYWHERE,
     "\\b(?:ignore|disregard|forget|override|bypass)\\s+(?:(?:all|any|the|your|of)\\s+){0,3}"
     "(?:previous|prior|above|earlier|preceding)\\s+(?:instruction|prompt|rule|directive|order)s?\\b"},
    {RISK_MEDIUM, PATTERN_EVERYWHERE,
     "\\byou\\s+are\\s+now\\s+(?:in\\s+)?(?:an?\\s+)?(?:\\w{1,40}\\s+)?mode\\b"},
    {RISK_MEDIUM, PATTERN_EVERYWHERE,
     "\\bpretend\\s+(?:that\\s+)?(?:you\\s+are|you're|to\\s+be)\\s+(?:an?\\s+)?different\\b"},
};

struct pattern {
    pcre2_code *code;
    enum risk risk;
    enum pattern_place place;
};
struct pattern_set {
    VEC(struct pattern) all;
};

struct pattern_set *pattern_set_new(void)
{
    return xcalloc(1, sizeof(struct pattern_set));
}

void pattern_set_free(struct pattern_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->all.n; i++)
        pcre2_code_free(set->all.at[i].code);
    vec_deinit(&set->all);
    free(set);
}

/* A call-out in front lets the clock be looked at wherever a match is tried. */
static pcre2_code *compile(struct str regex, struct err **e)
{
    autobuf text = {0};
    int code;
    PCRE2_SIZE where;
    buf_add(&text, STR("(?C1)(?:"));
    size_t before = text.n;
    buf_add(&text, regex);
    buf_add_char(&text, ')');
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)text.p, text.n, PCRE2_CASELESS | PCRE2_UTF | PCRE2_UCP,
                                         &code, &where, NULL);
    if (!compiled) {
        char message[128] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof(message));
        err_set(e, ERR_INVALID, "a pattern is no regular expression: %s at character %zu of '%.*s'", message,
                where > before ? where - before : 0, STR_ARG(str_sub(regex, 0, 60)));
    }
    return compiled;
}

bool pattern_set_add(struct pattern_set *set, struct str regex, enum risk risk, enum pattern_place place,
                     struct err **e)
{
    if (regex.n == 0 || regex.n > ANALYZER_PATTERN_BYTES)
        return err_set(e, ERR_INVALID, "a pattern has 1 to %d bytes", ANALYZER_PATTERN_BYTES);
    pcre2_code *code = compile(regex, e);
    if (!code)
        return false;
    vec_push(&set->all, (struct pattern){code, risk, place});
    return true;
}

void pattern_set_add_builtin(struct pattern_set *set, enum risk risk, enum pattern_place place)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i].risk == risk && rules[i].place == place)
            pattern_set_add(set, str_from(rules[i].regex), risk, place, NULL);
}

/* --- matching --- */

struct watch {
    uint64_t deadline;
    unsigned callouts;
};

static int on_callout(pcre2_callout_block *block, void *arg)
{
    struct watch *w = arg;
    (void)block;
    if (++w->callouts % CALLOUTS_PER_LOOK || clock_mono_ns() < w->deadline)
        return 0;
    return PCRE2_ERROR_MATCHLIMIT;
}

/* What the pattern stands for; RISK_LOW when it is not there, RISK_HIGH when that could not be found out. */
static enum risk risk_of(const pcre2_code *code, enum risk risk, struct str text, pcre2_match_context *limits,
                         struct watch *watch)
{
    if (clock_mono_ns() >= watch->deadline)
        return RISK_HIGH;
    pcre2_set_callout(limits, on_callout, watch);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    int n = pcre2_match(code, (PCRE2_SPTR)text.p, text.n, 0, 0, data, limits);
    pcre2_match_data_free(data);
    return n >= 0 ? risk : n == PCRE2_ERROR_NOMATCH ? RISK_LOW : RISK_HIGH;
}

static pcre2_match_context *limits_new(struct watch *watch)
{
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(limits, MATCH_LIMIT);
    pcre2_set_heap_limit(limits, MATCH_HEAP_KIB);
    watch->deadline = clock_mono_ns() + MATCH_SECONDS * NS_PER_S;
    watch->callouts = 0;
    return limits;
}

enum risk pattern_set_judge(const struct pattern_set *set, struct str action, struct str said)
{
    struct watch watch;
    pcre2_match_context *limits = limits_new(&watch);
    enum risk highest = RISK_LOW;
    for (size_t i = 0; i < set->all.n && highest != RISK_HIGH; i++) {
        const struct pattern *p = &set->all.at[i];
        enum risk risk = p->risk > highest ? risk_of(p->code, p->risk, action, limits, &watch) : RISK_LOW;
        if (risk == RISK_LOW && p->place == PATTERN_EVERYWHERE && p->risk > highest)
            risk = risk_of(p->code, p->risk, said, limits, &watch);
        highest = risk > highest ? risk : highest;
    }
    pcre2_match_context_free(limits);
    return highest;
}

/* --- rails --- */

#define RAIL_PATTERNS 2
static const char *const rails[][RAIL_PATTERNS] = {
    /* what is fetched is run */
    {"\\b(?:curl|wget)\\b", "\\|\\s*(?:sudo\\s+)?" PATH RUNNER},
    /* raw disks */
    {"\\bdd\\b" PART "{0,200}?\\bof=/dev/(?!null\\b|zero\\b|std|fd/|shm/)", NULL},
    {"\\bmkfs\\.", NULL},
    /* everything is deleted */
    {"\\brm\\b(?=" PART "{0,400}?\\s(?:-[a-z]*r|--rec))(?=" PART "{0,400}?\\s(?:-[a-z]*f|--for))",
     "\\brm\\b" PART
     "{0,400}?\\s(?:/(?:\\s|$|\\*)|~/?(?:\\s|$)|/(?:etc|usr|var|home|boot|bin|sbin|lib|root)\\b)"},
};
static pcre2_code *rail_codes[ARRAY_LEN(rails)][RAIL_PATTERNS];
static pthread_once_t rails_once = PTHREAD_ONCE_INIT;

static void rails_compile(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rails); i++)
        for (size_t j = 0; j < RAIL_PATTERNS && rails[i][j]; j++)
            rail_codes[i][j] = compile(str_from(rails[i][j]), NULL);
}

bool rails_fire(struct str text)
{
    pthread_once(&rails_once, rails_compile);
    struct watch watch;
    pcre2_match_context *limits = limits_new(&watch);
    bool fires = false;
    for (size_t i = 0; i < ARRAY_LEN(rails) && !fires; i++) {
        fires = true;
        for (size_t j = 0; j < RAIL_PATTERNS && rail_codes[i][j] && fires; j++)
            fires = risk_of(rail_codes[i][j], RISK_HIGH, text, limits, &watch) == RISK_HIGH;
    }
    pcre2_match_context_free(limits);
    return fires;
}
