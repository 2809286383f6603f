// main of every test binary. Alone it is GoogleTest's; under mpirun it starts
// MPI, lets only rank 0 list the tests, has failing ranks print their failures
// with their number, and fails everywhere if one rank failed.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <utility>
#include <vector>

#include "comm/base/check.h"
#include "tests/mpi_test.h"

// Options of AddressSanitizer. A refused allocation comes back as nullptr, as
// it does without the sanitizer. Leaks are looked for without a launcher only:
// Open MPI unloads plugins that keep memory, which then has no name to
// suppress.
extern "C" const char* __asan_default_options() {
  return "allocator_may_return_null=1";
}
extern "C" int __lsan_is_turned_off() {
  return moe::ReadLauncherEnvironment().launched ? 1 : 0;
}

namespace moe {
namespace {

// Long enough for a rank that shares a core with fifteen others under a
// sanitizer; short enough to see a deadlock's message.
constexpr absl::Duration kCollectiveTimeout = absl::Seconds(120);

std::unique_ptr<MpiRuntime>& Runtime() {
  static std::unique_ptr<MpiRuntime> runtime;
  return runtime;
}

// What a rank other than 0 prints: its failures only.
class FailurePrinter : public testing::EmptyTestEventListener {
 public:
  explicit FailurePrinter(int rank) : rank_(rank) {}

  void OnTestStart(const testing::TestInfo& test) override { test_ = &test; }

  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::cerr << "[rank " << rank_ << "] ";
    if (test_ != nullptr)
      std::cerr << test_->test_suite_name() << "." << test_->name() << ": ";
    std::cerr << (result.file_name() ? result.file_name() : "") << ":"
              << result.line_number() << ": " << result.message() << std::endl;
  }

 private:
  int rank_;
  const testing::TestInfo* test_ = nullptr;
};

void KeepQuietUnlessFailing(int rank) {
  if (rank == 0) return;
  testing::TestEventListeners& listeners =
      testing::UnitTest::GetInstance()->listeners();
  delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new FailurePrinter(rank));
}

// `failed` of every rank, by plain MPI: it must work when our groups do not.
bool AnyRankFailed(const MpiRuntime& runtime, bool failed) {
  if (!runtime.initialized()) return failed;
  const int mine = failed ? 1 : 0;
  std::vector<int> all(static_cast<size_t>(runtime.world()));
  if (MPI_Allgather(&mine, 1, MPI_INT, all.data(), 1, MPI_INT,
                    MPI_COMM_WORLD) != MPI_SUCCESS)
    return true;
  bool any = false;
  for (int rank = 0; rank < runtime.world(); ++rank) {
    if (all[static_cast<size_t>(rank)] == 0) continue;
    any = true;
    if (runtime.rank() == 0) std::cerr << "FAILED on rank " << rank << "\n";
  }
  return any;
}

// ctest looks for this line, so that nothing seems tested that was not.
void SayIfAllWereSkipped(int rank) {
  const testing::UnitTest& tests = *testing::UnitTest::GetInstance();
  if (rank == 0 && tests.test_to_run_count() > 0 &&
      tests.skipped_test_count() == tests.test_to_run_count())
    std::cout << "ALL TESTS SKIPPED" << std::endl;
}

int Main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  absl::StatusOr<std::unique_ptr<MpiRuntime>> runtime =
      MpiRuntime::Start(kCollectiveTimeout);
  if (!runtime.ok()) {
    std::cerr << runtime.status() << std::endl;
    return 1;
  }
  Runtime() = *std::move(runtime);
  const int rank = Runtime()->rank();
  KeepQuietUnlessFailing(rank);
  const bool failed = AnyRankFailed(*Runtime(), RUN_ALL_TESTS() != 0);
  SayIfAllWereSkipped(rank);
  Runtime().reset();
  return failed ? 1 : 0;
}

}  // namespace

MpiRuntime& TestRuntime() {
  CHECK(Runtime() != nullptr);
  return *Runtime();
}

std::unique_ptr<MpiRuntime> TakeTestRuntime() { return std::move(Runtime()); }

}  // namespace moe

int main(int argc, char** argv) { return moe::Main(argc, argv); }
