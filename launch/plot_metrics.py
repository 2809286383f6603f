#!/usr/bin/python3
"""Draws the loss of one or several runs from their metrics.jsonl.

    plot_metrics.py runs/quickstart [more runs or files] --out loss.svg
        [--x steps|tokens] [--title TEXT] [--label NAME ...]

A run is a run directory or a metrics.jsonl. Training loss is drawn thin as
logged and strong as a running mean; validation loss (steps that log
`valid_loss`) as dots. Steps that were logged again after a restart count once,
the last time. The format follows the name: .svg or .png. Needs Debian's
python3-matplotlib and no display.
"""

import argparse
import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import matplotlib.ticker  # noqa: E402

COLORS = ["#1f5fa8", "#c8511b", "#2e8b57", "#7a4fa3", "#8a6d1d", "#b03060"]
MAX_POINTS = 2000  # More cannot be seen and would swell an SVG.


def read_run(path):
  """The lines of one metrics.jsonl by step, a step's last line winning."""
  if path.is_dir():
    path = path / "metrics.jsonl"
  lines = {}
  try:
    file = open(path, encoding="utf-8")
  except OSError as error:
    sys.exit(f"plot_metrics.py: {path}: {error.strerror}")
  with file:
    for number, text in enumerate(file, 1):
      if not text.strip():
        continue
      try:
        line = json.loads(text)
      except json.JSONDecodeError as error:
        # A run that is still going may have written half a line.
        print(f"{path}:{number}: skipped, {error}", file=sys.stderr)
        continue
      if "step" in line:
        lines.setdefault(line["step"], {}).update(line)
  if not any("loss" in line for line in lines.values()):
    sys.exit(f"plot_metrics.py: {path} has no line with step and loss")
  return [lines[step] for step in sorted(lines)]


def running_mean(values, width):
  """Mean of up to `width` values that end at each one."""
  result, total = [], 0.0
  for index, value in enumerate(values):
    total += value - (values[index - width] if index >= width else 0.0)
    result.append(total / min(index + 1, width))
  return result


def thin(points):
  """At most MAX_POINTS of them, evenly, the last one kept."""
  stride = -(-len(points) // MAX_POINTS)
  return points[::-1][::stride][::-1]


def draw_run(axes, lines, label, color, x_key):
  """One run's curves; lines without the x value are left out."""
  train = [(line[x_key], line["loss"]) for line in lines
           if x_key in line and line.get("loss") is not None]
  valid = [(line[x_key], line["valid_loss"]) for line in lines
           if x_key in line and line.get("valid_loss") is not None]
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


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument("runs", nargs="+", type=pathlib.Path)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--x", choices=["steps", "tokens"], default="steps")
  parser.add_argument("--title", default="Cross-entropy loss")
  parser.add_argument("--label", nargs="*", default=[])
  arguments = parser.parse_args()

  # Text as text and a fixed salt: small files that change only with the data.
  plt.rcParams.update({
      "svg.fonttype": "none", "svg.hashsalt": "moe", "font.size": 10,
      "font.family": "sans-serif", "axes.spines.top": False,
      "axes.spines.right": False})
  figure, axes = plt.subplots(figsize=(7.5, 4.2), dpi=110)
  for index, path in enumerate(arguments.runs):
    name = (arguments.label[index] if index < len(arguments.label)
            else path.parent.name if path.is_file() else path.name)
    label = f"{name}, " if len(arguments.runs) > 1 else ""
    draw_run(axes, read_run(path), label, COLORS[index % len(COLORS)],
             "step" if arguments.x == "steps" else "tokens")
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
    sys.exit(f"plot_metrics.py: {arguments.out}: {error.strerror}")


if __name__ == "__main__":
  main()
