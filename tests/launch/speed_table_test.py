#!/usr/bin/env python3
"""speed_table.py, and what speed_sides.py reads of a configuration."""

import json
import pathlib
import sys
import unittest

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parents[2] / "launch"))

import speed_sides  # noqa: E402
import speed_table  # noqa: E402
from speed_table import Limit  # noqa: E402


def speeds(*values):
  return [dict(tokens_per_second=v) for v in values]


class LimitTest(unittest.TestCase):

  def test_more_is_better_up_to_the_aim(self):
    limit = Limit(1.2, 1.4)
    self.assertEqual(
        [limit.met(r) for r in [1.19, 1.2, 1.39, 1.4]],
        ["no", "must", "must", "aim"])

  def test_less_is_better_where_the_aim_is_less(self):
    limit = Limit(0.7, 0.5)
    self.assertEqual(
        [limit.met(r) for r in [0.71, 0.7, 0.51, 0.5]],
        ["no", "must", "must", "aim"])


class LineTest(unittest.TestCase):

  def test_speeds_are_medians_of_the_rounds(self):
    line = speed_table.speed_line(
        "e8-f32", "1 thread", "eager", speeds(300, 900, 310),
        speeds(200, 210, 10), Limit(1.12, 1.25))
    self.assertEqual((line.ours, line.theirs, line.ratio), (310, 200, 1.55))
    fields = json.loads(line.as_json())
    self.assertEqual(fields["met"], "aim")
    self.assertEqual(fields["must"], 1.12)
    self.assertFalse(fields["less_is_better"])

  def test_the_strongest_is_that_of_the_largest_median(self):
    peers = {"a": speeds(1, 9, 1), "b": speeds(2, 2, 2), "c": speeds(1, 1, 5)}
    self.assertEqual(speed_table.strongest(peers), "b")

  def test_memory_is_our_largest_over_their_smallest_process(self):
    mib = 2**20
    line = speed_table.memory_line(
        "e8-f32", [dict(peak_memory_bytes=6 * mib), dict(peak_memory_bytes=5)],
        {"a": [dict(peak_memory_bytes=20 * mib)],
         "b": [dict(peak_memory_bytes=9 * mib),
               dict(peak_memory_bytes=12 * mib)]}, Limit(0.7, 0.5))
    self.assertEqual((line.peer, line.ours, line.theirs), ("b", 6, 12))
    self.assertEqual(json.loads(line.as_json())["met"], "aim")

  def test_without_a_limit_there_is_none_to_meet(self):
    line = speed_table.share_line("e64-f32", "share", [dict(x=0.5)], "x", None)
    self.assertNotIn("met", json.loads(line.as_json()))


  def test_what_is_not_finite_is_never_put_in_order(self):
    nan, inf = float("nan"), float("inf")
    for bad in [nan, inf, -1, None, "3", True]:
      with self.assertRaisesRegex(
          speed_table.NoNumber, "tokens_per_second is .*, must be a finite"):
        speed_table.strongest({"a": speeds(1, 2, 3), "b": speeds(5, bad, 6)})
      with self.assertRaises(speed_table.NoNumber):
        speed_table.memory_line(
            "e8-f32", [dict(peak_memory_bytes=bad)],
            {"a": [dict(peak_memory_bytes=1)]}, None)
    with self.assertRaises(speed_table.NoNumber):
      speed_table.share_line("e64-f32", "share", [dict(y=0.5)], "x", None)
    with self.assertRaisesRegex(speed_table.NoNumber, "the other side is 0"):
      speed_table.speed_line("e8-f32", "1", "eager", speeds(1), speeds(0), None)


class ResultTest(unittest.TestCase):

  def test_is_an_object(self):
    self.assertEqual(speed_sides.parse_result("p", '{"a": 1}'), {"a": 1})
    for line in ["", "{", "[1]", "3", "\ufffd", '{"a": 1}{"b"']:
      with self.assertRaisesRegex(
          speed_sides.Failure, "p printed what is no result"):
        speed_sides.parse_result("p", line)

  def test_a_program_that_is_not_there_is_named(self):
    with self.assertRaisesRegex(speed_sides.Failure, "nowhere/moe-bench: No"):
      speed_sides.start(["nowhere/moe-bench"])


class TableTest(unittest.TestCase):

  def test_columns_stand_below_each_other(self):
    text = speed_table.table([
        speed_table.speed_line(
            "e8-f32", "1 thread", "eager", speeds(1500), speeds(1000),
            Limit(1.12, 1.25)),
        speed_table.share_line(
            "e8-f32", "routing", [dict(x=0.075)], "x", Limit(0.08, 0.04)),
    ])
    rows = text.splitlines()
    self.assertEqual(len({len(row) for row in rows}), 1)
    self.assertRegex(rows[2], r"eager +\| 1,000 tokens/s \| 1,500 tokens/s \| "
                     r"1\.500 \| >= 1\.12 +\| >= 1\.25 +\| aim")
    self.assertRegex(rows[3], r"7\.5 % +\| <= 8\.0 % +\| <= 4\.0 % +\| must")


class ModelTest(unittest.TestCase):
  TEXT = """run {
  threads: 0
}
model {
  vocab_size: 8192
  head_dim: 0
  rms_norm_eps: 1e-05
  tie_word_embeddings: false
}
batch {
  sequence_length: 512
}
"""

  def test_is_what_the_preset_says(self):
    self.assertEqual(
        speed_sides.parse_model(self.TEXT, tiny=False),
        (dict(vocab_size=8192, rms_norm_eps=1e-5, tie_word_embeddings=False),
         512))

  def test_no_configuration_is_refused(self):
    for text in ["", "model {", self.TEXT.replace("sequence", "s")]:
      with self.assertRaises(speed_sides.Failure):
        speed_sides.parse_model(text, tiny=True)

  def test_or_tiny(self):
    model, length = speed_sides.parse_model(self.TEXT, tiny=True)
    self.assertEqual(model["hidden_size"], 64)
    self.assertEqual(model["rms_norm_eps"], 1e-5)
    self.assertEqual(length, 64)


if __name__ == "__main__":
  unittest.main()
