// What is said of a layout that does not fit.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "trainer/config/config_override.h"
#include "trainer/config/layout.h"

namespace moe {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

absl::Status StatusOf(int world, const std::vector<std::string>& overrides) {
  TrainConfig config;
  EXPECT_TRUE(ApplyOverrides(config, overrides).ok());
  return MakeMesh(config, world).status();
}

// 8 experts, 256 tokens a sequence, 8 heads of both kinds.
struct IllegalCase {
  int world;
  std::vector<std::string> overrides;
  std::string message;
};
const IllegalCase kIllegalCases[] = {
    {10,
     {"parallel.expert=4"},
     "number of ranks is 10, must be divisible by parallel.expert (4); with "
     "10 ranks the nearest parallel.expert is 2; with parallel.tensor 1 and "
     "parallel.expert 4 the nearest numbers of ranks are 8 and 12"},
    {3,
     {"parallel.expert=4"},
     "number of ranks is 3, must be divisible by parallel.expert (4); with 3 "
     "ranks the nearest parallel.expert is 1; with parallel.tensor 1 and "
     "parallel.expert 4 the nearest number of ranks is 4"},
    {16,
     {"parallel.expert=3"},
     "model.num_local_experts is 8, must be divisible by parallel.expert "
     "(3); with 16 ranks the nearest values of parallel.expert are 2 and 4"},
    {9,
     {"parallel.tensor=2"},
     "number of ranks is 9, must be divisible by parallel.tensor (2); with 9 "
     "ranks the nearest parallel.tensor is 1; with parallel.tensor 2 the "
     "nearest numbers of ranks are 8 and 10"},
    // 14 is divisible by one of both; the nearest that are by both.
    {14,
     {"parallel.tensor=2", "parallel.expert=4"},
     "with parallel.tensor 2 and parallel.expert 4 the nearest numbers of "
     "ranks are 12 and 16"},
    {20,
     {"parallel.tensor=4", "parallel.expert=6", "model.num_local_experts=18",
      "model.num_key_value_heads=4"},
     "with parallel.tensor 4 and parallel.expert 6 the nearest numbers of "
     "ranks are 12 and 24"},
    {8,
     {"parallel.tensor=8", "model.num_key_value_heads=4"},
     "model.num_key_value_heads is 4, must be divisible by parallel.tensor "
     "(8); with 8 ranks the nearest parallel.tensor is 4"},
    {12,
     {"parallel.tensor=3"},
     "batch.sequence_length is 256, must be divisible by parallel.tensor "
     "(3); with 12 ranks the nearest values of parallel.tensor are 2 and 4"},
    {12,
     {"parallel.tensor=6", "batch.sequence_length=252"},
     "model.num_attention_heads is 8, must be divisible by parallel.tensor "
     "(6); with 12 ranks the nearest parallel.tensor is 4"},
    // Neither value alone would do.
    {10,
     {"parallel.tensor=4", "parallel.expert=8"},
     "number of ranks is 10, must be divisible by parallel.tensor (4); with "
     "10 ranks the nearest parallel.tensor is 2; with 10 ranks the nearest "
     "parallel.expert is 2; with parallel.tensor 4 and parallel.expert 8 the "
     "nearest numbers of ranks are 8 and 16"},
};

TEST(Layout, AnIllegalOneGetsItsRuleAndTheNearestLegalOnes) {
  for (const IllegalCase& c : kIllegalCases) {
    std::vector<std::string> overrides = {"model.num_key_value_heads=8"};
    overrides.insert(overrides.end(), c.overrides.begin(), c.overrides.end());
    const absl::Status status = StatusOf(c.world, overrides);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

TEST(Layout, NumbersOutOfRangeGetNoAdvice) {
  EXPECT_EQ(StatusOf(0, {}).message(),
            "number of ranks is 0, must be at least 1");
  EXPECT_EQ(StatusOf(4, {"parallel.tensor=0"}).message(),
            "parallel.tensor is 0, must be at least 1");
}

absl::Status StatusOf(int world, int tensor, int expert) {
  return StatusOf(
      world, {"model.num_attention_heads=24", "model.num_key_value_heads=12",
              "model.num_local_experts=12", "batch.sequence_length=24",
              absl::StrCat("parallel.tensor=", tensor),
              absl::StrCat("parallel.expert=", expert)});
}

// The numbers that a message gives as the nearest of `what`, at most two.
std::vector<int> Named(const std::string& message, const std::string& what) {
  const std::regex pattern("nearest " + what +
                           " (?:is|are) (\\d+)(?: and (\\d+))?");
  std::smatch match;
  std::vector<int> numbers;
  if (!std::regex_search(message, match, pattern)) return numbers;
  for (size_t i = 1; i < match.size(); ++i)
    if (match[i].matched) numbers.push_back(std::stoi(match[i]));
  return numbers;
}

// If any are named: they are the nearest to `wanted` that are legal.
void ExpectNearest(const std::vector<int>& named, int wanted,
                   absl::FunctionRef<bool(int)> is_legal) {
  if (named.empty()) return;
  std::vector<int> nearest;
  int below = wanted - 1;
  while (below > 0 && !is_legal(below)) --below;
  if (below > 0) nearest.push_back(below);
  constexpr int kMost = 100;
  int above = wanted + 1;
  while (above < kMost && !is_legal(above)) ++above;
  if (above < kMost) nearest.push_back(above);
  EXPECT_THAT(named, ElementsAreArray(nearest));
}

TEST(Layout, WhatIsNamedIsLegalAndNothingNearerIs) {
  int refused = 0;
  for (int world = 1; world <= 26; ++world) {
    for (int tensor = 1; tensor <= 8; ++tensor) {
      for (int expert = 1; expert <= 8; ++expert) {
        const absl::Status status = StatusOf(world, tensor, expert);
        if (status.ok()) continue;
        ++refused;
        const std::string message(status.message());
        SCOPED_TRACE(message);
        const auto tensors = Named(message, "(?:values of )?parallel\\.tensor");
        const auto experts = Named(message, "(?:values of )?parallel\\.expert");
        EXPECT_FALSE(tensors.empty() && experts.empty());
        ExpectNearest(tensors, tensor,
                      [&](int n) { return StatusOf(world, n, 1).ok(); });
        ExpectNearest(experts, expert,
                      [&](int n) { return StatusOf(world, 1, n).ok(); });
        for (int t : tensors.empty() ? std::vector<int>{tensor} : tensors)
          for (int e : experts.empty() ? std::vector<int>{expert} : experts)
            EXPECT_TRUE(StatusOf(world, t, e).ok()) << t << " and " << e;
        ExpectNearest(Named(message, "numbers? of ranks"), world,
                      [&](int n) { return StatusOf(n, tensor, expert).ok(); });
      }
    }
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace moe
