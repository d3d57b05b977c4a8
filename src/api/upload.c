/* Every file is a call of its own. Calls begin in the form's order, a few at a time; what comes for those that have to wait is
 * kept, and is part of the one window that the connection is ahead. Everything here runs on the loop, but for upload_start. */
#include "api/upload.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include "base/vec.h"
#include "net/multipart.h"

#define CALLS_MAX 16    /* open at once; a form has at most MULTIPART_PARTS_MAX files */
#define REASON_MAX 1024 /* bytes kept of what a hand says */

struct file {
    struct upload_file told;
    struct upload *upload;
    struct buf fields;  /* of the call, until it begins */
    struct buf waiting; /* bytes that the hand was not given */
    uint64_t call;
    uint64_t sent, allowed; /* bytes that the hand was given; that it said it takes */
    enum { FILE_WAITING, FILE_OPEN, FILE_OVER } state;
    bool whole; /* nothing more comes, and it may take its place */
    bool ended; /* the hand knows */
};

/* In the request's arena: the answer comes last. */
struct upload {
    struct hand_request *h;
    const struct upload_rules *rules;
    struct loop *loop;
    struct hands *hands;
    struct multipart form;
    VEC(struct file *) files;
    VEC(const struct upload_file *) told;
    size_t first; /* of the files that are not over */
    size_t open;
    struct file *current;
    uint64_t owed; /* bytes of the body that were not given back to the connection */
    bool closed;   /* nothing more is taken of the body */
    /* Why it was closed before its end: one of these. */
    struct err *broken;
    const char *malformed;
    const char *problem_type, *problem; /* with the field */
};

/* ---- the answer ---- */

static void reply_problem(struct request *r, const char *field, const char *type, const char *message)
{
    struct json_problems problems = {.arena = request_arena(r)};
    json_problem_add(&problems, type, "body", field, message);
    request_reply_problems(r, &problems);
}

/* Takes `u` with it. */
static void upload_finish(struct upload *u)
{
    autoerr broken = steal(u->broken);
    VEC(struct err *) errors = {0};
    for (size_t i = 0; i < u->files.n; i++) {
        buf_deinit(&u->files.at[i]->fields);
        buf_deinit(&u->files.at[i]->waiting);
        if (u->files.at[i]->told.error)
            vec_push(&errors, u->files.at[i]->told.error);
        vec_push(&u->told, &u->files.at[i]->told);
    }
    multipart_deinit(&u->form);
    const struct upload_file **told = u->told.at;
    size_t n = u->told.n;
    vec_deinit(&u->files);
    if (broken)
        request_reply_error(u->h->request, broken);
    else if (u->malformed)
        request_reply_detail(u->h->request, 400, u->malformed);
    else if (u->problem)
        reply_problem(u->h->request, u->rules->field, u->problem_type, u->problem);
    else
        u->rules->done(u->h, told, n);
    free(told);
    for (size_t i = 0; i < errors.n; i++)
        err_free(errors.at[i]);
    vec_deinit(&errors);
}

/* ---- files ---- */

static void file_skip(struct file *f, struct str reason)
{
    struct arena *arena = request_arena(f->upload->h->request);
    autobuf text = {0};
    utf8_scrub(&text, utf8_prefix_bytes(reason, REASON_MAX));
    f->told.reason = arena_str(arena, text.n ? buf_str(&text) : STR("The workspace gives no reason"));
    f->state = FILE_OVER;
    buf_deinit(&f->waiting);
}

static void file_lost(struct file *f, const struct err *e)
{
    f->told.error = err_copy(e);
    if (e->kind == ERR_NOT_FOUND) /* the hand's program is: nothing that the client asked for */
        f->told.error->kind = ERR_GONE;
    file_skip(f, str_from(err_text(e)));
}

static void upload_go_on(struct upload *u);
static void upload_close(struct upload *u);

static void on_writable(void *arg, uint64_t total)
{
    struct file *f = arg;
    f->allowed = total;
    upload_go_on(f->upload);
}

static void on_done(void *arg, struct str fields, const struct err *e)
{
    struct file *f = arg;
    struct upload *u = f->upload;
    autoerr early = NULL;
    enum wire_status status = e ? WIRE_STATUSES : wire_get_status(fields);
    u->open--;
    f->state = FILE_OVER;
    buf_deinit(&f->waiting);
    if (e) {
        file_lost(f, e);
    } else if (status != WIRE_OK) {
        f->told.status = status;
        file_skip(f, wire_get_str(fields, F_MESSAGE));
    } else if (!f->ended) {
        err_set(&early, ERR_GONE, "The workspace took the file for complete before it was");
        file_lost(f, early);
    }
    if (u->rules->one && f->told.reason.p)
        upload_close(u);
    upload_go_on(u);
}

static void file_begin(struct file *f)
{
    static const struct hand_callbacks callbacks = {.on_done = on_done, .on_writable = on_writable};
    struct upload *u = f->upload;
    f->state = FILE_OPEN;
    f->allowed = WIRE_CREDIT_INITIAL;
    f->call = hand_call_number(u->hands);
    u->open++;
    hand_call_numbered(u->hands, f->call, &u->h->hand, OP_FILE_WRITE, &f->fields, 0, true, &callbacks, f);
}

static void file_send(struct file *f)
{
    struct hands *hands = f->upload->hands;
    if (f->waiting.n > 0) {
        f->sent += f->waiting.n;
        hand_send(hands, f->call, &f->waiting);
    }
    if (f->whole && !f->ended) {
        f->ended = true;
        hand_send_end(hands, f->call);
    }
}

/* Two of one name: the later one counts, so it waits for the other. */
static bool is_being_written(const struct upload *u, size_t before, struct str path)
{
    for (size_t i = u->first; i < before; i++)
        if (u->files.at[i]->state == FILE_OPEN && str_eq(u->files.at[i]->told.path, path))
            return true;
    return false;
}

/* What can go to the hand goes, and the body goes on when there is room; or that was all. The last thing that a caller does
 * with `u`. */
static void upload_go_on(struct upload *u)
{
    bool full = false;
    while (u->first < u->files.n && u->files.at[u->first]->state == FILE_OVER)
        u->first++;
    for (size_t i = u->first; i < u->files.n; i++) {
        struct file *f = u->files.at[i];
        if (f->state == FILE_WAITING && u->open < CALLS_MAX && !is_being_written(u, i, f->told.path))
            file_begin(f);
        if (f->state == FILE_OPEN)
            file_send(f);
        if (f->state == FILE_WAITING || f->sent > f->allowed)
            full = true;
        if (f->state == FILE_WAITING)
            break;
    }
    if (u->closed && u->first == u->files.n) {
        upload_finish(u);
    } else if (!u->closed && !full && u->owed > 0) {
        uint64_t owed = u->owed;
        u->owed = 0;
        request_body_taken(u->h->request, (size_t)owed);
    }
}

/* Nothing more comes: what is not whole is nothing. */
static void upload_close(struct upload *u)
{
    u->closed = true;
    for (size_t i = u->first; i < u->files.n; i++) {
        struct file *f = u->files.at[i];
        if (f->state == FILE_OPEN && !f->whole)
            hand_cancel(u->hands, f->call);
        else if (f->state == FILE_WAITING && !f->whole)
            file_skip(f, STR("It did not come whole"));
    }
}

/* ---- the form ---- */

/* UTF-8 as it is; otherwise one byte is one character of Latin-1. */
static struct str name_of(struct arena *arena, struct str given)
{
    autobuf name = {0};
    if (utf8_valid(given))
        return arena_str(arena, given);
    for (size_t i = 0; i < given.n; i++)
        utf8_add(&name, (unsigned char)given.p[i]);
    return arena_str(arena, buf_str(&name));
}

static bool on_part(void *arg, const struct multipart_part *part)
{
    struct upload *u = arg;
    struct arena *arena = request_arena(u->h->request);
    const char *reason = NULL;
    if (!str_is(part->name, u->rules->field))
        return true;
    if (!part->file_name.p || (u->rules->one && u->files.n > 0)) {
        u->problem_type = "value_error";
        u->problem = part->file_name.p ? "There is more than one file" : "Expected a file with a name";
        return false; /* on_body goes on */
    }
    struct file *f = u->current = ARENA_NEW(arena, struct file);
    f->upload = u;
    f->told.name = name_of(arena, part->file_name);
    vec_push(&u->files, f);
    if (!u->rules->place(u->h, f->told.name, &f->told.path, &f->fields, &reason))
        file_skip(f, str_from(reason));
    return true;
}

static bool on_form_data(void *arg, struct str data)
{
    struct upload *u = arg;
    if (u->current && u->current->state != FILE_OVER)
        buf_add(&u->current->waiting, data);
    return true;
}

static bool on_part_end(void *arg)
{
    struct upload *u = arg;
    if (u->current)
        u->current->whole = !u->rules->one;
    u->current = NULL;
    return true;
}

static const struct multipart_callbacks form_callbacks = {on_part, on_form_data, on_part_end};

/* ---- the body ---- */

static void malformed(struct upload *u, const struct err *e)
{
    u->malformed = arena_cstr(request_arena(u->h->request), str_from(err_text(e)));
}

static void on_body(void *arg, struct str data)
{
    struct upload *u = arg;
    autoerr e = NULL;
    if (u->closed)
        return;
    u->owed += data.n;
    if (!multipart_feed(&u->form, data, &e)) {
        if (e)
            malformed(u, e);
        upload_close(u);
    }
    upload_go_on(u);
}

static void on_body_end(void *arg, const struct err *e)
{
    struct upload *u = arg;
    autoerr bad = NULL;
    if (u->closed)
        return;
    if (e) {
        u->broken = err_copy(e);
    } else if (!multipart_end(&u->form, &bad)) {
        malformed(u, bad);
    } else if (u->files.n == 0) {
        u->problem_type = "missing";
        u->problem = "Field required";
    } else if (u->rules->one) {
        u->files.at[0]->whole = true;
    }
    upload_close(u);
    upload_go_on(u);
}

static void body_begin(void *arg)
{
    static const struct body_callbacks callbacks = {.on_data = on_body, .on_end = on_body_end};
    struct upload *u = arg;
    request_body_read(u->h->request, &callbacks, u);
}

void upload_start(struct hand_request *h, const struct upload_rules *rules)
{
    struct request *r = h->request;
    autoerr e = NULL;
    struct upload *u = ARENA_NEW(request_arena(r), struct upload);
    if (!multipart_init(&u->form, request_header(r, "Content-Type"), &form_callbacks, u, &e)) {
        reply_problem(r, rules->field, "missing",
                      "Field required: the body must be multipart/form-data with a boundary");
        return;
    }
    u->h = h;
    u->rules = rules;
    u->loop = app_of(r)->config.loop;
    u->hands = conversations_hands(conversations_of(r));
    loop_call(u->loop, body_begin, u);
}
