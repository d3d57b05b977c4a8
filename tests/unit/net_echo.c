/* Serves the routes of net_fixture.h until it is told to end; prints its port. For tests/net and for measuring.
 *
 *   net_echo [--port N] [--key KEY] [--verbose] */
#include "base/clock.h"
#include "base/log.h"
#include "net_fixture.h"
#include <signal.h>

static struct fixture fixture;

static void on_drained(void *arg)
{
    (void)arg;
    loop_stop(fixture.loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    uv_close((uv_handle_t *)handle, NULL);
    server_drain(fixture.server, 2000, on_drained, NULL);
}

int main(int argc, char **argv)
{
    struct listener_config config = {0};
    struct str key = STR_NONE;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) {
            log_set_level(LOG_DEBUG);
        } else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
            config.port = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--key") == 0 && i + 1 < argc) {
            key = str_from(argv[++i]);
            config.keys = &key;
            config.key_count = 1;
        }
    }
    clock_init();
    signal(SIGPIPE, SIG_IGN);
    autoerr e = NULL;
    fixture_start(&fixture, NULL, &config, &e);
    if (!fixture.listener) {
        fprintf(stderr, "%s\n", err_text(e));
        return 1;
    }
    uv_signal_t terminate;
    uv_signal_init(loop_uv(fixture.loop), &terminate);
    uv_signal_start(&terminate, on_signal, SIGTERM);
    printf("listening on http://127.0.0.1:%d (fixture)\n", listener_port(fixture.listener));
    fflush(stdout);
    loop_run(fixture.loop);
    fixture_end(&fixture);
    return 0;
}
