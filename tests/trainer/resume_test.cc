// What one layout has saved, any other goes on with.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/mpi/mpi_group.h"
#include "tests/mpi_test.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/store/checkpoint_saver.h"
#include "trainer/checkpoint/store/state_loader.h"
#include "trainer/checkpoint/store/weights_loader.h"

namespace moe {
namespace {

struct Layout {
  const char* name;
  bool alone;  // one rank, whatever the world
  int tensor;
  int expert;
};

constexpr Layout kLayouts[] = {{"alone", true, 1, 1},
                               {"data", false, 1, 1},
                               {"expert", false, 1, 0},
                               {"tensor 2", false, 2, 0},
                               {"tensor 4", false, 4, 2}};

class ResumeTest : public testing::TestWithParam<RunConfig::ComputeDType> {
 protected:
  // The same on all ranks: they are children of one launcher.
  ResumeTest()
      : root_(JoinPath(testing::TempDir(),
                       absl::StrCat("resume_test_", getppid()))) {}

  void TearDown() override {
    WaitForAll();
    if (TestRuntime().rank() == 0) {
      EXPECT_TRUE(files_.Remove(root_).ok());
    }
  }

  static std::vector<Layout> Layouts() {
    const int world = TestRuntime().world();
    std::vector<Layout> layouts;
    for (const Layout& layout : kLayouts) {
      if (world % layout.tensor == 0 &&
          (layout.expert == 0 || world % layout.expert == 0))
        layouts.push_back(layout);
    }
    return layouts;
  }

  static TrainConfig Config(const Layout& layout) {
    TrainConfig config = SmallConfig();
    config.mutable_model()->set_num_key_value_heads(4);
    config.mutable_batch()->set_sequence_length(12);
    config.mutable_run()->set_compute_dtype(GetParam());
    config.mutable_parallel()->set_tensor(layout.tensor);
    config.mutable_parallel()->set_expert(layout.expert);
    return config;
  }

  // Ranks that train alone each have a directory; rank 0's counts.
  std::string Directory(const std::string& name, const Layout& layout) {
    const int rank = layout.alone ? TestRuntime().rank() : 0;
    return JoinPath(root_, absl::StrCat(name, " ", rank));
  }

  // Saves the trainer's state; where rank 0 finds it.
  std::string Save(TestTrainer& trainer, const std::string& name,
                   const Layout& layout) {
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
    const auto path =
        (*saver)->Save(Directory(name, layout), manifest, /*text_files=*/{});
    EXPECT_TRUE(path.ok()) << path.status();
    return JoinPath(JoinPath(root_, absl::StrCat(name, " 0")),
                    StepDirectoryName(trainer->step()));
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

  // A trainer that goes on from there.
  std::unique_ptr<TestTrainer> Load(const std::string& path,
                                    const Layout& layout) {
    const State state = Open(path);
    return std::make_unique<TestTrainer>(
        Config(layout), layout.alone, nullptr,
        TrainingStart{.step = state.manifest.step(),
                      .consumed_samples = state.manifest.consumed_samples(),
                      .weights = state.weights.get(),
                      .moments = state.moments.get()});
  }

  // Every element of weights and moments is the same bits in both.
  void ExpectSameState(const std::string& a, const std::string& b,
                       const ParameterTable& table) {
    const State first = Open(a);
    const State second = Open(b);
    const auto read = [](const State& from, const Parameter& parameter,
                         const char* state) {
      std::vector<float> values(static_cast<size_t>(parameter.size));
      const auto out = absl::MakeSpan(values);
      EXPECT_TRUE((state == nullptr
                       ? from.weights->LoadParameter(parameter.name, 0, out)
                       : from.moments->Load(parameter.name, state,
                                            parameter.num_columns(), 0, out))
                      .ok());
      return values;
    };
    for (const Parameter& parameter : table.parameters()) {
      for (const char* state :
           {static_cast<const char*>(nullptr), kFirstMoment, kSecondMoment})
        EXPECT_EQ(read(first, parameter, state), read(second, parameter, state))
            << parameter.name << " " << (state == nullptr ? "weights" : state);
    }
  }

  void WaitForAll() { EXPECT_TRUE(world_.world().Barrier().ok()); }

  FileSystem& files_ = PosixFileSystem();
  const std::string root_;
  const ProcessGroups world_ = *MakeMpiGroups(
      TestRuntime(), *Mesh::Create(TestRuntime().world(), 1, 1, 8));
};

TEST_P(ResumeTest, AnyLayoutGoesOnFromAnyOther) {
  for (const Layout& from : Layouts()) {
    TestTrainer first(Config(from), from.alone);
    for (int step = 1; step <= 3; ++step) ASSERT_TRUE(first->TrainStep().ok());
    const std::string saved =
        Save(first, absl::StrCat("from ", from.name), from);
    WaitForAll();
    std::vector<StepReport> expected;
    for (int step = 4; step <= 8; ++step) {
      const auto report = first->TrainStep();
      ASSERT_TRUE(report.ok()) << report.status();
      expected.push_back(*report);
    }
    for (const Layout& to : Layouts()) {
      SCOPED_TRACE(absl::StrCat(from.name, " to ", to.name));
      const std::unique_ptr<TestTrainer> second = Load(saved, to);
      const std::string again =
          Save(*second, absl::StrCat("from ", from.name, " to ", to.name), to);
      WaitForAll();
      if (TestRuntime().rank() == 0)
        ExpectSameState(saved, again, (*second)->table());
      const bool same = from.name == to.name;
      const bool exact = GetParam() == RunConfig::FLOAT32;
      for (const StepReport& wanted : expected) {
        const auto report = (*second)->TrainStep();
        ASSERT_TRUE(report.ok()) << report.status();
        EXPECT_EQ(report->step, wanted.step);
        EXPECT_EQ(report->tokens, wanted.tokens);
        if (same) {
          EXPECT_EQ(report->losses.cross_entropy, wanted.losses.cross_entropy);
          EXPECT_EQ(report->grad_norm, wanted.grad_norm);
        }
        EXPECT_NEAR(report->losses.cross_entropy / wanted.losses.cross_entropy,
                    1, exact ? 1e-5 : 1e-2);
        EXPECT_NEAR(report->grad_norm / wanted.grad_norm, 1,
                    exact ? 1e-4 : 0.1);
      }
    }
  }
}

// What is in the snapshot no later step changes.
TEST_P(ResumeTest, ASnapshotIsOfItsStep) {
  const Layout layout = Layouts().back();
  TestTrainer trainer(Config(layout), layout.alone);
  ASSERT_TRUE(trainer->TrainStep().ok());
  const std::string wanted = Save(trainer, "at once", layout);
  const auto saver = CheckpointSaver::Create(files_,
                                             {.table = trainer->table(),
                                              .mesh = trainer.mesh(),
                                              .groups = trainer.groups(),
                                              .state = trainer->optimizer()},
                                             {});
  ASSERT_TRUE(saver.ok());
  CheckpointManifest manifest;
  manifest.set_step(1);
  const std::string directory = Directory("meanwhile", layout);
  const auto started = (*saver)->Start(directory, manifest, {});
  ASSERT_TRUE(started.ok() && !started->has_value());
  for (int step = 2; step <= 4; ++step) ASSERT_TRUE(trainer->TrainStep().ok());
  const auto result = (*saver)->Finish();
  ASSERT_TRUE(result.ok() && result->status.ok());
  if (TestRuntime().rank() == 0)
    ExpectSameState(wanted, JoinPath(directory, StepDirectoryName(1)),
                    trainer->table());
}

INSTANTIATE_TEST_SUITE_P(DTypes, ResumeTest,
                         testing::Values(RunConfig::FLOAT32,
                                         RunConfig::BFLOAT16));

}  // namespace
}  // namespace moe
