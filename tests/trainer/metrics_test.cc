#include "trainer/report/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/data/temporary_directory.h"
#include "trainer/report/metrics_repair.h"
#include "trainer/report/progress_display.h"

namespace moe {
namespace {

StepReport Report() {
  StepReport report;
  report.step = 3;
  report.tokens = 4096;
  report.losses = {.cross_entropy = 6.123456789, .aux = 4.5, .z = 0.25};
  report.grad_norm = 1.0 / 3;
  report.learning_rate = 3e-4;
  report.batch_digest = 0xabc0123;
  report.skipped_steps = 1;
  report.layers = {{.load_max_over_mean = 1.5,
                    .load_min_over_mean = 0.5,
                    .load_cv = 0.375,
                    .load_entropy = 0.875,
                    .experts_without_tokens = 2,
                    .dropped_fraction = 0.0625,
                    .top_probability = 0.75,
                    .aux_loss = 2.5,
                    .z_loss = 0.1875},
                   {.load_max_over_mean = 1.25, .aux_loss = 2}};
  return report;
}

TEST(Metrics, ALineIsAnObjectWithEveryKey) {
  StepCost cost{.step_seconds = 0.5,
                .tokens_per_second = 2731,
                .mfu = 0.31,
                .memory_bytes = 123456789012};
  nlohmann::json line = nlohmann::json::parse(MetricsLine(Report(), cost));
  EXPECT_EQ(line["step"], 3);
  EXPECT_EQ(line["tokens"], 4096);
  EXPECT_NEAR(line["loss"], 6.123456789, 1e-8);
  EXPECT_EQ(line["aux_loss"], 4.5);
  EXPECT_EQ(line["z_loss"], 0.25);
  EXPECT_NEAR(line["grad_norm"], 1.0 / 3, 1e-9);
  EXPECT_EQ(line["learning_rate"], 3e-4);
  EXPECT_EQ(line["batch_digest"], "000abc0123");
  EXPECT_EQ(line["memory_bytes"], 123456789012);
  EXPECT_EQ(line["skipped_steps"], 1);
  const auto expect_layers = [&line](const char* key, double a, double b) {
    EXPECT_EQ(line[key], nlohmann::json({a, b})) << key;
  };
  expect_layers("expert_load_max_over_mean", 1.5, 1.25);
  expect_layers("expert_load_min_over_mean", 0.5, 0);
  expect_layers("expert_load_cv", 0.375, 0);
  expect_layers("expert_load_entropy", 0.875, 0);
  expect_layers("experts_without_tokens", 2, 0);
  expect_layers("dropped_fraction", 0.0625, 0);
  expect_layers("router_top_probability", 0.75, 0);
  expect_layers("layer_aux_loss", 2.5, 2);
  expect_layers("layer_z_loss", 0.1875, 0);
  EXPECT_FALSE(line.contains("valid_loss"));
  cost.valid_loss = 5.5;
  line = nlohmann::json::parse(MetricsLine(Report(), cost));
  EXPECT_EQ(line["valid_loss"], 5.5);
}

TEST(Metrics, WhatIsNotFiniteIsNull) {
  StepReport report = Report();
  report.losses.cross_entropy = std::nan("");
  report.grad_norm = HUGE_VAL;
  const nlohmann::json line =
      nlohmann::json::parse(MetricsLine(report, StepCost{}));
  EXPECT_TRUE(line["loss"].is_null());
  EXPECT_TRUE(line["grad_norm"].is_null());
}

TEST(Metrics, ALossOfNothingIsNull) {
  StepReport report = Report();
  report.losses.cross_entropy = 0;
  report.has_targets = false;
  const StepCost cost{.valid_loss = std::nan("")};
  const nlohmann::json line = nlohmann::json::parse(MetricsLine(report, cost));
  EXPECT_TRUE(line["loss"].is_null());
  EXPECT_TRUE(line["valid_loss"].is_null());
  EXPECT_EQ(line["aux_loss"], 4.5) << "the router has routed all the same";
}

TEST(RepairMetrics, ABrokenLineCostsItselfAlone) {
  const std::string zero = std::string("{\"step\":4,\"loss\":1") + '\0' + "}";
  const std::string broken[] = {
      "{\"step\":3,\"loss\":1.2{\"step\":4,\"loss\":1}",
      "{\"step\":4,\"lo",
      "\x80\xff\xfe binary",
      "{\"step\":4,\"note\":\"caf\xe9\"}",
      zero,
      "hello",
      "[4]",
      "4",
      "\"step\"",
      "{\"loss\":1}",
      "{\"step\":\"4\"}",
      "{\"step\":4.5}",
      "{\"step\":-1}",
      "{\"step\":null}",
      "{\"step\":[4]}",
      "{\"a\":{\"step\":4}}",
      "{\"step\":4,\"loss\":NaN}",
      "{\"step\":99999999999999999999}"};
  const std::string before = "{\"step\":1,\"loss\":2}\n{\"step\": 2}\n";
  const std::string behind = "{\"step\":3,\"a\":[{\"step\":9},[]]}\n";
  for (const std::string& line : broken) {
    const RepairedMetrics repaired =
        RepairMetrics(before + line + "\n" + behind, /*last_step=*/3);
    EXPECT_EQ(repaired.kept, before + behind) << line;
    EXPECT_EQ(repaired.rejected, line + "\n");
    EXPECT_EQ(repaired.num_rejected, 1) << line;
    EXPECT_EQ(repaired.first_rejected, 3) << line;
  }
}

TEST(RepairMetrics, LaterStepsGoAndEmptyLinesAreNothing) {
  RepairedMetrics repaired = RepairMetrics(
      "{\"step\":1}\n\n{\"step\":3}\n{\"step\":2}\r\n{\"step\":2}", 2);
  EXPECT_EQ(repaired.kept, "{\"step\":1}\n{\"step\":2}\r\n{\"step\":2}\n");
  EXPECT_EQ(repaired.num_rejected, 0);
  repaired = RepairMetrics("", 2);
  EXPECT_EQ(repaired.kept + repaired.rejected, "");
}

TEST(MetricsLog, KeepsAsideWhatIsNoMetrics) {
  const TemporaryDirectory directory;
  const std::string whole = "{\"step\":1}\n{\"step\":2}\n";
  const std::string path =
      directory.Write("metrics.jsonl", "junk\n" + whole + "{\"step\":3,\"l");
  std::vector<std::string> said;
  const auto open = [&] {
    const auto log = MetricsLog::Open(
        PosixFileSystem(), path, /*last_step=*/2,
        [&](const std::string& line) { said.push_back(line); });
    ASSERT_TRUE(log.ok()) << log.status();
    ASSERT_TRUE((*log)->Close().ok());
  };
  open();
  EXPECT_EQ(directory.Read("metrics.jsonl"), whole);
  EXPECT_EQ(directory.Read("metrics.jsonl.rejected"),
            "junk\n{\"step\":3,\"l\n");
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0], path + " holds 2 lines that are no metrics, first line " +
                         "1; moved to " + path + ".rejected");
  open();
  EXPECT_EQ(said.size(), 1u) << "once";
  directory.Write("metrics.jsonl", whole + "other junk\n");
  open();
  EXPECT_EQ(directory.Read("metrics.jsonl"), whole);
  EXPECT_EQ(directory.Read("metrics.jsonl.rejected"),
            "junk\n{\"step\":3,\"l\nother junk\n");
}

TEST(ProgressDisplay, AStepSaysWhatAPersonWaitsFor) {
  const StepCost cost{.tokens_per_second = 12345.6, .mfu = 0.312};
  StepReport report = Report();
  EXPECT_EQ(StepLine(report, cost, 300, absl::Seconds(3723)),
            "step 3/300  loss 6.1235  aux 4.500  grad 0.333  lr 0.0003  "
            "12,345 tok/s  mfu 31.2 %  1:02:03 left  dropped 3.1 %");
  report.layers[0].dropped_fraction = 0;  // as without a capacity
  EXPECT_EQ(StepLine(report, cost, 300, absl::Seconds(3723)),
            "step 3/300  loss 6.1235  aux 4.500  grad 0.333  lr 0.0003  "
            "12,345 tok/s  mfu 31.2 %  1:02:03 left");
}

TEST(ProgressDisplay, WhatIsNotFiniteIsNone) {
  StepReport report = Report();
  report.layers.clear();
  report.has_targets = false;
  const StepCost cost{
      .tokens_per_second = HUGE_VAL, .mfu = 0.312, .valid_loss = std::nan("")};
  EXPECT_EQ(StepLine(report, cost, 300, absl::Seconds(3723)),
            "step 3/300  loss none (no target in the batch)  aux 4.500  "
            "grad 0.333  lr 0.0003  ? tok/s  mfu 31.2 %  1:02:03 left  valid "
            "loss none");
}

TEST(ProgressDisplay, ASkippedStepSaysSoInPlaceOfItsNumbers) {
  const StepCost cost{.tokens_per_second = 12345.6, .mfu = 0.312};
  StepReport report = Report();
  report.layers.clear();
  report.losses.cross_entropy = std::nan("");
  report.skipped = true;
  EXPECT_EQ(StepLine(report, cost, 300, absl::Seconds(3723)),
            "step 3/300  skipped  12,345 tok/s  mfu 31.2 %  1:02:03 left");
}

}  // namespace
}  // namespace moe
