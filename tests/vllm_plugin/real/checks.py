"""A table of what was found beside what was expected."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Checks:
    """What held and what did not, printed as it comes."""

    failed: list[str] = field(default_factory=list)
    count: int = 0

    def that(self, holds: bool, what: str, found: object = "") -> None:
        """One line of the table."""
        self.count += 1
        if not holds:
            self.failed.append(what)
        print(f"{'ok  ' if holds else 'FAIL'}  {what:<78} {found}", flush=True)

    def part(self, title: str) -> None:
        """A heading."""
        print(f"\n{title}", flush=True)

    def end(self) -> int:
        """The exit code, after the sums."""
        print(f"\n{self.count - len(self.failed)} passed, {len(self.failed)} failed")
        return 1 if self.failed else 0
