#!/usr/bin/python3
"""Draws the loss of one or several runs from their metrics.jsonl.

    plot_metrics.py runs/quickstart [more runs or files] --out loss.svg
        [--x steps|tokens] [--title TEXT] [--label NAME ...]

A run is a run directory or a metrics.jsonl. Training loss is drawn thin as
logged and strong as a running mean; validation loss (steps that log
`valid_loss`) as dots. Steps that were logged again after a restart count once,
the last time. Lines that are no metrics, and values that are not finite, are
left out. The format follows the name: .svg or .png. Needs Debian's
python3-matplotlib and no display.

Exit codes: 64 wrong usage, 65 a run without a finite loss, 69 no matplotlib,
74 the picture cannot be written.
"""

import argparse
import json
import pathlib
import sys

COLORS = ["#1f5fa8", "#c8511b", "#2e8b57", "#7a4fa3", "#8a6d1d", "#b03060"]
MAX_POINTS = 2000  # More cannot be seen and would swell an SVG.


def leave(code, message):
  """Ends the program with one message."""
  print(f"plot_metrics.py: {message}", file=sys.stderr)
  sys.exit(code)


def is_count(value):
  return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def parse_line(line):
  """A line of metrics, as bytes.

  Raises:
    ValueError: it is none, and why.
  """
  try:
    values = json.loads(line.decode("utf-8"))
  except RecursionError as error:
    raise ValueError("it is nested too deep") from error
  if not isinstance(values, dict) or not is_count(values.get("step")):
    raise ValueError("no object with a step")
  return values


def read_run(path):
  """The lines of one metrics.jsonl by step, a step's last line winning."""
  if path.is_dir():
    path = path / "metrics.jsonl"
  try:
    text = path.read_bytes()
  except OSError as error:
    leave(65, f"{path}: {error.strerror}")
  lines, bad = {}, []
  for number, line in enumerate(text.split(b"\n"), 1):
    if not line.strip():
      continue
    try:
      values = parse_line(line)
    except ValueError as error:
      # A run that is still going may have written half a line.
      bad.append((number, error))
      continue
    lines.setdefault(values["step"], {}).update(values)
  if bad:
    number, error = bad[0]
    print(f"plot_metrics.py: {path}: {len(bad)} lines that are no metrics are "
          f"left out, first line {number}: {error}", file=sys.stderr)
  return [lines[step] for step in sorted(lines)]


def points(lines, x_key, y_key):
  """Where both are finite numbers."""
  def is_number(value):
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and abs(value) < sys.float_info.max)
  return [(line[x_key], line[y_key]) for line in lines
          if is_number(line.get(x_key)) and is_number(line.get(y_key))]


def running_mean(values, width):
  """Mean of up to `width` values that end at each one."""
  result, total = [], 0.0
  for index, value in enumerate(values):
    total += value - (values[index - width] if index >= width else 0.0)
    result.append(total / min(index + 1, width))
  return result


def thin(curve):
  """At most MAX_POINTS of its points, evenly, the last one kept."""
  stride = -(-len(curve) // MAX_POINTS)
  return curve[::-1][::stride][::-1]


def draw_run(axes, train, valid, label, color):
  """One run's curves, of which the first is not empty."""
  width = max(1, len(train) // 50)
  smooth = running_mean([loss for _, loss in train], width)
  smooth = [(x, mean) for (x, _), mean in zip(train, smooth)]
  axes.plot(*zip(*thin(train)), color=color, alpha=0.3, linewidth=0.8)
  axes.plot(*zip(*thin(smooth)), color=color, linewidth=1.8,
            label=f"{label}training")
  if valid:
    axes.plot(*zip(*valid), color=color, marker="o", markersize=5,
              markerfacecolor="white", markeredgewidth=1.5, linestyle="none",
              label=f"{label}validation")
    axes.annotate(f"{valid[-1][1]:.2f}", valid[-1], xytext=(0, 9),
                  textcoords="offset points", ha="center", color=color,
                  fontsize=9)


class Parser(argparse.ArgumentParser):

  def error(self, message):
    leave(64, f"{message}; see plot_metrics.py --help")


def parse_arguments():
  parser = Parser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument("runs", nargs="+", type=pathlib.Path)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--x", choices=["steps", "tokens"], default="steps")
  parser.add_argument("--title", default="Cross-entropy loss")
  parser.add_argument("--label", nargs="*", default=[])
  arguments = parser.parse_args()
  if arguments.out.suffix not in [".svg", ".png"]:
    leave(64, f"--out is {arguments.out}, must end in .svg or .png")
  if len(arguments.label) > len(arguments.runs):
    leave(64, f"--label has {len(arguments.label)} names, must have at most "
          f"one for each run ({len(arguments.runs)})")
  return arguments


def load_matplotlib():
  """matplotlib and its pyplot, which need no display here."""
  try:
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot
    import matplotlib.ticker
  except ImportError as error:
    leave(69, f"{error}; install Debian's python3-matplotlib")
  return matplotlib, matplotlib.pyplot


def main():
  arguments = parse_arguments()
  x_key = "step" if arguments.x == "steps" else "tokens"
  runs = []
  for path in arguments.runs:
    lines = read_run(path)
    train = points(lines, x_key, "loss")
    if not train:
      leave(65, f"{path} has no line with {x_key} and a finite loss")
    runs.append((path, train, points(lines, x_key, "valid_loss")))

  matplotlib, plt = load_matplotlib()
  # Text as text and a fixed salt: small files that change only with the data.
  plt.rcParams.update({
      "svg.fonttype": "none", "svg.hashsalt": "moe", "font.size": 10,
      "font.family": "sans-serif", "axes.spines.top": False,
      "axes.spines.right": False})
  figure, axes = plt.subplots(figsize=(7.5, 4.2), dpi=110)
  for index, (path, train, valid) in enumerate(runs):
    name = (arguments.label[index] if index < len(arguments.label)
            else path.parent.name if path.is_file() else path.name)
    label = f"{name}, " if len(runs) > 1 else ""
    draw_run(axes, train, valid, label, COLORS[index % len(COLORS)])
  axes.set_xlabel("step" if arguments.x == "steps" else "tokens seen")
  axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
  axes.set_ylabel("loss (nats per token)")
  axes.set_title(arguments.title, loc="left", fontsize=11)
  axes.grid(True, color="#e4e4e4", linewidth=0.7)
  axes.set_axisbelow(True)
  axes.set_xlim(left=0)
  axes.legend(frameon=False)
  figure.tight_layout()
  metadata = {"Date": None} if arguments.out.suffix == ".svg" else None
  try:
    figure.savefig(arguments.out, metadata=metadata)
  except OSError as error:
    leave(74, f"{arguments.out}: {error.strerror}")


if __name__ == "__main__":
  main()
