// Whole runs of one rank, whose disk refuses at a chosen moment.

#include "trainer/run/training_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <ctime>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/base/config.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "comm/mpi/mpi_runtime.h"
#include "comm/single_group.h"
#include "data/indexed_dataset_writer.h"
#include "tests/data/model_builder.h"
#include "tests/fake_file_system.h"
#include "tests/trainer/one_rank_run_fixture.h"
#include "trainer/checkpoint/format/manifest.h"
#include "trainer/config/config_resolve.h"
#include "trainer/run/run_directory.h"
#include "trainer/run/run_start.h"

namespace {

// What the machine's clock is set forth each time that it is looked at.
std::atomic<int64_t> jump_seconds = 0;
std::atomic<int64_t> num_looks = 0;

}  // namespace

// In place of the C library's: durations must not depend on the clock that can
// be set, CLOCK_REALTIME.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const long result = syscall(SYS_clock_gettime, clock, time);
  if (clock == CLOCK_REALTIME) time->tv_sec += jump_seconds * ++num_looks;
  return static_cast<int>(result);
}

// In place of its shared library's, which mostly counts the processor's cycles
// and looks at the clock every two seconds.
namespace absl {
ABSL_NAMESPACE_BEGIN
Time Now() {
  timespec time = {};
  clock_gettime(CLOCK_REALTIME, &time);
  return TimeFromTimespec(time);
}
ABSL_NAMESPACE_END
}  // namespace absl

namespace moe {
namespace {

class TrainingRunTest : public OneRankRunTest {
 protected:
  void SetUp() override {
    OneRankRunTest::SetUp();
    WriteTokens(config_.model().vocab_size());
    config_.mutable_data()->mutable_train()->add_source()->set_path(
        directory_.Path("tokens"));
    config_.mutable_data()->set_valid_fraction(0);
    config_.mutable_run()->set_directory(directory_.Path("run"));
    config_.mutable_schedule()->set_steps(4);
  }

  // A run of the configuration; write `number` after its start fails (0: none).
  absl::Status RunWithFailingWrite(int64_t number) {
    const auto resolved = ResolveConfig(config_, /*world=*/1, 1);
    EXPECT_TRUE(resolved.ok()) << resolved.status();
    TrainingRun run(*resolved, StartOptions(), *runtime_,
                    /*share_directory=*/"", files_);
    const absl::Status started = run.Start();
    EXPECT_TRUE(started.ok()) << started;
    files_.FailWrite(number);
    return run.Train();
  }

  bool HasWeights(const std::string& step) {
    return files_.Exists(directory_.Path("run/checkpoints/" + step + "/" +
                                         "model.safetensors.index.json"));
  }

  FakeFileSystem files_;

 private:
  void WriteTokens(int vocab_size) {
    auto writer = IndexedDatasetWriter::Create(
        PosixFileSystem(), directory_.Path("tokens"), TokenType::kInt32);
    ASSERT_TRUE(writer.ok()) << writer.status();
    std::vector<int32_t> tokens;
    for (int i = 0; i < 1000; ++i) tokens.push_back(i * 7 % vocab_size);
    ASSERT_TRUE((*writer)->AddDocument(tokens).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
  }
};

TEST_F(TrainingRunTest, LeavesWeightsOfTheLastStep) {
  EXPECT_TRUE(RunWithFailingWrite(0).ok());
  EXPECT_TRUE(HasWeights("step_00000004"));
}

// The first write after the start is the first line of metrics.
TEST_F(TrainingRunTest, ARefusedLineOfMetricsEndsTheRunButCostsNoWeights) {
  const absl::Status status = RunWithFailingWrite(1);
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_TRUE(HasWeights("step_00000002")) << "where the rank learns of it";
}

TEST_F(TrainingRunTest, ARefusedLastLineOfMetricsCostsNoWeights) {
  config_.mutable_log()->set_interval_steps(4);
  const absl::Status status = RunWithFailingWrite(1);
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_TRUE(HasWeights("step_00000004"));
}

// tokenizer.model goes along, and the reason is said before the first step.
TEST_F(TrainingRunTest, ATokenizerThatCannotBeExportedIsNamedAtTheStart) {
  ModelBuilder model;
  model.Add({"a"}).Add("b", -1, PieceType::kUnused);
  config_.mutable_data()->set_tokenizer(
      directory_.Write("unused.model", model.Serialize()));
  testing::internal::CaptureStderr();
  EXPECT_TRUE(RunWithFailingWrite(0).ok());
  const std::string said = testing::internal::GetCapturedStderr();
  const size_t reason = said.find(
      "tokenizer.json cannot say what tokenizer.model means and is left out: "
      "piece 4 (\"b\") is unused");
  EXPECT_LT(reason, said.find("step 1/4")) << said;
  EXPECT_EQ(reason, said.rfind("tokenizer.json")) << said;
  const std::string saved = "run/checkpoints/step_00000004/";
  EXPECT_TRUE(files_.Exists(directory_.Path(saved + "tokenizer.model")));
  EXPECT_FALSE(files_.Exists(directory_.Path(saved + "tokenizer.json")));
}

// A step of this model is over long before its files are synced.
TEST_F(TrainingRunTest, TheNextSaveWaitsForTheLast) {
  config_.mutable_checkpoint()->set_interval_steps(1);
  config_.mutable_checkpoint()->set_keep(4);
  EXPECT_TRUE(RunWithFailingWrite(0).ok());
  for (const char* step :
       {"step_00000001", "step_00000002", "step_00000003", "step_00000004"})
    EXPECT_TRUE(HasWeights(step)) << step;
}

TEST_F(TrainingRunTest, StoppedAsAskedPromisesThatTheWeightsAreThere) {
  config_.mutable_schedule()->set_stop_after_seconds(1e-9);
  config_.mutable_log()->set_interval_steps(4);
  EXPECT_TRUE(absl::IsCancelled(RunWithFailingWrite(0)));
  EXPECT_TRUE(HasWeights("step_00000001"));
}

TEST_F(TrainingRunTest, StoppedAsAskedIsNotSaidWhenTheDiskRefusesTheWeights) {
  config_.mutable_schedule()->set_stop_after_seconds(1e-9);
  EXPECT_TRUE(absl::IsAborted(RunWithFailingWrite(2)));
  EXPECT_FALSE(HasWeights("step_00000001"));
}

// A dry run's word of a start, and then the run's own.
TEST_F(TrainingRunTest, AStartClearsAwayWhatACrashLeftOfAFailuresState) {
  const std::string left = directory_.Path("run/failure/step_00000003.tmp");
  ASSERT_TRUE(files_.MakeDirectories(left).ok());
  EXPECT_TRUE(RunWithFailingWrite(0).ok());
  EXPECT_FALSE(files_.Exists(left));
}

TEST_F(TrainingRunTest, ADryRunIsToldWhatTheRunWouldBe) {
  config_.mutable_checkpoint()->set_interval_steps(2);
  ASSERT_TRUE(RunWithFailingWrite(0).ok());
  const TrainConfig config = *ResolveConfig(config_, /*world=*/1, 1);
  const std::string run = directory_.Path("run");
  const RunDirectory directory(run);
  const auto cut = [&](const std::string& step) {
    const std::string path = directory_.Path("run/checkpoints/" + step +
                                             "/model.safetensors.index.json");
    EXPECT_EQ(truncate(path.c_str(), 9), 0);
  };
  const auto expect = [&](const StartOptions& options, absl::StatusCode code) {
    const auto ignore = [](const std::string&) {};
    const absl::Status dry = CheckStart(options, config, files_, ignore);
    EXPECT_EQ(dry.code(), code) << dry;
    const auto start = ChooseStart(options, config, directory, files_,
                                   *MakeSingleGroup("world"), ignore);
    EXPECT_EQ(start.status().message(), dry.message());
  };
  using Resume = StartOptions::Resume;
  const auto named = [&](const std::string& path) {
    return StartOptions{.resume = Resume::kDirectory, .resume_directory = path};
  };
  expect({}, absl::StatusCode::kOk);
  expect({.resume = Resume::kNone}, absl::StatusCode::kInvalidArgument);
  expect(named(run), absl::StatusCode::kOk);
  expect(named(run + "/nowhere"), absl::StatusCode::kNotFound);
  expect(named(run + "/checkpoints/step_00000002"),
         absl::StatusCode::kInvalidArgument);
  cut("step_00000004");
  expect(named(run + "/checkpoints/step_00000004"),
         absl::StatusCode::kDataLoss);
  expect(named(run), absl::StatusCode::kInvalidArgument);
  expect({}, absl::StatusCode::kOk);  // with step 2; step 4 is set aside
  cut("step_00000002");
  EXPECT_TRUE(absl::IsDataLoss(
      CheckStart({}, config, files_, [](const std::string&) {})));
  EXPECT_TRUE(HasWeights("step_00000002")) << "a dry run changes nothing";
}

// The lines of metrics.jsonl.
std::vector<nlohmann::json> Lines(const std::string& path) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// 40 samples by tens; 60 more, by threes.
TEST_F(TrainingRunTest, ARunInTokensEndsAtThemWhateverBatchesItHad) {
  config_.mutable_schedule()->set_steps(0);
  config_.mutable_schedule()->set_tokens(40 * 9);
  ASSERT_TRUE(RunWithFailingWrite(0).ok());
  EXPECT_TRUE(HasWeights("step_00000004"));
  config_.mutable_schedule()->set_tokens(100 * 9);
  config_.mutable_batch()->set_global_size(3);
  config_.mutable_log()->set_interval_steps(3);
  ASSERT_TRUE(RunWithFailingWrite(0).ok());
  EXPECT_TRUE(HasWeights("step_00000024"));
  EXPECT_THAT(directory_.Read("run/config.textproto"),
              testing::HasSubstr("  tokens: 900\n"));
  EXPECT_THAT(directory_.Read("run/checkpoints/step_00000024/" +
                              std::string(kManifestFile)),
              testing::HasSubstr("step: 4\n  consumed_samples: 40\n"));

  const auto lines = Lines(directory_.Path("run/metrics.jsonl"));
  EXPECT_EQ(lines.back()["step"], 24);
  EXPECT_EQ(lines.back()["tokens"], 900);
  for (const nlohmann::json& line : lines) {
    // Of the steps that the line is of, whatever those before had.
    const double rate = line["tokens_per_second"];
    const double seconds = line["step_seconds"];
    EXPECT_NEAR(rate * seconds, line["step"] <= 4 ? 90 : 27, 1e-4);
    EXPECT_GT(line["mfu"], 0);
  }

  // Larger steps again: the tokens are there, and nothing is left to do.
  config_.mutable_batch()->set_global_size(7);
  ASSERT_TRUE(RunWithFailingWrite(0).ok());
  EXPECT_FALSE(HasWeights("step_00000025"));
  // A warm-up that has been made need not fit in so many steps of this batch.
  config_.mutable_schedule()->set_tokens(110 * 9);
  config_.mutable_schedule()->set_warmup_steps(20);
  config_.mutable_batch()->set_global_size(10);
  ASSERT_TRUE(RunWithFailingWrite(0).ok());
  EXPECT_TRUE(HasWeights("step_00000025"));
}

TEST_F(TrainingRunTest, AWarmUpBeyondANewRunInTokensIsRefusedAtOnce) {
  config_.mutable_schedule()->set_steps(0);
  config_.mutable_schedule()->set_tokens(100 * 9);
  config_.mutable_schedule()->set_warmup_steps(11);
  const auto resolved = ResolveConfig(config_, /*world=*/1, 1);
  ASSERT_TRUE(resolved.ok());
  TrainingRun run(*resolved, StartOptions(), *runtime_,
                  /*share_directory=*/"", files_);
  const absl::Status status = run.Start();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_FALSE(files_.Exists(directory_.Path("run")));
}

// The rate makes weights that overflow: the next loss is none.
TEST_F(TrainingRunTest, AValidationLossThatIsNotFiniteIsNeverTheBest) {
  *config_.mutable_data()->mutable_valid() = config_.data().train();
  config_.mutable_eval()->set_interval_steps(1);
  config_.mutable_checkpoint()->set_keep(1);
  config_.mutable_schedule()->set_steps(1);
  ASSERT_TRUE(RunWithFailingWrite(0).ok());
  config_.mutable_schedule()->set_steps(2);
  config_.mutable_optimizer()->set_learning_rate(1e10);
  ASSERT_TRUE(RunWithFailingWrite(0).ok());
  EXPECT_TRUE(HasWeights("step_00000001")) << "the best";
  EXPECT_TRUE(HasWeights("step_00000002")) << "the newest";
  const std::string checkpoints = directory_.Path("run/checkpoints/");
  EXPECT_TRUE(
      ReadManifest(files_, checkpoints + "step_00000001")->has_valid_loss());
  EXPECT_FALSE(
      ReadManifest(files_, checkpoints + "step_00000002")->has_valid_loss());
  const auto lines = Lines(directory_.Path("run/metrics.jsonl"));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_TRUE(lines[0]["valid_loss"].is_number());
  EXPECT_TRUE(lines[1]["valid_loss"].is_null());
}

TEST_F(TrainingRunTest, GoingOnKeepsWhatStandsBehindABrokenLine) {
  ASSERT_TRUE(RunWithFailingWrite(0).ok());
  const std::string path = directory_.Path("run/metrics.jsonl");
  const std::string whole = directory_.Read("run/metrics.jsonl");
  directory_.Write("run/metrics.jsonl", "\xff\n" + whole + "{\"step\":5,\"l");
  config_.mutable_schedule()->set_steps(6);
  ASSERT_TRUE(RunWithFailingWrite(0).ok());
  const auto lines = Lines(path);
  ASSERT_EQ(lines.size(), 6u);
  for (size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i]["step"], i + 1);
  EXPECT_EQ(directory_.Read("run/metrics.jsonl.rejected"),
            "\xff\n{\"step\":5,\"l\n");
}

class SetClockTest : public TrainingRunTest {
 protected:
  ~SetClockTest() override { jump_seconds = 0; }

  // By so much at each look.
  void SetClock(absl::Duration jump) {
    jump_seconds = absl::ToInt64Seconds(jump);
    const absl::Time before = absl::Now();
    ASSERT_NEAR(absl::ToDoubleHours(absl::Now() - before),
                absl::ToDoubleHours(jump), 0.5)
        << "the program does not see this clock";
  }
};

TEST_F(SetClockTest, SavesAndStopsInTimeWhenTheClockIsSetBack) {
  SetClock(-absl::Hours(1));
  config_.mutable_checkpoint()->set_interval_seconds(1e-9);
  EXPECT_TRUE(RunWithFailingWrite(0).ok());
  EXPECT_TRUE(HasWeights("step_00000003")) << "kept beside the last";
  for (const auto& line : Lines(directory_.Path("run/metrics.jsonl"))) {
    EXPECT_GT(line["step_seconds"], 0);
    EXPECT_GT(line["tokens_per_second"], 0);
    EXPECT_GE(line["checkpoint_seconds"], 0);
  }
  config_.mutable_schedule()->set_steps(8);
  config_.mutable_schedule()->set_stop_after_seconds(1e-9);
  EXPECT_TRUE(absl::IsCancelled(RunWithFailingWrite(0)));
  EXPECT_TRUE(HasWeights("step_00000005"));
}

TEST_F(SetClockTest, NeitherSavesNorStopsEarlyWhenTheClockIsSetForth) {
  SetClock(absl::Hours(1));
  config_.mutable_checkpoint()->set_interval_seconds(3000);
  config_.mutable_schedule()->set_stop_after_seconds(3000);
  EXPECT_TRUE(RunWithFailingWrite(0).ok());
  EXPECT_TRUE(HasWeights("step_00000004"));
  EXPECT_FALSE(HasWeights("step_00000003"));
  for (const auto& line : Lines(directory_.Path("run/metrics.jsonl")))
    EXPECT_LT(line["step_seconds"], 3600);
}

class RefusedSaveTest : public TrainingRunTest {
 protected:
  // A whole run anew, saving after every step, with that write failing. What
  // the last checkpoint is: sizes and digests of all its files.
  absl::StatusOr<std::string> Run(int64_t failing_write) {
    EXPECT_TRUE(files_.Remove(directory_.Path("run")).ok());
    config_.mutable_checkpoint()->set_interval_steps(1);
    config_.mutable_checkpoint()->set_asynchronous(false);
    const absl::Status status = RunWithFailingWrite(failing_write);
    if (!status.ok()) return status;
    return files_.ReadFile(
        directory_.Path("run/checkpoints/step_00000004/manifest.textproto"),
        1 << 20);
  }
};

// It ends the run only where it hits the metrics or the last save.
TEST_F(RefusedSaveTest, ASaveThatTheDiskRefusesDoesNotChangeTheTraining) {
  const absl::StatusOr<std::string> calm = Run(0);
  ASSERT_TRUE(calm.ok()) << calm.status();
  const int64_t writes = files_.num_writes();
  int went_on = 0;
  for (int64_t k = 1; k <= writes; k += 9) {
    const absl::StatusOr<std::string> run = Run(k);
    if (run.ok()) {
      ++went_on;
      EXPECT_EQ(*run, *calm) << "write " << k << " of " << writes;
    } else {
      EXPECT_TRUE(absl::IsAborted(run.status())) << run.status();
    }
  }
  EXPECT_GT(went_on, writes / 9 / 2);
}

}  // namespace
}  // namespace moe
