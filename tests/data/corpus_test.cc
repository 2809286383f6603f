#include "data/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/data/dataset_builder.h"
#include "tests/data/generated_text.h"
#include "tests/data/model_builder.h"
#include "tests/data/temporary_directory.h"

namespace moe {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kLength = 7;

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
    return PrepareCorpus(options_, [this](const std::string& what, int64_t,
                                          int64_t) { work_.insert(what); });
  }
  absl::StatusOr<std::unique_ptr<Corpus>> PrepareAndOpen() {
    if (absl::Status status = Prepare(); !status.ok()) return status;
    return Corpus::Open(options_);
  }
  void ExpectRefused(absl::StatusCode code, const std::string& words) {
    const absl::Status status = PrepareAndOpen().status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
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
      EXPECT_TRUE(samples.Read(position, inputs, absl::MakeSpan(targets)).ok());
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
};

TEST_F(CorpusTest, TextBecomesSamplesOfItsTokens) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", "the cat and the owl\fanother one"));
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  std::vector<int32_t> stream;
  tokenizer_->Encode("the cat and the owl", stream);
  stream.push_back(tokenizer_->eos_id());
  tokenizer_->Encode("another one", stream);
  stream.push_back(tokenizer_->eos_id());
  EXPECT_EQ(InputsInFileOrder((*corpus)->train()), Whole(stream));
  EXPECT_EQ((*corpus)->valid(), nullptr);
  EXPECT_EQ((*corpus)->tokenizer()->model_bytes(), tokenizer_->model_bytes());
}

TEST_F(CorpusTest, TokensTrainAsTheyAreWithoutATokenizer) {
  const Documents documents = CountingDocuments({30, 1, 60});
  WriteDataset(directory_.Path("p"), documents);
  for (const char* name : {"p", "p.bin", "p.idx"}) {
    options_.config.clear_train();
    AddTrain(directory_.Path(name));
    auto corpus = PrepareAndOpen();
    ASSERT_TRUE(corpus.ok()) << corpus.status();
    EXPECT_EQ((*corpus)->tokenizer(), nullptr);
    EXPECT_EQ(InputsInFileOrder((*corpus)->train()),
              Whole(Concatenate(documents)));
    EXPECT_EQ((*corpus)->valid_bytes_per_token(), 0);
  }
  EXPECT_FALSE(PosixFileSystem().Exists(options_.cache_directory));
}

TEST_F(CorpusTest, BosIsInsertedAtDocumentsAndNeverStored) {
  UseTokenizer();
  const Documents documents = CountingDocuments({30, 1, 60});
  WriteDataset(directory_.Path("p"), documents);
  AddTrain(directory_.Path("p"));
  options_.config.set_add_bos(true);
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_EQ(InputsInFileOrder((*corpus)->train()),
            Whole(Concatenate(documents, tokenizer_->bos_id())));
}

TEST_F(CorpusTest, TheLastDocumentsAreHeldOut) {
  const Documents documents =
      CountingDocuments({20, 21, 22, 23, 24, 25, 26, 27, 28, 29});
  WriteDataset(directory_.Path("p"), documents);
  AddTrain(directory_.Path("p"));
  for (const auto& [fraction, held_out] :
       {std::pair{1e-6, 1}, {0.1, 1}, {0.24, 2}, {0.5, 5}, {0.999, 9}}) {
    options_.config.set_valid_fraction(fraction);
    auto corpus = PrepareAndOpen();
    ASSERT_TRUE(corpus.ok()) << corpus.status();
    const auto cut = documents.end() - held_out;
    EXPECT_EQ(InputsInFileOrder((*corpus)->train()),
              Whole(Concatenate({documents.begin(), cut})));
    EXPECT_EQ(InputsInFileOrder(*(*corpus)->valid()),
              Whole(Concatenate({cut, documents.end()})));
    for (int64_t i = 0; i < (*corpus)->valid()->samples_per_epoch(); ++i) {
      EXPECT_EQ((*corpus)->valid()->SampleAt(i), i);
    }
  }
}

TEST_F(CorpusTest, ShortDocumentsAreHeldOutUntilTheyMakeASample) {
  const Documents documents = CountingDocuments({90, 3, 3, 3, 3});
  WriteDataset(directory_.Path("p"), documents);
  AddTrain(directory_.Path("p"));
  options_.config.set_valid_fraction(0.01);
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_EQ(InputsInFileOrder(*(*corpus)->valid()),
            Whole(Concatenate({documents.begin() + 2, documents.end()})));
}

TEST_F(CorpusTest, OfASingleDocumentTheLastTokensAreHeldOut) {
  const std::vector<int32_t> tokens = CountingDocuments({100})[0];
  WriteDataset(directory_.Path("p"), {tokens});
  AddTrain(directory_.Path("p"));
  for (const auto& [fraction, held_out] : {std::pair{0.01, 8}, {0.3, 30}}) {
    options_.config.set_valid_fraction(fraction);
    auto corpus = PrepareAndOpen();
    ASSERT_TRUE(corpus.ok()) << corpus.status();
    const auto cut = tokens.end() - held_out;
    EXPECT_EQ(InputsInFileOrder((*corpus)->train()),
              Whole({tokens.begin(), cut}));
    EXPECT_EQ(InputsInFileOrder(*(*corpus)->valid()),
              Whole({cut, tokens.end()}));
  }
}

TEST_F(CorpusTest, ValidationDataOfItsOwnLeavesTrainWhole) {
  const Documents train = CountingDocuments({30, 31, 32});
  const Documents valid = CountingDocuments({20, 21}, 200);
  WriteDataset(directory_.Path("t"), train);
  WriteDataset(directory_.Path("v"), valid);
  AddTrain(directory_.Path("t"));
  AddValid(directory_.Path("v"));
  options_.config.set_valid_fraction(0.5);
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_EQ(InputsInFileOrder((*corpus)->train()), Whole(Concatenate(train)));
  EXPECT_EQ(InputsInFileOrder(*(*corpus)->valid()), Whole(Concatenate(valid)));
}

TEST_F(CorpusTest, BlendsTakeTheirShares) {
  WriteDataset(directory_.Path("a"), CountingDocuments({71}, 0));
  WriteDataset(directory_.Path("b"), CountingDocuments({71}, 100));
  AddTrain(directory_.Path("a"), 3);
  AddTrain(directory_.Path("b"), 1);
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  int of_b = 0;
  for (int64_t i = 0; i < 100; ++i) {
    if ((*corpus)->train().SampleAt(i) >= 10) ++of_b;
  }
  EXPECT_EQ(of_b, 25);
}

TEST_F(CorpusTest, ASecondStartUsesTheCache) {
  UseTokenizer();
  const std::string path = directory_.Write("a.txt", GeneratedText(5000, 1));
  AddTrain(path);
  ASSERT_TRUE(Prepare().ok());
  EXPECT_THAT(work_, testing::ElementsAre("tokenizing " + path));
  ASSERT_TRUE(Prepare().ok());
  EXPECT_THAT(work_, IsEmpty());
}

TEST_F(CorpusTest, ATextThatChangedIsTokenizedAnewInPlaceOfTheOld) {
  UseTokenizer();
  const std::string path = directory_.Write("a.txt", "the cat and the owl");
  AddTrain(path);
  ASSERT_TRUE(PrepareAndOpen().ok());
  const auto names = *PosixFileSystem().List(options_.cache_directory);
  directory_.Write("a.txt", "the cow and the owl");  // the same size
  std::filesystem::last_write_time(
      path, std::filesystem::last_write_time(path) + std::chrono::seconds(1));
  const absl::Status stale = Corpus::Open(options_).status();
  EXPECT_EQ(stale.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(stale.message()), HasSubstr("a.txt changed"));
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  std::vector<int32_t> stream;
  tokenizer_->Encode("the cow and the owl", stream);
  stream.push_back(tokenizer_->eos_id());
  EXPECT_EQ(InputsInFileOrder((*corpus)->train()), Whole(stream));
  EXPECT_EQ(*PosixFileSystem().List(options_.cache_directory), names);
}

TEST_F(CorpusTest, AnotherTokenizerHasACacheOfItsOwn) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", GeneratedText(5000, 1)));
  ASSERT_TRUE(Prepare().ok());
  const std::string other = directory_.Write(
      "other.model", ModelBuilder().Bytes().Add({"ka"}).Serialize());
  options_.config.set_tokenizer(other);
  ASSERT_TRUE(Prepare().ok());
  EXPECT_FALSE(work_.empty());
  options_.config.set_tokenizer(directory_.Path("t.model"));
  ASSERT_TRUE(Prepare().ok());
  EXPECT_TRUE(work_.empty());
}

TEST_F(CorpusTest, AHalfWrittenCacheIsMadeAnew) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", GeneratedText(5000, 1)));
  ASSERT_TRUE(Prepare().ok());
  const auto names = *PosixFileSystem().List(options_.cache_directory);
  for (const std::string& name : names) {
    std::filesystem::remove(JoinPath(options_.cache_directory, name));
    EXPECT_FALSE(Corpus::Open(options_).ok()) << name;
    EXPECT_TRUE(PrepareAndOpen().ok()) << name;
    EXPECT_FALSE(work_.empty()) << name;
  }
}

TEST_F(CorpusTest, BytesPerTokenAreThoseOfTheText) {
  UseTokenizer();
  const std::string text = GeneratedText(3000, 1);
  for (const bool add_bos : {false, true}) {
    options_.config.set_add_bos(add_bos);
    options_.config.clear_train();
    options_.config.clear_valid();
    AddTrain(directory_.Write("a.txt", GeneratedText(3000, 2)));
    AddValid(directory_.Write("v.txt", text + "\f the end\fthe"));
    auto corpus = PrepareAndOpen();
    ASSERT_TRUE(corpus.ok()) << corpus.status();
    std::vector<int32_t> ids;
    for (const absl::string_view document :
         {absl::string_view(text), absl::string_view(" the end"),
          absl::string_view("the")}) {
      if (add_bos) ids.push_back(tokenizer_->bos_id());
      tokenizer_->Encode(document, ids);
      ids.push_back(tokenizer_->eos_id());
    }
    EXPECT_DOUBLE_EQ((*corpus)->valid_bytes_per_token(),
                     static_cast<double>(text.size() + 8 + 3) /
                         static_cast<double>(ids.size()));
  }
}

TEST_F(CorpusTest, AVocabularyIsLearnedWhenNoneIsNamed) {
  options_.vocab_size = 400;
  AddTrain(directory_.Write("a.txt", GeneratedText(200000, 1)));
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  ASSERT_NE((*corpus)->tokenizer(), nullptr);
  EXPECT_EQ((*corpus)->tokenizer()->vocab_size(), 400);
  ASSERT_TRUE(Prepare().ok());
  EXPECT_THAT(work_, IsEmpty());
}

TEST_F(CorpusTest, ShareNamesLieInTheShareDirectory) {
  UseTokenizer();
  std::filesystem::create_directory(directory_.Path("share"));
  directory_.Write("share/k.txt", "the cat and the owl");
  AddTrain("share:k.txt");
  EXPECT_TRUE(PrepareAndOpen().ok());
  options_.config.clear_train();
  AddTrain("share:none.txt");
  ExpectRefused(
      absl::StatusCode::kNotFound,
      "data.train: there is no file " + directory_.Path("share/none.txt"));
}

TEST_F(CorpusTest, WhatIsNotThereIsNamed) {
  AddTrain(directory_.Path("none"));
  ExpectRefused(absl::StatusCode::kNotFound, directory_.Path("none.idx"));
  options_.config.clear_train();
  WriteDataset(directory_.Path("p"), CountingDocuments({30}));
  AddTrain(directory_.Path("p"));
  AddValid(directory_.Path("v.txt"));
  ExpectRefused(absl::StatusCode::kNotFound,
                "data.valid: there is no file " + directory_.Path("v.txt"));
  options_.config.clear_valid();
  options_.config.set_tokenizer(directory_.Path("x.model"));
  ExpectRefused(absl::StatusCode::kNotFound,
                "data.tokenizer: there is no file");
}

TEST_F(CorpusTest, AFileThatIsNeitherTextNorTokensIsRefused) {
  AddTrain(directory_.Write("a.pdf", "x"));
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                "a.pdf is neither .txt nor .jsonl");
}

TEST_F(CorpusTest, NoSourceAndAPathlessSourceAreRefused) {
  ExpectRefused(absl::StatusCode::kInvalidArgument, "data.train is empty");
  AddTrain("");
  ExpectRefused(absl::StatusCode::kInvalidArgument, "a source has no path");
}

TEST_F(CorpusTest, TextBesideTokensNeedsTheirTokenizer) {
  WriteDataset(directory_.Path("p"), CountingDocuments({30}));
  AddTrain(directory_.Path("p"));
  AddTrain(directory_.Write("a.txt", "the cat and the owl"));
  ExpectRefused(absl::StatusCode::kInvalidArgument, "data.tokenizer is empty");
  UseTokenizer();
  EXPECT_TRUE(PrepareAndOpen().ok());
}

TEST_F(CorpusTest, ATokenizerLargerThanTheModelIsRefused) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", "the cat and the owl"));
  options_.vocab_size = tokenizer_->vocab_size();
  EXPECT_TRUE(PrepareAndOpen().ok());
  --options_.vocab_size;
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                absl::StrCat("model.vocab_size is ", options_.vocab_size,
                             ", must be at least the ", options_.vocab_size + 1,
                             " pieces of"));
}

TEST_F(CorpusTest, BosWithoutATokenizerIsRefused) {
  WriteDataset(directory_.Path("p"), CountingDocuments({30}));
  AddTrain(directory_.Path("p"));
  options_.config.set_add_bos(true);
  ExpectRefused(absl::StatusCode::kInvalidArgument, "data.add_bos is true");
}

TEST_F(CorpusTest, LessThanOneSampleIsRefusedWithBothNumbers) {
  WriteDataset(directory_.Path("p"), CountingDocuments({7}));
  WriteDataset(directory_.Path("q"), CountingDocuments({8}));
  AddTrain(directory_.Path("p"));
  ExpectRefused(absl::StatusCode::kFailedPrecondition,
                "p has 7 tokens, one sample of batch.sequence_length (7) "
                "needs 8");
  options_.config.clear_train();
  AddTrain(directory_.Path("q"));
  EXPECT_TRUE(PrepareAndOpen().ok());
  AddValid(directory_.Path("p"));
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "data.valid: ");
  options_.config.clear_valid();
  options_.config.set_valid_fraction(0.01);
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                "data.valid_fraction is 0.01");
}

TEST_F(CorpusTest, ValuesOutOfRangeAreRefused) {
  WriteDataset(directory_.Path("p"), CountingDocuments({30}));
  AddTrain(directory_.Path("p"), 0);
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                "data.train: weight of source 0 is 0");
  options_.config.mutable_train()->mutable_source(0)->set_weight(1);
  for (const double fraction : {-0.1, 1.0, 7.0}) {
    options_.config.set_valid_fraction(fraction);
    ExpectRefused(absl::StatusCode::kInvalidArgument,
                  absl::StrCat("data.valid_fraction is ", fraction));
  }
  options_.config.set_valid_fraction(0);
  options_.sequence_length = 0;
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                "batch.sequence_length is 0");
}

TEST_F(CorpusTest, ACacheThatCannotBeWrittenIsAborted) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", "the cat and the owl"));
  options_.cache_directory = directory_.Path("a.txt/data");
  ExpectRefused(absl::StatusCode::kAborted, "a.txt/data");
}

}  // namespace
}  // namespace moe
