/* The server itself: probes and facts about it. None of these needs a key. */
#include "api/legacy/app.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "workspace/hand.h"
#include <sys/resource.h>
#include <sys/statvfs.h>

static void get_alive(struct request *r, const void *args)
{
    (void)args;
    autobuf body = {0};
    buf_add(&body, STR("{\"status\":\"ok\"}"));
    request_reply_json(r, 200, &body);
}

static void get_health(struct request *r, const void *args)
{
    (void)args;
    autobuf body = {0};
    buf_add(&body, STR("\"OK\""));
    request_reply_json(r, 200, &body);
}

/* ---- server_info ---- */

#define STATM_MAX 128
#define IO_BLOCK 512 /* the unit of getrusage */

static double seconds_since(uint64_t ns)
{
    uint64_t now = clock_mono_ns();
    return now > ns ? (double)(now - ns) / (double)NS_PER_S : 0;
}

static uint64_t us_of(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

/* Of one core, since this was asked last (at first: since the start), in place of a tenth of a second's wait. */
static double cpu_percent(const struct api *a, const struct rusage *usage)
{
    static _Atomic uint64_t asked_ns, used_us;
    uint64_t now = clock_mono_ns(), used = us_of(usage->ru_utime) + us_of(usage->ru_stime);
    uint64_t since = atomic_exchange(&asked_ns, now), before = atomic_exchange(&used_us, used);
    if (since == 0)
        since = a->started_ns;
    return now > since && used > before ? (double)(used - before) * 100000 / (double)(now - since) : 0;
}

static void memory_write(struct json_writer *w)
{
    autobuf text = {0};
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), all = (uint64_t)sysconf(_SC_PHYS_PAGES);
    uint64_t size = 0, resident = 0;
    struct str rest, word;
    if (file_read("/proc/self/statm", STATM_MAX, &text, NULL)) {
        rest = buf_str(&text);
        if (str_split(&rest, ' ', &word) && str_to_u64(word, &size) && str_split(&rest, ' ', &word))
            str_to_u64(word, &resident);
    }
    jw_object(w);
    jw_member_int(w, "rss", (int64_t)(resident * page));
    jw_member_int(w, "vms", (int64_t)(size * page));
    jw_member_float(w, "percent", all ? (double)resident * 100 / (double)all : 0);
    jw_object_end(w);
}

static void disk_write(struct json_writer *w)
{
    struct statvfs fs = {0};
    statvfs("/", &fs);
    uint64_t used = (fs.f_blocks - fs.f_bfree) * fs.f_frsize, open = fs.f_bavail * fs.f_frsize;
    jw_object(w);
    jw_member_int(w, "total", (int64_t)(fs.f_blocks * fs.f_frsize));
    jw_member_int(w, "used", (int64_t)used);
    jw_member_int(w, "free", (int64_t)open);
    jw_member_float(w, "percent", used + open ? (double)used * 100 / (double)(used + open) : 0);
    jw_object_end(w);
}

static void get_info(struct request *r, const void *args)
{
    (void)args;
    const struct api *a = app_of(r);
    uint64_t last = hands_last_call_ns(conversations_hands(a->config.conversations));
    struct rusage usage = {0};
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    getrusage(RUSAGE_SELF, &usage);
    jw_object(&w);
    jw_member_float(&w, "uptime", seconds_since(a->started_ns));
    jw_member_float(&w, "idle_time", seconds_since(last ? last : a->started_ns));
    jw_key(&w, "resources");
    jw_object(&w);
    jw_member_float(&w, "cpu_percent", cpu_percent(a, &usage));
    jw_key(&w, "memory");
    memory_write(&w);
    jw_key(&w, "disk");
    disk_write(&w);
    jw_key(&w, "io");
    jw_object(&w);
    jw_member_int(&w, "read_bytes", usage.ru_inblock * IO_BLOCK);
    jw_member_int(&w, "write_bytes", usage.ru_oublock * IO_BLOCK);
    jw_object_end(&w);
    jw_object_end(&w);
    jw_object_end(&w);
    request_reply_json(r, 200, &body);
}

#define PROBE .method = HTTP_GET_, .tag = "Health", .flags = ROUTE_PUBLIC | ROUTE_INLINE
static const struct route_response info_responses[] = {
    {.status = 200,
     .description = "Seconds since its start and since the last action, and what it uses.",
     .ref =
         "{\"type\":\"object\",\"properties\":{\"uptime\":{\"type\":\"number\"},\"idle_time\":{\"type\":\"number\"},"
         "\"resources\":{\"type\":\"object\"}},\"required\":[\"uptime\",\"idle_time\",\"resources\"]}"}};
static const struct route routes[] = {
    {PROBE, .path = "/alive", .handle = get_alive, .summary = "Alive", .operation = "alive_alive_get"},
    {PROBE, .path = "/health", .handle = get_health, .summary = "Health", .operation = "health_health_get"},
    {.method = HTTP_GET_,
     .tag = "Health",
     .flags = ROUTE_PUBLIC,
     .path = "/server_info",
     .handle = get_info,
     .summary = "Get the server's load",
     .operation = "get_server_info_server_info_get",
     .responses = info_responses,
     .response_count = 1},
};
const struct route_table legacy_server_routes = {routes, ARRAY_LEN(routes)};
