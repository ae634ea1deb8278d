/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for bash, made from the tables of verbs and options. */

#include "base/string.h"
#include "cli/cli.h"
#include "cli/document.h"

static void print_options(const Option *options)
{
    for (; options && options->name; options++)
        (void)printf(" --%s", options->name);
}

/* First words, each once. */
static void print_groups(const Program *program)
{
    const char *previous = "";
    for (const Verb *verb = program->verbs; verb->name; verb++) {
        size_t length = strcspn(verb->name, " ");
        bool is_same = strncmp(previous, verb->name, length) == 0 && strchr(" ", previous[length]);
        if (!is_same)
            (void)printf("%s%.*s", *previous ? " " : "", (int)length, verb->name);
        previous = verb->name;
    }
}

static void print_seconds(const Program *program)
{
    const char *previous = "";
    for (const Verb *verb = program->verbs; verb->name; verb++) {
        size_t length = strcspn(verb->name, " ");
        if (!verb->name[length])
            continue;
        bool is_same = strncmp(previous, verb->name, length + 1) == 0;
        if (!is_same)
            (void)printf("%s        %.*s) words=\"", *previous ? "\" ;;\n" : "", (int)length, verb->name);
        (void)printf("%s%s", is_same ? " " : "", verb->name + length + 1);
        previous = verb->name;
    }
    (void)printf("\" ;;\n");
}

static void print_verb_options(const Program *program)
{
    for (const Verb *verb = program->verbs; verb->name; verb++) {
        (void)printf("        \"%s\") words=\"--help", verb->name);
        print_options(verb->options);
        print_options(program->global_options);
        (void)printf("\" ;;\n");
    }
}

static int completion_bash(Cli *cli, Error *error)
{
    const Program *program = cli_program();
    (void)cli;
    (void)error;
    (void)printf(
        "# Completion of bastide for bash. Use: source <(bastide completion bash)\n"
        "_bastide() {\n"
        "    local current=${COMP_WORDS[COMP_CWORD]} first=${COMP_WORDS[1]} second=${COMP_WORDS[2]} words=\n"
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
        "        words=\"");
    print_groups(program);
    (void)printf("\"\n"
                 "    elif [[ $current == -* ]]; then\n"
                 "        case \"$first $second\" in\n");
    print_verb_options(program);
    (void)printf("        *) words=\"--help\" ;;\n"
                 "        esac\n"
                 "    elif [ \"$COMP_CWORD\" -eq 2 ]; then\n"
                 "        case $first in\n");
    print_seconds(program);
    (void)printf("        esac\n"
                 "    elif [ \"$first\" = catalog ] && [ \"$COMP_CWORD\" -eq 3 ]; then\n"
                 "        case $second in list|show|delete) words=\"");
    for (size_t i = 0; document_kinds[i]; i++)
        (void)printf("%s%s", i ? " " : "", document_kinds[i]);
    (void)printf("\" ;; esac\n"
                 "    fi\n"
                 "    COMPREPLY=()\n"
                 "    [ -n \"$words\" ] && mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
                 "}\n"
                 "complete -o default -F _bastide bastide\n");
    return 0;
}

const CliVerb verbs_completion[] = {
    {"completion bash", "", 0, 0, ALONE, completion_bash, NULL, "print the completion script for bash",
     "Example:\n\n  source <(bastide completion bash)"},
    {0},
};
