/* The scripts that are always there. The demonstration stays within what any shell has, so that it runs in an empty
 * directory of any machine. */
#include "llm/scripted.h"

#define USAGE ",\"usage\":{\"prompt_tokens\":900,\"completion_tokens\":80}}\n"

static const char demo[] =
    "{\"no_tools\":true,\"text\":\"\xF0\x9F\x94\xA7 Prime numbers in shell\"}\n"
    "{\"text\":\"I will write a small program that prints the prime numbers up to a limit, and a check beside it.\","
    "\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":"
    "\"cat > primes.sh <<'END'\\n"
    "#!/bin/sh\\n"
    "# primes.sh LIMIT: prints the prime numbers up to LIMIT, one per line.\\n"
    "set -eu\\n"
    "n=2\\n"
    "while [ \\\"$n\\\" -lt \\\"$1\\\" ]; do\\n"
    "    prime=yes\\n"
    "    d=2\\n"
    "    while [ $((d * d)) -le \\\"$n\\\" ]; do\\n"
    "        [ $((n % d)) -ne 0 ] || prime=no\\n"
    "        d=$((d + 1))\\n"
    "    done\\n"
    "    [ $prime = no ] || echo \\\"$n\\\"\\n"
    "    n=$((n + 1))\\n"
    "done\\n"
    "END\\n"
    "cat > check.sh <<'END'\\n"
    "#!/bin/sh\\n"
    "# check.sh: does primes.sh include its limit, and nothing that is not prime?\\n"
    "got=$(sh primes.sh 13 | tr '\\\\n' ' ')\\n"
    "want='2 3 5 7 11 13 '\\n"
    "if [ \\\"$got\\\" = \\\"$want\\\" ]; then\\n"
    "    echo \\\"ok: $got\\\"\\n"
    "else\\n"
    "    echo \\\"FAILED: wanted $want but got $got\\\"\\n"
    "    exit 1\\n"
    "fi\\n"
    "END\\n"
    "ls -l primes.sh check.sh\",\"summary\":\"Write primes.sh and its check\"}}]" USAGE
    "{\"text\":\"Both files are there. Now the check.\","
    "\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"sh check.sh\","
    "\"summary\":\"Run the check\"}}]" USAGE
    "{\"text\":\"The check fails: 13 is missing. The loop stops before its limit because it compares with -lt; "
    "it has to be -le.\",\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":"
    "\"sed -i 's/-lt \\\"$1\\\"/-le \\\"$1\\\"/' primes.sh && grep -n 'le \\\"$1\\\"' primes.sh\","
    "\"summary\":\"Include the limit in the loop\"}}]" USAGE "{\"text\":\"Repaired. Once more the check.\","
    "\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"sh check.sh\","
    "\"summary\":\"Run the check again\"}}]" USAGE "{\"text\":\"The check passes.\","
    "\"calls\":[{\"name\":\"finish\",\"arguments\":{\"message\":"
    "\"I wrote primes.sh, found with check.sh that it left out its limit, repaired the loop, and the check passes "
    "now.\",\"summary\":\"Report the result\"}}]" USAGE;

static const struct {
    const char *name;
    const char *lines;
} scripts[] = {
    {"demo", demo},
    {"finish",
     "{\"repeat\":true,\"calls\":[{\"name\":\"finish\",\"arguments\":{\"message\":\"Done.\"}}]" USAGE},
    {"text", "{\"repeat\":true,\"text\":\"Hello. I am a scripted model and answer in words only.\"" USAGE},
    {"think", "{\"no_tools\":true,\"text\":\"Thinking\"}\n"}, /* its turns are made in scripted.c */
    {"true", "{\"no_tools\":true,\"text\":\"Running true\"}\n"},
};

struct str scripted_builtin(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++)
        if (str_is(name, scripts[i].name))
            return str_from(scripts[i].lines);
    return STR_NONE;
}
