"""The rules that are set, what they counted, and what the next request or event meets."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from services.exchange.engine.refusals import conflict, not_found, unprocessable
from services.exchange.faults.rules import Fault, trouble

RULES_MAX = 1000


class Counted(msgspec.Struct, kw_only=True):
    """A rule with how many requests (or events) reached it, and how many of them it struck."""

    rule: Fault
    matched: int = 0
    injected: int = 0

    def strikes(self) -> bool:
        struck = self.rule.strikes(self.matched, self.injected)
        self.matched += 1
        self.injected += struck
        return struck


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that a request meets; `number` counts those of the rule, from 1."""

    fault: Fault
    number: int


class Faults:
    """Falsy while no rule is set: then nothing need be asked here.

    Rules are asked in their order; the first that strikes is what a request meets, and the rules
    behind it do not see that request. They are no state of the books: a restart forgets them.
    """

    def __init__(self) -> None:
        self.rules: dict[str, Counted] = {}
        self._named = 0
        self.tell_removed: Callable[[Iterable[str]], None] = _untold

    def __bool__(self) -> bool:
        return bool(self.rules)

    # --- setting ---------------------------------------------------------------------------------

    def add(self, fault: Fault) -> Counted:
        """Raises Refusal; the text names the field."""
        wrong = trouble(fault)
        if wrong:
            raise unprocessable(wrong)
        if len(self.rules) >= RULES_MAX:
            raise unprocessable(f"at most {RULES_MAX} faults; remove some first")
        if fault.id in self.rules:
            raise conflict(f"a fault with the id {fault.id!r} is set already")
        counted = Counted(rule=fault if fault.id else self._name(fault))
        self.rules[counted.rule.id] = counted
        return counted

    def _name(self, fault: Fault) -> Fault:
        while True:
            self._named += 1
            if f"fault-{self._named}" not in self.rules:
                return msgspec.structs.replace(fault, id=f"fault-{self._named}")

    def remove(self, name: str) -> None:
        """What hangs because of it is let go; raises Refusal when there is none."""
        if name not in self.rules:
            raise not_found(f"no fault has the id {name[:40]!r}")
        del self.rules[name]
        self.tell_removed([name])

    def heal(self) -> None:
        """Every rule goes, and names begin again: the same rules will do the same again."""
        names = list(self.rules)
        self.rules.clear()
        self._named = 0
        self.tell_removed(names)

    # --- striking --------------------------------------------------------------------------------

    def strike(self, method: str, path: str, template: str, key: str) -> Strike | None:
        """What a request meets, if anything. Counts it."""
        for counted in self.rules.values():
            if counted.rule.matches_request(method, path, template, key) and counted.strikes():
                return Strike(fault=counted.rule, number=counted.injected)
        return None

    def strike_event(self, stream: str, key: str) -> Strike | None:
        """What an event on its way to a stream's connection meets, if anything. Counts it."""
        for counted in self.rules.values():
            if counted.rule.matches_stream(stream, key) and counted.strikes():
                return Strike(fault=counted.rule, number=counted.injected)
        return None


def _untold(_names: Iterable[str]) -> None:
    """Nobody hangs."""
