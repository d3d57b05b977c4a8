/* POST /api/file/upload: the form's `file` goes through to the hand as it comes. What is under way is one window: the
 * connection is read only as fast as the hand writes. The hand puts the file in its place when the whole form was well;
 * until then the old one stays. Everything here runs on the loop, but for the look-up of the hand. */
#include "api/agent_server/upload.h"
#include "base/cleanup.h"
#include "net/multipart.h"

#define FIELD "file"

struct upload {
    struct request *request; /* until it is answered */
    struct loop *loop;
    struct hands *hands;
    struct hand_spec hand;
    struct str path;
    struct multipart form;
    struct buf piece; /* of the file, out of one piece of the body */
    uint64_t call;
    uint64_t sent, allowed; /* bytes that the hand was given; that it said it takes */
    uint64_t owed;          /* bytes of the body that were not given back to the connection */
    bool in_file, had_file, calling, body_over, call_over;
    struct err *no_hand;
    const char *problem; /* with a part of the form */
};

static void upload_settle(struct upload *u)
{
    if (u->request || (u->calling && !u->call_over))
        return;
    multipart_deinit(&u->form);
    buf_deinit(&u->piece);
    err_free(u->no_hand);
    free(u);
}

/* ---- ends: each answers the request ---- */

/* What the hand has of the file goes with the call. */
static struct request *upload_stop(struct upload *u)
{
    if (u->calling && !u->call_over)
        hand_cancel(u->hands, u->call);
    return steal(u->request);
}

static void end_error(struct upload *u, const struct err *e)
{
    request_reply_error(upload_stop(u), e);
    upload_settle(u);
}

static void end_detail(struct upload *u, int status, const char *detail)
{
    request_reply_detail(upload_stop(u), status, detail);
    upload_settle(u);
}

static void reply_problem(struct request *r, const char *type, const char *message)
{
    struct json_problems problems = {.arena = request_arena(r)};
    json_problem_add(&problems, type, "body", FIELD, message);
    request_reply_problems(r, &problems);
}

static void end_problem(struct upload *u, const char *type, const char *message)
{
    reply_problem(upload_stop(u), type, message);
    upload_settle(u);
}

/* ---- the hand ---- */

/* The connection goes on when the hand has room for what it was given. */
static void give_back(struct upload *u)
{
    if (!u->request || u->owed == 0 || u->sent > u->allowed)
        return;
    uint64_t owed = u->owed;
    u->owed = 0;
    request_body_taken(u->request, (size_t)owed);
}

static void on_writable(void *arg, uint64_t total)
{
    struct upload *u = arg;
    u->allowed = total;
    give_back(u);
}

static void on_done(void *arg, struct str fields, const struct err *e)
{
    struct upload *u = arg;
    int64_t status = e ? WIRE_IO : wire_get_int(fields, F_STATUS, WIRE_IO);
    u->call_over = true;
    if (!u->request) {
        upload_settle(u);
        return;
    }
    if (e) {
        autoerr gone = err_copy(e);
        if (gone->kind == ERR_NOT_FOUND)
            gone->kind = ERR_GONE;
        end_error(u, gone);
    } else if (status != WIRE_OK) {
        struct request *request = steal(u->request);
        struct hand_request refused = {.request = request};
        hand_request_refuse(&refused, (enum wire_status)status, wire_get_str(fields, F_MESSAGE));
        upload_settle(u);
    } else if (!u->body_over) {
        end_detail(u, 502, "The workspace took the file for complete before it was");
    } else {
        reply_success(steal(u->request), true);
        upload_settle(u);
    }
}

static void call_begin(struct upload *u)
{
    static const struct hand_callbacks callbacks = {.on_done = on_done, .on_writable = on_writable};
    autobuf fields = {0};
    wire_add_str(&fields, F_PATH, u->path);
    u->calling = true;
    u->allowed = WIRE_CREDIT_INITIAL;
    u->call = hand_call_number(u->hands);
    hand_call_numbered(u->hands, u->call, &u->hand, OP_FILE_WRITE, &fields, 0, true, &callbacks, u);
}

/* ---- the form ---- */

static bool on_part(void *arg, const struct multipart_part *part)
{
    struct upload *u = arg;
    u->in_file = str_is(part->name, FIELD);
    if (!u->in_file)
        return true;
    if (u->had_file || !part->file_name.p) {
        u->problem = u->had_file ? "There is more than one file" : "Expected a file with a name";
        return false; /* on_body goes on */
    }
    u->had_file = true;
    call_begin(u);
    return true;
}

static bool on_form_data(void *arg, struct str data)
{
    struct upload *u = arg;
    if (u->in_file)
        buf_add(&u->piece, data);
    return true;
}

static bool on_part_end(void *arg)
{
    ((struct upload *)arg)->in_file = false;
    return true;
}

static const struct multipart_callbacks form_callbacks = {on_part, on_form_data, on_part_end};

/* ---- the body ---- */

static void on_body(void *arg, struct str data)
{
    struct upload *u = arg;
    autoerr e = NULL;
    u->owed += data.n;
    if (!multipart_feed(&u->form, data, &e)) {
        if (e)
            end_detail(u, 400, err_text(e));
        else
            end_problem(u, "value_error", u->problem);
        return;
    }
    if (u->piece.n > 0) {
        u->sent += u->piece.n;
        hand_send(u->hands, u->call, &u->piece);
    }
    give_back(u);
}

static void on_body_end(void *arg, const struct err *e)
{
    struct upload *u = arg;
    autoerr bad = NULL;
    u->body_over = true;
    if (e)
        end_error(u, e);
    else if (!multipart_end(&u->form, &bad))
        end_detail(u, 400, err_text(bad));
    else if (!u->had_file)
        end_problem(u, "missing", "Field required");
    else
        hand_send_end(u->hands, u->call);
}

static void body_begin(void *arg)
{
    static const struct body_callbacks callbacks = {.on_data = on_body, .on_end = on_body_end};
    struct upload *u = arg;
    if (u->no_hand)
        end_error(u, u->no_hand);
    else
        request_body_read(u->request, &callbacks, u);
}

static void on_hand(void *arg, const struct hand_spec *hand, const struct err *e)
{
    struct upload *u = arg;
    if (e) {
        u->no_hand = err_copy(e);
    } else {
        u->hand = *hand;
        u->hand.working_dir = arena_str(request_arena(u->request), hand->working_dir);
    }
    loop_call(u->loop, body_begin, u);
}

void upload_start(struct request *r, struct str path)
{
    autoerr e = NULL;
    struct upload *u = xcalloc(1, sizeof(*u));
    if (!multipart_init(&u->form, request_header(r, "Content-Type"), &form_callbacks, u, &e)) {
        reply_problem(r, "missing", "Field required: the body must be multipart/form-data with a boundary");
        upload_settle(u);
        return;
    }
    u->request = r;
    u->loop = app_of(r)->config.loop;
    u->hands = conversations_hands(conversations_of(r));
    u->path = path;
    conversations_hand_for(conversations_of(r), path, on_hand, u);
}
