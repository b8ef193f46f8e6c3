"""Function definitions in C text, and the names they call: line by line, without a compiler."""

from __future__ import annotations

import re
from typing import NamedTuple

# One pass over comments, strings and characters, so that a quote in a comment or a `/*` in a string opens nothing.
NOT_CODE = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
BODY = re.compile(r"^\{.*?^\}", re.MULTILINE | re.DOTALL)
# What may stand before the name with parentheses of its own: attributes, and macros that something follows.
PREFIX = re.compile(
    r"\b(?:__(?:attribute__|printf|scanf|section|aligned|alloc_size)|[A-Z][A-Z0-9_]*)"
    r"\s*\((?:[^()]|\([^()]*\))*\)(?=\s*\w)"
)
CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
MACRO = re.compile(r"([A-Z][A-Z0-9_]*)\s*\(\s*(\w+)")
STATIC = re.compile(r"\bstatic\b")
KEYWORDS = {"if", "for", "while", "switch", "return", "sizeof", "typeof", "__typeof__", "defined", "do", "else", "case"}


class Function(NamedTuple):
    """A function's definition as it stands in a file."""

    name: str
    is_static: bool
    calls: tuple[str, ...]
    """Names that it calls, each once, sorted."""


def functions(text: str) -> list[Function]:
    """The functions that a C file defines: blocks from a line that starts with `{` to one that starts with `}`.

    The name is the identifier before the signature's first `(`; a macro that defines a function
    (`SYSCALL_DEFINE2(kill, ...)`) is named with its first argument. Both branches of an `#if` are read; a name
    that is defined in both is one function. Macros and function pointers are not understood, nor functions whose
    `{` isn't on a line of its own: calls of those are references that nothing answers to.
    """
    text = DIRECTIVE.sub("", NOT_CODE.sub(" ", text))
    found: dict[str, tuple[bool, set[str]]] = {}
    end = 0
    for body in BODY.finditer(text):
        signature = PREFIX.sub("", re.split(r"[;}]", text[end : body.start()])[-1])
        end = body.end()
        if (name := CALL.search(signature)) is None or "=" in signature[: name.start()]:
            continue  # a struct, or an array's initial value
        macro = MACRO.match(signature, name.start())
        full_name = f"{macro[1]}_{macro[2]}" if macro else name[1]
        is_static, calls = found.get(full_name, (STATIC.search(signature) is not None, set()))
        calls.update(CALL.findall(body.group()))
        found[full_name] = is_static, calls
    return [Function(name, is_static, tuple(sorted(calls - KEYWORDS))) for name, (is_static, calls) in found.items()]
