"""Command-line options from the fields of `config`: name, type, default and help are declared there and nowhere else.

Used by the command modules as a decorator. A command asks for a whole model (`design: Design`) and gets it validated;
people see one option per field. Lists are written with commas.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import wraps
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from tsugiki.config import Knobs, parse
from tsugiki.errors import UsageError

SHORT = {"budget_minutes": "--budget"}  # names that people type often


@dataclass(frozen=True)
class From:
    """One parameter of a command that is filled from options: the model, and the fields the command decides itself."""

    kind: type[Knobs]
    panel: str
    leave_out: Collection[str] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of the command, where they differ from the model's


def with_knobs(**sources: From) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace each named parameter of a command by the options of its model."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(command, eval_str=True)
        own = [parameter for name, parameter in signature.parameters.items() if name not in sources]
        options = {name: _options(source) for name, source in sources.items()}

        @wraps(command)
        def run(**given: Any) -> Any:
            built = {name: _build(source, given, options[name]) for name, source in sources.items()}
            return command(**{parameter.name: given[parameter.name] for parameter in own}, **built)

        everything = [*own, *(option for some in options.values() for option in some)]
        run.__signature__ = signature.replace(parameters=everything)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
        return run

    return decorate


def _options(source: From) -> list[inspect.Parameter]:
    return [
        _option(name, info, source.panel, source.defaults.get(name, info.default))
        for name, info in source.kind.model_fields.items()
        if name not in source.leave_out
    ]


def _option(name: str, info: FieldInfo, panel: str, default: Any) -> inspect.Parameter:
    flag = SHORT.get(name, "--" + name.replace("_", "-"))
    listed, either = get_origin(info.annotation) is tuple, _is_either(info)
    default = ",".join(map(str, default)) if listed else str(default) if either else default
    names = f"{flag}/--no-{flag[2:]}" if info.annotation is bool else flag
    metavar = "A,B,.." if listed else "N|auto" if either else None
    option = typer.Option(names, help=info.description, rich_help_panel=panel, metavar=metavar)
    kind = str if listed or either else info.annotation
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _is_either(info: FieldInfo) -> bool:
    """A number or a word, such as `auto`. A number or nothing is an option that may be left out."""
    return get_origin(info.annotation) in (Union, UnionType) and NoneType not in get_args(info.annotation)


def _build(source: From, given: dict[str, Any], options: list[inspect.Parameter]) -> Knobs:
    values = {option.name: given[option.name] for option in options}
    for name, info in source.kind.model_fields.items():
        if name in values and get_origin(info.annotation) is tuple:
            values[name] = tuple(part.strip() for part in values[name].split(",") if part.strip())
        elif name in values and _is_either(info):
            values[name] = int(values[name]) if values[name].lstrip("-").isdecimal() else values[name]
    try:
        return parse(source.kind, values, source="command line")
    except UsageError as error:
        raise UsageError(error.problem, fix="Run the command with --help to see its options.") from None
