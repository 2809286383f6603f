#include "comm/mpi/mpi_runtime.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/mpi_test.h"

namespace moe {
namespace {

// The launcher's words in the environment, replaced for a test.
class LauncherEnvironmentTest : public testing::Test {
 protected:
  LauncherEnvironmentTest() {
    for (const char* name : kNames) {
      const char* value = std::getenv(name);
      saved_.push_back(value == nullptr ? "" : value);
      unsetenv(name);
    }
  }
  ~LauncherEnvironmentTest() override {
    for (size_t i = 0; i < saved_.size(); ++i) {
      unsetenv(kNames[i]);
      if (!saved_[i].empty()) setenv(kNames[i], saved_[i].c_str(), 1);
    }
  }

 private:
  static constexpr const char* kNames[] = {"OMPI_COMM_WORLD_RANK",
                                           "OMPI_COMM_WORLD_SIZE", "PMIX_RANK",
                                           "SLURM_PROCID", "SLURM_NTASKS"};
  std::vector<std::string> saved_;
};

TEST_F(LauncherEnvironmentTest, WithoutALauncherThisIsTheOnlyProcess) {
  const LauncherEnvironment environment = ReadLauncherEnvironment();
  EXPECT_FALSE(environment.launched);
  EXPECT_EQ(environment.rank, 0);
  EXPECT_EQ(environment.world, 1);
}

TEST_F(LauncherEnvironmentTest, ReadsMpirun) {
  setenv("OMPI_COMM_WORLD_RANK", "3", 1);
  setenv("OMPI_COMM_WORLD_SIZE", "16", 1);
  const LauncherEnvironment environment = ReadLauncherEnvironment();
  EXPECT_TRUE(environment.launched);
  EXPECT_EQ(environment.rank, 3);
  EXPECT_EQ(environment.world, 16);
}

TEST_F(LauncherEnvironmentTest, ReadsSrunButNotABatchScriptsShell) {
  setenv("SLURM_PROCID", "2", 1);
  setenv("SLURM_NTASKS", "4", 1);
  EXPECT_FALSE(ReadLauncherEnvironment().launched);
  EXPECT_EQ(ReadLauncherEnvironment().world, 1);
  setenv("PMIX_RANK", "2", 1);
  const LauncherEnvironment environment = ReadLauncherEnvironment();
  EXPECT_TRUE(environment.launched);
  EXPECT_EQ(environment.rank, 2);
  EXPECT_EQ(environment.world, 4);
}

TEST(MpiRuntime, KnowsWhatTheLauncherSaid) {
  const LauncherEnvironment environment = ReadLauncherEnvironment();
  EXPECT_EQ(TestRuntime().initialized(), environment.launched);
  EXPECT_EQ(TestRuntime().rank(), environment.rank);
  EXPECT_EQ(TestRuntime().world(), environment.world);
}

TEST(MpiRuntime, LocalRanksOfOneNodeAreItsRanks) {
  // Tests run on one node.
  EXPECT_EQ(TestRuntime().local_size(), TestRuntime().world());
  EXPECT_EQ(TestRuntime().local_rank(), TestRuntime().rank());
}

TEST(MpiRuntime, TheRanksOfANodeShareItsCores) {
  EXPECT_GE(TestRuntime().cores_per_rank(), 1);
  EXPECT_LE(TestRuntime().cores_per_rank(), AvailableCores());
  // Unbound ranks share one mask, of which each has its part.
  EXPECT_LE(TestRuntime().cores_per_rank() * TestRuntime().local_size(),
            std::max(AvailableCores(), TestRuntime().local_size()));
}

}  // namespace
}  // namespace moe
