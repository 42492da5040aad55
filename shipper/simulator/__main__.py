"""`python -m shipper.simulator --rate 50 --count 0`: each field of Options as a flag with a value."""

from __future__ import annotations

import sys
from typing import Any

from shipper.simulator.options import described
from shipper.simulator.server import main

_YES_NO = {"true": True, "false": False}


def _flags(words: list[str]) -> dict[str, Any]:
    known = described()
    flags: dict[str, Any] = {}
    for flag, value in zip(words[::2], words[1::2], strict=True):
        name = flag.removeprefix("--").replace("-", "_")
        default = known[name][0]
        flags[name] = _YES_NO[value] if isinstance(default, bool) else type(default)(value)
    return flags


def _usage() -> str:
    options = [(name.replace("_", "-"), *about) for name, about in described().items()]
    lines = [f"  --{name} ({default!r})\n      {text}\n" for name, default, text in options]
    return "".join(["usage: python -m shipper.simulator [--OPTION VALUE]...\n", *lines])


if __name__ == "__main__":
    try:
        flags = _flags(sys.argv[1:])
    except (KeyError, ValueError):
        sys.stderr.write(_usage())
        sys.exit(0 if sys.argv[1:] in (["--help"], ["-h"]) else 2)
    try:
        main(**flags)
    except (ValueError, OSError) as wrong:
        sys.stderr.write(f"simulator: {wrong}\n")
        sys.exit(2)
