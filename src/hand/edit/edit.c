#include "hand/edit/edit.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/utf8.h"
#include "hand/operations.h"
#include <errno.h>

#define SNIPPET_LINES 4          /* shown before and after an edit */
#define CONTENT_MAX (256 * 1024) /* of an old or new content in a result; a longer one is left out */
#define MATCHES_NAMED 50         /* line numbers named when a text occurs several times */
#define QUOTE_MAX 2000           /* characters of a caller's text that is quoted back */

/* One edit call. The strings are borrowed from the call; `path` is a C string. */
struct edit {
    struct call *call;
    struct str fields, command, name;
    char *path;
    struct buf key;  /* the path in its normal form, for the history */
    size_t limit;    /* characters of text */
    struct buf text; /* for the model */
    bool failed;
    bool exists;              /* the file did, before */
    struct buf before, after; /* contents as text */
    bool has_before, has_after;
};

/* An image on its way. */
struct picture {
    struct buf bytes;
    size_t at;
    struct buf result;
};

/* --- answers ------------------------------------------------------------------------------------ */

/* A tool error: text for the model. Always false. */
static bool refuse(struct edit *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(struct edit *d, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buf_clear(&d->text);
    buf_vaddf(&d->text, fmt, args);
    va_end(args);
    d->failed = true;
    return false;
}

static bool refuse_err(struct edit *d, const struct err *e)
{
    return refuse(d, "%s", err_text(e));
}

/* At most QUOTE_MAX characters of what the caller sent. */
static struct str quoted(struct str s)
{
    return utf8_valid(s) ? utf8_prefix(s, QUOTE_MAX) : str_sub(s, 0, QUOTE_MAX);
}

static void add_result(const struct edit *d, struct buf *out)
{
    autobuf text = {0};
    utf8_scrub(&text, buf_str(&d->text)); /* a path need not be UTF-8 */
    wire_add_str(out, F_TEXT, buf_str(&text));
    if (d->failed) {
        wire_add_int(out, F_IS_ERROR, 1);
        return;
    }
    wire_add_int(out, F_PREV_EXIST, d->exists);
    if (d->has_before && d->before.n <= CONTENT_MAX)
        wire_add_str(out, F_OLD, buf_str(&d->before));
    if (d->has_after && d->after.n <= CONTENT_MAX)
        wire_add_str(out, F_NEW, buf_str(&d->after));
}

/* --- images ------------------------------------------------------------------------------------- */

static void picture_free(struct call *c)
{
    struct picture *p = c->state;
    buf_deinit(&p->bytes);
    buf_deinit(&p->result);
    free(p);
}

static void picture_send(struct call *c)
{
    struct picture *p = c->state;
    p->at += call_data(c, WIRE_STDOUT, str_sub(buf_str(&p->bytes), p->at, p->bytes.n));
    if (p->at < p->bytes.n)
        return; /* on_credit goes on */
    call_data_end(c, WIRE_STDOUT);
    struct buf result = p->result;
    p->result = (struct buf){0};
    call_done(c, WIRE_OK, &result);
}

static void picture_cancel(struct call *c)
{
    call_fail(c, WIRE_CANCELLED, "cancelled");
}

static void picture_start(struct edit *d, struct buf *bytes, const char *type)
{
    struct picture *p = xcalloc(1, sizeof(*p));
    struct call *c = d->call;
    buf_addf(&d->text, "The image %s was read; it follows, for those who can see images.", d->path);
    add_result(d, &p->result);
    wire_add_str(&p->result, F_IMAGE_TYPE, str_from(type));
    p->bytes = *bytes;
    *bytes = (struct buf){0};
    c->state = p;
    c->on_free = picture_free;
    c->on_credit = picture_send;
    c->on_cancel = picture_cancel;
    d->call = NULL; /* it has its own end */
    picture_send(c);
}

/* --- reading and writing ------------------------------------------------------------------------ */

static bool load(struct edit *d, struct buf *bytes)
{
    autoerr e = NULL;
    if (file_load(d->path, bytes, &e))
        return true;
    return refuse(d, "%s cannot be opened in the editor: %s.", d->path, err_text(e));
}

static bool refuse_bytes(struct edit *d)
{
    return refuse(
        d,
        "%s is a binary file of a kind that cannot be viewed or edited here, or a text in another encoding than "
        "UTF-8, UTF-16 or Windows-1252.",
        d->path);
}

static bool load_text(struct edit *d, struct buf *bytes, struct buf *text, enum encoding *encoding)
{
    if (!load(d, bytes))
        return false;
    if (!text_decode(buf_str(bytes), text, encoding))
        return refuse_bytes(d);
    return true;
}

/* Writes `d->after` and remembers what the file was. */
static bool store(struct edit *d, struct str old_bytes, enum encoding encoding)
{
    autoerr e = NULL;
    autobuf bytes = {0};
    text_encode(buf_str(&d->after), encoding, &bytes);
    if (bytes.n > EDIT_FILE_MAX)
        return refuse(d, "Nothing was changed: %s would become larger than the 10 MB that the editor takes.",
                      d->path);
    if (!file_save(d->path, buf_str(&bytes), &e))
        return refuse_err(d, e);
    history_push(d->call->hand, d->name, buf_str(&d->key), old_bytes);
    d->has_before = d->has_after = true;
    return true;
}

static bool require(struct edit *d, enum wire_field tag, const char *parameter)
{
    if (wire_has(d->fields, tag))
        return true;
    return refuse(d, "The parameter `%s` is required for the command `%.*s`.", parameter,
                  STR_ARG(quoted(d->command)));
}

/* Lines [from, to] of the new content, numbered; from 1. */
static void add_snippet(struct edit *d, size_t from, size_t to)
{
    struct str all = buf_str(&d->after);
    autobuf lines = {0};
    size_t begin = text_line_offset(all, from), end = text_line_offset(all, to + 1);
    struct str part = str_sub(all, begin, end);
    if (part.n && part.p[part.n - 1] == '\n')
        part.n--;
    text_number(&lines, part, from);
    text_clip(&d->text, buf_str(&lines), d->limit);
}

/* --- commands ----------------------------------------------------------------------------------- */

static bool view_lines(struct edit *d, struct str text, bool ranged)
{
    autobuf numbered = {0};
    int64_t first = wire_get_int(d->fields, F_OFFSET, 1), last = wire_get_int(d->fields, F_LIMIT, -1);
    int64_t lines = (int64_t)text_lines(text);
    if (lines == 0)
        lines = 1;
    if (!ranged) {
        text_number(&numbered, text, 1);
    } else {
        if (first < 1 || first > lines)
            return refuse(
                d,
                "Invalid `view_range` [%lld, %lld]: its first element, %lld, must be within [1, %lld], the lines of the file.",
                (long long)first, (long long)last, (long long)first, (long long)lines);
        if (last != -1 && last < first)
            return refuse(
                d,
                "Invalid `view_range` [%lld, %lld]: its second element, %lld, must not be less than its first, %lld.",
                (long long)first, (long long)last, (long long)last, (long long)first);
        if (last > lines)
            buf_addf(&d->text, "Only lines up to %lld are shown: the file has no more.\n", (long long)lines);
        if (last == -1 || last > lines)
            last = lines;
        size_t begin = text_line_offset(text, (size_t)first), end = text_line_offset(text, (size_t)last + 1);
        struct str part = str_sub(text, begin, end);
        if (part.n && part.p[part.n - 1] == '\n')
            part.n--;
        text_number(&numbered, part, (size_t)first);
    }
    buf_addf(&d->text, "%s, with line numbers as `cat -n` has them:\n", d->path);
    text_clip(&d->text, buf_str(&numbered), d->limit);
    return true;
}

static bool run_view(struct edit *d)
{
    autobuf bytes = {0}, text = {0};
    enum encoding encoding;
    bool ranged = wire_has(d->fields, F_OFFSET);
    if (file_kind(d->path) == FILE_DIRECTORY) {
        if (ranged)
            return refuse(
                d, "Invalid `view_range`: it is not allowed when `path` is a directory, and %s is one.",
                d->path);
        view_directory(&d->text, d->path, d->limit);
        return true;
    }
    if (!load(d, &bytes))
        return false;
    const char *image = image_name(str_from(d->path)) ? image_type(buf_str(&bytes)) : NULL;
    if (image) {
        picture_start(d, &bytes, image);
        return true;
    }
    if (!text_decode(buf_str(&bytes), &text, &encoding))
        return refuse_bytes(d);
    return view_lines(d, buf_str(&text), ranged);
}

static bool run_create(struct edit *d)
{
    autoerr e = NULL;
    if (!require(d, F_TEXT, "file_text"))
        return false;
    struct str content = wire_get_str(d->fields, F_TEXT);
    if (content.n > EDIT_FILE_MAX)
        return refuse(d, "`file_text` is larger than the 10 MB that the editor takes.");
    if (!file_save(d->path, content, &e))
        return refuse_err(d, e);
    /* As elsewhere: undo right after create gives the same text. */
    history_push(d->call->hand, d->name, buf_str(&d->key), content);
    buf_add(&d->after, content);
    d->has_after = true;
    buf_addf(&d->text, "A new file was created at %s.", d->path);
    return true;
}

/* Names the lines where `old` occurs: `[1, 4]`. */
static void add_match_lines(struct edit *d, struct str text, struct str old)
{
    unsigned named = 0;
    size_t at = 0, line = 1, last = 0;
    buf_add_char(&d->text, '[');
    for (ssize_t found; (found = str_find(str_sub(text, at, text.n), old)) >= 0;) {
        line += text_line_at(str_sub(text, at, text.n), (size_t)found) - 1;
        at += (size_t)found;
        if (line != last) {
            if (named == MATCHES_NAMED) {
                buf_add(&d->text, STR(", …"));
                break;
            }
            buf_addf(&d->text, "%s%zu", named++ ? ", " : "", line);
            last = line;
        }
        line += text_line_at(old, old.n) - 1;
        at += old.n;
    }
    buf_add_char(&d->text, ']');
}

/* Finds the one place where `*old` stands, or, if it stands nowhere, where it does without white space at its ends. */
static bool find_once(struct edit *d, struct str text, struct str *old, size_t *at)
{
    struct str sent = *old;
    ssize_t found = old->n ? str_find(text, *old) : -1;
    if (found < 0) {
        *old = str_trim(*old);
        found = old->n ? str_find(text, *old) : -1;
    }
    if (found < 0)
        return refuse(d, "Nothing was replaced: old_str `%.*s` does not occur verbatim in %s.",
                      STR_ARG(quoted(sent)), d->path);
    *at = (size_t)found;
    if (str_find(str_sub(text, *at + old->n, text.n), *old) < 0)
        return true;
    refuse(d, "Nothing was replaced: old_str `%.*s` occurs several times, in lines ", STR_ARG(quoted(sent)));
    add_match_lines(d, text, *old);
    buf_add(&d->text, STR(". Add surrounding lines to make it unique."));
    return false;
}

static bool run_replace(struct edit *d)
{
    autobuf bytes = {0};
    enum encoding encoding;
    size_t at = 0;
    if (!require(d, F_OLD, "old_str") || !require(d, F_NEW, "new_str"))
        return false;
    struct str old = wire_get_str(d->fields, F_OLD), new = wire_get_str(d->fields, F_NEW);
    if (str_eq(old, new))
        return refuse(
            d,
            "Invalid `new_str` `%.*s`: nothing was replaced, because it is the same as old_str. The two must differ.",
            STR_ARG(quoted(new)));
    if (!load_text(d, &bytes, &d->before, &encoding) || !find_once(d, buf_str(&d->before), &old, &at))
        return false;
    struct str text = buf_str(&d->before);
    buf_add(&d->after, str_sub(text, 0, at));
    buf_add(&d->after, new);
    buf_add(&d->after, str_sub(text, at + old.n, text.n));
    if (!store(d, buf_str(&bytes), encoding))
        return false;
    size_t line = text_line_at(text, at), more = text_line_at(new, new.n) - 1;
    buf_addf(&d->text, "%s was edited. The part around the change now is:\n", d->path);
    add_snippet(d, (line > SNIPPET_LINES ? line - SNIPPET_LINES : 0) + 1, line + SNIPPET_LINES + more);
    buf_add(
        &d->text,
        STR("Review the change and make sure that it is what was meant. Edit the file again if it is not."));
    return true;
}

static bool run_insert(struct edit *d)
{
    autobuf bytes = {0};
    enum encoding encoding;
    if (!require(d, F_LINE, "insert_line") || !require(d, F_NEW, "new_str"))
        return false;
    int64_t line = wire_get_int(d->fields, F_LINE, -1);
    struct str new = wire_get_str(d->fields, F_NEW);
    if (!load_text(d, &bytes, &d->before, &encoding))
        return false;
    struct str text = buf_str(&d->before);
    size_t lines = text_lines(text);
    if (line < 0 || (uint64_t)line > lines)
        return refuse(d, "Invalid `insert_line` %lld: it must be within [0, %zu], the lines of the file.",
                      (long long)line, lines);
    size_t at = text_line_offset(text, (size_t)line + 1);
    buf_add(&d->after, str_sub(text, 0, at));
    if (at > 0 && text.p[at - 1] != '\n') /* behind a last line without an end */
        buf_add_char(&d->after, '\n');
    buf_add(&d->after, new);
    buf_add_char(&d->after, '\n');
    buf_add(&d->after, str_sub(text, at, text.n));
    if (!store(d, buf_str(&bytes), encoding))
        return false;
    size_t count = text_line_at(new, new.n), begin = (size_t)line, total = text_lines(buf_str(&d->after));
    size_t last = begin + count + SNIPPET_LINES;
    buf_addf(&d->text, "%s was edited. The part around the change now is:\n", d->path);
    add_snippet(d, (begin > SNIPPET_LINES ? begin - SNIPPET_LINES : 0) + 1, last < total ? last : total);
    buf_add(
        &d->text,
        STR("Review the change: is the indentation right, are there no duplicate lines? Edit the file again if need be."));
    return true;
}

static bool run_undo(struct edit *d)
{
    autobuf bytes = {0}, old = {0}, numbered = {0};
    autoerr e = NULL;
    enum encoding encoding;
    if (!load_text(d, &bytes, &d->before, &encoding))
        return false;
    if (!history_pop(d->call->hand, d->name, buf_str(&d->key), &old))
        return refuse(d, "There is no edit of %s to undo.", d->path);
    if (!file_save(d->path, buf_str(&old), &e)) {
        history_push(d->call->hand, d->name, buf_str(&d->key), buf_str(&old));
        return refuse_err(d, e);
    }
    if (!text_decode(buf_str(&old), &d->after, &encoding))
        utf8_scrub(&d->after, buf_str(&old));
    d->has_before = d->has_after = true;
    buf_addf(&d->text, "The last edit of %s was undone. The file now is:\n", d->path);
    text_number(&numbered, buf_str(&d->after), 1);
    text_clip(&d->text, buf_str(&numbered), d->limit);
    return true;
}

/* --- a call --------------------------------------------------------------------------------------- */

static const struct command {
    const char *name;
    bool (*run)(struct edit *d);
    bool creates; /* the path must not exist */
    bool directories;
} commands[] = {
    {"view", run_view, false, true},
    {"create", run_create, true, false},
    {"str_replace", run_replace, false, false},
    {"insert", run_insert, false, false},
    {"undo_edit", run_undo, false, false},
};

/* Names what exists at `path` below the working directory. */
static void suggest(struct edit *d, struct str path)
{
    autobuf there = {0};
    struct str cwd = wire_get_str(d->fields, F_CWD);
    while (path.n && path.p[0] == '/')
        path = str_sub(path, 1, path.n);
    path_join(&there, cwd, path);
    if (path_is_absolute(cwd) && path.n && file_kind(there.p) != FILE_MISSING)
        buf_addf(&d->text, " Perhaps %s is meant?", there.p);
}

static bool check_absolute(struct edit *d)
{
    if (path_is_absolute(str_from(d->path)))
        return true;
    refuse(d, "Invalid `path` %s: it must be absolute, beginning with `/`.", d->path);
    suggest(d, str_from(d->path));
    return false;
}

static bool check_path(struct edit *d, const struct command *command)
{
    struct str path = wire_get_str(d->fields, F_PATH);
    if (path.n == 0 || str_find_char(path, '\0') >= 0)
        return refuse(d, "Invalid `path`: it is empty or contains a NUL character.");
    if (!check_absolute(d))
        return false;
    errno = 0;
    enum file_kind kind = file_kind(d->path);
    d->exists = kind != FILE_MISSING;
    if (command->creates && d->exists)
        return refuse(d, "Invalid `path` %s: it exists already, and `create` overwrites nothing.", d->path);
    if (!command->creates && !d->exists) {
        if (errno != ENOENT && errno != ENOTDIR)
            return refuse(d, "Invalid `path` %s: it cannot be reached (%s).", d->path, strerror(errno));
        refuse(d, "Invalid `path` %s: it does not exist. Give the path of something that does.", d->path);
        suggest(d, str_from(d->path)); /* a path from the top of the project */
        return false;
    }
    if (kind == FILE_DIRECTORY && !command->directories)
        return refuse(d, "Invalid `path` %s: it is a directory, and only `view` works on directories.",
                      d->path);
    return true;
}

static const struct command *find_command(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (str_is(name, commands[i].name))
            return &commands[i];
    return NULL;
}

/* The cap on the text. In a ranged view F_LIMIT is the last line, so F_SIZE names the cap there. */
static size_t output_limit(struct str fields)
{
    int64_t cap = wire_get_int(fields, wire_has(fields, F_OFFSET) ? F_SIZE : F_LIMIT, EDIT_OUTPUT);
    return cap > 0 && cap < (int64_t)EDIT_FILE_MAX ? (size_t)cap : EDIT_OUTPUT;
}

void edit_start(struct call *c)
{
    struct str fields = buf_str(&c->fields);
    struct edit d = {
        .call = c,
        .fields = fields,
        .command = wire_get_str(fields, F_COMMAND),
        .name = wire_get_str(fields, F_NAME),
        .limit = output_limit(fields),
    };
    autofree char *path = str_dup(wire_get_str(fields, F_PATH).p ? wire_get_str(fields, F_PATH) : STR(""));
    const struct command *command = find_command(d.command);
    d.path = path;
    path_normalize(&d.key, str_from(path));
    if (!command)
        refuse(&d, "There is no command `%.*s`; there are view, create, str_replace, insert and undo_edit.",
               STR_ARG(quoted(d.command)));
    else if (check_path(&d, command))
        command->run(&d);
    if (d.call) {
        autobuf result = {0};
        add_result(&d, &result);
        call_done(c, WIRE_OK, &result);
    }
    buf_deinit(&d.key);
    buf_deinit(&d.text);
    buf_deinit(&d.before);
    buf_deinit(&d.after);
}
