/* analyzer: commands as a model writes them, in any disguise. Judging must end, and agree with itself; what the shell's eye
 * reads stays within its bounds. */
#include "agent/analyzer/analyzer.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

static struct analyzer *made(void)
{
    static struct analyzer *a;
    autojson doc = json_parse(
        STR("{\"kind\":\"EnsembleSecurityAnalyzer\",\"analyzers\":[{\"kind\":\"PatternSecurityAnalyzer\"},"
            "{\"kind\":\"PolicyRailSecurityAnalyzer\"}]}"),
        NULL, NULL);
    if (!a)
        a = analyzer_new(json_root(doc), NULL);
    return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096)
        return 0;
    autobuf text = {0}, plain = {0}, action = {0};
    utf8_scrub(&text, str_make(data, size));
    analyzer_normalize(buf_str(&text), &plain);
    must(utf8_valid(buf_str(&plain)));
    struct shell_scan scan;
    shell_scan(buf_str(&text), &scan);
    must(scan.text.n <= 64 * (text.n + 64));
    shell_scan_deinit(&scan);
    struct json_writer w = json_writer(&action);
    jw_object(&w);
    jw_member_str(&w, "command", buf_str(&text));
    jw_object_end(&w);
    struct analyzed analyzed = {.action = buf_str(&action), .tool = STR("terminal"), .said = RISK_UNKNOWN};
    enum risk risk = analyzer_judge(made(), &analyzed);
    must(risk == analyzer_judge(made(), &analyzed));
    return 0;
}
