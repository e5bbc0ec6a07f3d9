"""What the proofs have done, for the line that is printed at their end."""

from dataclasses import asdict, dataclass


@dataclass
class Tally:
    """Counts over all proofs of a session."""

    runs: int = 0
    kills: int = 0
    commits: int = 0
    reads: int = 0
    changes: int = 0
    rounds: int = 0
    histories: int = 0
    reused_after_kills: int = 0
    errors: int = 0

    def __str__(self) -> str:
        counts = asdict(self).items()
        return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts)


TALLY = Tally()
"""The counts of this session."""
