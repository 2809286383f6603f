#ifndef TESTS_TRAINER_ONE_RANK_RUN_FIXTURE_H_
#define TESTS_TRAINER_ONE_RANK_RUN_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "comm/mpi/mpi_runtime.h"
#include "tests/data/temporary_directory.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// For whole runs of one rank: a directory for data and run, and the
// configuration of a small model.
class OneRankRunTest : public testing::Test {
 protected:
  void SetUp() override {
    auto runtime = MpiRuntime::Start(absl::Seconds(60));
    ASSERT_TRUE(runtime.ok()) << runtime.status();
    runtime_ = *std::move(runtime);
    config_ = SmallConfig();
  }

  TemporaryDirectory directory_;
  std::unique_ptr<MpiRuntime> runtime_;
  TrainConfig config_;
};

}  // namespace moe

#endif  // TESTS_TRAINER_ONE_RANK_RUN_FIXTURE_H_
