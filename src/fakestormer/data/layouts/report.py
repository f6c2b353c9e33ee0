"""How a listing differs from what it should be, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fakestormer.data.listing import Count, Listing

#: Names shown of each kind.
SHOWN = 20


def check_report(listing: Listing) -> str:
    """What is there, what differs, in lines. Counts from memory of the publications carry a "~"."""
    name = listing.dataset + (f" at {listing.compression}" if listing.compression else "")
    lines = [f"{name}: {len(listing.entries)} videos"]
    tally = Counter((entry.split or "no split", entry.label) for entry in listing.entries)
    lines += [f"  {split}, {label}: {count}" for (split, label), count in sorted(tally.items())]
    if listing.lists:
        lines.append(f"lists: {listing.lists}")
    if listing.counts:
        width = max(len(count.what) for count in listing.counts)
        lines.append("counts, found of expected:")
        lines += [_count(count, width) for count in listing.counts]
    for heading, names in (
        ("missing: in the lists and not here", listing.missing),
        ("unexpected: here and in no list", listing.unexpected),
        ("doubled: in the lists more than once", listing.doubled),
    ):
        lines += _names(heading, names)
    for heading, sentences in (("contradictions:", listing.conflicts), ("notes:", listing.notes)):
        lines += [heading, *(f"  - {sentence}" for sentence in sentences)] if sentences else []
    lines.append(_verdict(listing))
    return "\n".join(lines)


def _count(count: Count, width: int) -> str:
    about = "" if count.certain else "~"
    differs = "" if count.present == count.expected else "   differs"
    return f"  {count.what:{width}}  {count.present} of {about}{count.expected}{differs}"


def _names(heading: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    rest = len(names) - SHOWN
    shown = [f"  {name}" for name in names[:SHOWN]]
    return [f"{heading} ({len(names)})", *shown, *([f"  ... and {rest} more"] if rest > 0 else [])]


def _verdict(listing: Listing) -> str:
    differing = [count for count in listing.counts if count.present != count.expected]
    wrong = listing.missing or listing.unexpected or listing.doubled or listing.conflicts
    if wrong or any(count.certain for count in differing):
        return "Not all is as it should be; see above."
    if differing:
        return "All is as it should be, but for counts that are only known roughly."
    return f"All is as it should be{'; mind the notes' if listing.notes else ''}."
