"""The argument parser: what argparse complains about in one line is said in four parts, with the nearest name."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from slimgate.errors import UsageError, nearest_name

_ARGUMENT = re.compile(r"argument (?P<name>.+?): (?P<what>.+)", re.DOTALL)
_CHOICE = re.compile(r"invalid choice: (?P<value>.+?) \(choose from", re.DOTALL)
_VALUE = re.compile(r"invalid \S+ value: (?P<value>.+)", re.DOTALL)
_REQUIRED = re.compile(r"the following arguments are required: (?P<names>.+)")
_KINDS = {int: "a whole number", float: "a number"}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors say what was found, what is expected and what to do."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Return the parsed arguments; leave with exit code 2 and one message where they cannot be."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self._command_of(found)._leave(self._command_of(found)._unknown(unknown))
        return found

    def error(self, message: str) -> NoReturn:
        """Print one message and leave with exit code 2."""
        self._leave(self._reword(message))

    def _leave(self, error: UsageError) -> NoReturn:
        self.exit(2, f"{self.prog}: {error}\n")
        raise AssertionError("exit returns")

    def _command_of(self, found: argparse.Namespace) -> Parser:
        """Return the parser of the chosen subcommand: it knows the options that could have been meant."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                chosen = action.choices.get(getattr(found, action.dest, ""))
                if isinstance(chosen, Parser):
                    return chosen
        return self

    def _unknown(self, unknown: Sequence[str]) -> UsageError:
        given = next((text for text in unknown if text.startswith("-")), unknown[0])
        name = given.partition("=")[0]
        options = [option for action in self._actions for option in action.option_strings]
        longest = [option for option in options if option.startswith("--")]
        is_option = name.startswith("-")
        return UsageError(
            name,
            found=f"unknown option{nearest_name(name, longest)}" if is_option else "one argument too many",
            expected=f"one of {', '.join(longest)}" if is_option else self.format_usage().strip(),
            action=f"correct it or leave it out; '{self.prog} --help' explains every option",
        )

    def _reword(self, message: str) -> UsageError:
        missing = _REQUIRED.fullmatch(message)
        if missing:
            return self._missing(missing["names"].split(", "))
        argument = _ARGUMENT.fullmatch(message)
        action = self._find(argument["name"]) if argument else None
        if argument is None or action is None:
            return UsageError(
                "arguments",
                found=message,
                expected=self.format_usage().strip(),
                action=f"'{self.prog} --help' explains every option",
            )
        return self._wrong(action, argument["what"])

    def _missing(self, names: Iterable[str]) -> UsageError:
        actions = [action for name in names if (action := self._find(name)) is not None]
        if [action.dest for action in actions] == ["command"]:
            known = ", ".join(actions[0].choices or ())
            return UsageError(
                "COMMAND", found="none is given", expected=f"one of {known}", action=f"{self.prog} --help"
            )
        described = [f"{_written(action)} ({self._meaning(action)})" for action in actions]
        return UsageError(
            ", ".join(_shown(action) for action in actions),
            found="missing",
            expected="; ".join(described),
            action=f"add {' '.join(_written(action) for action in actions)}; '{self.prog} --help' shows examples",
        )

    def _wrong(self, action: argparse.Action, what: str) -> UsageError:
        choice, value = _CHOICE.match(what), _VALUE.match(what)
        if choice:
            given = choice["value"].strip("'\"")
            known = [str(one) for one in action.choices or ()]
            is_command = isinstance(action, argparse._SubParsersAction)
            kind = "command" if is_command else "value"
            return UsageError(
                f"command '{given}'" if is_command else f"{_shown(action)} {given}",
                found=f"unknown {kind}{nearest_name(given, known)}",
                expected=f"one of {', '.join(known)}",
                action=f"use one of them; '{self.prog} --help' says more",
            )
        if value:
            kind = _KINDS.get(action.type, "another value")  # type: ignore[call-overload]
            return UsageError(
                f"{_shown(action)} {value['value'].strip(chr(39))}",
                found=f"not {kind}",
                expected=f"{kind}: {self._meaning(action)}",
                action=f"correct the value of {_shown(action)}",
            )
        return UsageError(
            _shown(action),
            found=what,
            expected=f"{_written(action)}: {self._meaning(action)}",
            action=f"correct it; '{self.prog} --help' explains every option",
        )

    def _find(self, name: str) -> argparse.Action | None:
        for action in self._actions:
            if name in (*action.option_strings, "/".join(action.option_strings), action.metavar, action.dest):
                return action
        return None

    def _meaning(self, action: argparse.Action) -> str:
        facts = {**vars(action), "prog": self.prog}
        return (action.help or "") % facts


def _shown(action: argparse.Action) -> str:
    """Return what a user calls an argument: its long option, or its place's name."""
    return action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)


def _written(action: argparse.Action) -> str:
    """Return an argument as it is written on the command line."""
    value = action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
    return f"{_shown(action)} {value}" if action.option_strings else str(value)
