#ifndef TESTS_DATA_CORPUS_FIXTURE_H_
#define TESTS_DATA_CORPUS_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/corpus.h"
#include "tests/data/dataset_builder.h"
#include "tests/data/generated_text.h"
#include "tests/data/model_builder.h"
#include "tests/data/temporary_directory.h"

namespace moe {

inline constexpr int64_t kLength = 7;

class CorpusTest : public testing::Test {
 protected:
  CorpusTest() {
    options_.vocab_size = 300;
    options_.sequence_length = kLength;
    options_.seed = 5;
    options_.cache_directory = directory_.Path("run/data");
    options_.share_directory = directory_.Path("share");
    options_.threads = 2;
    options_.config.set_valid_fraction(0);
  }

  void AddTrain(const std::string& path, double weight = 1) {
    DataSource* source = options_.config.mutable_train()->add_source();
    source->set_path(path);
    source->set_weight(weight);
  }
  void AddValid(const std::string& path) {
    options_.config.mutable_valid()->add_source()->set_path(path);
  }
  void UseTokenizer() {
    const ModelBuilder builder = ModelBuilder().Bytes().Add(
        {"\xE2\x96\x81", "th", "the", "an", "\xE2\x96\x81the"});
    options_.config.set_tokenizer(
        directory_.Write("t.model", builder.Serialize()));
    tokenizer_ = *builder.Load();
  }
  absl::Status Prepare() {
    work_.clear();
    said_.clear();
    return PrepareCorpus(
        options_,
        [this](const std::string& what, int64_t, int64_t) {
          work_.insert(what);
        },
        [this](const std::string& line) { said_.push_back(line); });
  }
  absl::StatusOr<std::unique_ptr<Corpus>> PrepareAndOpen() {
    if (absl::Status status = Prepare(); !status.ok()) return status;
    return Corpus::Open(options_);
  }
  void ExpectRefused(absl::StatusCode code, const std::string& words) {
    const absl::Status status = PrepareAndOpen().status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(words));
  }

  // Writes into a file that is there, as often as it takes to give it another
  // time of change: the clock of a file system has ticks.
  void Overwrite(const std::string& name, absl::string_view contents) {
    const std::string path = directory_.Path(name);
    const auto changed = [&] {
      return PosixFileSystem().Identify(path)->changed;
    };
    const int64_t before = changed();
    do {
      directory_.Write(name, contents);
    } while (changed() == before);
  }

  // The stream behind one pass of a sequence: its samples, in file order, each
  // input once.
  static std::vector<int32_t> InputsInFileOrder(const SampleSequence& samples) {
    const int64_t size = samples.samples_per_epoch();
    std::vector<int32_t> all(static_cast<size_t>(size * kLength), -1);
    std::vector<int32_t> targets(kLength);
    for (int64_t position = 0; position < size; ++position) {
      const absl::Span<int32_t> inputs = absl::MakeSpan(all).subspan(
          static_cast<size_t>(samples.SampleAt(position) * kLength), kLength);
      EXPECT_TRUE(
          samples.Read(position, inputs, absl::MakeSpan(targets), {}).ok());
    }
    return all;
  }
  // Whole samples at the beginning of a stream.
  static std::vector<int32_t> Whole(std::vector<int32_t> stream) {
    stream.resize((stream.size() - 1) / kLength * kLength);
    return stream;
  }

  TemporaryDirectory directory_;
  CorpusOptions options_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::set<std::string> work_;  // what progress was told of
  std::vector<std::string> said_;
};

}  // namespace moe

#endif  // TESTS_DATA_CORPUS_FIXTURE_H_
