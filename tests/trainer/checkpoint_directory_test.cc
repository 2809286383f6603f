#include "trainer/checkpoint/checkpoint_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace moe {
namespace {

class Checkpoints : public testing::Test {
 protected:
  Checkpoints()
      : root_(JoinPath(
            testing::TempDir(),
            testing::UnitTest::GetInstance()->current_test_info()->name())) {
    EXPECT_TRUE(files_.Remove(root_).ok());
    EXPECT_TRUE(files_.MakeDirectories(root_).ok());
  }
  ~Checkpoints() override { EXPECT_TRUE(files_.Remove(root_).ok()); }

  std::string MakeStep(const std::string& name, bool with_config = true) {
    const std::string path = JoinPath(CheckpointsDirectory(root_), name);
    EXPECT_TRUE(files_.MakeDirectories(path).ok());
    if (with_config) {
      EXPECT_TRUE(
          WriteFileAtomically(files_, JoinPath(path, kConfigFile), "{}").ok());
    }
    return path;
  }

  FileSystem& files_ = PosixFileSystem();
  const std::string root_;
};

TEST(CheckpointNames, StepsAreEightDigitsOrMore) {
  EXPECT_EQ(StepDirectoryName(100), "step_00000100");
  EXPECT_EQ(StepDirectoryName(1234567890), "step_1234567890");
  EXPECT_EQ(StepOfDirectory("step_00000100"), 100);
  EXPECT_EQ(StepOfDirectory("step_1234567890"), 1234567890);
  for (const char* name :
       {"step_00000100.tmp", "step_100", "step_", "00000100", "step_-0000100",
        "step_99999999999999999999", "step_0000010a", ""})
    EXPECT_EQ(StepOfDirectory(name), std::nullopt) << name;
}

TEST(CheckpointNames, WeightFilesCountFromOne) {
  EXPECT_EQ(WeightsFileName(0, 16), "model-00001-of-00016.safetensors");
}

TEST_F(Checkpoints, TheNewestStepOfARunIsFound) {
  MakeStep("step_00000100");
  const std::string newest = MakeStep("step_00001000");
  MakeStep("step_00000900");
  EXPECT_EQ(*FindCheckpoint(files_, root_), newest);
  EXPECT_EQ(*FindCheckpoint(files_, CheckpointsDirectory(root_)), newest);
  EXPECT_EQ(*FindCheckpoint(files_, newest), newest);
}

TEST_F(Checkpoints, UnfinishedStepsArePassedOver) {
  const std::string complete = MakeStep("step_00000100");
  MakeStep("step_00000200.tmp");
  MakeStep("step_00000300", /*with_config=*/false);
  EXPECT_EQ(*FindCheckpoint(files_, root_), complete);
}

TEST_F(Checkpoints, AnEmptyRunIsNotFound) {
  const absl::Status status = FindCheckpoint(files_, root_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(root_));
  EXPECT_EQ(FindCheckpoint(files_, JoinPath(root_, "nowhere")).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace moe
