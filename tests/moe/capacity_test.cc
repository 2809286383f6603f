// Capacity over a tensor group: each rank decides on its own tokens what one
// rank would decide on all of them.
#include "moe/layers/capacity.h"

#include <algorithm>
#include <string>
#include <vector>

#include "comm/mpi/mpi_group.h"
#include "comm/process_groups.h"
#include "gtest/gtest.h"
#include "moe/model_config.h"
#include "tests/moe/layer_test.h"
#include "tests/mpi_test.h"

namespace moe {
namespace {

constexpr int64_t kExperts = 4;
constexpr int64_t kTopK = 2;
constexpr int64_t kLength = 12;
constexpr int64_t kSequences = 3;  // ranks end in the middle of sequences
constexpr int64_t kTokens = kSequences * kLength;

class CapacityTest
    : public LayerTest,
      public testing::WithParamInterface<RouterConfig::DropPolicy> {
 protected:
  CapacityTest()
      : rank_(TestRuntime().rank()),
        world_(TestRuntime().world()),
        mesh_(Mesh::Create(world_, world_, 1, kExperts).value()),
        groups_(MakeGroups()),
        tensor_(groups_.device(Axis::kTensor)),
        ids_SK_(Make({kTokens, kTopK}, DType::kInt32)),
        probabilities_SE_(Make({kTokens, kExperts})) {
    model_.set_num_local_experts(kExperts);
    model_.set_num_experts_per_tok(kTopK);
    router_.set_drop_policy(GetParam());
    for (int64_t t = 0; t < kTokens; ++t) {
      ids_.push_back(static_cast<int32_t>(t * t % kExperts));
      ids_.push_back(static_cast<int32_t>((t * t + 1 + t % 3) % kExperts));
      for (int64_t e = 0; e < kExperts; ++e) {
        Set(probabilities_SE_, t * kExperts + e,
            static_cast<float>((t * 7 + e * 3) % 11) / 40);
      }
    }
    SetHostValues(ids_SK_, ids_);
  }

  ProcessGroups MakeGroups() const {
    ProcessGroups groups = MakeMpiGroups(TestRuntime(), mesh_).value();
    UseTestDevice(groups);
    return groups;
  }

  std::vector<int32_t> Apply(const TensorParallel& tensor) {
    const int64_t T = kTokens / tensor.size();
    const int64_t first = T * tensor.rank();
    const absl::StatusOr<Tensor> kept =
        Capacity(model_, router_, tensor)
            .Apply(context_, ids_SK_.Rows(first, T),
                   probabilities_SE_.Rows(first, T),
                   {.length = kLength,
                    .num_sequences = kSequences,
                    .first_token = first});
    EXPECT_TRUE(kept.ok()) << kept.status();
    if (!kept.ok()) return {};
    return HostValues<int32_t>(*kept);
  }

  int rank_;
  int world_;
  Mesh mesh_;
  ProcessGroups groups_;
  TensorParallel tensor_;
  Tensor ids_SK_;
  std::vector<int32_t> ids_;  // the same
  Tensor probabilities_SE_;
  ModelConfig model_;
  RouterConfig router_;
};

TEST_P(CapacityTest, ATensorGroupDecidesAsOneRankWould) {
  const ProcessGroups alone = ProcessGroups::CreateSingle();
  for (double factor : {0.25, 0.5, 0.7, 1.0}) {
    router_.set_capacity_factor(factor);
    const std::vector<int32_t> all =
        Apply(TensorParallel(alone[Axis::kTensor]));
    const std::vector<int32_t> mine = Apply(tensor_);
    const auto begin =
        all.begin() + static_cast<ptrdiff_t>(mine.size()) * rank_;
    EXPECT_EQ(mine, std::vector<int32_t>(
                        begin, begin + static_cast<ptrdiff_t>(mine.size())))
        << "factor " << factor;
    EXPECT_GT(std::count(all.begin(), all.end(), -1), 0);
  }
}

TEST_P(CapacityTest, NoExpertKeepsMoreOfASequence) {
  router_.set_capacity_factor(0.7);
  const int64_t capacity = ExpertCapacity(model_, router_, kLength);
  const ProcessGroups alone = ProcessGroups::CreateSingle();
  const std::vector<int32_t> kept = Apply(TensorParallel(alone[Axis::kTensor]));
  for (int64_t b = 0; b < kSequences; ++b) {
    const auto begin = kept.begin() + b * kLength * kTopK;
    for (int32_t e = 0; e < kExperts; ++e) {
      const auto wanted = [&](const int32_t* ids) {
        return std::count(ids, ids + kLength * kTopK, e);
      };
      EXPECT_EQ(std::count(begin, begin + kLength * kTopK, e),
                std::min<int64_t>(capacity,
                                  wanted(ids_.data() + b * kLength * kTopK)));
    }
  }
}

TEST_P(CapacityTest, WhatCannotDropCopiesAndSendsNothing) {
  for (double factor : {0.0, 2.0, 1e9}) {  // an expert takes all 12 tokens
    router_.set_capacity_factor(factor);
    const int64_t sent = groups_[Axis::kTensor].traffic().sent_bytes;
    const int64_t peak = saved_.peak_bytes();
    const Tensor mine = ids_SK_.Rows(0, kTokens / world_);
    const absl::StatusOr<Tensor> kept =
        Capacity(model_, router_, tensor_)
            .Apply(context_, mine, probabilities_SE_, {.length = kLength});
    ASSERT_TRUE(kept.ok());
    EXPECT_EQ(kept->raw(), mine.raw());
    EXPECT_EQ(saved_.peak_bytes(), peak);
    EXPECT_EQ(groups_[Axis::kTensor].traffic().sent_bytes, sent);
  }
}

std::string PolicyName(
    const testing::TestParamInfo<RouterConfig::DropPolicy>& info) {
  return RouterConfig::DropPolicy_Name(info.param);
}

INSTANTIATE_TEST_SUITE_P(, CapacityTest,
                         testing::Values(RouterConfig::PROBABILITY,
                                         RouterConfig::POSITION),
                         PolicyName);

}  // namespace
}  // namespace moe
