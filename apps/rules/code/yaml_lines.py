"""YAML that remembers on which line each value stands, and means what JSON means by it.

PyYAML follows YAML 1.1, where `22:00` is 1320, `no` is false and a date is a date; here they are texts, as in
YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema), so that rules say the same as over the API.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

Path = tuple[str | int, ...]

_PLAIN = {
    "tag:yaml.org,2002:null": (r"^(?:~|null|)$", ["~", "n", ""]),
    "tag:yaml.org,2002:bool": (r"^(?:true|false)$", ["t", "f"]),
    "tag:yaml.org,2002:int": (r"^[-+]?[0-9]+$", list("-+0123456789")),
    "tag:yaml.org,2002:float": (
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$",
        list("-+.0123456789"),
    ),
    "tag:yaml.org,2002:merge": (r"^<<$", ["<"]),
}


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something wrong with a document; `line` counts from 1, 0 if it is about the whole."""

    line: int
    message: str


class DocumentError(Exception):
    """All that is wrong with a document, by line."""

    def __init__(self, problems: list[Problem]):
        super().__init__("\n".join(problem.message for problem in problems))
        self.problems = sorted(problems)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict = {}

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node):
        return int(node.value)  # 010 is ten

    def construct_yaml_float(self, node):
        return float(node.value)


class Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something else than a text."""

    def ignore_aliases(self, data):
        return True


for _tag, (_pattern, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), _first)
Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(_PLAIN["tag:yaml.org,2002:float"][0]), None)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


class Lines:
    """Where values stand, by their path, such as `("rules", 0, "condition")`."""

    def __init__(self, lines: dict[Path, int]):
        self._lines = lines

    def __getitem__(self, path: Path) -> int:
        """The line of a value, or of the nearest one around it that there is."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)


def load(text: str) -> tuple[Any, Lines]:
    """The document and its lines. Raises DocumentError."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, Lines({})
        data = loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        raise DocumentError([Problem(mark.line + 1 if mark else 0, f"This is not YAML: {what}.")]) from error
    except (ValueError, RecursionError) as error:
        raise DocumentError([Problem(0, f"This is not YAML: {error}.")]) from error
    finally:
        loader.dispose()
    return data, Lines(dict(_walk(node, (), frozenset())))


def dump(data: Any) -> str:
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False)


def _walk(node: yaml.Node, path: Path, above: frozenset[int]) -> Iterator[tuple[Path, int]]:
    yield path, node.start_mark.line + 1
    if id(node) in above:  # an alias of what is around it
        return
    above |= {id(node)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _walk(value, (*path, key.value), above)
            yield (*path, key.value), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield from _walk(value, (*path, place), above)
