# SPDX-License-Identifier: Apache-2.0
"""Shell completion, made from the table of flags: ``--completion bash``, ``zsh`` or ``fish``.

What a machine has, such as interfaces, the scripts ask ``pwru-py --complete KIND PREFIX``. Its
answers are names that no shell reads anything into, see ``offers``.
"""

from __future__ import annotations

import re

from .flags import FILES, FLAGS, Flag, Shell

COMMAND = "pwru-py"
PRIMITIVES = (
    "and", "arp", "dst", "ether", "greater", "host", "icmp", "icmp6", "ip", "ip6", "len", "less",
    "net", "not", "or", "port", "portrange", "proto", "sctp", "src", "tcp", "udp", "vlan",
)  # fmt: skip
"""Words of a filter that are offered; pcap-filter(7) has more."""


def script(shell: Shell) -> str:
    """To be evaluated, or put where the shell looks for completions."""
    return {Shell.BASH: _bash, Shell.ZSH: _zsh, Shell.FISH: _fish}[shell]()


_BASH = """\
# Completion of pwru-py for bash: eval "$(pwru-py --completion bash)"
_pwru_py() {{
    local word=$2 flag=$3 head=
    COMPREPLY=()
    if [[ $word == '=' ]]; then  # bash makes a word of it
        word=
    elif [[ $flag == '=' || $flag == '@' || $flag == '=@' ]]; then  # of an @, too
        flag=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    case $flag in
{cases}
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W '{flags}' -- "$word"))
    else
        COMPREPLY=($(compgen -W '{primitives}' -- "$word"))
    fi
}}
_pwru_py_ask() {{
    head=${{word%"${{word##*,}}"}}
    mapfile -t COMPREPLY < <(pwru-py --complete "$1" "${{word##*,}}" 2>/dev/null)
    COMPREPLY=("${{COMPREPLY[@]/#/$head}}")
}}
complete -F _pwru_py pwru-py
"""


def _bash() -> str:
    cases = []
    for flag in FLAGS:
        if not flag.metavar:
            continue
        if flag.completes == FILES:
            act = "compopt -o default"
        elif isinstance(flag.completes, tuple):
            act = f"COMPREPLY=($(compgen -W '{' '.join(flag.completes)}' -- \"$word\"))"
        else:
            act = f"_pwru_py_ask {flag.completes}" if flag.completes else ":"
        cases.append(f"        {'|'.join(flag.names)}) {act}; return ;;")
    flags = " ".join(name for flag in FLAGS for name in flag.names)
    return _BASH.format(cases="\n".join(cases), flags=flags, primitives=" ".join(PRIMITIVES))


_ZSH = """\
#compdef pwru-py
# Completion of pwru-py for zsh: a file _pwru-py in a folder of $fpath, or
# eval "$(pwru-py --completion zsh)" behind compinit.
_pwru_py_ask() {{
    local -a found
    found=(${{(f)"$(pwru-py --complete $1 "${{PREFIX##*,}}" 2>/dev/null)"}})
    compset -P '*,'
    compadd -a found
}}
_pwru_py() {{
    _arguments -s \\
{specs}
        '*:filter:({primitives})'
}}
if [[ $funcstack[1] == _pwru-py ]]; then
    _pwru_py "$@"
else
    compdef _pwru_py pwru-py
fi
"""


def _zsh() -> str:
    specs = [spec for flag in FLAGS for spec in _zsh_specs(flag)]
    lines = "\n".join(f"        {_quoted(spec)} \\" for spec in specs)
    return _ZSH.format(specs=lines, primitives=" ".join(PRIMITIVES))


def _zsh_specs(flag: Flag) -> list[str]:
    about = re.sub(r"([\[\]:])", r"\\\1", flag.help)
    names = " ".join(flag.names)
    specs = []
    for name in flag.names:
        again = "*" if flag.many else f"({names})" if len(flag.names) > 1 else ""
        long = name.startswith("--")
        if not flag.metavar:
            specs.append(f"{again}{name}[{about}]")
            continue
        what = re.sub(r"[\[\]:]", "", flag.metavar)
        specs.append(f"{again}{name}{'=' if long else '+'}[{about}]:{what}:{_zsh_action(flag)}")
    return specs


def _zsh_action(flag: Flag) -> str:
    if flag.completes == FILES:
        return "_files"
    if isinstance(flag.completes, tuple):
        return f"({' '.join(flag.completes)})"
    # The space keeps zsh from giving it arguments of its own.
    return f" _pwru_py_ask {flag.completes}" if flag.completes else " "


def _fish() -> str:
    lines = [
        "# Completion of pwru-py for fish: pwru-py --completion fish | source",
        "function __pwru_py_ask",
        "    set -l word (commandline -ct | string replace -r '^(--[^=]*=|-[a-z])' '')",
        "    set -l head (string match -r '^.*,' -- $word)",
        "    set -l last (string replace -r '^.*,' '' -- $word)",
        "    for name in (pwru-py --complete $argv[1] $last 2>/dev/null)",
        '        echo "$head$name"',
        "    end",
        "end",
        f"complete -c {COMMAND} -f -a '{' '.join(PRIMITIVES)}'",
    ]
    for flag in FLAGS:
        words = [f"complete -c {COMMAND}"]
        for name in flag.names:
            words.append(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}")
        if flag.completes == FILES:
            words.append("-r -F")
        elif isinstance(flag.completes, tuple):
            words.append(f"-x -a '{' '.join(flag.completes)}'")
        elif flag.completes:
            words.append(f"-x -a '(__pwru_py_ask {flag.completes})'")
        elif flag.metavar:
            words.append("-x")
        words.append(f"-d {_fish_quoted(flag.help)}")
        lines.append(" ".join(words))
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
