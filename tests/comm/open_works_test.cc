// Any number of Works open at once, tested and waited for in any order, or not
// at all.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "comm/base/buffer.h"
#include "comm/mpi/await.h"
#include "comm/process_group.h"
#include "tests/comm/group_fixture.h"
#include "tests/mpi_test.h"

namespace moe {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

// More than 4096 bytes of float32: two stages.
constexpr int64_t kLarge = 3000;

// A group that is of no more use but may still get messages, on ranks where
// nothing failed, too: kept until the process ends.
void KeepForever(std::unique_ptr<ProcessGroup> group) {
  static std::vector<std::unique_ptr<ProcessGroup>> groups;
  groups.push_back(std::move(group));
}

std::unique_ptr<Work> Started(absl::StatusOr<std::unique_ptr<Work>> work) {
  EXPECT_TRUE(work.ok()) << work.status();
  return work.ok() ? *std::move(work) : nullptr;
}

// Collectives of all kinds under way at once, and what must come of them.
class Mixture {
 public:
  Mixture(ProcessGroup* group, int64_t count, int number)
      : group_(group),
        number_(number),
        sum_(static_cast<size_t>(count), Mine()),
        broadcast_(static_cast<size_t>(count), Mine()),
        pieces_(static_cast<size_t>(count * group->size()), Mine()),
        piece_(static_cast<size_t>(count), Mine()),
        gathered_(pieces_.size()),
        reduced_(piece_.size()),
        exchanged_(pieces_.size()),
        counts_(static_cast<size_t>(group->size()), count) {}

  void Start() {
    const int root = number_ % group_->size();
    Push(group_->StartAllReduce(View(sum_), ReduceOp::kSum));
    Push(group_->StartBroadcast(View(broadcast_), root));
    Push(group_->StartBarrier());
    Push(group_->StartAllGather(View(piece_), View(gathered_)));
    Push(group_->StartReduceScatter(View(pieces_), View(reduced_)));
    Push(group_->StartAllToAllV(View(pieces_), counts_, View(exchanged_),
                                counts_));
  }

  std::vector<std::unique_ptr<Work>> TakeWorks() { return std::move(works_); }

  void ExpectResults() const {
    const int size = group_->size();
    float sum = 0.0f;
    for (int rank = 0; rank < size; ++rank) sum += Number(rank);
    EXPECT_THAT(sum_, Each(sum));
    EXPECT_THAT(broadcast_, Each(Number(number_ % size)));
    EXPECT_THAT(reduced_, Each(sum));
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const auto source = static_cast<int>(i / piece_.size());
      ASSERT_EQ(gathered_[i], Number(source));
      ASSERT_EQ(exchanged_[i], Number(source));
    }
  }

 private:
  float Number(int rank) const {
    return static_cast<float>(10 * number_ + rank);
  }
  float Mine() const { return Number(group_->rank()); }
  void Push(absl::StatusOr<std::unique_ptr<Work>> work) {
    works_.push_back(Started(std::move(work)));
  }

  ProcessGroup* group_;
  int number_;
  std::vector<float> sum_, broadcast_, pieces_, piece_;
  std::vector<float> gathered_, reduced_, exchanged_;
  std::vector<int64_t> counts_;
  std::vector<std::unique_ptr<Work>> works_;
};

class OpenWorks : public GroupTest {};

TEST_P(OpenWorks, ManyAreKeptApartInEveryOrderOfWaiting) {
  std::vector<Mixture> mixtures;
  std::vector<std::unique_ptr<Work>> works;
  for (int number = 0; number < 5; ++number)
    mixtures.emplace_back(&group(), number % 2 == 0 ? 3 : 1200, number);
  for (Mixture& mixture : mixtures) {
    mixture.Start();
    for (auto& work : mixture.TakeWorks()) works.push_back(std::move(work));
  }
  // Each rank begins elsewhere, every other one goes backwards.
  for (size_t i = 0; i < works.size(); ++i) {
    const size_t shifted = (i + 7 * static_cast<size_t>(rank())) % works.size();
    const size_t index = rank() % 2 == 0 ? shifted : works.size() - 1 - shifted;
    EXPECT_TRUE(works[index]->Wait().ok());
  }
  for (const Mixture& mixture : mixtures) mixture.ExpectResults();
}

TEST_P(OpenWorks, BlockingCallsMayComeBetween) {
  Mixture early(&group(), 700, 1);
  early.Start();
  auto works = early.TakeWorks();
  std::vector<int64_t> ones = {1};
  EXPECT_TRUE(group().AllReduce(View(ones), ReduceOp::kSum).ok());
  EXPECT_EQ(ones[0], size());
  Mixture late(&group(), 700, 2);
  late.Start();
  for (auto& work : late.TakeWorks()) EXPECT_TRUE(work->Wait().ok());
  for (auto& work : works) EXPECT_TRUE(work->Wait().ok());
  early.ExpectResults();
  late.ExpectResults();
}

TEST_P(OpenWorks, TwoGroupsMayBeWaitedForInOppositeOrders) {
  const auto other_group = AnotherGroup();
  std::vector<float> here(kLarge, 1.0f), there(kLarge, 2.0f);
  auto work_here = Started(group().StartAllReduce(View(here), ReduceOp::kSum));
  auto work_there =
      Started(other_group->StartAllReduce(View(there), ReduceOp::kSum));
  if (rank() % 2 == 0) std::swap(work_here, work_there);
  EXPECT_TRUE(work_here->Wait().ok());
  EXPECT_TRUE(work_there->Wait().ok());
  EXPECT_THAT(here, Each(static_cast<float>(size())));
  EXPECT_THAT(there, Each(static_cast<float>(2 * size())));
}

TEST_P(OpenWorks, TestAloneCompletesAWork) {
  std::vector<float> data(kLarge, 1.0f);
  const auto work = Started(group().StartAllReduce(View(data), ReduceOp::kSum));
  EXPECT_TRUE(Await(
                  {}, [&] { return work->Test(); }, [] { return WaitRecord(); })
                  .ok());
  EXPECT_TRUE(work->Test()) << "complete stays complete";
  EXPECT_THAT(data, Each(static_cast<float>(size())));
  EXPECT_TRUE(work->Wait().ok());
}

TEST_P(OpenWorks, ArrivedBytesAreTheOthersBytesInTheEnd) {
  const int64_t others = size() - 1;
  std::vector<float> piece(100), all(static_cast<size_t>(100 * size()));
  const auto gather = Started(group().StartAllGather(View(piece), View(all)));
  EXPECT_TRUE(gather->Wait().ok());
  EXPECT_EQ(gather->arrived_bytes(), others * 100 * 4);

  std::vector<int32_t> small(6);
  const auto reduce =
      Started(group().StartAllReduce(View(small), ReduceOp::kSum));
  EXPECT_TRUE(reduce->Wait().ok());
  EXPECT_EQ(reduce->arrived_bytes(), others * 6 * 4);
}

TEST_P(OpenWorks, ADestroyedWorkHasWaited) {
  Mixture mixture(&group(), 1500, 4);
  mixture.Start();
  mixture.TakeWorks().clear();
  mixture.ExpectResults();
}

TEST_P(OpenWorks, ABarrierWaitsForEveryRank) {
  const auto other_group = AnotherGroup();
  std::vector<int32_t> word = {0};
  std::unique_ptr<Work> barrier;
  if (rank() != 0) {
    barrier = Started(group().StartBarrier());
    EXPECT_FALSE(barrier->Test()) << "rank 0 has not started it";
  }
  EXPECT_TRUE(other_group->AllReduce(View(word), ReduceOp::kSum).ok());
  if (rank() == 0) barrier = Started(group().StartBarrier());
  EXPECT_TRUE(barrier->Wait().ok());
}

TEST_P(OpenWorks, AfterTheFirstStepsNoBufferIsMade) {
  int64_t num_allocated = 0;
  for (int step = 0; step < 4; ++step) {
    if (step == 1) num_allocated = Buffer::num_allocated();
    Mixture first(&group(), 1100, step);
    Mixture second(&group(), 5, step);
    first.Start();
    second.Start();
    auto works = first.TakeWorks();
    for (auto& work : second.TakeWorks()) EXPECT_TRUE(work->Wait().ok());
    for (auto& work : works) EXPECT_TRUE(work->Wait().ok());
  }
  EXPECT_EQ(Buffer::num_allocated(), num_allocated);
}

// Of another length than this rank knows of: its sender is named.
TEST_P(OpenWorks, AMessageOfAnotherLengthIsAnErrorThatNamesItsSender) {
  if (size() == 1) GTEST_SKIP() << "one rank sends no message";
  for (size_t sent : {1, 3}) {
    const auto broken_group = AnotherGroup();
    std::vector<float> data(rank() == 0 ? sent : 2);
    const absl::Status status = broken_group->Broadcast(View(data), 0);
    if (rank() == 0) continue;
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("broadcast 1 in group " + broken_group->name()));
    EXPECT_THAT(std::string(status.message()),
                testing::ContainsRegex(
                    sent == 1 ? "rank [0-9]+ sent 4 of the 8 bytes"
                              : "rank [0-9]+ sent more than the 8 bytes"));
  }
}

TEST_P(OpenWorks, AWaitForARankThatIsLostEndsWithAnError) {
  if (size() == 1) GTEST_SKIP() << "one rank waits for no other";
  auto broken_group = AnotherGroup();
  TestRuntime().progress().await_options = {.oversubscribed = true,
                                            .timeout = absl::Milliseconds(1)};
  std::vector<float> data(kLarge);
  // Rank 0 never takes part.
  if (rank() != 0) {
    auto work =
        Started(broken_group->StartAllReduce(View(data), ReduceOp::kSum));
    const absl::Status status = work->Wait();
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("all-reduce 1 in group " + broken_group->name()));
    EXPECT_EQ(work->Wait(), status);
  }
  TestRuntime().progress().await_options = {.oversubscribed = true,
                                            .timeout = absl::Seconds(120)};
  KeepForever(std::move(broken_group));
}

TEST_P(OpenWorks, ADestroyedWorkOfABrokenGroupWaitsForNobody) {
  if (size() == 1) GTEST_SKIP() << "one rank waits for no other";
  auto broken_group = AnotherGroup();
  std::vector<float> first(kLarge), second(kLarge);
  // Rank 0 never takes part.
  if (rank() != 0) {
    auto lost =
        Started(broken_group->StartAllReduce(View(first), ReduceOp::kSum));
    auto open =
        Started(broken_group->StartAllReduce(View(second), ReduceOp::kSum));
    TestRuntime().progress().await_options = {.oversubscribed = true,
                                              .timeout = absl::Milliseconds(1)};
    EXPECT_FALSE(lost->Wait().ok());
    // A wait would now be one for ever.
    TestRuntime().progress().await_options = {
        .oversubscribed = true, .timeout = absl::InfiniteDuration()};
    open.reset();
  }
  TestRuntime().progress().await_options = {.oversubscribed = true,
                                            .timeout = absl::Seconds(120)};
  KeepForever(std::move(broken_group));
}

INSTANTIATE_TEST_SUITE_P(Groups, OpenWorks, testing::ValuesIn(AllGroupKinds()),
                         KindOfParam);

}  // namespace
}  // namespace moe
