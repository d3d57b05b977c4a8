#include "hand/search/grep.h"
#include "base/cleanup.h"
#include "hand/edit/edit.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MATCH_STEPS_MAX 5000000     /* of one attempt */
#define MATCH_HEAP_MAX (64 * 1024)  /* KiB, likewise */
#define JIT_STACK_MAX (1024 * 1024) /* bytes */
#define PIECE (256 * 1024)          /* bytes of one read */

struct grep {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    struct buf content;
};

void grep_free(struct grep *g)
{
    if (!g)
        return;
    pcre2_code_free(g->code);
    pcre2_match_data_free(g->data);
    pcre2_match_context_free(g->context);
    pcre2_jit_stack_free(g->stack);
    buf_deinit(&g->content);
    free(g);
}

static pcre2_code *compile(struct str pattern, struct err **e)
{
    /* No \C: it would read a character's bytes one by one. */
    static const uint32_t options = PCRE2_CASELESS | PCRE2_MULTILINE | PCRE2_UTF | PCRE2_UCP |
                                    PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    int error;
    PCRE2_SIZE offset;
    pcre2_set_newline(context, PCRE2_NEWLINE_ANYCRLF);
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, options, &error, &offset, context);
    pcre2_compile_context_free(context);
    if (!code) {
        char text[256] = "";
        pcre2_get_error_message(error, (PCRE2_UCHAR *)text, sizeof(text));
        err_set(e, ERR_INVALID, "%s (at byte %zu)", text, (size_t)offset);
    }
    return code;
}

struct grep *grep_new(struct str pattern, struct err **e)
{
    if (pattern.n > GREP_PATTERN_MAX) {
        err_set(e, ERR_INVALID, "it has more than %d bytes", GREP_PATTERN_MAX);
        return NULL;
    }
    pcre2_code *code = compile(pattern.p ? pattern : STR(""), e);
    if (!code)
        return NULL;
    struct grep *g = xcalloc(1, sizeof(*g));
    g->code = code;
    g->data = pcre2_match_data_create(1, NULL);
    g->context = pcre2_match_context_create(NULL);
    if (!g->data || !g->context)
        abort();
    pcre2_set_match_limit(g->context, MATCH_STEPS_MAX);
    pcre2_set_heap_limit(g->context, MATCH_HEAP_MAX);
    if (pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0 && /* not everywhere may code be made */
        (g->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_MAX, NULL)))
        pcre2_jit_stack_assign(g->context, NULL, g->stack);
    return g;
}

/* One attempt from `from` on. 1: `*begin` and `*end` say where; 0: nowhere; -1: not to be known. */
static int match(const struct grep *g, struct str text, size_t from, size_t *begin, size_t *end)
{
    int n = pcre2_match(g->code, (PCRE2_SPTR)text.p, text.n, from, 0, g->data, g->context);
    if (n < 0)
        return n == PCRE2_ERROR_NOMATCH ? 0 : -1;
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(g->data);
    *begin = at[0];
    *end = at[1];
    return 1;
}

/* Whole texts are searched at once, since that is fast; a match across lines only says in which line to look closer. */
enum grep_result grep_text(struct grep *g, struct str text)
{
    size_t from = 0, begin, end;
    while (from < text.n) {
        int found = match(g, text, from, &begin, &end);
        if (found <= 0)
            return found < 0 ? GREP_PARTLY : GREP_NO;
        ssize_t before = str_rfind_char(str_sub(text, 0, begin), '\n');
        ssize_t behind = str_find_char(str_sub(text, begin, text.n), '\n');
        size_t line = (size_t)(before + 1), next = behind < 0 ? text.n : begin + (size_t)behind;
        if (end <= next && begin < text.n)
            return GREP_YES;
        found = match(g, str_sub(text, line, next), 0, &begin, &end);
        if (found != 0)
            return found < 0 ? GREP_PARTLY : GREP_YES;
        from = next + 1;
    }
    return GREP_NO;
}

/* What is read of a file; false if it cannot be. `*cut`: there is more. */
static bool content_read(struct grep *g, int fd, bool *cut)
{
    struct buf *b = &g->content;
    buf_clear(b);
    for (;;) {
        ssize_t n = read(fd, buf_reserve(b, PIECE), PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        b->n += (size_t)n;
        *cut = b->n > GREP_FILE_MAX;
        if (n == 0 || *cut)
            return true;
        bool marked = str_starts(buf_str(b), STR("\xff\xfe")) || str_starts(buf_str(b), STR("\xfe\xff"));
        if (b->n == (size_t)n && !marked && str_find_char(buf_str(b), '\0') >= 0)
            return false; /* binary: the rest need not be read */
    }
}

enum grep_result grep_file(struct grep *g, int dir, const char *path)
{
    struct stat st;
    bool cut = false;
    autobuf decoded = {0};
    enum encoding encoding;
    autofd int fd = openat(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !content_read(g, fd, &cut))
        return GREP_NO;
    struct str text = buf_str(&g->content);
    if (str_starts(text, STR("\xff\xfe")) || str_starts(text, STR("\xfe\xff"))) { /* UTF-16 */
        text = str_sub(text, 0, text.n & ~(size_t)1);
        if (text_decode(text, &decoded, &encoding))
            text = buf_str(&decoded);
    }
    enum grep_result result = grep_text(g, text);
    return result == GREP_NO && cut ? GREP_PARTLY : result;
}
