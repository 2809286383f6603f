#include "moe/plan/plan_load.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "moe/layers/token_dispatcher.h"

namespace moe {
namespace {

constexpr int64_t kLength = 12;
constexpr int kExperts = 8;

ModelConfig Model() {
  ModelConfig model;
  model.set_num_local_experts(kExperts);
  model.set_num_experts_per_tok(2);
  return model;
}

// Of one of the ranks that have so many tokens.
PlanLoad Load(int rank, const std::vector<int64_t>& tokens,
              ExpertShare share = ExpertShare::kEven,
              double capacity_factor = 0) {
  RouterConfig router;
  router.set_capacity_factor(capacity_factor);
  return PlanLoad(Model(), router, kLength,
                  {.size = static_cast<int>(tokens.size()), .rank = rank},
                  tokens, share);
}

std::vector<int64_t> Leaving(const PlanLoad& load, int64_t tokens) {
  std::vector<int64_t> counts(kExperts);
  load.Leaving(tokens, absl::MakeSpan(counts));
  return counts;
}

std::vector<int64_t> Arriving(const PlanLoad& load, int source, size_t e) {
  std::vector<int64_t> counts(e);
  load.Arriving(source, absl::MakeSpan(counts));
  return counts;
}

// 24 and 36 tokens, of which each has two rows.
TEST(PlanLoad, RowsGoRoundTheExperts) {
  const PlanLoad load = Load(1, {24, 36});
  EXPECT_EQ(Leaving(load, 36), (std::vector<int64_t>{9, 9, 9, 9, 9, 9, 9, 9}));
  EXPECT_EQ(Leaving(load, 5), (std::vector<int64_t>{2, 2, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(Leaving(load, 0), std::vector<int64_t>(8, 0));
  EXPECT_EQ(Arriving(load, 0, 4), (std::vector<int64_t>{6, 6, 6, 6}));
  EXPECT_EQ(Arriving(load, 1, 4), (std::vector<int64_t>{9, 9, 9, 9}));
}

TEST(PlanLoad, WhatLeavesOneArrivesAtTheOther) {
  const std::vector<int64_t> tokens = {5, 12, 13, 0};
  for (int from = 0; from < 4; ++from) {
    const std::vector<int64_t> leaving =
        Leaving(Load(from, tokens), tokens[static_cast<size_t>(from)]);
    std::vector<int64_t> arriving;
    for (int to = 0; to < 4; ++to)
      for (int64_t count : Arriving(Load(to, tokens), from, 2))
        arriving.push_back(count);
    EXPECT_EQ(arriving, leaving) << "from " << from;
  }
}

TEST(PlanLoad, DoubleLoadIsOfThisRanksExpertsAlone) {
  const PlanLoad load = Load(0, {24, 36}, ExpertShare::kDouble);
  EXPECT_EQ(Leaving(load, 24), std::vector<int64_t>(8, 6));
  EXPECT_EQ(Arriving(load, 0, 4), std::vector<int64_t>(4, 12));
  EXPECT_EQ(Arriving(load, 1, 4), std::vector<int64_t>(4, 18));
}

// An even share of a sequence is 3 rows; a capacity of 4, then of 2.
TEST(PlanLoad, ACapacityBoundsBoth) {
  const PlanLoad roomy = Load(0, {24, 36}, ExpertShare::kDouble, 1.25);
  EXPECT_EQ(Leaving(roomy, 24), std::vector<int64_t>(8, 6));
  EXPECT_EQ(Arriving(roomy, 1, 4), std::vector<int64_t>(4, 12));
  const PlanLoad tight = Load(0, {24, 36}, ExpertShare::kDouble, 0.5);
  EXPECT_EQ(Leaving(tight, 24), std::vector<int64_t>(8, 4));
  EXPECT_EQ(Arriving(tight, 1, 4), std::vector<int64_t>(4, 6));
}

TEST(PlanExpertGroup, AnswersTheExchangeOfCounts) {
  const PlanLoad load = Load(1, {24, 36});
  PlanExpertGroup group({.size = 2, .rank = 1}, load);
  // Step 7, layer 3, the sum, four counts: for each rank.
  const std::vector<int64_t> sent = {7, 3, 36, 9, 9, 9, 9,  //
                                     7, 3, 36, 9, 9, 9, 9};
  std::vector<int64_t> received(sent.size());
  const std::vector<int64_t> counts(2, 4 + kCountsHeader);
  ASSERT_TRUE(group
                  .AllToAllV(ViewOf(absl::MakeConstSpan(sent)), counts,
                             ViewOf(absl::MakeSpan(received)), counts)
                  .ok());
  EXPECT_EQ(received, (std::vector<int64_t>{7, 3, 24, 6, 6, 6, 6,  //
                                            7, 3, 36, 9, 9, 9, 9}));
  EXPECT_EQ(group.traffic().sent_bytes, 7 * 8);
}

}  // namespace
}  // namespace moe
