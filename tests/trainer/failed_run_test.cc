// Whole runs with steps that cannot be computed: what is skipped, what is left
// behind for who looks for the cause, and that it can be computed again.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/mpi_group.h"
#include "data/indexed_dataset_writer.h"
#include "tests/mpi_test.h"
#include "tests/trainer/planted_weights.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/manifest.h"
#include "trainer/checkpoint/store/checkpoint_saver.h"
#include "trainer/config/config_resolve.h"
#include "trainer/run/run_directory.h"
#include "trainer/run/training_run.h"

namespace moe {
namespace {

using Json = nlohmann::json;
using testing::Contains;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int64_t kLength = 12;
constexpr int64_t kSteps = 8;
// Where kLitToken stands in the data: in two samples, as their input.
constexpr int64_t kLitPlaces[] = {35 * kLength + 5, 60 * kLength + 2};

class FailedRunTest : public testing::Test {
 protected:
  // The same on all ranks: they are children of one launcher.
  FailedRunTest()
      : root_(JoinPath(testing::TempDir(),
                       absl::StrCat("failed_run_test_", getppid()))),
        config_(SmallConfig()) {
    const int world = TestRuntime().world();
    config_.mutable_model()->set_num_key_value_heads(4);
    config_.mutable_batch()->set_sequence_length(kLength);
    config_.mutable_batch()->set_micro_size(3);
    config_.mutable_schedule()->set_steps(kSteps);
    config_.mutable_parallel()->set_tensor(world % 2 == 0 ? 2 : 1);
    config_.mutable_parallel()->set_expert(world);
    config_.mutable_checkpoint()->set_interval_steps(1);
    config_.mutable_checkpoint()->set_keep(100);
    config_.mutable_data()->mutable_train()->add_source()->set_path(
        JoinPath(root_, "tokens"));
    config_.mutable_data()->set_valid_fraction(0);
    SetDirectory("run");
  }

  void SetUp() override {
    OnRankZero([this] {
      EXPECT_TRUE(files_.MakeDirectories(root_).ok());
      WriteTokens();
    });
    SaveTrap();
  }

  void TearDown() override {
    OnRankZero([this] { EXPECT_TRUE(files_.Remove(root_).ok()); });
  }

  // Work of one rank that the others wait for.
  template <typename Work>
  void OnRankZero(const Work& work) {
    EXPECT_TRUE(world_.world().Barrier().ok());
    if (TestRuntime().rank() == 0) work();
    EXPECT_TRUE(world_.world().Barrier().ok());
  }

  void SetDirectory(const std::string& name) {
    config_.mutable_run()->set_directory(JoinPath(root_, name));
  }
  RunDirectory directory() const {
    return RunDirectory(config_.run().directory());
  }

  // A run of the configuration from the trap's weights, or going on.
  absl::Status TrainRun(const StartOptions& options) {
    ASSIGN_OR_RETURN(const TrainConfig resolved,
                     ResolveConfig(config_, TestRuntime().world(), 1));
    TrainingRun run(resolved, options, TestRuntime(), /*share_directory=*/"",
                    files_);
    RETURN_IF_ERROR(run.Start());
    return run.Train();
  }
  absl::Status TrainRun() {
    return TrainRun({.init_from = JoinPath(root_, "trap")});
  }

  // As a kill after step `step` leaves the run.
  void ForgetAfter(int64_t step) {
    OnRankZero([&] {
      for (int64_t later = step + 1; later <= kSteps; ++later) {
        EXPECT_TRUE(files_
                        .Remove(JoinPath(directory().checkpoints(),
                                         StepDirectoryName(later)))
                        .ok());
      }
    });
  }

  std::string Read(const std::string& path) {
    const absl::StatusOr<std::string> text = files_.ReadFile(path, 1 << 20);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.value_or("{}");
  }

  // Names, sizes and digests of all files of the last checkpoint.
  std::string LastManifest() {
    return Read(
        JoinPath(JoinPath(directory().checkpoints(), StepDirectoryName(kSteps)),
                 kManifestFile));
  }

  // What metrics.jsonl says of each step, but for times and memory.
  std::vector<Json> Metrics() {
    std::vector<Json> lines;
    std::ifstream file(directory().metrics());
    for (std::string line; std::getline(file, line);) {
      lines.push_back(Json::parse(line));
      for (const char* key :
           {"step_seconds", "tokens_per_second", "mfu", "memory_bytes",
            "checkpoint_seconds", "straggler_rank", "straggler_seconds",
            "stage_share"})
        lines.back().erase(key);
    }
    return lines;
  }

  FileSystem& files_ = PosixFileSystem();
  const std::string root_;
  TrainConfig config_;
  const ProcessGroups world_ = *MakeMpiGroups(
      TestRuntime(), *Mesh::Create(TestRuntime().world(), 1, 1, 8));

 private:
  void WriteTokens() {
    auto writer = IndexedDatasetWriter::Create(
        files_, JoinPath(root_, "tokens"), TokenType::kInt32);
    ASSERT_TRUE(writer.ok()) << writer.status();
    std::vector<int32_t> tokens;
    for (int i = 0; i < 85 * kLength; ++i)
      tokens.push_back(i * i * 7 % kLitToken);
    for (int64_t place : kLitPlaces)
      tokens[static_cast<size_t>(place)] = kLitToken;
    ASSERT_TRUE((*writer)->AddDocument(tokens).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
  }

  // A checkpoint with LightTrap's weights.
  void SaveTrap() {
    TestTrainer trainer(config_, /*alone=*/false);
    SetWeights(*trainer, config_, LightTrap);
    const auto saver = CheckpointSaver::Create(files_,
                                               {.table = trainer->table(),
                                                .mesh = trainer.mesh(),
                                                .groups = trainer.groups(),
                                                .state = trainer->optimizer()},
                                               {});
    ASSERT_TRUE(saver.ok()) << saver.status();
    CheckpointManifest manifest;
    manifest.set_step(0);
    std::vector<NamedFile> texts;
    if (TestRuntime().rank() == 0)
      texts = ModelFiles(config_.model(), config_.router(), kLength,
                         /*tokenizer=*/nullptr, /*add_bos=*/false);
    const auto saved =
        (*saver)->Save(JoinPath(root_, "trap"), manifest, std::move(texts));
    ASSERT_TRUE(saved.ok()) << saved.status();
  }
};

TEST_F(FailedRunTest, ARunThatSkipsIsTheSameWhereverItWasKilled) {
  config_.mutable_optimizer()->set_max_skipped_steps(3);
  config_.mutable_log()->set_interval_steps(kSteps);
  ASSERT_TRUE(TrainRun().ok());
  const std::string expected = LastManifest();
  const std::vector<Json> metrics = Metrics();
  // A line each of the two skipped steps, and the last.
  ASSERT_EQ(metrics.size(), 3u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(metrics[i]["skipped_steps"], i + 1);
    EXPECT_TRUE(metrics[i]["loss"].is_null());
    EXPECT_TRUE(metrics[i]["grad_norm"].is_null());
  }
  EXPECT_EQ(metrics[2]["skipped_steps"], 2);
  EXPECT_TRUE(metrics[2]["loss"].is_number());
  EXPECT_THAT(expected, HasSubstr("skipped_steps: 2"));
  const int64_t second = metrics[1]["step"];
  ASSERT_TRUE(second > 3 && second < kSteps);
  for (int64_t step : {second, second - 1, second - 2, int64_t{1}}) {
    ForgetAfter(step);
    const absl::Status status = TrainRun();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(LastManifest(), expected) << "killed after step " << step;
    EXPECT_EQ(Metrics(), metrics) << "killed after step " << step;
  }
}

TEST_F(FailedRunTest, TheBoundHoldsForTheWholeRunAndMayBeRaised) {
  config_.mutable_optimizer()->set_max_skipped_steps(1);
  const absl::Status status = TrainRun();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << status;
  EXPECT_TRUE(IsAgreed(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("; steps skipped before: 1, "
                        "optimizer.max_skipped_steps is 1; its batch and "));
  // The same command again fails in the same place.
  EXPECT_EQ(TrainRun(), status);
  const Json report =
      Json::parse(Read(JoinPath(directory().failure(), "report.json")));
  ASSERT_TRUE(report.contains("skipped_steps")) << report;
  EXPECT_EQ(report["skipped_steps"], 1);
  config_.mutable_optimizer()->set_max_skipped_steps(2);
  const absl::Status raised = TrainRun();
  EXPECT_TRUE(raised.ok()) << raised;
  EXPECT_THAT(LastManifest(), HasSubstr("skipped_steps: 2"));
}

TEST_F(FailedRunTest, WhatAFailureLeavesFailsAgainInTheSamePlace) {
  const absl::Status status = TrainRun();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << status;
  const std::string failure = directory().failure();
  const Json report = Json::parse(Read(JoinPath(failure, "report.json")));
  ASSERT_TRUE(report.contains("samples_of_first")) << report;
  const std::string message = report["message"];
  EXPECT_THAT(std::string(status.message()), StartsWith(message));
  EXPECT_EQ(Read(JoinPath(failure, "report.txt")), message + "\n");

  const int64_t step = report["step"];
  EXPECT_EQ(report["not_finite"], "loss");
  EXPECT_EQ(report["consumed_samples"], (step - 1) * 10);
  EXPECT_EQ(report["skipped_steps"], 0);
  EXPECT_EQ(report["first"]["tensor"], "normed input of attention");
  EXPECT_EQ(report["first"]["layer"], 1);
  EXPECT_TRUE(report["first"]["expert"].is_null());
  EXPECT_TRUE(report["weights"].is_null());
  EXPECT_EQ(report["samples"].size(), 10u);
  EXPECT_EQ(report["batch"], "batch.safetensors");
  EXPECT_EQ(report["state"], StepDirectoryName(step - 1));
  // The sample with the token, among those of the rank that met it.
  std::vector<int64_t> lit;
  for (int64_t place : kLitPlaces) lit.push_back(place / kLength);
  EXPECT_THAT(report["samples_of_first"].get<std::vector<int64_t>>(),
              Contains(testing::AnyOf(lit[0], lit[1])));
  EXPECT_LE(report["samples_of_first"].size(), 3u);
  for (const Json& sample : report["samples_of_first"])
    EXPECT_THAT(report["samples"], Contains(sample));

  SetDirectory("replay");
  const absl::Status again =
      TrainRun({.resume = StartOptions::Resume::kDirectory,
                .resume_directory = JoinPath(failure, report["state"])});
  EXPECT_EQ(again.code(), absl::StatusCode::kOutOfRange) << again;
  EXPECT_EQ(Read(JoinPath(directory().failure(), "report.json")),
            Read(JoinPath(failure, "report.json")));
  EXPECT_TRUE(Metrics().empty()) << "its first step is the one that fails";
}

}  // namespace
}  // namespace moe
