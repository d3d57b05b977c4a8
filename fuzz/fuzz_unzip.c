/* unzip: an archive that may be anybody's; what it has must come back from one that we write of it. And of any bytes as files
 * the same must come back. */
#include "base/buf.h"
#include "zip/unzip.h"
#include "zip/zip.h"
#include <stdlib.h>
#include <sys/stat.h>

#define READ_MAX (4 * 1024 * 1024) /* a run shall be short */

/* What was read, written again. */
struct again {
    struct buf log, last;
    struct zip *zip;
    uint64_t bytes;
};

static bool into_buf(void *arg, struct str data)
{
    buf_add(arg, data);
    return true;
}

static bool on_file(void *arg, struct str name, struct str piece, struct err **e)
{
    struct again *a = arg;
    a->bytes += piece.n;
    if (piece.n > UNZIP_PIECE || name.n == 0 || name.n > UNZIP_NAME_MAX)
        abort();
    if (a->bytes > READ_MAX)
        return err_set(e, ERR_TOO_LARGE, "enough");
    buf_addf(&a->log, "[%zu %zu]", name.n, piece.n);
    buf_add(&a->log, name);
    buf_add(&a->log, piece);
    if (a->zip)
        zip_add(a->zip, &(struct zip_entry){.name = name, .mode = S_IFREG | 0644}, piece);
    return true;
}

/* The files of `zip` are those of the log. */
static void check(struct str zip, struct str log)
{
    struct again a = {0};
    if (!unzip_files(zip, on_file, &a, NULL) || !str_eq(buf_str(&a.log), log))
        abort();
    buf_deinit(&a.log);
}

static void read_archive(struct str data)
{
    struct again a = {0};
    struct buf out = {0};
    a.zip = zip_new(into_buf, &out, 0);
    if (unzip_files(data, on_file, &a, NULL)) {
        zip_end(a.zip, STR(""));
        check(buf_str(&out), buf_str(&a.log));
    }
    zip_free(a.zip);
    buf_deinit(&a.log);
    buf_deinit(&out);
}

/* Each line is a file, deflated in pieces. */
static void write_archive(struct str data)
{
    struct buf out = {0}, log = {0};
    struct str line;
    struct zip *z = zip_new(into_buf, &out, 0);
    while (str_split(&data, '\n', &line)) {
        zip_begin(z, &(struct zip_entry){.name = STR("f"), .mode = S_IFREG | 0644, .most = line.n});
        zip_data(z, line);
        zip_finish(z);
        buf_addf(&log, "[1 %zu]f", line.n);
        buf_add(&log, line);
    }
    zip_end(z, STR(""));
    zip_free(z);
    check(buf_str(&out), buf_str(&log));
    buf_deinit(&out);
    buf_deinit(&log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    read_archive(str_make(data, n));
    if (n < 1024)
        write_archive(str_make(data, n));
    return 0;
}
