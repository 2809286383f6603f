#ifndef TESTS_TRAINER_SAME_DATA_FIXTURE_H_
#define TESTS_TRAINER_SAME_DATA_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/mpi/mpi_runtime.h"
#include "data/storage/digest.h"
#include "data/tokens_digest.h"
#include "tests/data/dataset_builder.h"
#include "tests/data/generated_text.h"
#include "tests/data/model_builder.h"
#include "tests/trainer/one_rank_run_fixture.h"
#include "trainer/checkpoint/format/manifest.h"
#include "trainer/config/config_resolve.h"
#include "trainer/run/run_data.h"
#include "trainer/run/training_run.h"

namespace moe {

inline constexpr int kVocabSize = 400;

class SameDataTest : public OneRankRunTest {
 protected:
  void SetUp() override {
    OneRankRunTest::SetUp();
    config_.mutable_model()->set_vocab_size(kVocabSize);
    config_.mutable_run()->set_directory(Path("run"));
    config_.mutable_schedule()->set_steps(0);
  }

  std::string Path(absl::string_view name) const {
    return directory_.Path(name);
  }
  // Documents of these lengths, of tokens that no other stretch has.
  void WriteTokens(const std::string& name, const std::vector<size_t>& lengths,
                   int stride = 7) {
    Documents documents = CountingDocuments(lengths, 0);
    for (std::vector<int32_t>& document : documents)
      for (int32_t& token : document) token = token * stride % kVocabSize;
    WriteDataset(Path(name), documents);
  }
  void Train(const std::vector<std::string>& paths) {
    config_.mutable_data()->clear_train();
    for (const std::string& path : paths)
      config_.mutable_data()->mutable_train()->add_source()->set_path(path);
  }
  CorpusOptions Options(SplitRule split) const {
    return {.config = config_.data(),
            .vocab_size = kVocabSize,
            .sequence_length = config_.batch().sequence_length(),
            .seed = config_.run().seed(),
            .cache_directory = Path("run/data"),
            .share_directory = "",
            .split = split};
  }

  // One step more of the run. What it says goes to said_.
  absl::Status Run() {
    const int64_t steps = config_.schedule().steps();
    config_.mutable_schedule()->set_steps(steps + 1);
    const auto resolved = ResolveConfig(config_, /*world=*/1, 1);
    EXPECT_TRUE(resolved.ok()) << resolved.status();
    testing::internal::CaptureStderr();
    absl::Status status;
    {
      TrainingRun run(*resolved, options_, *runtime_,
                      /*share_directory=*/"", PosixFileSystem());
      status = run.Start();
      if (status.ok()) status = run.Train();
    }
    said_ = testing::internal::GetCapturedStderr();
    if (!status.ok()) config_.mutable_schedule()->set_steps(steps);
    return status;
  }
  void ExpectRuns() {
    const absl::Status status = Run();
    EXPECT_TRUE(status.ok()) << status;
  }
  void ExpectRefused(const std::vector<std::string>& words) {
    const absl::Status status = Run();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    for (const std::string& word : words)
      EXPECT_THAT(std::string(status.message()), testing::HasSubstr(word));
  }
  std::string Checkpoint() const {
    return Path(absl::StrFormat("run/checkpoints/step_%08d",
                                config_.schedule().steps()));
  }
  CheckpointManifest Manifest() const {
    const auto manifest = LoadManifest(PosixFileSystem(), Checkpoint());
    EXPECT_TRUE(manifest.ok()) << manifest.status();
    return manifest.ok() ? *manifest : CheckpointManifest();
  }
  std::string DigestOf(const std::string& name) const {
    const auto digest = ReadTokensDigest(PosixFileSystem(), Path(name));
    EXPECT_TRUE(digest.ok()) << digest.status();
    return digest.ok() ? DigestText(digest->xxh3) : "";
  }
  // What a dry run finds; refusals on lines of their own.
  std::string Preview() const {
    const DataPreview preview =
        PreviewData(config_, StartOptions(), Options(SplitRule::kTokens),
                    PosixFileSystem());
    std::string all = preview.text;
    for (const absl::Status& refusal : preview.refusals)
      absl::StrAppend(&all, "Refused: ", refusal.message(), "\n");
    return all;
  }

  StartOptions options_;
  std::string said_;
};

}  // namespace moe

#endif  // TESTS_TRAINER_SAME_DATA_FIXTURE_H_
