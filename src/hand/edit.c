#include "hand/operations.h"

void edit_start(struct call *c)
{
    call_fail(c, WIRE_UNSUPPORTED, "not yet");
}
