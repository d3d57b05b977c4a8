/* Bytes of one HTTP answer into a draft. What comes is told by its first byte and not by its Content-Type: servers
 * answer a streamed request with one JSON text, and proxies anything with a web page. */
#include "base/utf8.h"
#include "llm/provider.h"
#include "net/sse.h"

enum reader_form { FORM_UNKNOWN, FORM_STREAM, FORM_JSON, FORM_PAGE };

struct llm_reader {
    const struct llm *llm;
    enum reader_form form;
    bool is_error; /* by its status */
    struct sse sse;
    struct buf body; /* JSON, page or error */
    struct llm_draft draft;
    struct llm_failure failure;
    struct err *error;
};

struct llm_reader *llm_reader_new(const struct llm *l)
{
    struct llm_reader *r = xcalloc(1, sizeof(*r));
    r->llm = l;
    r->sse.data_max = LLM_ANSWER_MAX;
    r->failure.retry_after = -1;
    return r;
}

void llm_reader_free(struct llm_reader *r)
{
    if (!r)
        return;
    sse_deinit(&r->sse);
    buf_deinit(&r->body);
    llm_draft_deinit(&r->draft);
    err_free(r->error);
    free(r);
}

void llm_reader_head(struct llm_reader *r, int status)
{
    r->is_error = status < 200 || status > 299;
}

/* Models emit broken UTF-8 at times (half a character at a token's border); the rest of the answer is still good. */
static struct json_doc *json_parse_scrubbed(struct str text, struct err **e)
{
    if (utf8_valid(text))
        return json_parse(text, NULL, e);
    autobuf clean = {0};
    utf8_scrub(&clean, text);
    return json_parse(buf_str(&clean), NULL, e);
}

static bool on_event(void *arg, struct str name, struct str data)
{
    struct llm_reader *r = arg;
    if (data.n == 0)
        return true;
    autojson doc = NULL;
    if (data.p[0] == '{') {
        autoerr e = NULL;
        doc = json_parse_scrubbed(data, &e);
        if (!doc)
            return llm_fail(r->llm, "LLMServiceUnavailableError", &r->failure, &r->error,
                            "a piece of the streamed answer is not JSON: %s", err_text(e));
    }
    return r->llm->provider->dialect->event(&r->draft, r->llm, name, data, json_root(doc), &r->failure,
                                            &r->error);
}

static enum reader_form form_of(struct str bytes)
{
    struct str text = str_starts(bytes, STR("\xEF\xBB\xBF")) ? str_sub(bytes, 3, bytes.n) : bytes;
    text = str_trim(text);
    if (text.n == 0)
        return FORM_UNKNOWN;
    return text.p[0] == '<' ? FORM_PAGE : text.p[0] == '{' || text.p[0] == '[' ? FORM_JSON : FORM_STREAM;
}

bool llm_reader_feed(struct llm_reader *r, struct str bytes, struct str *content, struct str *reasoning)
{
    *content = *reasoning = STR_NONE;
    if (r->error)
        return false;
    if (r->is_error) {
        buf_add(&r->body, str_sub(bytes, 0, LLM_ERROR_BODY_MAX - r->body.n));
        return true;
    }
    if (r->form == FORM_UNKNOWN)
        r->form = form_of(bytes);
    if (r->form == FORM_PAGE)
        buf_add(&r->body, str_sub(bytes, 0, LLM_ERROR_BODY_MAX - r->body.n));
    if (r->form == FORM_JSON)
        buf_add(&r->body, bytes); /* bounded by LLM_ANSWER_MAX, as the call's body_max */
    if (r->form != FORM_STREAM)
        return true;
    size_t text_before = r->draft.text.n, reasoning_before = r->draft.reasoning.n;
    bool more = sse_feed(&r->sse, bytes, on_event, r, &r->error);
    *content = str_sub(buf_str(&r->draft.text), text_before, r->draft.text.n);
    *reasoning = str_sub(buf_str(&r->draft.reasoning), reasoning_before, r->draft.reasoning.n);
    return more;
}

static bool end_stream(struct llm_reader *r, const struct err *transport, struct llm_failure *failure,
                       struct err **e)
{
    if (!r->error && !transport)
        sse_end(&r->sse, on_event, r, &r->error);
    if (r->error) {
        *failure = r->failure;
        if (!r->error->code) /* sse's own limit */
            return llm_fail(r->llm, "LLMResponseError", failure, e, "%s", err_text(r->error));
        if (e && !*e)
            *e = steal(r->error);
        return false;
    }
    if (r->draft.ended) /* whatever broke afterwards */
        return true;
    if (transport)
        return llm_fail_transport(r->llm, transport, failure, e);
    if (!r->draft.answered)
        return llm_fail(r->llm, "LLMNoResponseError", failure, e, "the streamed answer is empty");
    return llm_fail(r->llm, "LLMServiceUnavailableError", failure, e,
                    "the streamed answer ends in the middle");
}

static bool end_json(struct llm_reader *r, struct llm_failure *failure, struct err **e)
{
    autoerr why = NULL;
    struct str text = str_trim(buf_str(&r->body));
    if (str_starts(text, STR("\xEF\xBB\xBF")))
        text = str_sub(text, 3, text.n);
    autojson doc = json_parse_scrubbed(text, &why);
    if (!doc)
        return llm_fail(r->llm, "LLMServiceUnavailableError", failure, e,
                        "the answer is cut or is not JSON: %s", err_text(why));
    return r->llm->provider->dialect->body(&r->draft, r->llm, json_root(doc), failure, e);
}

static struct str page_title(struct str page)
{
    ssize_t from = str_find_nocase(page, STR("<title>"));
    if (from < 0)
        return STR("no title");
    struct str rest = str_sub(page, (size_t)from + 7, page.n);
    ssize_t to = str_find_char(rest, '<');
    return str_trim(str_sub(rest, 0, to < 0 || to > 200 ? 200 : (size_t)to));
}

bool llm_reader_end(struct llm_reader *r, int status, struct str headers, const struct err *transport,
                    struct arena *arena, struct llm_answer *answer, struct llm_failure *failure,
                    struct err **e)
{
    *failure = (struct llm_failure){.retry_after = -1};
    if (status == 0 && transport)
        return llm_fail_transport(r->llm, transport, failure, e);
    if (r->is_error)
        return llm_fail_status(r->llm, status, headers, buf_str(&r->body), failure, e);
    bool ok = false;
    if (r->form == FORM_PAGE) {
        autobuf title = {0};
        utf8_scrub(&title, page_title(buf_str(&r->body)));
        return llm_fail(r->llm, "LLMBadRequestError", failure, e,
                        "the answer is a web page (%.*s): base_url does not lead to a model's API",
                        STR_ARG(buf_str(&title)));
    }
    if (r->form == FORM_STREAM)
        ok = end_stream(r, transport, failure, e);
    else if (transport)
        return llm_fail_transport(r->llm, transport, failure, e);
    else if (r->form == FORM_JSON)
        ok = end_json(r, failure, e);
    else
        return llm_fail(r->llm, "LLMNoResponseError", failure, e, "the answer is empty");
    return ok && llm_draft_finish(&r->draft, r->llm, arena, answer, failure, e);
}
