"""YAML as a person writes it: every key once, and no references from one place to another.

For the files that decide something: intake, price table, policy. A second value for a key would silently win, and a few
lines of references can unfold into gigabytes.
"""

from __future__ import annotations

from typing import Any

import yaml


class _OnceEach:
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # type: ignore[attr-defined]
            mark = self.peek_event().start_mark  # type: ignore[attr-defined]
            raise yaml.MarkedYAMLError(problem="it refers to another place", problem_mark=mark)
        return super().compose_node(parent, index)  # type: ignore[misc]

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key.start_mark)
            if key.value in lines:
                problem = f"{key.value} is there twice (first in line {lines[key.value]})"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)  # type: ignore[misc]


class _Typed(_OnceEach, yaml.SafeLoader):
    pass


class _Text(_OnceEach, yaml.BaseLoader):
    pass


def read_yaml(text: str, *, typed: bool = True) -> Any:
    """The values of a file; with `typed` False every value as the text that was written.

    Raises ValueError whose text goes on after the file's name, such as ", line 3 is no YAML: success is there twice".
    """
    try:
        return yaml.load(text, Loader=_Typed if typed else _Text)  # noqa: S506 both load plain values only
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{line} is no YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f" is no YAML: {str(error).splitlines()[0]}") from None
