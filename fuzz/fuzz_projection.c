/* projection: a stored event, a zero byte, and its side record. Whatever they are: JSON objects with rising ids. */
#include "api/legacy/projection.h"
#include "json/json.h"
#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_make(data, size), event;
    static const struct projection_log nowhere;
    autoprojection p = {0};
    if (size == 0 || !str_split(&rest, '\0', &event))
        return 0;
    for (uint32_t seq = 0; seq <= 1000; seq += 1000) {
        projection_make(&p, &nowhere, event, rest, seq, NULL);
        must(p.n <= PROJECTION_MAX);
        for (size_t i = 0; i < p.n; i++) {
            autojson doc = json_parse_trusted(p.at[i].json, NULL);
            must(json_type(json_root(doc)) == JSON_OBJECT);
            must(json_get_int(json_root(doc), "id", -1) == projection_id(seq, (unsigned)i));
            must(json_get_int(json_root(doc), "cause", 0) <= p.at[i].id);
        }
    }
    return 0;
}
