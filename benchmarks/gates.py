"""A criterion with the bounds that it has to keep, and what was measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    """One line of the table.

    Attributes:
        criterion: What is measured.
        bound: The gate, in words.
        measured: What was found, in words.
        passed: Whether it is within the gate; None: there is no gate.
    """

    criterion: str
    bound: str
    measured: str
    passed: bool | None = None

    @classmethod
    def within(
        cls, criterion: str, value: float, low: float, high: float, unit: str = "", note: str = ""
    ) -> "Gate":
        """Return the line for a number that has to be in an interval."""
        bound = f"<= {high:g}{unit}" if low <= 0 else f"{low:g} to {high:g}{unit}"
        if low == high:
            bound = f"{high:g}{unit}"
        return cls(criterion, bound, f"{value:.4g}{unit}{note}", low <= value <= high)

    def __str__(self) -> str:
        sign = {True: "ok", False: "MISSED", None: "-"}[self.passed]
        return f"{self.criterion:<62} {self.bound:>16}   {sign:<6}  {self.measured}"
