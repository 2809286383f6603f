#!/usr/bin/env python3
"""plot_metrics.py on what runs, crashes and other programs leave."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

LAUNCH = pathlib.Path(__file__).resolve().parents[2] / "launch"
sys.path.insert(0, str(LAUNCH))

import plot_metrics  # noqa: E402

PROGRAM = LAUNCH / "plot_metrics.py"
PYTHON = "/usr/bin/python3"  # Debian's, like the program's first line
HAS_MATPLOTLIB = subprocess.run(
    [PYTHON, "-c", "import matplotlib"], stderr=subprocess.DEVNULL,
    check=False).returncode == 0

GOOD = b"""{"step":1,"tokens":8,"loss":3.5}
{"step":2,"tokens":16,"loss":3.25,"valid_loss":3.3}
"""
BAD_LINES = [
    b"\xff\xfe\x00 binary",
    b'{"step":3,"note":"caf\xe9"}',
    b'{"step":3,"lo',
    b'{"step":3,"loss":1{"step":4,"loss":1}',
    b"[3]",
    b"3",
    b'"step"',
    b"null",
    b'{"step":"3","loss":1}',
    b'{"step":[3],"loss":1}',
    b'{"step":true,"loss":1}',
    b'{"step":NaN,"loss":1}',
    b'{"loss":1}',
    b"[" * 100000,
]
NOT_FINITE = [b"null", b"NaN", b"Infinity", b"-Infinity", b"1e999", b'"3"',
              b"[3]", b"true", b"1" + b"0" * 400]


class PlotMetricsTest(unittest.TestCase):

  def setUp(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    self.run_file = self.folder / "metrics.jsonl"

  def plot(self, *words, contents=None):
    """(code, standard error), of which no part is a traceback."""
    if contents is not None:
      self.run_file.write_bytes(contents)
    done = subprocess.run(
        [PYTHON, PROGRAM, *words], capture_output=True, text=True, check=False)
    self.assertNotIn("Traceback", done.stderr)
    return done.returncode, done.stderr

  def refuses(self, code, text, *words, contents=None):
    got, errors = self.plot(*words, contents=contents)
    self.assertEqual(got, code, errors)
    self.assertIn(text, errors)
    self.assertEqual(errors.count("plot_metrics.py: "), 1, errors)

  def test_a_run_without_a_finite_loss(self):
    picture = self.folder / "a.svg"
    for value in NOT_FINITE:
      self.refuses(
          65, "has no line with step and a finite loss", self.run_file, "--out",
          picture, contents=b'{"step":1,"loss":' + value + b"}\n")
    for contents in [b"", b"\n \n"]:
      self.refuses(65, "finite loss", self.run_file, "--out", picture,
                   contents=contents)
    self.refuses(65, "with tokens and a finite loss", self.run_file, "--x",
                 "tokens", "--out", picture, contents=b'{"step":1,"loss":3}\n')
    self.assertFalse(picture.exists())

  def test_what_is_not_there(self):
    for path in [self.folder, self.folder / "nowhere", self.run_file / "x"]:
      self.refuses(65, str(path), path, "--out", self.folder / "a.svg")

  def test_usage(self):
    self.refuses(64, "are required")
    self.refuses(64, "must end in .svg or .png", self.run_file, "--out",
                 "a.pdf")
    self.refuses(64, "--label has 2 names", self.run_file, "--out", "a.svg",
                 "--label", "a", "b")
    self.refuses(64, "--x", self.run_file, "--out", "a.svg", "--x", "hours")

  def test_broken_lines_cost_themselves_alone(self):
    for line in BAD_LINES:
      with self.assertRaises(ValueError, msg=line[:40]):
        plot_metrics.parse_line(line)
    code, errors = self.plot(
        self.run_file, "--out", self.folder / "nowhere" / "a.svg",
        contents=GOOD + b"\n".join(BAD_LINES) + b"\n" + GOOD)
    # It gets as far as the picture.
    self.assertEqual(code, 74 if HAS_MATPLOTLIB else 69, errors)
    self.assertIn(f"{len(BAD_LINES)} lines that are no metrics are left out, "
                  "first line 3: ", errors)

  @unittest.skipUnless(HAS_MATPLOTLIB, "no matplotlib")
  def test_values_that_are_not_finite_are_left_out(self):
    clean, mixed = self.folder / "clean.svg", self.folder / "mixed.svg"
    self.assertEqual(
        self.plot(self.run_file, "--out", clean, contents=GOOD), (0, ""))
    more = b"".join(b'{"step":3,"loss":' + value + b',"valid_loss":' + value
                    + b"}\n" for value in NOT_FINITE)
    code, errors = self.plot(
        self.run_file, "--out", mixed, contents=GOOD + more)
    self.assertEqual((code, errors), (0, ""))
    self.assertEqual(clean.read_bytes(), mixed.read_bytes())


if __name__ == "__main__":
  if not HAS_MATPLOTLIB:
    print("no picture is drawn here: there is no matplotlib", file=sys.stderr)
  unittest.main()
