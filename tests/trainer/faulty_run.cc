// Runs that go wrong in ways that only a defect can make, under a watchdog; one
// test of each is started by lost_rank_test.sh, which looks at what the job
// says and how it ends. A test that returns has failed: nobody noticed.

#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "comm/activity.h"
#include "comm/base/check.h"
#include "comm/watch/watchdog.h"
#include "launch/command/leave.h"
#include "tests/mpi_test.h"
#include "tests/trainer/trainer_fixture.h"

namespace moe {
namespace {

// The rank that goes wrong, in step 10.
constexpr int kFaultyRank = 1;
// All-to-alls of the expert group in a layer and step: counts, rows, weights
// and results, then three gradients. There are two layers.
constexpr int kCallsBefore = 9 * 2 * 7;

enum class Fault {
  kSkip,         // a rank leaves a dispatch out
  kOtherCounts,  // it sends an element too little
  kWrongSums,    // the counts that it tells contradict themselves
  kOtherLayer,   // the counts that it tells are of another layer
};

// Passes all on to another group, until the faulty call.
class FaultyGroup : public ProcessGroup {
 public:
  using WorkOr = absl::StatusOr<std::unique_ptr<Work>>;

  FaultyGroup(std::unique_ptr<ProcessGroup> group, Fault fault)
      : group_(std::move(group)), fault_(fault) {}

  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }
  const std::string& name() const override { return group_->name(); }
  TrafficCounters traffic() const override { return group_->traffic(); }
  WorkOr StartAllReduce(MemoryView data, ReduceOp op) override {
    return group_->StartAllReduce(data, op);
  }
  WorkOr StartReduceScatter(ConstMemoryView in, MemoryView out) override {
    return group_->StartReduceScatter(in, out);
  }
  WorkOr StartAllGather(ConstMemoryView in, MemoryView out) override {
    return group_->StartAllGather(in, out);
  }
  WorkOr StartBroadcast(MemoryView data, int root) override {
    return group_->StartBroadcast(data, root);
  }
  WorkOr StartBarrier() override { return group_->StartBarrier(); }

  WorkOr StartAllToAllV(ConstMemoryView send,
                        absl::Span<const int64_t> send_counts,
                        MemoryView receive,
                        absl::Span<const int64_t> receive_counts) override {
    const bool of_counts =
        fault_ == Fault::kWrongSums || fault_ == Fault::kOtherLayer;
    if (++calls_ == kCallsBefore + (of_counts ? 1 : 2)) {
      switch (fault_) {
        case Fault::kSkip:
          return std::make_unique<Done>();
        case Fault::kOtherCounts:
          counts_.assign(send_counts.begin(), send_counts.end());
          --counts_[0];
          return group_->StartAllToAllV(send, counts_, receive, receive_counts);
        case Fault::kWrongSums:
        case Fault::kOtherLayer:
          break;
      }
      // Counts, with their header: step, layer, sum.
      auto* message = static_cast<int64_t*>(const_cast<void*>(send.data));
      message[fault_ == Fault::kOtherLayer ? 1 : 2] += 1;
    }
    return group_->StartAllToAllV(send, send_counts, receive, receive_counts);
  }

 private:
  class Done : public Work {
   public:
    bool Test() override { return true; }
    absl::Status Wait() override { return absl::OkStatus(); }
    int64_t arrived_bytes() const override { return 0; }
  };

  std::unique_ptr<ProcessGroup> group_;
  const Fault fault_;
  int calls_ = 0;
  std::vector<int64_t> counts_;
};

bool IsFaulty() { return TestRuntime().rank() == kFaultyRank; }

std::unique_ptr<Watchdog> StartWatchdog() {
  absl::StatusOr<std::unique_ptr<Watchdog>> watchdog =
      Watchdog::Start(TestRuntime(),
                      {.collective_timeout = absl::Seconds(15),
                       .report =
                           [](const LostRankReport& report) {
                             std::fputs(report.text.c_str(), stderr);
                             std::fflush(stderr);
                           }},
                      /*start_watch=*/nullptr);
  CHECK(watchdog.ok());
  return *std::move(watchdog);
}

// Twenty steps, with a fault in the tenth.
void TrainWith(Fault fault) {
  const std::unique_ptr<Watchdog> watchdog = StartWatchdog();
  TestTrainer trainer(
      SmallConfig(), /*alone=*/false, nullptr, {}, [&](ProcessGroups& groups) {
        if (!IsFaulty()) return;
        groups.Replace(Axis::kExpert,
                       std::make_unique<FaultyGroup>(
                           groups.Replace(Axis::kExpert, nullptr), fault));
      });
  for (int step = 0; step < 20; ++step) {
    const absl::StatusOr<StepReport> report = trainer->TrainStep();
    if (!report.ok()) watchdog->Fail(report.status());
  }
  FAIL() << "nobody noticed";
}

TEST(FaultyRun, Skip) { TrainWith(Fault::kSkip); }
TEST(FaultyRun, OtherCounts) { TrainWith(Fault::kOtherCounts); }
TEST(FaultyRun, WrongSums) { TrainWith(Fault::kWrongSums); }
TEST(FaultyRun, OtherLayer) { TrainWith(Fault::kOtherLayer); }

// A rank comes to two collectives of the same kind in the other order.
TEST(FaultyRun, Swap) {
  const std::unique_ptr<Watchdog> watchdog = StartWatchdog();
  const TestTrainer trainer(SmallConfig(), /*alone=*/false);
  float one = 1;
  const auto sum_in = [&](Phase of) {
    const PhaseScope phase(of);
    const absl::Status status = trainer.world().AllReduce(
        ViewOf(absl::MakeSpan(&one, 1)), ReduceOp::kSum);
    if (!status.ok()) watchdog->Fail(status);
  };
  sum_in(IsFaulty() ? Phase::kSumOfLosses : Phase::kSumOfGradients);
  sum_in(IsFaulty() ? Phase::kSumOfGradients : Phase::kSumOfLosses);
  FAIL() << "nobody noticed";
}

// Spins where nobody looks: its name is in the report's stack.
__attribute__((noinline)) void SpinForEver(volatile int* end) {
  while (*end == 0) {
  }
}

TEST(FaultyRun, Spin) {
  const std::unique_ptr<Watchdog> watchdog = StartWatchdog();
  const TestTrainer trainer(SmallConfig(), /*alone=*/false);
  const PhaseScope phase(Phase::kExperts, 4);
  volatile int end = 0;
  if (IsFaulty()) SpinForEver(&end);
  ASSERT_TRUE(trainer.world().Barrier().ok());
  FAIL() << "nobody noticed";
}

// A rank does not come to what MPI does without our groups.
TEST(FaultyRun, StopsAtStart) {
  const std::unique_ptr<Watchdog> watchdog = StartWatchdog();
  if (IsFaulty()) std::raise(SIGSTOP);
  const TestTrainer trainer(SmallConfig(), /*alone=*/false);
  FAIL() << "nobody noticed";
}

TEST(FaultyRun, StopsAtEnd) {
  std::unique_ptr<Watchdog> watchdog = StartWatchdog();
  if (IsFaulty()) std::raise(SIGSTOP);
  std::_Exit(Leave("faulty_run", absl::OkStatus(), TakeTestRuntime(),
                   std::move(watchdog)));
}

TEST(FaultyRun, FailAlone) {
  const std::unique_ptr<Watchdog> watchdog = StartWatchdog();
  const TestTrainer trainer(SmallConfig(), /*alone=*/false);
  if (IsFaulty())
    watchdog->Fail(absl::ResourceExhaustedError("memory for a buffer"));
  trainer.world().Barrier().IgnoreError();
  FAIL() << "nobody noticed";
}

// Who has left in good order is not taken for lost.
TEST(FaultyRun, FailAfterOneHasLeft) {
  std::unique_ptr<Watchdog> watchdog = StartWatchdog();
  const TestTrainer trainer(SmallConfig(), /*alone=*/false);
  if (TestRuntime().rank() == 3) watchdog = nullptr;
  ASSERT_TRUE(trainer.world().Barrier().ok());
  if (IsFaulty())
    watchdog->Fail(absl::ResourceExhaustedError("memory for a buffer"));
  trainer.world().Barrier().IgnoreError();
  FAIL() << "nobody noticed";
}

TEST(FaultyRun, Check) {
  const std::unique_ptr<Watchdog> watchdog = StartWatchdog();
  const TestTrainer trainer(SmallConfig(), /*alone=*/false);
  CHECK(!IsFaulty() && "a planted defect");
  trainer.world().Barrier().IgnoreError();
  FAIL() << "nobody noticed";
}

// Watched ranks that do nothing wrong end as they would have.
TEST(FaultyRun, None) {
  const std::unique_ptr<Watchdog> watchdog = StartWatchdog();
  TestTrainer trainer(SmallConfig(), /*alone=*/false);
  for (int step = 0; step < 3; ++step) ASSERT_TRUE(trainer->TrainStep().ok());
}

}  // namespace
}  // namespace moe
