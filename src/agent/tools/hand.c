/* What tools that call a hand have in common: masking, and failures in words for the model. */
#include "agent/internal.h"
#include "base/utf8.h"

struct str tool_masked(const struct tool_run *run, struct str text)
{
    autobuf masked = {0}, valid = {0};
    bool hit = mask_apply(run->host->mask(run->host->arg), text, &masked);
    struct str out = hit ? buf_str(&masked) : text;
    if (!utf8_valid(out)) {
        utf8_scrub(&valid, out);
        return arena_str(run->arena, buf_str(&valid));
    }
    return hit ? arena_str(run->arena, out) : out;
}

bool tool_result_check(const struct tool_run *run, struct str fields, struct err **e)
{
    int64_t status = wire_get_int(fields, F_STATUS, WIRE_OK);
    struct str message = tool_masked(run, wire_get_str(fields, F_MESSAGE));
    if (status == WIRE_OK)
        return true;
    if (message.n == 0)
        message = STR("no reason given");
    if (status == WIRE_BUSY)
        return err_set(e, ERR_BUSY, "The workspace has too much to do at once (%.*s). Try again.",
                       STR_ARG(message));
    return err_set(e, ERR_INVALID, "The `%.*s` call could not be carried out: %.*s", STR_ARG(run->name),
                   STR_ARG(message));
}

bool tool_call_failed(struct err **e, struct err *why)
{
    if (!why)
        return err_set(e, ERR_INTERNAL, "The call failed for an unknown reason.");
    switch ((int)why->kind) {
    case ERR_CANCELLED: return err_set(e, ERR_CANCELLED, "%s", why->text);
    case ERR_GONE:
        return err_set(
            e, ERR_GONE,
            "The process that works in the workspace ended during this call (it was killed or crashed). What the "
            "call had done by then stays done; shell variables, jobs and background processes are gone. The next "
            "call starts it again. Look at the state of the files before you repeat anything.");
    case ERR_TIMEOUT:
        return err_set(e, ERR_TIMEOUT,
                       "The workspace did not answer in time, and the call was given up. It may have taken "
                       "effect in part: look before you repeat it.");
    case ERR_BUSY:
        return err_set(e, ERR_BUSY, "The workspace has too much to do at once (%s). Try again.", why->text);
    case ERR_TOO_LARGE:
        return err_set(e, ERR_TOO_LARGE, "The result is too large to be handled: %s", why->text);
    default: return err_set(e, why->kind, "The workspace cannot be used: %s", why->text);
    }
}
