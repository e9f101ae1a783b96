"""Finds the functions of a C++ or Python file and how long each is, for check_style.py.

The C++ reader knows no grammar: it takes away comments and texts, matches braces, and calls a block a
function when what stands before its brace ends like a parameter list and is no statement. A lambda counts
as a part of the function around it. That errs on the side of seeing none, never two in one.
"""

import ast
import re

NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:[^"\\\n]|\\.)*"|(?<![\w])\'(?:[^\'\\\n]|\\.)+\'', re.S)
STATEMENT = re.compile(r"^(?:if|for|while|switch|catch|do|else|try|return|namespace|class|struct|union|enum|extern|case|default)\b|=$|\]$")
AFTER_PARAMETERS = re.compile(
    r"\)\s*(?:(?:const|noexcept|override|final|mutable|try|&&?|[A-Z_]+\([^()]*\)|->\s*[\w:<>,&*\s]+)\s*)*(?::[^:].*)?$", re.S)


def _blank(match):
    """The same number of lines and columns, without what could look like code."""
    return re.sub(r"[^\n]", " ", match[0])


def _name(head):
    before = head[:head.index("(")].rstrip()
    words = re.search(r"(?:[\w~]+(?:<[^<>]*>)?::)*[\w~]+$|operator\W+$", before)
    if words and words[0].startswith(("TEST", "INSTANTIATE", "BENCHMARK")):
        return re.sub(r"\s+", " ", head[head.index("(") - len(words[0]):head.index(")") + 1])
    return words[0] if words else before[-40:]


def cpp_functions(text):
    """(name, first line, lines) of each function, in order."""
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", _blank, NOT_CODE.sub(_blank, text), flags=re.M)
    found, depth, head_from, inside = [], 0, 0, None  # inside: depth, name and offset of the function we are in.
    parentheses = 0
    for i, char in enumerate(code):
        if char in "()":
            parentheses += 1 if char == "(" else -1
        if inside is not None:
            if char == "{":
                depth += 1
            elif char == "}":
                depth -= 1
                if depth == inside[0]:
                    first = code.count("\n", 0, inside[2]) + 1
                    found.append((inside[1], first, code.count("\n", 0, i) + 2 - first))
                    inside, head_from = None, i + 1
            continue
        if char == "{":
            head = code[head_from:i].strip()
            head = re.sub(r"^(?:(?:public|private|protected)\s*:|template\s*<[^{;]*?>\s(?=\w))\s*", "", head)
            if parentheses == 0 and "(" in head and not STATEMENT.search(head) and AFTER_PARAMETERS.search(head):
                start = head_from + len(code[head_from:i]) - len(code[head_from:i].lstrip())
                inside = (depth, _name(head), start)
                depth += 1
            else:
                depth += 1
                if parentheses == 0:
                    head_from = i + 1
        elif char == "}":
            depth -= 1
            if parentheses == 0:
                head_from = i + 1
        elif char == ";" and parentheses == 0:
            head_from = i + 1
    return found


def python_functions(text):
    return [(node.name, node.lineno, node.end_lineno - node.lineno + 1) for node in ast.walk(ast.parse(text))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def functions(suffix, text):
    return python_functions(text) if suffix == ".py" else cpp_functions(text)
