// Whole runs of one rank that find a checkpoint of a newer version of the
// program: all is as it was written, but not all of it is known here.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "comm/mpi/mpi_runtime.h"
#include "data/storage/digest.h"
#include "tests/data/dataset_builder.h"
#include "tests/data/temporary_directory.h"
#include "tests/trainer/one_rank_run_fixture.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/manifest.h"
#include "trainer/config/config_resolve.h"
#include "trainer/run/training_run.h"

namespace moe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// What is in a text, and what comes in its place; nothing: it stays.
struct Edit {
  std::string from;
  std::string to;
};

std::string Edited(const std::string& text, const Edit& edit) {
  if (edit.from.empty()) return text;
  EXPECT_THAT(text, HasSubstr(edit.from));
  return absl::StrReplaceAll(text, {{edit.from, edit.to}});
}

class NewerCheckpointTest : public OneRankRunTest {
 protected:
  void SetUp() override {
    OneRankRunTest::SetUp();
    Documents documents = CountingDocuments({1000}, 0);
    for (int32_t& token : documents[0])
      token = token * 7 % config_.model().vocab_size();
    WriteDataset(directory_.Path("tokens"), documents);
    config_.mutable_data()->mutable_train()->add_source()->set_path(
        directory_.Path("tokens"));
    config_.mutable_run()->set_directory(directory_.Path("run"));
  }

  // To step `steps`. What it says goes to said_.
  absl::Status RunTo(int64_t steps) {
    config_.mutable_schedule()->set_steps(steps);
    const auto resolved = ResolveConfig(config_, /*world=*/1, 1);
    EXPECT_TRUE(resolved.ok()) << resolved.status();
    testing::internal::CaptureStderr();
    absl::Status status;
    {
      TrainingRun run(*resolved, StartOptions(), *runtime_,
                      /*share_directory=*/"", files_);
      status = run.Start();
      if (status.ok()) status = run.Train();
    }
    said_ = testing::internal::GetCapturedStderr();
    return status;
  }

  // A run of one step, of which these files then say more. Digests hold.
  void MakeNewer(const Edit& in_config, const Edit& in_manifest) {
    const absl::Status status = RunTo(1);
    ASSERT_TRUE(status.ok()) << status;
    const std::string config =
        Edited(directory_.Read(step_ + kTrainConfigFile), in_config);
    directory_.Write(step_ + kTrainConfigFile, config);
    auto manifest = LoadManifest(files_, directory_.Path(step_));
    ASSERT_TRUE(manifest.ok()) << manifest.status();
    for (CheckpointManifest::File& file : *manifest->mutable_file()) {
      if (file.name() != kTrainConfigFile) continue;
      file.set_num_bytes(static_cast<int64_t>(config.size()));
      file.set_xxh3(Digest(config));
    }
    std::string body = ManifestText(*manifest);
    body.resize(body.size() - DigestLine("").size());
    body = Edited(body, in_manifest);
    directory_.Write(step_ + kManifestFile, body + DigestLine(body));
  }

  void ExpectIsNewer(const std::string& word) {
    const absl::Status status = RunTo(2);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("newer version"), HasSubstr(word)));
    EXPECT_TRUE(files_.Exists(directory_.Path(step_ + kManifestFile)))
        << "it is not set aside";
  }

  const std::string step_ = "run/checkpoints/step_00000001/";
  FileSystem& files_ = PosixFileSystem();
  std::string said_;
};

TEST_F(NewerCheckpointTest, AValueThatItDoesNotKnowIsNotDamage) {
  config_.mutable_schedule()->set_decay(ScheduleConfig::LINEAR);
  MakeNewer({"decay: LINEAR", "decay: SQRT"}, {});
  ExpectIsNewer("SQRT");
}

TEST_F(NewerCheckpointTest, ARunGoesOnWithoutSettingsThatItDoesNotKnow) {
  MakeNewer({"log {\n", "log {\n  color: 7\n"},
            {"version: 1\n", "version: 1\ncolor: 7\n"});
  const absl::Status status = RunTo(2);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(said_, AllOf(HasSubstr("warning: "), HasSubstr("newer version"),
                           HasSubstr("without log.color")));
}

TEST_F(NewerCheckpointTest, AnUnknownSettingOfTheModelIsRefused) {
  MakeNewer({"\nmodel {\n", "\nmodel {\n  color: 7\n"}, {});
  ExpectIsNewer("model.color");
}

TEST_F(NewerCheckpointTest, AnotherFormatStaysAsItIs) {
  MakeNewer({}, {"version: 1\n", "version: 3\n"});
  ExpectIsNewer("format 3");
}

TEST_F(NewerCheckpointTest, WhatIsNotUnderstoodStaysAsItIs) {
  MakeNewer({}, {"version: 1\n", "version: ONE\n"});
  ExpectIsNewer("does not understand it");
}

}  // namespace
}  // namespace moe
