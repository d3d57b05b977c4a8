/* fd, small files, log lines. */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "leftover.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <cmocka.h>

static char root[] = "/tmp/handsd-test-XXXXXX";

static const char *in_root(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

struct feeder {
    int fd;
    size_t n;
};

static void feed(void *arg)
{
    struct feeder *f = arg;
    autobuf data = {0};
    memset(buf_reserve(&data, f->n), 'x', f->n);
    data.n = f->n;
    fd_write_all(f->fd, buf_str(&data), NULL);
    close(f->fd);
}

/* Both ends refuse to block by themselves; the pipe is smaller than the data. */
static void whole_through_a_nonblocking_pipe(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(fd_set_nonblocking(ends[0], true) && fd_set_nonblocking(ends[1], true));
    struct feeder feeder = {.fd = ends[1], .n = 1000000};
    pthread_t thread;
    assert_true(thread_start(&thread, "feeder", THREAD_STACK_BYTES, feed, &feeder, NULL));
    autobuf out = {0};
    buf_add_cstr(&out, "before ");
    assert_true(fd_read_all(ends[0], 1000000, &out, NULL)); /* exactly the limit */
    assert_int_equal(out.n, 1000007);
    pthread_join(thread, NULL);
    close(ends[0]);
}

static void limits(void **state)
{
    (void)state;
    autoerr e = NULL;
    autobuf out = {0};
    assert_true(file_write_atomic(in_root("f"), STR("0123456789"), 0640, &e));
    assert_true(file_read(in_root("f"), 10, &out, &e));
    assert_string_equal(out.p, "0123456789");
    buf_clear(&out);
    assert_false(file_read(in_root("f"), 9, &out, &e));
    assert_int_equal(e->kind, ERR_TOO_LARGE);
    assert_non_null(strstr(e->text, "9 bytes"));
    assert_non_null(strstr(e->text, "/f"));
    assert_int_equal(out.n, 9);
    struct stat info;
    assert_int_equal(stat(in_root("f"), &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
}

static void only_regular_files(void **state)
{
    (void)state;
    autobuf out = {0};
    autoerr missing = NULL;
    autoerr fifo = NULL;
    autoerr directory = NULL;
    assert_false(file_read(in_root("missing"), 10, &out, &missing));
    assert_int_equal(missing->kind, ERR_NOT_FOUND);
    assert_int_equal(mkfifo(in_root("fifo"), 0600), 0);
    assert_false(file_read(in_root("fifo"), 10, &out, &fifo)); /* does not hang */
    assert_int_equal(fifo->kind, ERR_INVALID);
    assert_false(file_read(root, 10, &out, &directory));
    assert_int_equal(directory->kind, ERR_INVALID);
}

static void atomic_writes(void **state)
{
    (void)state;
    autoerr e = NULL;
    autobuf out = {0};
    assert_true(file_write_atomic(in_root("a"), STR("old"), 0600, &e));
    assert_true(file_write_atomic(in_root("a"), STR("new"), 0600, &e));
    assert_true(file_read(in_root("a"), 100, &out, &e));
    assert_string_equal(out.p, "new");
    assert_false(file_write_atomic(in_root("no/such/dir/a"), STR("x"), 0600, &e));
    assert_int_equal(e->kind, ERR_NOT_FOUND);
    /* A name that a rename cannot replace: nothing is left behind. */
    assert_true(dir_make(in_root("taken"), 0700, NULL));
    assert_false(file_write_atomic(in_root("taken"), STR("x"), 0600, NULL));
    char command[300];
    snprintf(command, sizeof(command), "test -z \"$(find %s -name '.write-*')\"", root);
    assert_int_equal(system(command), 0);
}

static void directories(void **state)
{
    (void)state;
    autoerr e = NULL;
    assert_true(dir_make(in_root("x/y//z/"), 0700, &e));
    assert_true(dir_make(in_root("x/y/z"), 0700, &e));
    assert_true(dir_make("/", 0700, &e));
    assert_true(file_write_atomic(in_root("x/file"), STR(""), 0600, &e));
    assert_false(dir_make(in_root("x/file/z"), 0700, &e));
    assert_non_null(strstr(e->text, "x/file"));
    autoerr empty = NULL;
    assert_false(dir_make("", 0700, &empty));
}

static void descriptor_flags(void **state)
{
    (void)state;
    autofd int fd = open("/dev/null", O_RDONLY);
    assert_true(fd_set_nonblocking(fd, true));
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fd_set_nonblocking(fd, false));
    assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_false(fd_set_nonblocking(-1, true));
    autoerr e = NULL;
    assert_false(fd_write_all(-1, STR("x"), &e));
    assert_int_equal(e->kind, ERR_IO);
}

static void check_mask(const char *target, const char *expected)
{
    autobuf out = {0};
    log_mask_query(&out, str_from(target));
    assert_string_equal(buf_str(&out).p, expected);
}

static void queries_are_masked(void **state)
{
    (void)state;
    check_mask("/api/x", "/api/x");
    check_mask("/s?session_api_key=SECRET", "/s?session_api_key=*");
    check_mask("/s?a=1&b=SECRET&c", "/s?a=*&b=*&*");
    check_mask("/s?SECRET", "/s?*");
    check_mask("/s?a=x=SECRET?SECRET#SECRET", "/s?a=*");
    check_mask("/s?", "/s?");
    check_mask("/s?a=&&b=2", "/s?a=*&&b=*");
    check_mask("/\r\nGET / \x1b[2J\xff", "/\\x0d\\x0aGET / \\x1b[2J\\xff");
    check_mask("", "");
    autobuf target = {0};
    for (int i = 0; i < 1000; i++)
        buf_add_cstr(&target, "/abcdefghi");
    autobuf out = {0};
    log_mask_query(&out, buf_str(&target));
    assert_true(out.n < 1100);
    assert_true(str_ends(buf_str(&out), STR("...")));
}

/* What the log writes while `descriptor 2` is a file. */
static void log_lines(void **state)
{
    (void)state;
    autofd int saved = dup(STDERR_FILENO);
    autofd int file = open(in_root("log"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(file, STDERR_FILENO);
    log_debug("not shown");
    log_info("two\nlines \x1b[31m\r");
    log_set_level(LOG_DEBUG);
    log_debug("shown");
    log_set_level(LOG_WARN);
    log_info("not shown");
    autobuf big = {0};
    memset(buf_reserve(&big, 100000), 'x', 100000);
    big.n = 100000;
    log_error("%.*s", STR_ARG(buf_str(&big)));
    log_set_level(LOG_INFO);
    dup2(saved, STDERR_FILENO);

    autobuf out = {0};
    assert_true(file_read(in_root("log"), 100000, &out, NULL));
    struct str rest = buf_str(&out), line;
    assert_true(str_split(&rest, '\n', &line));
    assert_true(str_ends(line, STR("Z info: two\\nlines \\x1b[31m")));
    assert_true(str_split(&rest, '\n', &line));
    assert_true(str_ends(line, STR("Z debug: shown")));
    assert_true(str_split(&rest, '\n', &line));
    assert_true(str_ends(line, STR("xxx ...")));
    assert_true(line.n > 8000 && line.n < 8300);
    assert_int_equal(rest.n, 0);
}

static int make_root(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    return folder_remove(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_through_a_nonblocking_pipe),
        cmocka_unit_test(limits),
        cmocka_unit_test(only_regular_files),
        cmocka_unit_test(atomic_writes),
        cmocka_unit_test(directories),
        cmocka_unit_test(descriptor_flags),
        cmocka_unit_test(queries_are_masked),
        cmocka_unit_test(log_lines),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
