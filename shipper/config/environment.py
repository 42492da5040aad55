"""What the environment sets: variables like SHIPPER_SINKS__SIEM__TOKEN."""

from collections.abc import Collection, Iterable, Mapping

from shipper.config.fields import NESTED, PREFIX, variable
from shipper.config.problems import Key, Problems, nearest, printable


class Environment:
    """The variables with our prefix and a `__`; others are left alone, since Kubernetes injects some of its own."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._given: dict[str, list[tuple[str, str]]] = {}
        for name, value in sorted(environ.items()):
            upper = name.upper()
            if upper.startswith(PREFIX) and NESTED in upper:
                self._given.setdefault(upper, []).append((name, value))

    def value(self, key: Key) -> str | None:
        """What a variable says about this one setting."""
        given = self._given.get(variable(key))
        return given[0][1] if given else None

    def overlay(
        self, known: Iterable[Key], unjudged: Iterable[Key], named: Mapping[str, Collection[str]], out: Problems
    ) -> dict[Key, str]:
        """The settings that variables give, as text.

        known: every setting there is. unjudged: tables whose settings are not known, because their type isn't.
        named: the names of sources and sinks in the file. Variables that fit nothing are noted in `out`.
        """
        spelled = {variable(key): key for key in known}
        skipped = tuple(variable(key) + NESTED for key in unjudged)
        values, names = {}, {}
        for upper, given in self._given.items():
            if len(given) > 1:
                out.say(f"{' and '.join(printable(name) for name, _ in given)}: differ by case only; unset one of them")
            if upper in spelled:
                values[spelled[upper]] = given[0][1]
                names[spelled[upper]] = given[0][0]
            elif not upper.startswith(skipped):
                out.say(f"{printable(given[0][0])}: {_fits_nothing(upper, spelled, named)}")
        out.variables = names
        return values


def _fits_nothing(upper: str, spelled: Collection[str], named: Mapping[str, Collection[str]]) -> str:
    near = nearest(upper, spelled, quote=False) or "; unset it"
    parts = upper.removeprefix(PREFIX).lower().split(NESTED)
    if parts[0] in named and len(parts) > 1 and parts[1] not in named[parts[0]]:
        return f"the file has no [{parts[0]}.{printable(parts[1])}], and a variable can't add one{near}"
    return f"fits no setting{near}"
