/* The template language of system prompts: what templates become, and what they may not do. */
#include "agent/jinja/jinja.h"
#include "base/cleanup.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static const char variables[] =
    "{\"name\":\"Ada\",\"empty\":\"\",\"yes\":true,\"no\":false,\"n\":3,\"f\":1.5,\"nothing\":null,"
    "\"list\":[\"a\",\"b\",\"c\"],\"map\":{\"k\":\"v\",\"two words\":2},\"nested\":{\"list\":[{\"x\":1},{\"x\":2}]},"
    "\"text\":\"  padded  \"}";

static void render(const char *template, struct buf *out, struct err **e)
{
    autojson doc = json_parse(str_from(variables), NULL, NULL);
    assert_non_null(doc);
    jinja_render(str_from(template), json_root(doc), out, e);
}

static void becomes(const char *template, const char *expected)
{
    autobuf out = {0};
    autoerr e = NULL;
    render(template, &out, &e);
    if (e)
        fail_msg("%s: %s", template, e->text);
    buf_add(&out, STR(""));
    if (!str_is(buf_str(&out), expected))
        fail_msg("%s gave '%s', not '%s'", template, buf_str(&out).p, expected);
}

static void fails(const char *template, const char *part)
{
    autobuf out = {0};
    autoerr e = NULL;
    render(template, &out, &e);
    if (!e)
        fail_msg("%s was accepted: %s", template, buf_str(&out).p);
    assert_int_equal(e->kind, ERR_INVALID);
    if (!strstr(e->text, part))
        fail_msg("%s: '%s' does not say '%s'", template, e->text, part);
    assert_int_equal(strncmp(e->text, "line ", 5), 0);
    assert_int_equal(out.n, 0);
}

static void test_expressions(void **state)
{
    (void)state;
    becomes("Hello {{ name }}!", "Hello Ada!");
    becomes("{{ missing }}|{{ nothing }}|{{ yes }}|{{ f }}|{{ n }}", "|None|True|1.5|3");
    becomes("{{ list }} {{ map }}", "['a', 'b', 'c'] {'k': 'v', 'two words': 2}");
    becomes("{{ map.k }}{{ map['two words'] }}{{ list[0] }}{{ list[-1] }}{{ nested.list[1].x }}", "v2ac2");
    becomes("{{ 'a' ~ 1 ~ \"b\" }}{{ 1 + 2 }}{{ 5 - 2 - 1 }}{{ -n }}", "a1b32-3");
    becomes("{{ 'x' if yes else 'y' }}{{ 'x' if no else 'y' }}[{{ 'x' if no }}]", "xy[]");
    becomes("{{ yes and not no }}{{ no or name }}{{ not n }}", "TrueAdaFalse");
    becomes("{{ n == 3 }}{{ n != 3 }}{{ n < 4 }}{{ n >= 4 }}{{ 'a' < 'b' }}", "TrueFalseTrueFalseTrue");
    becomes("{{ 'b' in list }}{{ 'z' not in list }}{{ 'k' in map }}{{ 'd' in 'Ada' }}", "TrueTrueTrueTrue");
    becomes("{{ name is defined }}{{ zip is not defined }}{{ nothing is none }}{{ map is mapping }}",
            "TrueTrueTrueTrue");
    becomes("{{ [1, 'two', name] }}{{ list == ['a','b','c'] }}", "[1, 'two', 'Ada']True");
}

static void test_filters(void **state)
{
    (void)state;
    becomes("[{{ text | trim }}][{{ name|upper }}][{{ name|lower }}]", "[padded][ADA][ada]");
    becomes("{{ zip | default('none') }}{{ empty|default('x', true) }}{{ empty|default('y', boolean=true) }}",
            "nonexy");
    becomes("{{ list | join(', ') }} {{ list|length }} {{ name|count }} {{ list|first }}{{ list|last }}",
            "a, b, c 3 3 ac");
    becomes("{{ (name ~ '!')|upper|trim }}", "ADA!");
    fails("{{ name|shell }}", "no filter shell");
    fails("{{ n|length }}", "no length");
}

static void test_statements(void **state)
{
    (void)state;
    becomes("{% if no %}a{% elif n > 2 %}b{% else %}c{% endif %}", "b");
    becomes("{% for x in list %}{{ loop.index }}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}",
            "1a,2b,3c");
    becomes("{% for k, v in map.items() %}{{ k }}={{ v }};{% endfor %}", "k=v;two words=2;");
    becomes("{% for x in list if x != 'b' %}{{ x }}{{ loop.length }}{% endfor %}", "a2c2");
    becomes("{% for x in zip %}{{ x }}{% else %}none{% endfor %}", "none");
    becomes("{% set greeting = 'Hi ' ~ name %}{{ greeting }}", "Hi Ada");
    becomes("{% set x = 1 %}{% for i in list %}{% set x = 2 %}{% endfor %}{{ x }}", "1");
    becomes("a{# hidden {{ name }} #}b", "ab");
    becomes("{% raw %}{{ name }}{% if %}{% endraw %}", "{{ name }}{% if %}");
    becomes("a \n {%- if yes -%} \n b \n {%- endif %} c", "ab c");
    becomes("{{- name -}}  !", "Ada!");
    becomes("\n\n text { } %} }} \n", "text { } %} }}");
}

static void test_errors(void **state)
{
    (void)state;
    fails("a\nb\n{{ name", "line 3: a tag does not end");
    fails("{% include 'secret' %}", "there is no tag include");
    fails("{% macro m() %}{% endmacro %}", "there is no tag macro");
    fails("{% if yes %}", "does not end");
    fails("{% endif %}", "there is no tag endif");
    fails("{{ name.__class__ }}", "cannot be called __class__");
    fails("{{ name() }}", "functions cannot be called");
    fails("{{ map.items().x }}{{ map.pop() }}", "functions cannot be called");
    fails("{{ zip.zap }}", "'zip' is undefined");
    fails("{{ 1 + 'a' }}", "added");
    fails("{{ }}", "too early");
    fails("{{ a b }}", "not understood");
    fails("{{ 'abc }}", "a string does not end");
    fails("{# abc", "a comment does not end");
    fails("{{ 99999999999999999999 }}", "too large");
}

static void test_bounds(void **state)
{
    (void)state;
    autobuf deep = {0}, blocks = {0}, chain = {0};
    for (int i = 0; i < 5000; i++) {
        buf_add_char(&deep, '(');
        buf_add(&blocks, STR("{% if yes %}"));
        buf_add(&chain, i ? STR("{% elif no %}") : STR("{% if no %}"));
    }
    buf_insert(&deep, 0, STR("{{"));
    fails(deep.p, "too deep");
    fails(blocks.p, "too deep");
    buf_add(&chain, STR("{% else %}end{% endif %}"));
    becomes(chain.p, "end");
    fails("{% for a in list %}{% for b in list %}{% for c in list %}{% for d in list %}{% for e in list %}"
          "{% for f in list %}{% for g in list %}{% for h in list %}{% for i in list %}{% for j in list %}"
          "{% for k in list %}{% for l in list %}{% for m in list %}{% set q = 1 %}{% endfor %}{% endfor %}"
          "{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}"
          "{% endfor %}{% endfor %}{% endfor %}",
          "the template takes");
    autobuf doubling = {0};
    buf_add(&doubling, STR("{% set x = 'xxxxxxxx' %}"));
    for (int i = 0; i < 40; i++)
        buf_add(&doubling, STR("{% set x = x ~ x %}"));
    fails(doubling.p, "more than 1048576 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expressions), cmocka_unit_test(test_filters), cmocka_unit_test(test_statements),
        cmocka_unit_test(test_errors),      cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
