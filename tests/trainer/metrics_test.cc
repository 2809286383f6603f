#include "trainer/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "trainer/progress_display.h"

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
