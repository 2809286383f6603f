#include "data/batch_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "absl/strings/str_cat.h"

namespace moe {
namespace {

// Sample p: inputs 100 p, 100 p + 1, ...; targets one more; positions negative
// inputs, where the first target of each sample is none. Position 13 cannot be
// read; a closed gate holds every read.
class NumberedSamples : public SampleSequence {
 public:
  int64_t samples_per_epoch() const override { return 1000; }
  int64_t SampleAt(int64_t position) const override { return position; }
  absl::Status Read(int64_t position, absl::Span<int32_t> inputs,
                    absl::Span<int32_t> targets,
                    absl::Span<int32_t> positions) const override {
    std::unique_lock<std::mutex> lock(mutex_);
    ++begun_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    if (position == 13) return absl::DataLossError("sample 13 is bad");
    for (size_t i = 0; i < inputs.size(); ++i) {
      inputs[i] = static_cast<int32_t>(100 * position + static_cast<int>(i));
      targets[i] = inputs[i] + 1;
    }
    for (size_t i = 0; i < positions.size(); ++i) positions[i] = -inputs[i];
    if (!positions.empty()) targets[0] = -1;
    return absl::OkStatus();
  }
  void SetOpen(bool open) {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }
  void WaitForReads(int count) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return begun_ >= count; });
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable int begun_ = 0;
  bool open_ = true;
};

void ExpectBlock(const TokenBlock& block, int64_t first, int64_t count,
                 int64_t length) {
  ASSERT_EQ(block.count, count);
  ASSERT_EQ(static_cast<int64_t>(block.inputs.size()), count * length);
  ASSERT_EQ(static_cast<int64_t>(block.targets.size()), count * length);
  for (int64_t i = 0; i < count * length; ++i) {
    const int64_t expected = 100 * (first + i / length) + i % length;
    ASSERT_EQ(block.inputs[static_cast<size_t>(i)], expected);
    ASSERT_EQ(block.targets[static_cast<size_t>(i)], expected + 1);
  }
  EXPECT_TRUE(block.positions.empty());
  EXPECT_EQ(block.num_targets, count * length);
}

TEST(BatchLoader, BlocksComeInTheOrderTheyWerePrepared) {
  NumberedSamples samples;
  for (const int64_t length : {1, 7, 33}) {
    BatchLoader loader(samples, length);
    loader.Prepare(20, 3);
    for (int64_t step = 0; step < 50; ++step) {
      auto block = loader.Take();
      ASSERT_TRUE(block.ok()) << block.status();
      loader.Prepare(20 + 3 * (step + 1), 3);
      ExpectBlock(*block, 20 + 3 * step, 3, length);
    }
  }
}

TEST(BatchLoader, BlocksMayGrowShrinkAndBeEmpty) {
  NumberedSamples samples;
  BatchLoader loader(samples, 7);
  for (const int64_t count : {2, 0, 33, 1, 0, 5}) {
    loader.Prepare(50, count);
    auto block = loader.Take();
    ASSERT_TRUE(block.ok()) << block.status();
    ExpectBlock(*block, 50, count, 7);
  }
}

TEST(BatchLoader, ATakenBlockStaysWhileTheNextIsRead) {
  NumberedSamples samples;
  BatchLoader loader(samples, 7);
  loader.Prepare(20, 3);
  auto first = loader.Take();
  loader.Prepare(30, 3);
  samples.WaitForReads(6);  // the last of the second block's has begun
  ExpectBlock(*first, 20, 3, 7);
  auto second = loader.Take();
  loader.Prepare(40, 3);
  samples.WaitForReads(9);
  ExpectBlock(*second, 30, 3, 7);
}

TEST(BatchLoader, BuffersAreReusedAfterTheFirstBlocks) {
  NumberedSamples samples;
  BatchLoader loader(samples, 7);
  std::vector<const int32_t*> places;
  for (int64_t step = 0; step < 9; ++step) {
    loader.Prepare(20 + step, 4);
    places.push_back(loader.Take()->inputs.data());
  }
  for (size_t i = 2; i < places.size(); ++i)
    EXPECT_EQ(places[i], places[i - 2]);
}

TEST(BatchLoader, WithDocumentsApartBlocksHavePositionsAndTheirTargetsCounted) {
  NumberedSamples samples;
  BatchLoader loader(samples, 7, /*reset_attention=*/true);
  for (const int64_t count : {2, 0, 33, 1, 0, 5}) {  // smaller after larger
    loader.Prepare(50, count);
    auto block = loader.Take();
    ASSERT_TRUE(block.ok()) << block.status();
    ASSERT_EQ(static_cast<int64_t>(block->positions.size()), count * 7);
    for (size_t i = 0; i < block->positions.size(); ++i) {
      ASSERT_EQ(block->positions[i], -block->inputs[i]);
      ASSERT_EQ(block->targets[i], i % 7 == 0 ? -1 : block->inputs[i] + 1);
    }
    EXPECT_EQ(block->num_targets, count * 6);
  }
}

TEST(BatchLoader, AnErrorSurfacesWhenItsBlockIsTaken) {
  NumberedSamples samples;
  BatchLoader loader(samples, 7);
  loader.Prepare(12, 2);
  const absl::Status status = loader.Take().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), "sample 13 is bad");
  loader.Prepare(14, 2);
  auto block = loader.Take();
  ASSERT_TRUE(block.ok()) << block.status();
  ExpectBlock(*block, 14, 2, 7);
}

TEST(BatchLoader, MayBeDestroyedWithABlockUntaken) {
  NumberedSamples samples;
  { BatchLoader idle(samples, 7); }
  samples.SetOpen(false);
  {
    BatchLoader loader(samples, 7);
    loader.Prepare(20, 3);
    samples.WaitForReads(1);
    samples.SetOpen(true);
  }
}

TEST(BatchLoaderDeathTest, ASecondPreparedBlockIsADefect) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        NumberedSamples samples;
        BatchLoader loader(samples, 7);
        for (int i = 0; i < 2; ++i) loader.Prepare(20, 3);
      },
      testing::ExitedWithCode(70), "check failed");
}

}  // namespace
}  // namespace moe
