/* jinja: a template of a stranger. Whatever it is, it ends, within its bounds, in a text or in an error that names a line. */
#include "agent/jinja/jinja.h"
#include <stdlib.h>

static const char variables[] =
    "{\"name\":\"Ada\",\"yes\":true,\"n\":3,\"f\":1.5,\"none\":null,\"list\":[\"a\",\"b\",[1,2]],"
    "\"map\":{\"k\":\"v\",\"list\":[{\"x\":1}]}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autojson doc = json_parse(str_from(variables), NULL, NULL);
    autobuf out = {0};
    autoerr e = NULL;
    bool ok = jinja_render(str_make(data, size), json_root(doc), &out, &e);
    if (ok ? out.n > 2 * JINJA_OUTPUT_MAX : !e || out.n > 0)
        abort();
    return 0;
}
