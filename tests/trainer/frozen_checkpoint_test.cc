// Checkpoints of runs that froze some parameters: all weights, and optimizer
// state of what was trained.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "comm/mpi/mpi_group.h"
#include "tests/mpi_test.h"
#include "tests/trainer/frozen_fixture.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/state_piece.h"
#include "trainer/checkpoint/store/checkpoint_saver.h"
#include "trainer/checkpoint/store/state_loader.h"
#include "trainer/checkpoint/store/weights_loader.h"

namespace moe {
namespace {

using testing::HasSubstr;

class FrozenCheckpointTest : public FrozenTest {
 protected:
  void TearDown() override {
    EXPECT_TRUE(world_.world().Barrier().ok());
    if (TestRuntime().rank() == 0) {
      EXPECT_TRUE(files_.Remove(root_).ok());
    }
  }

  std::string Save(TestTrainer& trainer) {
    const auto saver = CheckpointSaver::Create(files_,
                                               {.table = trainer->table(),
                                                .mesh = trainer.mesh(),
                                                .groups = trainer.groups(),
                                                .state = trainer->optimizer()},
                                               {});
    EXPECT_TRUE(saver.ok()) << saver.status();
    CheckpointManifest manifest;
    manifest.set_step(trainer->step());
    manifest.set_consumed_samples(trainer->consumed_samples());
    const auto path = (*saver)->Save(root_, manifest, /*text_files=*/{});
    EXPECT_TRUE(path.ok()) << path.status();
    EXPECT_TRUE(world_.world().Barrier().ok());
    return JoinPath(root_, StepDirectoryName(trainer->step()));
  }

  struct State {
    CheckpointManifest manifest;
    std::unique_ptr<WeightsLoader> weights;
    std::unique_ptr<StateLoader> moments;
  };
  State Open(const std::string& path) {
    auto manifest = ReadManifest(files_, path);
    EXPECT_TRUE(manifest.ok()) << manifest.status();
    auto weights = WeightsLoader::Open(files_, path);
    EXPECT_TRUE(weights.ok()) << weights.status();
    auto moments = StateLoader::Open(files_, path, *manifest);
    EXPECT_TRUE(moments.ok()) << moments.status();
    return {*manifest, *std::move(weights), *std::move(moments)};
  }

  FileSystem& files_ = PosixFileSystem();
  // The same on all ranks: they are children of one launcher.
  const std::string root_ =
      JoinPath(testing::TempDir(), absl::StrCat("frozen_test_", getppid()));
  const ProcessGroups world_ = *MakeMpiGroups(
      TestRuntime(), *Mesh::Create(TestRuntime().world(), 1, 1, 8));
};

TEST_P(FrozenCheckpointTest, GoesOnToTheSameBits) {
  const auto first = Make(Config(), Trained());
  TrainSteps(*first, 2);
  const State saved = Open(Save(*first));
  const ParameterTable& table = (*first)->table();
  EXPECT_TRUE(saved.weights->Check(table).ok()) << "it holds all weights";
  EXPECT_TRUE(saved.moments->Check(table).ok());

  const TrainingStart start = {
      .step = saved.manifest.step(),
      .consumed_samples = saved.manifest.consumed_samples(),
      .weights = saved.weights.get(),
      .moments = saved.moments.get()};
  const auto second = Make(Config(), Trained(), start);
  EXPECT_EQ(Weights(*second), Weights(*first));
  TrainSteps(*first, 3);
  TrainSteps(*second, 3);
  EXPECT_EQ(Weights(*second), Weights(*first));
}

// And what was not trained has no moments to go on with.
TEST_P(FrozenCheckpointTest, LacksTheMomentsOfTheFrozen) {
  const auto trainer = Make(Config(), Trained());
  TrainSteps(*trainer, 1);
  const State saved = Open(Save(*trainer));
  for (const Parameter& parameter : (*trainer)->table().parameters()) {
    std::vector<float> values(static_cast<size_t>(parameter.size));
    for (const OptimizerState& state : kOptimizerStates) {
      const absl::Status status = saved.moments->Load(
          parameter.name, state.name, parameter.num_columns(), 0,
          absl::MakeSpan(values));
      EXPECT_EQ(status.ok(), parameter.trained)
          << parameter.name << " " << status;
    }
  }
  const ParameterTable all(Config().model(), DType::kFloat32, trainer->mesh(),
                           TestRuntime().rank());
  const absl::Status status = saved.moments->Check(all);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("holds 0 elements"));
}

// A run that freezes more than the one that saved leaves moments unread.
TEST_P(FrozenCheckpointTest, OfAWholeModelGoesOnWithSomeFrozen) {
  const auto whole = Make(Config(), nullptr);
  TrainSteps(*whole, 1);
  const State saved = Open(Save(*whole));
  const auto part = Make(Config(), Trained(),
                         {.step = saved.manifest.step(),
                          .consumed_samples = saved.manifest.consumed_samples(),
                          .weights = saved.weights.get(),
                          .moments = saved.moments.get()});
  EXPECT_EQ(Weights(*part), Weights(*whole));
  TrainSteps(*part, 1);
}

INSTANTIATE_TEST_SUITE_P(All, FrozenCheckpointTest,
                         testing::Combine(testing::ValuesIn(kFrozenCases),
                                          testing::Values(RunConfig::FLOAT32,
                                                          RunConfig::BFLOAT16),
                                          testing::Values(1)),
                         FrozenCaseName);

}  // namespace
}  // namespace moe
