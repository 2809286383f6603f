#include "data/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <vector>

#include "tests/data/corpus_fixture.h"

namespace moe {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

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

TEST_F(CorpusTest, DocumentsOfATextStandApartOnDemand) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", "an\fthe\fan owl"));
  std::vector<int32_t> ends;  // of the first two documents
  for (const char* document : {"an", "the"}) {
    std::vector<int32_t> ids;
    tokenizer_->Encode(document, ids);
    const int32_t size = static_cast<int32_t>(ids.size()) + 1;  // with </s>
    ends.push_back((ends.empty() ? 0 : ends.back()) + size);
  }
  ASSERT_LT(ends[1], kLength);
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  std::vector<int32_t> inputs(kLength);
  std::vector<int32_t> targets(kLength);
  std::vector<int32_t> positions(kLength);
  ASSERT_TRUE((*corpus)
                  ->train()
                  .Read(0, absl::MakeSpan(inputs), absl::MakeSpan(targets),
                        absl::MakeSpan(positions))
                  .ok());
  for (int32_t t = 0; t < kLength; ++t) {
    const size_t i = static_cast<size_t>(t);
    const int32_t begin = t < ends[0] ? 0 : t < ends[1] ? ends[0] : ends[1];
    EXPECT_EQ(positions[i], t - begin);
    const bool last = t + 1 == ends[0] || t + 1 == ends[1];
    EXPECT_EQ(targets[i] == -1, last);
    EXPECT_EQ(inputs[i] == tokenizer_->eos_id(), last);
  }
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

}  // namespace
}  // namespace moe
