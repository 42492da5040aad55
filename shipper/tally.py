"""Counts and sums of log_ids by hour: how two sides find out whether they hold the same events, without listing them.

A tally is small, whatever it stands for, and two of them are equal only if the same ids went in, each as often: the sum
of SHA-256 over the ids, modulo 2^256, takes no order, and sums add up.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

HOUR_MS = 3_600_000
SUM_BYTES = 32
_MODULUS = 1 << (8 * SUM_BYTES)
_sha256 = hashlib.sha256


class Tally(msgspec.Struct, frozen=True):
    """Some events of one hour.

    events: how many, repeats counted. first, last: the lowest and the highest id (the shorter one first, as Auth0
    orders them); "" where there is none. sum: of SHA-256(id) as an integer, modulo 2^256.
    """

    events: int = 0
    first: str = ""
    last: str = ""
    sum: int = 0

    def merge(self, other: "Tally") -> "Tally":
        """Both together."""
        if not self.events or not other.events:
            return self if self.events else other
        first, last = min(self.first, other.first, key=order), max(self.last, other.last, key=order)
        return Tally(self.events + other.events, first, last, (self.sum + other.sum) % _MODULUS)

    def times(self, often: int) -> "Tally":
        """Each event so often."""
        return Tally(self.events * often, self.first, self.last, self.sum * often % _MODULUS)

    def same(self, other: "Tally") -> bool:
        """Whether both stand for the same events, each as often."""
        return self.events == other.events and self.sum == other.sum


def order(log_id: str) -> tuple[int, str]:
    """Sorts ids as their source does: a shorter one is older."""
    return len(log_id), log_id


def tally(ids: Sequence[str]) -> Tally:
    """All of these ids, as one hour's."""
    if not ids:
        return Tally()
    total = sum(map(int.from_bytes, _digests(ids))) % _MODULUS
    if len(ids) == 1:
        return Tally(1, ids[0], ids[0], total)
    if len(set(map(len, ids))) == 1:
        return Tally(len(ids), min(ids), max(ids), total)
    return Tally(len(ids), min(ids, key=order), max(ids, key=order), total)


def _digests(ids: Sequence[str]) -> list[bytes]:
    try:
        return [_sha256(log_id.encode()).digest() for log_id in ids]
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
        return [_sha256(log_id.encode("utf-8", "surrogatepass")).digest() for log_id in ids]


def tallies(ids: Sequence[str], times_ms: Sequence[int]) -> dict[int, Tally]:
    """By hour (milliseconds since 1970 UTC // 3,600,000). Both sequences are equally long; event i has ids[i]."""
    if not ids:
        return {}
    hour = min(times_ms) // HOUR_MS
    if hour == max(times_ms) // HOUR_MS:
        return {hour: tally(ids)}
    by_hour: dict[int, list[str]] = {}
    for log_id, time_ms in zip(ids, times_ms, strict=True):
        by_hour.setdefault(time_ms // HOUR_MS, []).append(log_id)
    return {hour: tally(some) for hour, some in by_hour.items()}


def merged(many: Iterable[Mapping[int, Tally]]) -> dict[int, Tally]:
    """All of them together, hour by hour."""
    found: dict[int, Tally] = {}
    for one in many:
        for hour, part in one.items():
            found[hour] = found[hour].merge(part) if hour in found else part
    return found


def sum_to_bytes(total: int) -> bytes:
    """32 bytes, the highest first."""
    return total.to_bytes(SUM_BYTES, "big")


def sum_from_bytes(raw: bytes) -> int:
    """The reverse. Raises ValueError where there aren't 32 bytes."""
    if len(raw) != SUM_BYTES:
        raise ValueError(f"a sum has {SUM_BYTES} bytes, not {len(raw)}")
    return int.from_bytes(raw, "big")


def sum_to_hex(total: int) -> str:
    """64 hexadecimal digits."""
    return f"{total:064x}"


def sum_from_hex(text: str) -> int:
    """The reverse. Raises ValueError where it isn't 64 hexadecimal digits."""
    return sum_from_bytes(bytes.fromhex(text))
