#include "trainer/checkpoint/store/checkpoint_saver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/mpi/refused_memory.h"
#include "comm/process_groups.h"
#include "tests/fake_file_system.h"
#include "tests/mpi_test.h"
#include "tests/trainer/checkpoint_fixture.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/hf_config.h"
#include "trainer/checkpoint/store/state_loader.h"
#include "trainer/checkpoint/store/weights_loader.h"

namespace moe {
namespace {

using testing::HasSubstr;

// Every rank writes, in several pieces a tensor and several files a rank.
Snapshot::Options ManyFiles() {
  return {.plan = {.min_file_bytes = 1, .max_file_bytes = 4000},
          .max_piece_bytes = 400};
}

// The same with a write for each tensor, to fail one after another.
Snapshot::Options FewWrites() {
  return {.plan = {.min_file_bytes = 1, .max_file_bytes = 30000}};
}

class CheckpointSaverTest : public testing::Test {
 protected:
  // The same on all ranks: they are children of one launcher.
  CheckpointSaverTest()
      : root_(JoinPath(testing::TempDir(),
                       absl::StrCat("checkpoint_saver_", getppid()))),
        directory_(JoinPath(root_, "checkpoints")) {}

  void TearDown() override {
    Barrier();
    if (TestRuntime().rank() == 0) {
      EXPECT_TRUE(PosixFileSystem().Remove(root_).ok());
    }
    Barrier();
  }

  void Barrier() { EXPECT_TRUE(Layout(1).world().Barrier().ok()); }

  std::vector<std::string> Names(const std::string& directory) {
    const auto names = PosixFileSystem().List(directory);
    return names.ok() ? *names : std::vector<std::string>();
  }

  // The whole model is there and every element is what it was.
  void ExpectWhole(const std::string& path, const ParameterTable& table) {
    const auto loader = WeightsLoader::Open(PosixFileSystem(), path);
    ASSERT_TRUE(loader.ok()) << loader.status();
    const absl::Status complete = (*loader)->Check(table);
    ASSERT_TRUE(complete.ok()) << complete;
    for (size_t i = 0; i < table.parameters().size(); ++i) {
      const Parameter& parameter = table.parameters()[i];
      std::vector<float> values(static_cast<size_t>(parameter.size));
      ASSERT_TRUE((*loader)
                      ->LoadParameter(parameter.name, 0, absl::MakeSpan(values))
                      .ok());
      for (size_t e = 0; e < values.size(); ++e)
        ASSERT_EQ(values[e], ValueOf(i, static_cast<int64_t>(e)))
            << parameter.name << " " << e;
    }
  }

  // So are the moments.
  void ExpectMoments(const std::string& path, const ParameterTable& table) {
    FileSystem& files = PosixFileSystem();
    const auto manifest = ReadManifest(files, path);
    ASSERT_TRUE(manifest.ok()) << manifest.status();
    const auto loader = StateLoader::Open(files, path, *manifest);
    ASSERT_TRUE(loader.ok()) << loader.status();
    const absl::Status complete = (*loader)->Check(table);
    ASSERT_TRUE(complete.ok()) << complete;
    for (size_t i = 0; i < table.parameters().size(); ++i) {
      const Parameter& parameter = table.parameters()[i];
      std::vector<float> values(static_cast<size_t>(parameter.size));
      ASSERT_TRUE((*loader)
                      ->Load(parameter.name, kSecondMoment,
                             parameter.num_columns(), 0, absl::MakeSpan(values))
                      .ok());
      for (size_t e = 0; e < values.size(); ++e)
        ASSERT_EQ(values[e], 2000 + ValueOf(i, static_cast<int64_t>(e)));
    }
  }

  const std::string root_;
  const std::string directory_;
  FakeFileSystem files_;
};

// Sizes of expert or tensor groups that this world allows.
std::vector<int> GroupSizes(int most) {
  std::vector<int> sizes;
  for (int size = 1; size <= most; size *= 2)
    if (TestRuntime().world() % size == 0) sizes.push_back(size);
  return sizes;
}

TEST_F(CheckpointSaverTest, EveryLayoutSavesTheWholeModelExactly) {
  int64_t step = 0;
  for (int tensor : GroupSizes(4)) {
    for (int expert : GroupSizes(16)) {
      Layout layout(expert, tensor);
      for (const auto& options : {Snapshot::Options(), ManyFiles()}) {
        const auto path = layout.Save(files_, directory_, ++step, options);
        EXPECT_TRUE(path.ok()) << path.status();
        if (path.ok() && TestRuntime().rank() == 0) {
          EXPECT_EQ(*path, JoinPath(directory_, StepDirectoryName(step)));
          ExpectWhole(*path, layout.table());
          ExpectMoments(*path, layout.table());
        }
      }
    }
  }
}

// Each rank loads its slices of what one layout saved.
TEST_F(CheckpointSaverTest, EveryLayoutLoadsWhatItHolds) {
  ASSERT_TRUE(Layout(1).Save(files_, directory_, 1, {}).ok());
  Barrier();
  const auto loader = WeightsLoader::Open(
      PosixFileSystem(), JoinPath(directory_, StepDirectoryName(1)));
  ASSERT_TRUE(loader.ok()) << loader.status();
  for (int tensor : GroupSizes(4)) {
    Layout layout(GroupSizes(16).back(), tensor);
    const ParameterTable& table = layout.table();
    const auto storage = ParameterStorage::AllocateWeights(table);
    ASSERT_TRUE(storage.ok());
    ASSERT_TRUE(LoadWeights(**loader, table, *storage).ok());
    for (const Parameter& parameter : table.parameters()) {
      if (!parameter.local) continue;
      std::vector<float> values(static_cast<size_t>(parameter.slice.size()));
      ASSERT_TRUE(layout.Gather(parameter, absl::MakeSpan(values)).ok());
      const float* loaded = storage->Get(parameter).data<float>();
      EXPECT_TRUE(std::equal(values.begin(), values.end(), loaded))
          << parameter.name;
    }
  }
}

TEST_F(CheckpointSaverTest, NoRankHoldsMoreThanAPiece) {
  Layout layout(1);
  EXPECT_TRUE(layout.Save(files_, directory_, 1, ManyFiles()).ok());
  EXPECT_LE(layout.largest_gather(), 100);
  EXPECT_GT(layout.largest_gather(), 80);  // whole rows
}

TEST_F(CheckpointSaverTest, ConfigStandsBesideTheWeights) {
  Layout layout(1);
  const auto path = layout.Save(files_, directory_, 7, {});
  EXPECT_TRUE(path.ok()) << path.status();
  if (TestRuntime().rank() != 0 || !path.ok()) return;
  const auto text =
      PosixFileSystem().ReadFile(JoinPath(*path, kConfigFile), 1 << 20);
  ASSERT_TRUE(text.ok());
  const auto config = ParseConfigJson(*text);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model.num_local_experts(), 16);
  EXPECT_EQ(config->model.max_position_embeddings(), 32);
}

TEST_F(CheckpointSaverTest, AStepIsNotSavedTwice) {
  Layout layout(1);
  EXPECT_TRUE(layout.Save(files_, directory_, 7, {}).ok());
  const auto again = layout.Save(files_, directory_, 7, {});
  EXPECT_EQ(again.status().code(), absl::StatusCode::kAlreadyExists);
  if (TestRuntime().rank() == 0)
    ExpectWhole(JoinPath(directory_, StepDirectoryName(7)), layout.table());
}

TEST_F(CheckpointSaverTest, WhatACrashLeftIsReplaced) {
  Layout layout(1);
  const std::string left = JoinPath(directory_, StepDirectoryName(7) + ".tmp");
  if (TestRuntime().rank() == 0) {
    EXPECT_TRUE(PosixFileSystem().MakeDirectories(left).ok());
    EXPECT_TRUE(
        WriteFileAtomically(PosixFileSystem(), JoinPath(left, "half"), "a")
            .ok());
  }
  const auto path = layout.Save(files_, directory_, 7, {});
  EXPECT_TRUE(path.ok()) << path.status();
  if (TestRuntime().rank() != 0 || !path.ok()) return;
  EXPECT_FALSE(PosixFileSystem().Exists(left));
  EXPECT_FALSE(PosixFileSystem().Exists(JoinPath(*path, "half")));
}

// Index of the first entry of the log that begins so and ends so.
size_t Position(const std::vector<std::string>& log, absl::string_view begin,
                absl::string_view end) {
  return static_cast<size_t>(std::find_if(log.begin(), log.end(),
                                          [&](const std::string& entry) {
                                            return absl::StartsWith(entry,
                                                                    begin) &&
                                                   absl::EndsWith(entry, end);
                                          }) -
                             log.begin());
}

TEST_F(CheckpointSaverTest, EverythingIsDurableBeforeItHasItsName) {
  Layout layout(1);
  EXPECT_TRUE(layout.Save(files_, directory_, 1, {}).ok());
  if (TestRuntime().rank() != 0) return;
  const auto& log = files_.log();
  const size_t renamed = Position(log, "rename", "/step_00000001");
  ASSERT_LT(renamed, log.size());
  for (const char* name : {"model-00001-of-00001.safetensors", "config.json",
                           "model.safetensors.index.json"}) {
    const size_t synced = Position(log, "sync ", name);
    EXPECT_LT(synced, renamed) << name;
    EXPECT_LT(synced, Position(log, "close", name)) << name;
  }
  EXPECT_EQ(Position(log, "sync directory", "step_00000001.tmp"), renamed - 1);
  EXPECT_EQ(Position(log, "sync directory", "/checkpoints"), renamed + 1);
}

// A disk that takes no byte until it is let.
class HangingFileSystem : public FakeFileSystem {
 public:
  absl::StatusOr<std::unique_ptr<WritableFile>> Create(
      const std::string& path) override {
    answered_.wait();
    return FakeFileSystem::Create(path);
  }
  void Answer() { answers_.set_value(); }

 private:
  std::promise<void> answers_;
  std::shared_future<void> answered_ = answers_.get_future();
};

// Rank 0's, which answers only when it was named: else this never ends.
TEST_F(CheckpointSaverTest, WhoWaitsIsToldWhoseDiskIsSlow) {
  const bool is_slow = TestRuntime().rank() == 0;
  HangingFileSystem hanging;
  Layout layout(GroupSizes(16).back());
  const auto saver =
      layout.MakeSaver(is_slow ? hanging : files_, Snapshot::Options());
  ASSERT_TRUE(saver.ok());
  CheckpointManifest manifest;
  manifest.set_step(1);
  ASSERT_TRUE((*saver)->Start(directory_, manifest, {}).ok());
  bool named = false;
  const auto result = (*saver)->Finish(
      [&](absl::Duration, int rank) {
        if (is_slow && rank == 0 && !named) hanging.Answer();
        named = named || rank == 0;
      },
      absl::ZeroDuration());
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->status.ok()) << result->status;
  EXPECT_TRUE(named);
}

TEST_F(CheckpointSaverTest, OfAProcessThatEndsAtOnceNothingStays) {
  HangingFileSystem hanging;
  Layout layout(GroupSizes(16).back());
  const auto saver = layout.MakeSaver(hanging, Snapshot::Options());
  ASSERT_TRUE(saver.ok());
  CheckpointManifest manifest;
  manifest.set_step(1);
  ASSERT_TRUE((*saver)->Start(directory_, manifest, {}).ok());
  if (TestRuntime().rank() == 0) {
    EXPECT_EQ(Names(directory_),
              (std::vector<std::string>{StepDirectoryName(1) + ".tmp"}));
    RemovalAtEnd::RemoveAll().unlock();
    EXPECT_TRUE(Names(directory_).empty());
  }
  EXPECT_TRUE(layout.world().Barrier().ok());
  hanging.Answer();
  const auto result = (*saver)->Finish();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->status.code(), absl::StatusCode::kAborted);
}

TEST_F(CheckpointSaverTest, WhicheverWriteIsRefusedNothingStandsUnderTheName) {
  const int world = TestRuntime().world();
  Layout layout(GroupSizes(16).back());
  FakeFileSystem counted;
  EXPECT_TRUE(layout.Save(counted, directory_, 1, FewWrites()).ok());
  for (int victim : {0, world - 1}) {
    int64_t writes = counted.num_writes();
    EXPECT_TRUE(layout.world()
                    .Broadcast(ViewOf(absl::MakeSpan(&writes, 1)), victim)
                    .ok());
    EXPECT_GT(writes, 4);
    for (int64_t k = 1; k <= writes; ++k) {
      if (TestRuntime().rank() == victim)
        files_.FailWrite(k, /*and_all_after=*/k % 2 == 0);
      const absl::Status status =
          layout.Save(files_, directory_, 2, FewWrites()).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << k;
      EXPECT_THAT(std::string(status.message()), HasSubstr("(injected)"));
      EXPECT_THAT(std::string(status.message()), HasSubstr(directory_));
      if (victim > 0) {
        EXPECT_THAT(std::string(status.message()),
                    HasSubstr(absl::StrCat("rank ", victim, ": ")));
      }
      if (TestRuntime().rank() == 0) {
        EXPECT_EQ(Names(directory_),
                  (std::vector<std::string>{StepDirectoryName(1)}))
            << k;
      }
      files_.Heal();
      EXPECT_TRUE(layout.world().Barrier().ok());
    }
    if (world == 1) break;
  }
  EXPECT_TRUE(layout.Save(files_, directory_, 2, FewWrites()).ok());
}

TEST_F(CheckpointSaverTest, SeveralRanksRefusedIsOneErrorOnAll) {
  Layout layout(1);
  files_.FailWrite(1, /*and_all_after=*/true);
  const absl::Status status =
      layout.Save(files_, directory_, 1, ManyFiles()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(layout.world().Barrier().ok());
  EXPECT_TRUE(Names(directory_).empty());
}

}  // namespace
}  // namespace moe
