#include "trainer/step/batch_digest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

namespace moe {
namespace {

constexpr int64_t kLength = 5;

// Three sequences, as the loader hands them to the trainer.
class BatchDigestTest : public testing::Test {
 protected:
  BatchDigestTest() {
    for (int32_t i = 0; i < 3 * kLength; ++i) {
      inputs_.push_back(i);
      targets_.push_back(i + 1);
      positions_.push_back(static_cast<int32_t>(i % kLength));
    }
  }

  // Of sequences [begin, begin + count), the run's number 100 the first.
  uint64_t Of(int64_t begin, int64_t count, bool with_positions = false) {
    const auto part = [&](const std::vector<int32_t>& tokens) {
      return absl::MakeConstSpan(tokens).subspan(
          static_cast<size_t>(begin * kLength),
          static_cast<size_t>(count * kLength));
    };
    TokenBlock tokens;
    tokens.count = count;
    tokens.inputs = part(inputs_);
    tokens.targets = part(targets_);
    if (with_positions) tokens.positions = part(positions_);
    return BatchDigest(100 + begin, tokens);
  }

  std::vector<int32_t> inputs_;
  std::vector<int32_t> targets_;
  std::vector<int32_t> positions_;
};

TEST_F(BatchDigestTest, IsTheSumOfItsPartsHoweverItIsCut) {
  const uint64_t whole = Of(0, 3);
  EXPECT_EQ((Of(0, 1) + Of(1, 2)) % kBatchDigestLimit, whole);
  EXPECT_EQ((Of(2, 1) + Of(0, 2)) % kBatchDigestLimit, whole);
  EXPECT_EQ(Of(1, 0), 0u);
  EXPECT_LT(whole, kBatchDigestLimit);
}

TEST_F(BatchDigestTest, ChangesWithEachTokenTargetAndPosition) {
  std::set<uint64_t> digests = {Of(0, 3, /*with_positions=*/true)};
  size_t changes = 0;
  for (std::vector<int32_t>* tokens : {&inputs_, &targets_, &positions_}) {
    for (int32_t& token : *tokens) {
      token += 1;
      digests.insert(Of(0, 3, /*with_positions=*/true));
      token -= 1;
      ++changes;
    }
  }
  EXPECT_EQ(digests.size(), changes + 1);
}

TEST_F(BatchDigestTest, ChangesWhenTwoSequencesChangePlaces) {
  const uint64_t before = Of(0, 3);
  for (std::vector<int32_t>* tokens : {&inputs_, &targets_})
    std::swap_ranges(tokens->begin(), tokens->begin() + kLength,
                     tokens->begin() + kLength);
  EXPECT_NE(Of(0, 3), before);
}

TEST_F(BatchDigestTest, DoesNotTakeInputsForTargets) {
  const uint64_t before = Of(0, 3);
  std::swap(inputs_, targets_);
  EXPECT_NE(Of(0, 3), before);
}

TEST(SumOfBatchDigests, IsExactForEightThousandRanks) {
  double sum = 0;
  for (int rank = 0; rank < 8192; ++rank)
    sum += static_cast<double>(kBatchDigestLimit - 1);
  EXPECT_EQ(SumOfBatchDigests(sum), kBatchDigestLimit - 8192);
}

}  // namespace
}  // namespace moe
