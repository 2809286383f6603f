"""The table of speeds: what was measured, in proportion to what, and how far
that should be. Arithmetic alone: nothing here starts a program."""

import dataclasses
import json
import math
import statistics


@dataclasses.dataclass(frozen=True)
class Limit:
  """What a ratio must reach, and what it aims at."""
  must: float
  aim: float

  @property
  def is_upper(self):
    """Whether less is better."""
    return self.aim < self.must

  def met(self, ratio):
    """'aim', 'must' or 'no'."""
    def reaches(limit):
      return ratio <= limit if self.is_upper else ratio >= limit
    if reaches(self.aim):
      return "aim"
    return "must" if reaches(self.must) else "no"


@dataclasses.dataclass(frozen=True)
class Line:
  """One line of the table."""
  row: str  # what --rows names: "e8-float32"
  what: str
  peer: str  # what it is compared with; empty: `ratio` is a share
  theirs: float | None
  ours: float | None
  unit: str
  ratio: float
  limit: Limit | None  # None: reported beside, for no limit

  def as_json(self):
    fields = dict(
        row=self.row, what=self.what, peer=self.peer, theirs=self.theirs,
        ours=self.ours, unit=self.unit, ratio=self.ratio)
    if self.limit is not None:
      fields.update(
          must=self.limit.must, aim=self.limit.aim,
          less_is_better=self.limit.is_upper, met=self.limit.met(self.ratio))
    return json.dumps(fields)


class NoNumber(Exception):
  """A measurement has nothing that could be put in proportion."""


def number_of(result, key):
  """Finite and not negative: a number that is neither has no order."""
  value = result.get(key)
  if (isinstance(value, bool) or not isinstance(value, (int, float))
      or not 0 <= value < math.inf):
    raise NoNumber(f"{key} is {value}, must be a finite number")
  return value


def median_of(results, key):
  """Median over the rounds' results."""
  return statistics.median(number_of(result, key) for result in results)


def proportion(ours, theirs, what):
  if theirs == 0:
    raise NoNumber(f"{what} of the other side is 0")
  return ours / theirs


def speed_line(row, what, peer, ours, theirs, limit):
  """Tokens per second of `ours` over those of `theirs`, lists of results."""
  ours = median_of(ours, "tokens_per_second")
  theirs = median_of(theirs, "tokens_per_second")
  return Line(row, what, peer, theirs, ours, "tokens/s",
              proportion(ours, theirs, "tokens_per_second"), limit)


def strongest(peers):
  """Name of the fastest of {name: results}."""
  return max(
      peers, key=lambda name: median_of(peers[name], "tokens_per_second"))


def share_line(row, what, results, key, limit):
  """A share that a result states itself."""
  return Line(row, what, "", None, None, "", median_of(results, key), limit)


def memory_line(row, ours, peers, limit):
  """Peak of the largest of our processes over the smallest of {name: results}."""
  def peak(results):
    return max(number_of(result, "peak_memory_bytes") for result in results)
  smallest = min(peers, key=lambda name: peak(peers[name]))
  ours = peak(ours) / 2**20
  theirs = peak(peers[smallest]) / 2**20
  return Line(row, "peak memory", smallest, theirs, ours, "MiB",
              proportion(ours, theirs, "peak_memory_bytes"), limit)


def own_line(row, what, peer, results, key, limit):
  """A ratio that moe-bench found itself, both sides in turns."""
  return Line(row, what, peer, None, None, "", median_of(results, key), limit)


def _amount(value, unit):
  if value is None:
    return ""
  return f"{value:,.0f} {unit}"


def _cells(line):
  is_share = not line.peer
  number = (lambda x: f"{100 * x:.1f} %") if is_share else (lambda x: f"{x:.3g}")
  ratio = f"{100 * line.ratio:.1f} %" if is_share else f"{line.ratio:.3f}"
  limit = line.limit
  if limit is None:
    return [line.row, line.what, line.peer, _amount(line.theirs, line.unit),
            _amount(line.ours, line.unit), ratio, "", "", ""]
  sign = "<= " if limit.is_upper else ">= "
  return [line.row, line.what, line.peer, _amount(line.theirs, line.unit),
          _amount(line.ours, line.unit), ratio, sign + number(limit.must),
          sign + number(limit.aim), limit.met(line.ratio)]


def table(lines):
  """The lines as a Markdown table whose columns stand below each other."""
  head = ["row", "what", "over", "peer", "ours", "ratio", "must", "aim", "met"]
  cells = [head] + [_cells(line) for line in lines]
  widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
  rows = ["| " + " | ".join(
      cell.ljust(width) for cell, width in zip(row, widths)) + " |"
          for row in cells]
  rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
  return "\n".join([rows[0], rule] + rows[1:])
