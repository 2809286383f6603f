#include "trainer/checkpoint/format/checkpoint_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "trainer/checkpoint/format/manifest.h"
#include "trainer/checkpoint/store/retention.h"

namespace moe {
namespace {

using ::testing::ElementsAre;

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

// Checkpoints of steps 1, 2, ... with these validation losses (negative: none),
// of which the newest and the best stay.
class Retained : public Checkpoints {
 protected:
  std::vector<std::string> Of(const std::vector<double>& losses) {
    for (size_t i = 0; i < losses.size(); ++i) {
      const std::string path =
          MakeStep(StepDirectoryName(static_cast<int64_t>(i + 1)));
      CheckpointManifest manifest;
      manifest.set_version(kManifestVersion);
      manifest.set_step(static_cast<int64_t>(i + 1));
      if (!(losses[i] < 0)) manifest.set_valid_loss(losses[i]);
      EXPECT_TRUE(WriteFileAtomically(files_, JoinPath(path, kManifestFile),
                                      ManifestText(manifest))
                      .ok());
    }
    const std::string directory = CheckpointsDirectory(root_);
    EXPECT_TRUE(DeleteOldCheckpoints(files_, directory, {.keep = 1}).ok());
    return *files_.List(directory);
  }
};

TEST_F(Retained, TheBestStaysBesideTheNewest) {
  EXPECT_THAT(Of({3, 1, 2, 4}), ElementsAre("step_00000002", "step_00000004"));
}

TEST_F(Retained, ALossThatIsNotFiniteIsNeverTheBest) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_THAT(Of({kInfinity, 2, kNan, -1, kNan}),
              ElementsAre("step_00000002", "step_00000005"));
}

TEST_F(Retained, NoLossIsFiniteAndTheNewestStays) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(Of({kNan, kNan, -1}), ElementsAre("step_00000003"));
}

// Steps after a validation carry its number on.
TEST_F(Retained, OfEqualLossesTheOldestIsTheBest) {
  EXPECT_THAT(Of({5, 1, 1, 1, 6}),
              ElementsAre("step_00000002", "step_00000005"));
}

}  // namespace
}  // namespace moe
