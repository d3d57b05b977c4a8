/* handsd completion: what a shell needs to complete our command line, made from the tables of the commands. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "cli/commands.h"
#include <getopt.h>

static void print_commands(const char *between, bool with_docs)
{
    const struct command *c;
    const char *sep = "";
    for (size_t i = 0; (c = commands_at(i)); i++) {
        if (c->hidden)
            continue;
        printf(with_docs ? "%s'%s:%s'" : "%s%s", sep, c->name, c->doc);
        sep = between;
    }
}

static void print_choices(const char *const *choices)
{
    for (size_t i = 0; choices[i]; i++)
        printf("%s%s", i > 0 ? " " : "", choices[i]);
}

/* The first line of a text, to stand within single quotes. */
static void print_quotable(const char *text)
{
    for (; *text && *text != '\n'; text++)
        if (!strchr("'\\[]", *text))
            putchar(*text);
}

/* ---- bash ---- */

static void bash_files(enum option_kind kind, const char *indent)
{
    printf("%scompopt -o filenames\n%smapfile -t COMPREPLY < <(compgen -%c -- \"$current\")", indent, indent,
           kind == OPTION_FILE ? 'f' : 'd');
}

static void bash_values(const struct command *c, const struct option_doc *o)
{
    if (!o->value)
        return;
    printf("    ");
    if (o->name)
        printf("%s:--%s", c->name, o->name);
    if (o->letter)
        printf("%s%s:-%c", o->name ? " | " : "", c->name, o->letter);
    printf(")\n");
    if (o->kind == OPTION_CHOICE) {
        printf("        mapfile -t COMPREPLY < <(compgen -W '");
        print_choices(o->choices);
        printf("' -- \"$current\") ;;\n");
    } else if (o->kind == OPTION_FILE || o->kind == OPTION_DIRECTORY) {
        bash_files(o->kind, "        ");
        printf(" ;;\n");
    } else {
        printf("        ;;\n");
    }
}

static void bash_words(const struct command *c)
{
    printf("    %s:*) words='--help", c->name);
    for (size_t i = 0; i < c->option_count; i++) {
        const struct option_doc *o = &c->options[i];
        if (o->name)
            printf(" --%s", o->name);
        else
            printf(" -%c", o->letter);
    }
    if (c->argument_choices) {
        printf(" ");
        print_choices(c->argument_choices);
    }
    printf("' ;;\n");
}

/* An argument that is a file, where no option begins. */
static void bash_argument(const struct command *c)
{
    if (c->argument_kind != OPTION_FILE && c->argument_kind != OPTION_DIRECTORY)
        return;
    printf("        if [[ $command == %s && $current != -* ]]; then\n", c->name);
    bash_files(c->argument_kind, "            ");
    printf("\n        fi\n");
}

static void print_bash(void)
{
    const struct command *c;
    printf(
        "# Completion of handsd for bash, made by `handsd completion bash`.\n"
        "_handsd()\n{\n"
        "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command= words= i\n"
        "    COMPREPLY=()\n"
        "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
        "        [[ ${COMP_WORDS[i]} == -* ]] || { command=${COMP_WORDS[i]}; break; }\n"
        "    done\n"
        "    case $command:$before in\n");
    for (size_t i = 0; (c = commands_at(i)); i++)
        for (size_t k = 0; k < c->option_count; k++)
            bash_values(c, &c->options[k]);
    printf("    :*)\n        mapfile -t COMPREPLY < <(compgen -W '");
    print_commands(" ", false);
    printf(" help --help --version' -- \"$current\") ;;\n"
           "    *)\n        case $command:$current in\n");
    for (size_t i = 0; (c = commands_at(i)); i++) {
        printf("        ");
        bash_words(c);
    }
    printf("        help:*) words='");
    print_commands(" ", false);
    printf("' ;;\n"
           "        esac\n"
           "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n");
    for (size_t i = 0; (c = commands_at(i)); i++)
        bash_argument(c);
    printf("        ;;\n"
           "    esac\n}\n"
           "complete -F _handsd handsd\n");
}

/* ---- zsh ---- */

static void zsh_values(enum option_kind kind, const char *const *choices)
{
    if (kind == OPTION_CHOICE) {
        printf("(");
        print_choices(choices);
        printf(")");
    } else if (kind == OPTION_FILE || kind == OPTION_DIRECTORY) {
        printf(kind == OPTION_FILE ? "_files" : "_files -/");
    }
}

static void zsh_option(const struct option_doc *o)
{
    printf(" \\\n            ");
    if (o->name && o->letter)
        printf("'(-%c --%s)'{-%c,--%s}", o->letter, o->name, o->letter, o->name);
    else if (o->name)
        printf("--%s", o->name);
    else
        printf("-%c", o->letter);
    printf("'[");
    print_quotable(o->doc);
    printf("]");
    if (o->value) {
        printf(":%s:", o->value);
        zsh_values(o->kind, o->choices);
    }
    printf("'");
}

static void print_zsh(void)
{
    const struct command *c;
    printf("#compdef handsd\n# Completion of handsd for zsh, made by `handsd completion zsh`.\n"
           "_handsd() {\n    local -a commands\n    commands=(\n        ");
    print_commands("\n        ", true);
    printf("\n    )\n"
           "    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n"
           "    local command=${words[2]}\n"
           "    shift words\n    (( CURRENT-- ))\n"
           "    case $command in\n");
    for (size_t i = 0; (c = commands_at(i)); i++) {
        printf("        %s) _arguments '(-h --help)'{-h,--help}'[this text]'", c->name);
        for (size_t k = 0; k < c->option_count; k++)
            zsh_option(&c->options[k]);
        if (c->arguments_max > 0) {
            printf(" \\\n            '1:%s:", c->arguments);
            zsh_values(c->argument_kind, c->argument_choices);
            printf("'");
        }
        printf(" ;;\n");
    }
    printf("        help) _describe command commands ;;\n    esac\n}\n_handsd \"$@\"\n");
}

/* ---- fish ---- */

static void fish_option(const struct command *c, const struct option_doc *o)
{
    printf("complete -c handsd -n '__fish_seen_subcommand_from %s'", c->name);
    if (o->name)
        printf(" -l %s", o->name);
    if (o->letter)
        printf(" -s %c", o->letter);
    if (o->value)
        printf(o->kind == OPTION_FILE ? " -r -F" : " -x");
    if (o->kind == OPTION_DIRECTORY)
        printf(" -a '(__fish_complete_directories)'");
    if (o->kind == OPTION_CHOICE) {
        printf(" -a '");
        print_choices(o->choices);
        printf("'");
    }
    printf(" -d '");
    print_quotable(o->doc);
    printf("'\n");
}

static void fish_argument(const struct command *c)
{
    if (c->argument_kind == OPTION_FLAG)
        return;
    printf("complete -c handsd -n '__fish_seen_subcommand_from %s'", c->name);
    if (c->argument_kind == OPTION_CHOICE) {
        printf(" -a '");
        print_choices(c->argument_choices);
        printf("'\n");
    } else {
        printf(c->argument_kind == OPTION_FILE ? " -F\n" : " -a '(__fish_complete_directories)'\n");
    }
}

static void print_fish(void)
{
    const struct command *c;
    printf("# Completion of handsd for fish, made by `handsd completion fish`.\ncomplete -c handsd -f\n");
    for (size_t i = 0; (c = commands_at(i)); i++) {
        if (!c->hidden) {
            printf("complete -c handsd -n __fish_use_subcommand -a %s -d '", c->name);
            print_quotable(c->doc);
            printf("'\n");
        }
        fish_argument(c);
        for (size_t k = 0; k < c->option_count; k++)
            fish_option(c, &c->options[k]);
    }
}

/* ---- the command ---- */

static const struct {
    const char *name;
    void (*print)(void);
} shells[] = {{"bash", print_bash}, {"fish", print_fish}, {"zsh", print_zsh}};
static const char *const shell_names[] = {"bash", "fish", "zsh", NULL};

static int completion_run(int argc, char **argv)
{
    int status = options_parse(&command_completion, argc, argv, NULL);
    if (status != OPTIONS_GO_ON)
        return status;
    for (size_t i = 0; i < ARRAY_LEN(shells); i++)
        if (optind < argc && strcmp(argv[optind], shells[i].name) == 0) {
            shells[i].print();
            return 0;
        }
    return options_complain(&command_completion, "it makes completions for bash, fish or zsh%s%s",
                            optind < argc ? ", not " : "", optind < argc ? argv[optind] : "");
}

const struct command command_completion = {
    .name = "completion",
    .doc = "print what a shell needs to complete commands and options",
    .arguments = "bash|fish|zsh",
    .arguments_max = 1,
    .argument_kind = OPTION_CHOICE,
    .argument_choices = shell_names,
    .examples = "  eval \"$(handsd completion bash)\"                              this shell, now\n"
                "  handsd completion fish > ~/.config/fish/completions/handsd.fish\n"
                "\n`make install` puts all three in their places.\n",
    .run = completion_run,
};
