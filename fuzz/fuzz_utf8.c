/* utf8 and the other readers of text in base: several ways to the same answer must agree. */
#include "base/base64.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "base/utf8.h"
#include "base/uuid.h"
#include <stdlib.h>

static void require(bool what)
{
    if (!what)
        abort();
}

static bool valid_by_characters(struct str s)
{
    uint32_t c;
    for (unsigned n; (n = utf8_next(s, &c)) > 0; s = str_sub(s, n, s.n))
        if (c == 0xfffd && n == 1)
            return false;
    return true;
}

static void check_utf8(struct str s, size_t cut)
{
    bool valid = utf8_valid(s);
    require(valid == valid_by_characters(s));
    uint32_t state = 0;
    bool pieces = utf8_check(&state, str_sub(s, 0, cut)) && utf8_check(&state, str_sub(s, cut, s.n));
    require(valid == (pieces && UTF8_CHECK_DONE(state)));

    autobuf scrubbed = {0};
    utf8_scrub(&scrubbed, s);
    struct str clean = buf_str(&scrubbed);
    require(utf8_valid(clean));
    require(!valid || str_eq(clean, s));
    size_t count = utf8_count(clean);
    struct str prefix = utf8_prefix(clean, cut), suffix = utf8_suffix(clean, count > cut ? count - cut : 0);
    require(prefix.n + suffix.n == clean.n);
    require(utf8_valid(prefix) && utf8_valid(suffix));
    struct str bytes = utf8_prefix_bytes(clean, cut);
    require(bytes.n <= cut && utf8_valid(bytes) && bytes.n + 4 > (cut < clean.n ? cut : clean.n));
}

static void check_readers(struct str s)
{
    autobuf decoded = {0};
    autobuf encoded = {0};
    if (base64_decode(&decoded, s)) {
        base64_encode(&encoded, buf_str(&decoded));
        buf_clear(&decoded);
        require(base64_decode(&decoded, buf_str(&encoded)));
    } else {
        require(decoded.n == 0);
    }
    int64_t us, again;
    char text[CLOCK_TEXT_MAX];
    if (clock_parse(s, &us)) {
        clock_format_utc(us, text);
        /* Zones may carry the first and last year out of what is read. */
        require(!clock_parse(str_from(text), &again) || again == us);
    }
    struct uuid id, same;
    char dashed[UUID_DASHED_LEN + 1];
    if (uuid_parse(s, &id))
        require(uuid_parse(uuid_dashed(&id, dashed), &same) && uuid_eq(&id, &same));
    double f;
    int64_t i;
    if (str_to_i64(s, &i))
        require(str_to_f64(s, &f));
}

static void check_paths(struct str s)
{
    autobuf once = {0};
    autobuf twice = {0};
    autobuf line = {0};
    path_normalize(&once, s);
    path_normalize(&twice, buf_str(&once));
    require(str_eq(buf_str(&once), buf_str(&twice)));
    require(!path_is_absolute(s) || path_is_beneath(STR("/"), buf_str(&once)));
    require(str_find(buf_str(&once), STR("//")) < 0);
    path_extension(s);
    path_dir(s);
    log_mask_query(&line, s);
    require(utf8_valid(buf_str(&line)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_make(data, size);
    check_utf8(s, size ? data[0] % (size + 1) : 0);
    check_readers(s);
    check_paths(s);
    return 0;
}
