#include "launch/bench/bench_result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

BenchResult AProduct() {
  return {.part = "experts",
          .name = "down forward, balanced",
          .compute_dtype = "FLOAT32",
          .shape = {{"experts", 8}, {"rows", 4096}},
          .seconds = 0.5,
          .runs = 7,
          .flops = 1e9,
          .peak_flops = 4e9};
}

TEST(BenchResult, OfAProductHasItsSpeed) {
  const auto json = nlohmann::json::parse(ResultJson(AProduct()));
  EXPECT_EQ(json["part"], "experts");
  EXPECT_EQ(json["name"], "down forward, balanced");
  EXPECT_EQ(json["compute_dtype"], "FLOAT32");
  EXPECT_EQ(json["rows"], 4096);
  EXPECT_EQ(json["seconds"], 0.5);
  EXPECT_EQ(json["runs"], 7);
  EXPECT_EQ(json["gflops"], 2);
  EXPECT_EQ(json["share_of_peak"], 0.5);
  EXPECT_FALSE(json.contains("gbytes_per_second"));
  EXPECT_FALSE(json.contains("tokens_per_second"));
  EXPECT_FALSE(json.contains("stage_share"));
  EXPECT_THAT(ResultLines(AProduct()), EndsWith("2.0 GFLOP/s  50.0 %"));
}

TEST(BenchResult, OfAKernelOfMemoryHasItsRate) {
  const BenchResult result = {.part = "memory",
                              .name = "AdamW",
                              .seconds = 0.5,
                              .bytes = 1e9,
                              .figures = {{"copy_seconds", 0.25, ""},
                                          {"over", 1.5, "1.5 of a copy's"}}};
  const auto json = nlohmann::json::parse(ResultJson(result));
  EXPECT_EQ(json["gbytes_per_second"], 2);
  EXPECT_EQ(json["copy_seconds"], 0.25);
  EXPECT_EQ(json["over"], 1.5);
  EXPECT_FALSE(json.contains("gflops"));
  EXPECT_THAT(ResultLines(result), EndsWith("2.0 GB/s  1.5 of a copy's"));
}

TEST(BenchResult, WhatIsNotFiniteIsNull) {
  BenchResult result = AProduct();
  result.seconds = 0;
  result.figures = {{"over", std::nan(""), ""}};
  result.phase_shares = {{"head", std::nan("")}};
  const auto json = nlohmann::json::parse(ResultJson(result));
  EXPECT_TRUE(json["gflops"].is_null());
  EXPECT_TRUE(json["over"].is_null());
  EXPECT_TRUE(json["stage_share"]["head"].is_null());
}

TEST(BenchResult, SaysWhatTheTimeWentInto) {
  BenchResult result = AProduct();
  result.figures = {{"peak", 3, "peak 3"}};
  result.phase_shares = {{"head", 0.25}, {"sum of gradients", 0.75}, {"x", 0}};
  const auto json = nlohmann::json::parse(ResultJson(result));
  EXPECT_EQ(json["stage_share"]["head"], 0.25);
  EXPECT_EQ(json["stage_share"]["sum of gradients"], 0.75);
  const std::string lines = ResultLines(result);
  EXPECT_THAT(lines, HasSubstr("\n           peak 3\n           head 25.0 %, "
                               "sum of gradients 75.0 %"));
  EXPECT_THAT(lines, Not(HasSubstr("x 0")));
}

TEST(BenchResult, MedianIsTheMiddle) {
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Median({5}), 5);
  EXPECT_EQ(Median({4, 1, 3, 2}), 3);
}

TEST(MeasureInTurns, RunsBothEquallyOftenAndPreparesEachTime) {
  std::string order;
  BenchResult result;
  const double peer_seconds = MeasureInTurns(
      result, /*seconds=*/0, [&] { order += 'w'; }, [&] { order += 'p'; },
      [&] { order += '-'; });
  EXPECT_EQ(order, "-wp-wp-wp-wp-wp-wp") << "one of them to warm up";
  EXPECT_EQ(result.runs, 5);
  EXPECT_GE(result.seconds, 0);
  EXPECT_GE(peer_seconds, 0);
}

// The time of one is not counted to the other.
TEST(MeasureInTurns, KeepsTheTimesApart) {
  const auto spin = [](int n) {
    volatile int64_t sum = 0;
    for (int i = 0; i < n; ++i) sum = sum + i;
  };
  BenchResult result;
  const double peer_seconds = MeasureInTurns(
      result, /*seconds=*/0, [] {}, [&] { spin(1000000); },
      [&] { spin(1000000); });
  EXPECT_LT(result.seconds, peer_seconds);
}

TEST(Measure, GoesOnUntilTheTimeIsOver) {
  BenchResult result;
  int runs = 0;
  Measure(result, /*seconds=*/0.001, [&] { ++runs; });
  EXPECT_EQ(result.runs + 1, runs);
  EXPECT_GT(runs, 6) << "nothing takes no time";
}

}  // namespace
}  // namespace moe
