/* A model's answer, whatever its server sends: a usable answer or an error with a code, never a crash. The first byte
 * chooses status, pieces and whether the connection broke. */
#include <stdint.h>
#include <stdlib.h>
#include "base/log.h"
#include "llm/provider.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct llm *model(void)
{
    static struct llm *l;
    if (!l) {
        log_set_level(LOG_ERROR);
        autojson doc = json_parse(
            STR("{\"model\":\"openai/x\",\"base_url\":\"http://h/v1\",\"api_key\":\"secret-key\"}"), NULL,
            NULL);
        l = llm_new(json_root(doc), NULL, NULL);
    }
    return l;
}

static void check(bool ok, const struct llm_answer *answer, const struct err *e)
{
    if (!ok) {
        if (!e || !e->code || !e->text || strstr(e->text, "secret-key"))
            abort();
        return;
    }
    if (answer->call_count > LLM_CALLS_MAX || answer->id.n == 0 || !answer->text.p)
        abort();
    for (size_t i = 0; i < answer->call_count; i++)
        if (answer->calls[i].id.n == 0 || answer->calls[i].arguments.n == 0)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 200, 200, 400, 429, 500, 302, 422};
    if (size < 2)
        return 0;
    struct str body = str_make(data + 1, size - 1), content, reasoning;
    int status = statuses[data[0] & 7];
    size_t piece = (data[0] & 8) ? 1 + (data[0] >> 5) : body.n;
    struct err *broken = NULL;
    if (data[0] & 16)
        err_set(&broken, ERR_UPSTREAM, "the connection broke");
    struct llm_reader *r = llm_reader_new(model());
    llm_reader_head(r, status);
    for (size_t at = 0; at < body.n; at += piece)
        if (!llm_reader_feed(r, str_sub(body, at, at + piece), &content, &reasoning))
            break;
    autoarena arena = arena_new();
    autoerr e = NULL;
    struct llm_answer answer;
    struct llm_failure failure;
    bool ok = llm_reader_end(r, status, STR("Retry-After: 5\r\n"), broken, arena, &answer, &failure, &e);
    check(ok, &answer, e);
    llm_reader_free(r);
    err_free(broken);
    return 0;
}
