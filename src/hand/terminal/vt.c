#include "hand/terminal/vt.h"
#include "base/cleanup.h"
#include "base/utf8.h"

#define PARAMS_MAX 16
#define PARAM_MAX 9999
#define MARK_MAX (64 * 1024)     /* a mark carries the working directory and PATH */
#define STRING_MAX (1024 * 1024) /* a DCS or OSC that goes on longer is none */

#define ESC 0x1b

enum state { GROUND, ESCAPE, CHARSET, ESCAPE_SKIP, CSI, OSC, STRING, STRING_ESCAPE };

struct vt {
    struct screen *screen;
    vt_mark_fn on_mark;
    void *arg;
    char nonce[VT_NONCE];
    enum state state;
    char partial[4]; /* the beginning of a character that the last read cut off */
    size_t partial_n;
    bool lines; /* the line-drawing character set is on */
    unsigned params[PARAMS_MAX];
    unsigned param_n;
    char prefix; /* ?, >, = or < of a CSI */
    bool odd;    /* a CSI with intermediate bytes: known to be none of ours */
    bool application_keys;
    bool alternate;
    struct buf string; /* of an OSC */
    size_t string_n;   /* of any string, also when it is not collected */
};

struct vt *vt_new(struct screen *screen, const char nonce[VT_NONCE], vt_mark_fn on_mark, void *arg)
{
    struct vt *s = xcalloc(1, sizeof(*s));
    s->screen = screen;
    s->on_mark = on_mark;
    s->arg = arg;
    memcpy(s->nonce, nonce, VT_NONCE);
    return s;
}

void vt_free(struct vt *s)
{
    if (!s)
        return;
    buf_deinit(&s->string);
    free(s);
}

bool vt_application_keys(const struct vt *s)
{
    return s->application_keys;
}

/* --- text ----------------------------------------------------------------------------------- */

/* What ` to ~ mean in the line-drawing set of a VT100. */
static const char *const line_glyphs[] = {
    "◆", "▒", "␉", "␌", "␍", "␊", "°", "±", "␤", "␋", "┘", "┐", "┌", "└", "┼", "⎺",
    "⎻", "─", "⎼", "⎽", "├", "┤", "┴", "┬", "│", "≤", "≥", "π", "≠", "£", "·",
};

static void put(struct vt *s, struct str run)
{
    if (!s->lines) {
        screen_put(s->screen, run);
        return;
    }
    for (size_t i = 0; i < run.n; i++) {
        unsigned char c = (unsigned char)run.p[i];
        if (c >= '`' && c - '`' < (int)ARRAY_LEN(line_glyphs)) {
            screen_put(s->screen, str_from(line_glyphs[c - '`']));
        } else {
            size_t n = 1;
            while (i + n < run.n && ((unsigned char)run.p[i + n] & 0xc0) == 0x80)
                n++;
            screen_put(s->screen, str_sub(run, i, i + n));
            i += n - 1;
        }
    }
}

/* Bytes that the first byte of a character promises; 0 when it begins none. */
static size_t promised(unsigned char c)
{
    if (c >= 0xc2 && c <= 0xdf)
        return 2;
    if (c >= 0xe0 && c <= 0xef)
        return 3;
    return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

/* Length of the text at the start of `data` that is plain: no control characters, valid UTF-8, none of U+0080-U+009F. */
static size_t plain(struct str data)
{
    size_t i = 0;
    while (i < data.n) {
        unsigned char c = (unsigned char)data.p[i];
        if ((c >= 0x20 && c < 0x7f) || c == '\t') {
            i++;
            continue;
        }
        uint32_t code_point;
        if (c < 0x80)
            break;
        unsigned n = utf8_next(str_sub(data, i, data.n), &code_point);
        if (n < 2 || code_point < 0xa0)
            break;
        i += n;
    }
    return i;
}

/* A byte from 0x80 on that `plain` stopped at. Returns how many bytes it took. */
static size_t strange(struct vt *s, struct str data)
{
    uint32_t code_point;
    size_t want = promised((unsigned char)data.p[0]);
    unsigned n = utf8_next(data, &code_point);
    if (n >= 2) /* a C1 control character */
        return n;
    if (want > data.n) {
        bool begun = true;
        for (size_t i = 1; i < data.n; i++)
            begun = begun && ((unsigned char)data.p[i] & 0xc0) == 0x80;
        if (begun) {
            memcpy(s->partial, data.p, data.n);
            s->partial_n = data.n;
            return data.n;
        }
    }
    screen_put(s->screen, STR("\xef\xbf\xbd"));
    return 1;
}

static void control(struct vt *s, unsigned char c)
{
    switch (c) {
    case '\n':
    case '\v':
    case '\f': screen_newline(s->screen); break;
    case '\r': screen_return(s->screen); break;
    case '\b': screen_backspace(s->screen); break;
    case 0x0e: s->lines = true; break;
    case 0x0f: s->lines = false; break;
    case ESC: s->state = ESCAPE; break;
    default: break;
    }
}

static size_t ground(struct vt *s, struct str data)
{
    size_t n = plain(data);
    if (n) {
        put(s, str_sub(data, 0, n));
        return n;
    }
    unsigned char c = (unsigned char)data.p[0];
    if (c == '\r' && data.n > 1 && data.p[1] == '\n')
        return 1; /* the newline alone does the same */
    if (c >= 0x80)
        return strange(s, data);
    control(s, c);
    return 1;
}

/* --- escape sequences ------------------------------------------------------------------------- */

static void string_begin(struct vt *s, enum state state)
{
    s->state = state;
    s->string_n = 0;
    buf_clear(&s->string);
}

static void escape(struct vt *s, unsigned char c)
{
    s->state = GROUND;
    switch (c) {
    case '[':
        s->state = CSI;
        memset(s->params, 0, sizeof(s->params));
        s->param_n = 0;
        s->prefix = '\0';
        s->odd = false;
        break;
    case ']': string_begin(s, OSC); break;
    case 'P':
    case 'X':
    case '^':
    case '_': string_begin(s, STRING); break;
    case '(': s->state = CHARSET; break;
    case ')':
    case '*':
    case '+':
    case '-':
    case '.':
    case '/':
    case '#':
    case '%':
    case ' ': s->state = ESCAPE_SKIP; break;
    case '7': screen_save(s->screen); break;
    case '8': screen_restore(s->screen); break;
    case 'M': screen_reverse_index(s->screen); break;
    case 'D':
    case 'E': screen_newline(s->screen); break;
    case 'c':
        screen_alternate(s->screen, false);
        s->lines = s->application_keys = s->alternate = false;
        break;
    case ESC: s->state = ESCAPE; break;
    default:
        if (c == '\n' || c == '\r')
            control(s, c);
        break;
    }
}

static void private_mode(struct vt *s, bool on)
{
    for (unsigned i = 0; i <= s->param_n && i < PARAMS_MAX; i++) {
        unsigned mode = s->params[i];
        if (mode == 1) {
            s->application_keys = on;
        } else if (mode == 47 || mode == 1047 || mode == 1049) {
            if (mode == 1049 && on && !s->alternate)
                screen_save(s->screen);
            screen_alternate(s->screen, on);
            s->alternate = on;
        }
    }
}

static enum screen_erase erase_kind(unsigned n)
{
    return n == 0 ? ERASE_AFTER : n == 1 ? ERASE_BEFORE : ERASE_ALL;
}

static void csi_move(struct vt *s, unsigned char final, unsigned first)
{
    unsigned n = first ? first : 1;
    switch (final) {
    case 'A': screen_up(s->screen, n); break;
    case 'B':
    case 'e': screen_down(s->screen, n); break;
    case 'C':
    case 'a': screen_right(s->screen, n); break;
    case 'D': screen_left(s->screen, n); break;
    case 'E':
        screen_down(s->screen, n);
        screen_return(s->screen);
        break;
    case 'F':
        screen_up(s->screen, n);
        screen_return(s->screen);
        break;
    case 'G':
    case '`': screen_column(s->screen, n - 1); break;
    case 'd': screen_row(s->screen, n - 1); break;
    case 'H':
    case 'f':
        screen_row(s->screen, n - 1);
        screen_column(s->screen, s->params[1] ? s->params[1] - 1 : 0);
        break;
    default: break;
    }
}

static void csi_edit(struct vt *s, unsigned char final, unsigned first)
{
    unsigned n = first ? first : 1;
    switch (final) {
    case 'J':
        if (first != 3) /* 3: only what scrolled away, which is ours */
            screen_erase_display(s->screen, erase_kind(first));
        break;
    case 'K': screen_erase_line(s->screen, erase_kind(first)); break;
    case 'X': screen_erase_chars(s->screen, n); break;
    case 'P': screen_delete_chars(s->screen, n); break;
    case '@': screen_insert_blanks(s->screen, n); break;
    case 'L': screen_insert_lines(s->screen, n); break;
    case 'M': screen_delete_lines(s->screen, n); break;
    case 'S': screen_scroll(s->screen, (int)n); break;
    case 'T': screen_scroll(s->screen, -(int)n); break;
    case 'r': screen_region(s->screen, n - 1, s->params[1] ? s->params[1] - 1 : SCREEN_ROWS - 1); break;
    case 's': screen_save(s->screen); break;
    case 'u': screen_restore(s->screen); break;
    default: break;
    }
}

static void csi_end(struct vt *s, unsigned char final)
{
    s->state = GROUND;
    if (s->odd)
        return;
    if (s->prefix == '?' && (final == 'h' || final == 'l')) {
        private_mode(s, final == 'h');
    } else if (s->prefix == '\0') {
        csi_move(s, final, s->params[0]);
        csi_edit(s, final, s->params[0]);
    }
}

static void csi(struct vt *s, unsigned char c)
{
    if (c >= '0' && c <= '9') {
        unsigned *param = &s->params[s->param_n < PARAMS_MAX ? s->param_n : PARAMS_MAX - 1];
        *param = *param * 10 + (c - '0');
        if (*param > PARAM_MAX)
            *param = PARAM_MAX;
    } else if (c == ';' || c == ':') {
        if (s->param_n < PARAMS_MAX)
            s->param_n++;
    } else if (c >= '<' && c <= '?') {
        s->prefix = (char)c;
    } else if (c >= 0x20 && c < 0x30) {
        s->odd = true;
    } else if (c >= 0x40 && c < 0x7f) {
        csi_end(s, c);
    } else if (c == 0x18 || c == 0x1a || c >= 0x80) {
        s->state = GROUND;
    } else {
        control(s, c); /* as a terminal does it: in the middle of the sequence */
        if (c == '\n')
            s->state = GROUND;
    }
}

/* --- strings and marks -------------------------------------------------------------------------- */

/* Can `string` still become, or is it already, the beginning of one of our marks? */
static bool mark_likely(const struct vt *s)
{
    static const char head[] = VT_MARK ";";
    size_t fixed = sizeof(head) - 1;
    size_t n = s->string.n;
    if (memcmp(s->string.p, head, n < fixed ? n : fixed) != 0)
        return false;
    if (n <= fixed)
        return true;
    n -= fixed;
    return memcmp(s->string.p + fixed, s->nonce, n < VT_NONCE ? n : VT_NONCE) == 0;
}

#define MARK_HEAD (sizeof(VT_MARK ";") - 1 + VT_NONCE + 1) /* before the kind */

/* At a BEL: is the mark complete? Its directory or PATH could contain one. */
static bool mark_complete(const struct vt *s)
{
    struct str all = buf_str(&s->string);
    return all.n >= MARK_HEAD + 1 + VT_NONCE && mark_likely(s) &&
           memcmp(all.p + all.n - VT_NONCE, s->nonce, VT_NONCE) == 0;
}

static void mark_report(struct vt *s)
{
    /* The callback may feed nothing, but it may free nothing either: the buffer stays until the next string. */
    struct str body = str_sub(buf_str(&s->string), MARK_HEAD + 1, s->string.n - VT_NONCE);
    s->state = GROUND;
    s->lines = false;
    s->on_mark(s->arg, s->string.p[MARK_HEAD], body);
}

/* An operating system command ends with BEL or ESC \; a new escape sequence or, unless it is a mark, a line's end gives
 * it up, so that garbage cannot swallow what follows. */
static void osc(struct vt *s, unsigned char c)
{
    bool mark = s->string.n >= MARK_HEAD && mark_likely(s);
    if (c == '\a') {
        if (!mark)
            s->state = GROUND;
        else if (mark_complete(s))
            mark_report(s);
        else
            buf_add_char(&s->string, (char)c);
        return;
    }
    if (c == ESC && !mark) {
        s->state = STRING_ESCAPE;
    } else if (!mark && (c == '\n' || c == 0x18 || c == 0x1a)) {
        s->state = GROUND;
        control(s, c);
    } else if (mark && c == '\r') {
        /* the terminal's own, before a newline in a directory's name */
    } else if (s->string.n < MARK_MAX && (s->string.n < MARK_HEAD || mark)) {
        buf_add_char(&s->string, (char)c);
    } else if (mark || ++s->string_n > STRING_MAX) {
        s->state = GROUND;
    }
}

static void string(struct vt *s, unsigned char c)
{
    if (c == ESC) {
        s->state = STRING_ESCAPE;
    } else if (c == '\a' || c == '\n' || c == 0x18 || c == 0x1a || ++s->string_n > STRING_MAX) {
        s->state = GROUND;
        if (c == '\n')
            control(s, c);
    }
}

static void string_escape(struct vt *s, unsigned char c)
{
    s->state = GROUND;
    if (c != '\\')
        escape(s, c);
}

static void step(struct vt *s, unsigned char c)
{
    switch (s->state) {
    case GROUND: break;
    case ESCAPE: escape(s, c); break;
    case CHARSET:
        s->lines = c == '0';
        s->state = GROUND;
        break;
    case ESCAPE_SKIP: s->state = GROUND; break;
    case CSI: csi(s, c); break;
    case OSC: osc(s, c); break;
    case STRING: string(s, c); break;
    case STRING_ESCAPE: string_escape(s, c); break;
    }
}

static void feed(struct vt *s, struct str data)
{
    for (size_t i = 0; i < data.n;) {
        if (s->state == GROUND) {
            i += ground(s, str_sub(data, i, data.n));
        } else {
            step(s, (unsigned char)data.p[i]);
            i++;
        }
    }
}

void vt_feed(struct vt *s, struct str data)
{
    /* Completes the character that the last read cut off; its bytes are few. */
    while (s->partial_n && data.n) {
        char joined[sizeof(s->partial) + 4];
        size_t old = s->partial_n;
        size_t more = sizeof(joined) - old < data.n ? sizeof(joined) - old : data.n;
        size_t want = promised((unsigned char)s->partial[0]);
        if (more > want - old)
            more = want - old;
        memcpy(joined, s->partial, old);
        memcpy(joined + old, data.p, more);
        s->partial_n = 0;
        feed(s, str_make(joined, old + more));
        data = str_sub(data, more, data.n);
    }
    feed(s, data);
}

void vt_flush(struct vt *s)
{
    if (s->partial_n)
        screen_put(s->screen, STR("\xef\xbf\xbd"));
    s->partial_n = 0;
    s->state = GROUND;
}
