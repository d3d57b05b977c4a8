/* jinja_internal: the tree between jinja_parse.c and jinja_run.c, and values (jinja_value.c). Everything is in one arena. */
#pragma once
#include "agent/jinja/jinja.h"

/* ---- expressions ---- */

enum jinja_op {
    JINJA_LITERAL,
    JINJA_NAME,      /* text */
    JINJA_LIST,      /* args */
    JINJA_ATTRIBUTE, /* a.text */
    JINJA_INDEX,     /* a[b] */
    JINJA_PAIRS,     /* a.items(), a.keys() or a.values() */
    JINJA_FILTER,    /* a | text(args) */
    JINJA_TEST,      /* a is text */
    JINJA_NOT,
    JINJA_NEGATE,
    JINJA_AND,
    JINJA_OR,
    JINJA_EQ,
    JINJA_NE,
    JINJA_LT,
    JINJA_LE,
    JINJA_GT,
    JINJA_GE,
    JINJA_IN,
    JINJA_CONCAT,
    JINJA_ADD,
    JINJA_SUBTRACT,
    JINJA_CHOICE, /* a if b else c */
};

enum jinja_type {
    JINJA_UNDEFINED,
    JINJA_NULL,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STR,
    JINJA_ITEMS, /* a list made here */
    JINJA_JSON,  /* a list or an object of the variables */
};

struct jinja_value {
    enum jinja_type type;
    struct str str; /* or, of what is undefined, its name */
    int64_t number; /* or bool */
    double real;
    const struct jinja_value *items;
    size_t n;
    const struct json_value *json;
};

struct jinja_expr {
    enum jinja_op op;
    unsigned depth, line;
    struct str text;
    struct jinja_value literal;
    const struct jinja_expr *a, *b, *c;
    const struct jinja_expr *const *args;
    size_t arg_count;
    const struct jinja_filter *filter;
};

/* ---- statements ---- */

enum jinja_statement_kind { JINJA_TEXT, JINJA_OUT, JINJA_IF, JINJA_FOR, JINJA_SET };

struct jinja_statement {
    struct jinja_statement *next;
    enum jinja_statement_kind kind;
    unsigned line;
    struct str text;                /* TEXT; name of SET and FOR */
    struct str second;              /* second name of a FOR over pairs */
    const struct jinja_expr *expr;  /* what is put out, assigned, tested or looped over */
    const struct jinja_expr *where; /* condition of a FOR */
    struct jinja_statement *body;   /* of IF and FOR */
    struct jinja_statement *other;  /* else; an elif is an IF in it */
};

/* NULL with an error. */
bool jinja_parse(struct str text, struct arena *arena, struct jinja_statement **first, struct err **e);

/* ---- values ---- */

struct jinja_run {
    struct arena *arena;
    unsigned steps, line;
    struct buf *out;
    struct jinja_binding *names;
    const struct json_value *variables;
};

bool jinja_fail(const struct jinja_run *r, struct err **e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Counts work that one step does on `bytes` of text (or an eighth as many items) as further steps. */
#define JINJA_BYTES_PER_STEP 64
#define JINJA_ITEM_BYTES 8
bool jinja_spend(struct jinja_run *r, size_t bytes, struct err **e);

struct jinja_value jinja_from_json(const struct json_value *v);
struct jinja_value jinja_bool(bool b);
struct jinja_value jinja_text(struct str s);
bool jinja_truth(const struct jinja_value *v);
size_t jinja_count(const struct jinja_value *v);                        /* items, members or characters */
struct jinja_value jinja_at(const struct jinja_value *v, size_t index); /* of a list; keys of an object */
bool jinja_equal(const struct jinja_value *a, const struct jinja_value *b);
void jinja_print(const struct jinja_value *v, struct buf *out); /* as Python's str() */

struct jinja_filter {
    const char *name;
    unsigned args_max;
    bool (*run)(struct jinja_run *r, const struct jinja_value *v, const struct jinja_value *args, size_t n,
                struct jinja_value *out, struct err **e);
};
const struct jinja_filter *jinja_filter_find(struct str name);
bool jinja_test_exists(struct str name);
bool jinja_test(struct str name, const struct jinja_value *v);
